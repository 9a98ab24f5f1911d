"""model.npz: a model's parameters and all that says what they are; its reader and its writer.

A model.safetensors (`artefacts.weights_file`) holds the same, and is read and written here too.

`config` is JSON: {"format", "model": {"name", …}, "constants", "versions", "commit", …}; what else it holds
depends on the task that trained the model. Parameters are arrays `params/group/leaf`. NumPy only.
"""

import dataclasses
import json
import os
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
from msgspec import Meta

from hrm_jax.artefacts import archive, files, json_file, networks, provenance, weights_file
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.artefacts.health import Health
from hrm_jax.artefacts.networks import shapes

FORMAT = "hrm_jax/1"
ENDINGS = (".npz", weights_file.SUFFIX)
Weights = dict[str, np.ndarray]
Steps = Annotated[int, Meta(ge=1, le=10_000)]


class World(TypedDict):
    """Of the world that a model was trained in, what must be known."""

    size: Steps  # cells a side


class Run(TypedDict):
    """Of the config of the run that trained a model, what a report says."""

    seed: NotRequired[int]


class Config(TypedDict):
    """The array `config`. Keys beyond these are free; which of them a network needs, its kind says."""

    model: dict[str, Any]  # checked by `artefacts.networks`
    format: NotRequired[str]
    task: NotRequired[str]
    world: NotRequired[World]
    history: NotRequired[Steps]  # steps that a predictor looks back
    constants: NotRequired[dict[str, float]]
    plan: NotRequired[dict[str, Any]]  # checked by `referee.paths.denoising`
    segments: NotRequired[Steps | None]  # of its training
    step: NotRequired[Annotated[int, Meta(ge=0)] | None]
    kind: NotRequired[str]  # of the puzzles of its training
    health: NotRequired[Health | None]  # of a predictor at its last evaluation, or of a lost training
    held_out: NotRequired[dict[str, float | None]]  # what that evaluation measured
    identifiers: NotRequired[str]  # the digest of what puzzle identifiers stood for in training
    config: NotRequired[Run]


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
    """Write a tree of parameters and its `config` (model, world, history, ...) as a self-describing file.

    What `read` would refuse is refused before anything is written: parameters that are not finite, above all.
    """
    keep(out, {"format": FORMAT, **config, **provenance.stamp()}, flatten(params))


def keep(out: str | os.PathLike, config: dict[str, Any], weights: Weights) -> None:
    """Write what `read` returned of another file, under the same conditions: the ending of `out` says how."""
    checked(config, weights)
    if weights_file.is_meant(Path(out)):
        weights_file.write(Path(out), config, weights)
    else:
        arrays = {f"params/{name}": leaf for name, leaf in weights.items()}
        archive.write(out, {"config": json.dumps(config), **arrays}, np.savez)


def check_writable(out: Path, reads: Sequence[str | os.PathLike | None] = ()) -> None:
    """`files.check_writable` of a model file and of all that is written beside it."""
    if weights_file.is_meant(out):
        weights_file.check_place(out)
        for path in weights_file.beside(out):
            files.check_writable(path, [*reads, out])
    files.check_writable(out, reads)


def within(folder: Path) -> list[Path]:
    """The model files that a folder holds, by the names under which they stand for it."""
    return [path for ending in ENDINGS if (path := folder / f"model{ending}").is_file()]


def located(path: str | os.PathLike) -> Path:
    """The model file that a path names: itself, or the one that a folder holds."""
    folder = Path(path)
    if not (files.exists(folder) and folder.is_dir()):
        return folder
    found = within(folder)
    if len(found) != 1:
        odd = "holds both: name one of them" if found else "holds neither"
        raise RequestError(f"{path}: a folder with model.npz or model.safetensors is needed; it {odd}")
    return found[0]


def read(path: str | os.PathLike, known: Iterable[str]) -> tuple[dict[str, Any], Weights]:
    """Config and parameters {"group/leaf": array} of a model file, `checked`; a bad file is a `RequestError`.

    `path`: a model.npz, a model.safetensors with its config.json beside it, or a folder with one of them.
    `known`: the networks that may be in it.
    """
    absent = "no such file (write one with python -m hrm_jax.export)"
    path = located(path)
    ending, reader = ".npz", archive.read
    if weights_file.is_meant(path):
        ending, reader = weights_file.SUFFIX, weights_file.read
    with archive.reading(path, absent, f"not a complete model{ending}", reader) as arrays:
        config = json_file.parse(str(arrays.pop("config")), "config", nan=True)
        json_file.fit(config, Config, "config of a model.npz")
        name, written = config["model"].get("name"), config.get("format", FORMAT)
        if written != FORMAT:
            raise RequestError(f"format {written!r}; this version reads {FORMAT}: export the model again")
        known = tuple(known)
        if name not in known and config.get("task") in ("puzzle", "lattice"):
            raise RequestError(f"a puzzle model: python -m hrm_jax.solve --data FOLDER --model {path}")
        if name not in known:
            raise RequestError(f'holds a "{name}"; wanted is one of {", ".join(known)}')
        if strange := [key for key in arrays if not key.startswith("params/")]:
            raise RequestError(f'holds "{strange[0]}", which no model.npz has')
        return checked(config, {key.removeprefix("params/"): array for key, array in arrays.items()})


