"""Where configs are and how they load: a checkout's configs/, or the copy that an installation carries.

Config files say `from configs import base`; the package `configs` is made here, so that this works from any
folder, without touching `sys.path`, and in programs that have a `configs` of their own. A command line sets
fields by ml_collections' flags, with one-line errors. Nothing here imports jax.
"""

import contextlib
import copy
import importlib
import importlib.util
import os
import pathlib
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import hrm_jax
from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError, nearest, one_line

if TYPE_CHECKING:
    from ml_collections import ConfigDict

PACKAGE = pathlib.Path(hrm_jax.__file__).resolve().parent
INSTALLED = PACKAGE / "configs"
CONFIGS = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent / "configs"
PACKAGE_NAME = "configs"
OVERRIDE = re.compile(r"--(?:no)?config\.([\w.]+)")


def names() -> list[str]:
    """The experiments of configs/."""
    return sorted(path.stem for path in CONFIGS.glob("*.py") if not path.stem.startswith("base"))


def find(name: str) -> tuple[pathlib.Path, str]:
    """The path of a config "file.py", "configs/file.py" or "file", and its variant, which a colon precedes.

    A name that has colons itself is tried whole first.
    """
    for file, variant in ((name, ""), (name.rpartition(":")[0], name.rpartition(":")[2])):
        for candidate in (files.expanded(file), CONFIGS.parent / file, CONFIGS / f"{file}.py"):
            if candidate.suffix == ".py" and files.exists(candidate) and candidate.is_file():
                return candidate, variant
    close = nearest(pathlib.Path(name.partition(":")[0]).stem, names())
    raise RequestError(f"--config {name}: no such file; configs/ has {', '.join(names())}{close}")


def load(name: str) -> "ConfigDict":
    """The config that `name` finds; a file that makes none, or not this variant, is a `RequestError`."""
    from ml_collections import ConfigDict, FrozenConfigDict

    path, variant = find(name)
    spec = importlib.util.spec_from_file_location("experiment", path)
    assert spec and spec.loader
    experiment = importlib.util.module_from_spec(spec)
    try:
        with _ours():
            spec.loader.exec_module(experiment)
            config = experiment.get_config(variant) if variant else experiment.get_config()
    except (RequestError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever a file does that anybody may write
        raise RequestError(f"--config {name}: {_place(error, str(path))}{one_line(error)}") from None
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise RequestError(f"--config {name}: get_config must return a ConfigDict; it returns a {kind}")
    return ConfigDict(config) if isinstance(config, FrozenConfigDict) else config


def _place(error: BaseException, path: str) -> str:
    """Type and line of an error of a config file; a refused variant, a ValueError, says all itself."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: "  # which says its line
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    where = f", line {lines[-1]}" if lines else ""
    return "" if isinstance(error, ValueError | TypeError) else f"{type(error).__name__}{where}: "


def module(name: str) -> ModuleType:
    """The module of configs/NAME.py, with the tables that it declares."""
    path, _ = find(name)
    if path.parent != CONFIGS:
        raise RequestError(f"--config {name}: a file of configs/ is needed")
    with _ours():
        return importlib.import_module(f"configs.{path.stem}")


@contextlib.contextmanager
def _ours() -> Iterator[None]:
    """`configs` is this package, for the block; a program's own of that name is back afterwards."""
    with _importing:
        others = _set_aside()
        sys.modules.update(_modules)
        try:
            yield
        finally:
            _modules.update(_set_aside())
            sys.modules.update(others)


def _set_aside() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] == PACKAGE_NAME]
    return {name: sys.modules.pop(name) for name in names}


def _package() -> ModuleType:
    package = ModuleType(PACKAGE_NAME, "The experiments of hrm_jax.")
    package.__path__ = [str(CONFIGS)]
    return package


_importing = threading.RLock()  # a config may load another
_modules = {PACKAGE_NAME: _package()}


def read(named: "str | os.PathLike | ConfigDict", words: Sequence[str] = ()) -> "ConfigDict":
    """The config of a name (see `find`), or a copy of one, locked, with fields as --config.FIELD=VALUE say.

    A wrong name, field, value or word is a `RequestError`. Flags live for this call: it can be made often.
    """
    from absl import flags
    from ml_collections import ConfigDict, FrozenConfigDict, config_flags

    if isinstance(named, ConfigDict | FrozenConfigDict):
        where, config = "config", ConfigDict(copy.deepcopy(named))
    elif isinstance(named, str | os.PathLike):
        where, config = f"--config {named}", load(os.fspath(named))
    else:
        raise RequestError(f"config is a {type(named).__name__}; wanted is a ConfigDict, or the name of one")
    argv = ["train", *words]
    parsed = flags.FlagValues()
    try:
        _check_fields(words, _fields(config))
        config_flags.DEFINE_config_dict("config", config, "", flag_values=parsed, sys_argv=argv)
        rest = parsed(argv)[1:]
        parsed.config.to_dict()
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from None
    except RecursionError:
        raise RequestError(f"{where}: a group of the config holds itself") from None
    except Exception as error:  # absl and ml_collections have a type of error for every mistake
        raise RequestError(f"{where}: {one_line(error)}") from None
    if rest:
        raise RequestError(f"unexpected argument {rest[0]!r}: fields are set as --config.FIELD=VALUE")
    return parsed.config


def _check_fields(words: Sequence[str], fields: Sequence[str]) -> None:
    """absl's own error for an unknown field is a bare AttributeError."""
    for name in (match[1] for match in map(OVERRIDE.match, words) if match):
        if name not in fields:
            group = name.rpartition(".")[0]
            siblings = [field for field in fields if field.rpartition(".")[0] == group] or fields
            close = nearest(name, fields) or f"; fields are {', '.join(siblings)}"
            raise RequestError(f"unknown config field {name}{close}")


def _fields(config: "ConfigDict", prefix: str = "") -> list[str]:
    """The dotted names of all fields."""
    names = []
    for name, value in config.items(preserve_field_references=True):  # one that is yet to be set has no value
        if not isinstance(name, str):
            raise RequestError(f"config field {prefix}{name!r}: the name of a field is a text")
        names += _fields(value, f"{prefix}{name}.") if hasattr(value, "keys") else [prefix + name]
    return names
