"""A config with the fields that a command line sets: ml_collections flags, with one-line errors."""

import re
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.training import configs

OVERRIDE = re.compile(r"--(?:no)?config\.([\w.]+)")


def read_config(name: str, words: Sequence[str] = ()) -> ConfigDict:
    """The config `name` (see `configs.find`), locked, with fields as the `words` --config.FIELD=VALUE say.

    A wrong name, field, value or word is a `RequestError`. Flags live for this call: it can be made often.
    """
    config = configs.load(name)
    _check_fields(words, config)
    argv = ["train", *words]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, "", flag_values=parsed, sys_argv=argv)
    try:
        rest = parsed(argv)[1:]
    except (flags.Error, TypeError, ValueError, KeyError, AttributeError) as error:
        raise RequestError(str(error)) from None
    if rest:
        raise RequestError(f"unexpected argument {rest[0]!r}: fields are set as --config.FIELD=VALUE")
    return parsed.config


def _check_fields(words: Sequence[str], config: ConfigDict) -> None:
    """absl's own error for an unknown field is a bare AttributeError."""
    fields = _fields(config)
    for word in words:
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
