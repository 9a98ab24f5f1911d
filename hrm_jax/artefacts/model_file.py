"""model.npz: a model's parameters and all that says what they are; its reader and its writer.

`config` is JSON: {"format", "model": {"name", …}, "constants", "versions", "commit", …}; what else it holds
depends on the task that trained the model. Parameters are arrays `params/group/leaf`. NumPy only.
"""

import json
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import archive, files, provenance
from hrm_jax.artefacts.errors import RequestError, known

FORMAT = "hrm_jax/1"
Weights = dict[str, np.ndarray]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Weights:
    """A nested dict of arrays as {"group/leaf": array}."""
    flat: Weights = {}
    for name, value in tree.items():
        path = prefix + name
        flat |= flatten(value, f"{path}/") if isinstance(value, Mapping) else {path: np.asarray(value)}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *groups, leaf = path.split("/")
        node = tree
        for name in groups:
            node = node.setdefault(name, {})
        node[leaf] = value
    return tree


def write(out: str | os.PathLike, params: Mapping[str, Any], config: dict[str, Any]) -> None:
    """Write a tree of parameters and its `config` (model, world, history, ...) as a self-describing file."""
    config = {"format": FORMAT, **config, **provenance.stamp()}
    arrays = {f"params/{name}": leaf for name, leaf in flatten(params).items()}
    archive.write(out, {"config": json.dumps(config), **arrays}, np.savez)


def read(path: str | os.PathLike, known: Iterable[str]) -> tuple[dict[str, Any], Weights]:
    """Config and parameters {"group/leaf": array} of a model file; a bad file is one `RequestError`.

    `known`: the networks that may be in it.
    """
    absent = "no such file (write one with python -m hrm_jax.export)"
    with archive.reading(path, absent, "not a complete model.npz") as arrays:
        config = json.loads(str(arrays.pop("config")))
        name, written = config["model"]["name"], config.get("format", FORMAT)
        if written != FORMAT:
            raise RequestError(f"format {written!r}; this version reads {FORMAT}: export the model again")
        known = tuple(known)
        if name not in known and config.get("task") == "puzzle":
            raise RequestError(f"a puzzle model: python -m hrm_jax.solve --data FOLDER --model {path}")
        if name not in known:
            raise RequestError(f'holds a "{name}"; wanted is one of {", ".join(known)}')
    params = {key.removeprefix("params/"): a for key, a in arrays.items() if key.startswith("params/")}
    return config, params


def named(requests: Iterable[str], reserved: Container[str], built_in: Sequence[str] = ()) -> dict[str, Any]:
    """Models by name, in order, of requests FILE, NAME=FILE or one of `built_in`: their paths, or None.

    A file without a name has that of its stem, model.npz that of its folder. No file takes a `reserved` name.
    """
    found: dict[str, Any] = {}
    for request in requests:
        name, separator, file = request.partition("=")
        path: Path | None = Path(file)
        if request in built_in:
            path = None
        elif files.is_meant(request):
            path = Path(request)
            name = path.stem if path.stem != "model" else path.resolve().parent.name
        elif not separator:
            known("model", request, (*built_in, "FILE.npz"))
        if path and (not name or name in reserved):
            raise RequestError(
                f'--model {request}: "{name}" cannot name a model file; name it with --model NAME=FILE'
            )
        if name in found:
            raise RequestError(f'two models are called "{name}"; name one with --model NAME=FILE')
        found[name] = path
    return found


def check_constants(config: Mapping[str, Any], constants: Mapping[str, Any]) -> None:
    """Refuse a model trained with other constants than this version's; files without them had today's."""
    for name, value in config.get("constants", {}).items():
        if constants.get(name) != value:
            raise RequestError(
                f"model file that was trained with {name} = {value}; this version has {constants.get(name)}"
            )
