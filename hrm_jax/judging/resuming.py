"""A long evaluation goes on where it was killed: the result of who played longer than `LONG` is kept.

It is taken again only by the same entrant (the bytes of its file), scenarios, protocol, backend and code.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import archive, files, json_file, provenance
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.scenarios import Scenarios, schema
from hrm_jax.judging import own
from hrm_jax.judging.own import Function
from hrm_jax.referee.cells.episode import ErrorCounts, Result
from hrm_jax.referee.protocols import Protocol

LONG = 20.0  # seconds
Sources = Mapping[str, Path | Function | None]


class Kept:
    """The finished entrants of an evaluation, beside its report.

    Nothing is kept of code that differs from its commit, nor by somebody's functions, whose code is anywhere.
    """

    def __init__(
        self, out: Path, scenarios: Scenarios, protocol: Protocol, about: Sequence[str], sources: Sources
    ):
        """`about`: what else every result depends on: the backend, a file that forecasts."""
        self._folder, self._sources = out.with_name(f"{out.name}.judged"), sources
        stamp = provenance.stamp()
        self._usable = not stamp["commit"].endswith("+") and not any(map(own.parse, about))
        fixed = [stamp, asdict(scenarios.world), asdict(protocol), *map(_identity, about)]
        self._base = hashlib.blake2b(json.dumps(fixed).encode())
        for name in schema(scenarios.world):
            self._base.update(np.ascontiguousarray(getattr(scenarios, name)).tobytes())

    def find(self, name: str) -> Result | None:
        """The result of an entrant that was judged before, or None."""
        path = self._path(name)
        if path is None or not path.exists():
            return None
        try:
            with archive.reading(path, "gone", "damaged") as arrays:
                return _result(arrays)
        except RequestError:  # it is judged again
            return None

    def keep(self, name: str, result: Result, seconds: float) -> None:
        """Keep a result that took long, if it can be written: it is needed only if something goes wrong."""
        if seconds >= LONG and (path := self._path(name)):
            with contextlib.suppress(RequestError):
                archive.write(path, _arrays(result))

    def end(self) -> None:
        """Forget what was kept here: the report is written."""
        with contextlib.suppress(OSError):  # what else is in a folder of this name is somebody's
            for path in self._folder.glob("*.npz"):
                path.unlink()
            self._folder.rmdir()

    def _path(self, name: str) -> Path | None:
        source = self._sources.get(name)
        if not self._usable or isinstance(source, Function):
            return None
        digest = self._base.copy()
        digest.update(json.dumps([name, _identity(str(source or ""))]).encode())
        return self._folder / f"{digest.hexdigest()[:32]}.npz"


def _identity(text: str) -> str:
    """A name, or a digest of the file that it names."""
    path = files.expanded(text)
    return hashlib.blake2b(path.read_bytes()).hexdigest() if text and path.is_file() else text


def _arrays(result: Result) -> dict[str, Any]:
    arrays: dict[str, Any] = {"outcomes": result.outcomes, "failures": json.dumps(result.failures)}
    for name in ("errors", "near_plan"):
        if errors := getattr(result, name):
            arrays |= {f"{name}/counts": errors.counts, f"{name}/sums": errors.sums}
    return arrays


def _result(arrays: archive.Arrays) -> Result:
    counts: dict[str, Any] = {"near_plan": None}
    for name in ("errors", "near_plan"):
        if f"{name}/counts" in arrays:
            found = counts[name] = ErrorCounts(len(arrays[f"{name}/sums"]))
            found.counts[:], found.sums[:] = arrays[f"{name}/counts"], arrays[f"{name}/sums"]
    failures = json_file.parse(str(arrays["failures"]), "failures")
    return Result(str(arrays["outcomes"]), failures, **counts)