def checked(config: dict[str, Any], params: Weights) -> tuple[dict[str, Any], Weights]:
    """A config, its group `model` complete, and its parameters in float32: what a file may hold, and no more.

    The leaves and their shapes follow from the config alone. Of a network that `artefacts.networks` does not
    know, the parameters must be finite numbers.
    """
    json_file.fit(config, Config, "config of a model.npz")
    name = config["model"].get("name")
    if name not in networks.NETWORKS:
        return config, {leaf: _numbers(leaf, array) for leaf, array in params.items()}
    tasks = next(tasks for kinds, tasks in networks.TASKS if name in kinds)
    if config.get("task", tasks[0]) not in tasks:
        raise RequestError(f'task is "{config["task"]}", but its {name} is trained by {" or ".join(tasks)}')
    kind = networks.config(config["model"], optional=networks.OPTIONAL)
    _check_world(config, kind)
    wanted = networks.NETWORKS[name].shapes(kind)
    for leaf in sorted(wanted.keys() ^ params.keys()):
        odd = "has params/{}, which its config does not know" if leaf in params else "lacks params/{}"
        raise RequestError(odd.format(leaf))
    whole = {leaf: _numbers(leaf, array, wanted[leaf]) for leaf, array in params.items()}
    return config | {"model": {"name": name, **dataclasses.asdict(kind)}}, whole


def _check_world(config: dict[str, Any], kind: Any) -> None:
    """Refuse a predictor or a denoiser of one size of world in another."""
    name = config["model"]["name"]
    needed = ("world", "history") if name in networks.PREDICTORS else ("world",)
    if name in networks.PUZZLES:
        return
    for key in needed:
        if config.get(key) is None:
            raise RequestError(f"incomplete, {key} is missing")
    if config["world"]["size"] != kind.size:
        raise RequestError(f"model.size = {kind.size}, but world.size = {config['world']['size']}")


def _numbers(leaf: str, array: np.ndarray, wanted: tuple[int | None, ...] | None = None) -> np.ndarray:
    """A parameter in float32, refused unless it is of floats, finite, and of the shape that is wanted."""
    if array.dtype.kind != "f" or not (wanted is None or shapes.fits(array.shape, wanted)):
        sizes = "" if wanted is None else " " + str(list(wanted)).replace("None", "any")
        found = f"params/{leaf} is {array.dtype} {list(array.shape)}"
        raise RequestError(f"{found}; its config wants floats{sizes}")
    with np.errstate(over="ignore"):
        array = np.asarray(array, np.float32)
    finite = np.isfinite(array)
    if not finite.all():
        raise RequestError(f"params/{leaf} is not finite: {(~finite).sum():,} of {array.size:,} numbers")
    return array


def named(requests: Iterable[str], reserved: Container[str], built_in: Sequence[str] = ()) -> dict[str, Any]:
    """Models by name, in order, of requests FILE, NAME=FILE or one of `built_in`: their paths, or None.

    A file without a name has that of its stem, model.npz that of its folder, a folder its own. No file takes
    a `reserved` name.
    """
    found: dict[str, Any] = {}
    for request in requests:
        name, separator, file = request.partition("=")
        path: Path | None = files.expanded(file)
        if request in built_in:
            path = None
        elif files.is_meant(request):
            path = located(files.expanded(request))
            name = path.stem if path.stem != "model" else _called(path.parent)
        elif not separator:
            known("model", request, (*built_in, "FILE.npz"))
        if path and (not re.search(json_file.NAME, name) or name in reserved):
            raise RequestError(
                f'--model {request}: "{name}" cannot name a model file; name it with --model NAME=FILE'
            )
        if name in found:
            raise RequestError(f'two models are called "{name}"; name one with --model NAME=FILE')
        found[name] = path and located(path)
    return found


def _called(folder: Path) -> str:
    """The name of a folder as it is given: what a link leads to may be a cache's."""
    folder = folder.absolute()
    return (folder.resolve() if folder.name == ".." else folder).name


def check_constants(config: Mapping[str, Any], constants: Mapping[str, Any]) -> None:
    """Refuse a model trained with other constants than this version's; files without them had today's."""
    for name, value in config.get("constants", {}).items():
        if constants.get(name) != value:
            raise RequestError(
                f"model file that was trained with {name} = {value}; this version has {constants.get(name)}"
            )
