"""The command line of `hrm_jax.train`: ml_collections flags, with one-line errors."""

import importlib.util
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from hrm_jax.artefacts.errors import RequestError, nearest

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERRIDE = re.compile(r"--(?:no)?config\.([\w.]+)")


def parse(argv: Sequence[str]) -> None:
    """Parse `argv` into absl's FLAGS; a wrong flag, config file, field or value is a `RequestError`."""
    # Config files import their base: the checkout's root must be importable from every folder.
    sys.path.insert(0, str(ROOT))
    argv = _resolve_config(list(argv))
    path = _config_value(argv)
    if path is not None:
        _check_fields(argv, load(path))
    try:
        rest = flags.FLAGS(argv)[1:]
    except (flags.Error, TypeError, ValueError, KeyError, AttributeError) as error:
        raise RequestError(str(error)) from None
    if rest:
        raise RequestError(f"unexpected argument {rest[0]!r}: fields are set as --config.FIELD=VALUE")


def load(path: str) -> ConfigDict:
    """The config of "file.py" or "file.py:variant"."""
    file, _, variant = path.partition(":")
    spec = importlib.util.spec_from_file_location("experiment", file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module.get_config(variant) if variant else module.get_config()
    except (ValueError, TypeError) as error:
        raise RequestError(f"--config {path}: {error}") from None


def _resolve_config(argv: list[str]) -> list[str]:
    """Make `--config NAME` a path: as given, in the checkout, or by its bare name in configs/."""
    for i, word in enumerate(argv):
        if word in ("--config", "-config") and i + 1 < len(argv):
            argv[i : i + 2] = [f"--config={_find(argv[i + 1])}"]
            return argv
        if word.startswith("--config="):
            argv[i] = f"--config={_find(word.removeprefix('--config='))}"
            return argv
    return argv


def _find(name: str) -> str:
    file, colon, variant = name.partition(":")
    for candidate in (pathlib.Path(file), ROOT / file, ROOT / "configs" / f"{file}.py"):
        if candidate.is_file():
            return f"{candidate}{colon}{variant}"
    known = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem != "base")
    stem = pathlib.Path(file).stem
    raise RequestError(
        f"--config {name}: no such file; configs/ has {', '.join(known)}{nearest(stem, known)}"
    )


def _config_value(argv: list[str]) -> str | None:
    return next((w.removeprefix("--config=") for w in argv if w.startswith("--config=")), None)


def _check_fields(argv: list[str], config: ConfigDict) -> None:
    """absl's own error for an unknown field is a bare AttributeError."""
    fields = _fields(config)
    for word in argv:
        match = OVERRIDE.match(word)
        if match and match[1] not in fields:
            raise RequestError(
                f"unknown config field {match[1]}{nearest(match[1], fields) or _siblings(match[1], fields)}"
            )


def _siblings(name: str, fields: dict[str, Any]) -> str:
    group = name.rpartition(".")[0]
    names = [f for f in fields if f.rpartition(".")[0] == group] or list(fields)
    return f"; fields are {', '.join(names)}"


def _fields(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    fields = {}
    for name, value in config.items():
        fields |= (
            _fields(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else {prefix + name: value}
        )
    return fields
