"""model.safetensors: a model's parameters as other libraries read them, its config and its card beside them.

    FOLDER/model.safetensors    the parameters, float32, by the names of model.npz: group/leaf
    FOLDER/config.json          what `config` of model.npz says
    FOLDER/README.md            the model card

The parameters carry a digest of their config, so that none is read with another's. Needs safetensors
(`hrm_jax[safetensors]`), which is imported where a file is read or written.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import files, json_file, model_card
from hrm_jax.artefacts.archive import Arrays
from hrm_jax.artefacts.errors import RequestError, one_line

SUFFIX = ".safetensors"
NEEDED = f"{SUFFIX} needs safetensors: pip install 'hrm_jax[safetensors]'"
CONFIG, CARD = "config.json", "README.md"


def is_meant(path: Path) -> bool:
    """Whether a file of this name is, or is to be, a model.safetensors."""
    return path.suffix.lower() == SUFFIX


def beside(path: Path) -> list[Path]:
    """The files that belong to the parameters in `path`."""
    return [path.with_name(CONFIG), path.with_name(CARD)]


def check_place(path: Path) -> None:
    """Refuse to write where safetensors is missing, or in a folder of something else, or of another model."""
    _library()
    config, card = beside(path)
    taken = [other for other in path.parent.glob("*") if is_meant(other) and other.name != path.name]
    if card.is_file() and not card.read_text("utf-8", "replace").startswith(model_card.BEGIN):
        taken.append(card)
    if config.exists():
        found = json_file.read(config, CONFIG, nan=True)
        if not (isinstance(found, dict) and str(found.get("format", "")).startswith("hrm_jax/")):
            taken.append(config)
    if taken:
        raise RequestError(f"{path}: {taken[0]} is there, too; give the model a folder of its own")


def write(path: Path, config: dict[str, Any], weights: Arrays) -> None:
    """Write parameters {"group/leaf": array} and what stands beside them; the parameters last."""
    check_place(path)
    for place, text in zip(
        beside(path), (json.dumps(config, indent=2) + "\n", model_card.text(config, weights)), strict=True
    ):
        with files.atomic_write(place) as file:
            file.write(text)
    whole = {name: np.asarray(array, order="C") for name, array in weights.items()}
    metadata = {"format": str(config["format"]), "config": _digest(config)}
    with files.atomic_write(path, "wb") as file:
        file.write(_library().numpy.save(whole, metadata))


def read(path: Path, absent: str, wrong: str) -> Arrays:
    """What a model.npz of this model holds: `config`, a text, and arrays params/group/leaf."""
    if not files.exists(path):
        raise RequestError(absent)
    if not path.is_file():
        raise RequestError(f"{wrong} (not a file)")
    library, config = _library(), path.with_name(CONFIG)
    if not files.exists(config):
        raise RequestError(f"{CONFIG}, which says what the model is, is missing beside it")
    described = json_file.read(config, CONFIG, nan=True)
    try:
        with library.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {f"params/{name}": file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors and NumPy have a type of their own for any damage
        raise RequestError(f"{wrong} ({one_line(error)})") from None
    if metadata.get("config", _digest(described)) != _digest(described):
        raise RequestError(f"{CONFIG} beside it is another model's, or was changed")
    return {"config": np.array(json.dumps(described)), **arrays}


def _digest(config: Any) -> str:
    """Of what a config says, however it is written."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise RequestError(NEEDED) from None
    return safetensors
