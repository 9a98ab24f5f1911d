"""Predictors of somebody's own: Python functions from a file, or handed over, held to what they promise.

A predictor is a function (seen, horizon) -> positions [A, horizon, N, 2] in cells, (row, column), the first
one step ahead. `seen` is an `Observation` of A episodes that are played at once: seen.history [A, H, N, 2] is
what was observed, the current positions last, seen.observed bool [A, H, N] says of what it really was,
seen.agent [A, H, 2] are the agent's cells, seen.static bool [A, R, C] the map; NumPy's, lengths in float64.
What it returns may be an array of NumPy, of PyTorch or of jax, and must depend on each episode alone: how
many are played at once differs between backends.
"""

import contextlib
import hashlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hrm_jax.artefacts import files, numbers
from hrm_jax.artefacts.errors import RequestError, nearest, one_line
from hrm_jax.worlds.features import Observation
from hrm_jax.worlds.rules import FURTHEST

SPEC = re.compile(r"(?:(?P<name>[^=/]+)=)?(?P<file>.+\.py):(?P<function>\w+)")
WANTED = "positions [A, horizon, N, 2] in cells"


class Home:
    """The folder of somebody's file: what is imported from there is this file's alone, whatever its name."""

    def __init__(self, path: Path):
        self.folder = path.resolve().parent
        self._modules: dict[str, ModuleType] = {}

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Import from the folder first, as Python does for a file that it runs."""
        before = set(sys.modules)
        sys.path.insert(0, str(self.folder))
        sys.modules.update(self._modules)
        try:
            yield
        finally:
            sys.path.remove(str(self.folder))
            for name in set(sys.modules) - before:
                if self._has(sys.modules[name]):
                    self._modules[name] = sys.modules.pop(name)

    def _has(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None) or ""
        return bool(file) and Path(file).resolve().is_relative_to(self.folder)


class Function:
    """A function as a predictor: its result checked, and what it raises kept in `failure`.

    Of a function from a file, errors are `RequestError`s that say the line; of another, its own.
    """

    def __init__(
        self,
        function: Callable[[Observation, int], Any],
        name: str = "it",
        path: Path | None = None,
        home: Home | None = None,
    ):
        if not callable(function):
            raise RequestError(f"{function!r:.99} is no predictor; a function (seen, horizon) is needed")
        self.function, self.name, self.path = function, name, path
        self._home = home
        self.failure: BaseException | None = None

    def __call__(self, seen: Observation, horizon: int) -> np.ndarray:
        """Positions [A, horizon, N, 2], float64, or an error that says what was expected."""
        theirs = Observation(*(array.copy() for array in seen))  # to change as they like
        try:
            with self._home.entered() if self._home else contextlib.nullcontext():
                found = self.function(theirs, horizon)
        except (Exception, SystemExit) as error:
            self.failure = error
            if self._home is None:
                raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {one_line(error)} ({place.filename}:{place.lineno})"
            self.failure = RequestError(f"{self.name} raises {said}")
            raise self.failure from None
        try:
            return checked(found, (len(seen.history), horizon, *seen.history.shape[2:]))
        except RequestError as error:
            self.failure = error
            raise


def checked(found: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What a predictor returned, as float64 of this shape [A, horizon, N, 2]."""
    expected = f"{WANTED} = {list(shape)} are expected"
    array = numbers.real(found)
    if array is None:
        raise RequestError(f"returns {type(found).__name__}, no array of real numbers; {expected}")
    if array.shape != shape:
        raise RequestError(f"returns shape {list(array.shape)}; {expected}")
    if not (np.abs(array) < FURTHEST).all():  # NaN fails this too
        raise RequestError(
            f"returns positions not finite, or over {FURTHEST:.0e} cells away; {expected}, all finite"
        )
    return array


def parse(request: str) -> tuple[str, str, str] | None:
    """Name, file and function of a request [NAME=]FILE.py:FUNCTION; None of any other."""
    match = SPEC.fullmatch(request)
    return (match["name"] or match["function"], match["file"], match["function"]) if match else None


def load(file: str, name: str) -> Function:
    """The function `name` of a Python file, which is run; it may import what lies beside it."""
    path = files.expanded(file)
    if not path.is_file():
        raise RequestError(f"{file}: no such file")
    home = Home(path)
    module = _run(path, home)
    function = getattr(module, name, None)
    if not callable(function):
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        allowed = ", ".join(there) or "none"
        raise RequestError(f"{file} has no function {name}{nearest(name, there)}; functions there: {allowed}")
    return Function(function, name, path, home)


def _run(path: Path, home: Home) -> ModuleType:
    key = hashlib.blake2b(str(path.resolve()).encode(errors="surrogateescape"), digest_size=8).hexdigest()
    spec = importlib.util.spec_from_file_location(f"own_{key}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    try:
        with home.entered():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise RequestError(f"{path}: {type(error).__name__}: {one_line(error)}") from None
    return module
