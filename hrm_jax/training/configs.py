"""Where configs are and how they load: a checkout's configs/, or the copy that an installation carries.

Config files say `from configs import base`; the package `configs` is made here, so that this works from any
folder and without touching `sys.path`. A command line sets fields by ml_collections' flags, with one-line
errors. Nothing here imports jax.
"""

import importlib
import importlib.util
import pathlib
import re
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import hrm_jax
from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError, nearest

if TYPE_CHECKING:
    from ml_collections import ConfigDict

PACKAGE = pathlib.Path(hrm_jax.__file__).resolve().parent
INSTALLED = PACKAGE / "configs"
CONFIGS = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent / "configs"
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
    from ml_collections import ConfigDict

    path, variant = find(name)
    _register()
    spec = importlib.util.spec_from_file_location("experiment", path)
    assert spec and spec.loader
    experiment = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(experiment)
        config = experiment.get_config(variant) if variant else experiment.get_config()
    except RequestError:
        raise
    except (Exception, SystemExit) as error:  # whatever a file does that anybody may write
        raise RequestError(f"--config {name}: {_place(error, str(path))}{error}") from None
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise RequestError(f"--config {name}: get_config must return a ConfigDict; it returns a {kind}")
    return config


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
    _register()
    return importlib.import_module(f"configs.{path.stem}")


def _register() -> None:
    if "configs" not in sys.modules:
        package = ModuleType("configs", "The experiments of hrm_jax.")
        package.__path__ = [str(CONFIGS)]
        sys.modules["configs"] = package


def read(name: str, words: Sequence[str] = ()) -> "ConfigDict":
    """The config `name` (see `find`), locked, with fields as the `words` --config.FIELD=VALUE say.

    A wrong name, field, value or word is a `RequestError`. Flags live for this call: it can be made often.
    """
    from absl import flags
    from ml_collections import config_flags

    config = load(name)
    _check_fields(words, _fields(config.to_dict()))
    argv = ["train", *words]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, "", flag_values=parsed, sys_argv=argv)
    try:
        rest = parsed(argv)[1:]
    except (flags.Error, TypeError, ValueError, KeyError, AttributeError, SyntaxError) as error:
        raise RequestError(str(error)) from None
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


def _fields(config: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all fields."""
    names = []
    for name, value in config.items():
        names += _fields(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return names
