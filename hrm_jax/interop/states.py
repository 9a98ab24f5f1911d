"""PyTorch state_dicts in files of any kind, as NumPy arrays under the originals' names."""

import math
import pathlib
import re
from typing import Any

import numpy as np

from hrm_jax.artefacts import archive
from hrm_jax.artefacts.errors import RequestError

State = dict[str, np.ndarray]  # a PyTorch state_dict: original names and layouts
# Prefixes, in any order and number: of DataParallel / DDP, of torch.compile, and of a puzzle network, which
# its loss ("model.") and its halting rule ("inner.") wrap.
WRAPPERS = ("module.", "_orig_mod.", "model.", "inner.")
# Buffers of the originals that are no weights: rope's tables, and rows of the batch under way.
BUFFERS = re.compile(r"(.*\.)?(rotary_emb\.(cos|sin)_cached|puzzle_emb\.local_(weights|ids))")


def read_state(path: pathlib.Path) -> tuple[State, dict[str, Any]]:
    """The `state_dict` in a .pt, .safetensors or .npz file as float32 NumPy, and a golden file's config/*."""
    if not path.is_file():
        raise RequestError(f"{path}: no such file")
    if path.suffix not in READERS:
        raise RequestError(f'{path}: suffix "{path.suffix}"; allowed are {", ".join(filter(None, READERS))}')
    arrays = READERS[path.suffix](path)
    config: dict[str, Any] = {}
    for key, value in under(arrays, "config/").items():
        if value.size != 1:
            raise RequestError(f"{path}: config/{key} is {list(value.shape)}; one value is needed")
        config[key] = value.item()
    if "in/inputs" in arrays:  # cells of a puzzle
        config["sequence"] = arrays["in/inputs"].shape[-1]
    if {"names", "shapes", "seed"} <= arrays.keys():
        arrays = _redrawn(path, arrays)
    arrays = under(arrays, "state/") or {k: a for k, a in arrays.items() if not k.startswith("config/")}
    state: State = {}
    for key, array in arrays.items():
        if not BUFFERS.fullmatch(key):
            if (name := unwrapped(key)) in state:
                raise RequestError(f"{path}: holds {name} twice, as {key} and in another wrapper")
            state[name] = _float32(path, key, array)
    return state, config


def under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}


def _float32(path: pathlib.Path, key: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.dtype("V2"):  # how NumPy writes bfloat16, which it does not know
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":  # ml_dtypes, if loaded, has it
        raise RequestError(f"{path}: {key} is {array.dtype}; parameters are floats")
    with np.errstate(over="ignore"):  # what becomes infinite is refused with the rest that is not finite
        return np.asarray(array, np.float32)


def _redrawn(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> State:
    """Weights of a golden file that stores only their names, shapes and seed (shared/golden/README.md)."""
    try:
        rng = np.random.default_rng(int(arrays["seed"]))
        shapes = [tuple(map(int, re.findall(r"\d+", str(shape)))) for shape in arrays["shapes"]]
        return {str(name): _draw(rng, str(name), s) for name, s in zip(arrays["names"], shapes, strict=True)}
    except (ValueError, TypeError) as error:
        raise RequestError(f"{path}: names, shapes and seed do not make weights ({error})") from None


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        return (x / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
    return (1 + 0.1 * x if "norm" in name and name.endswith("weight") else 0.1 * x).astype(np.float32)


def unwrapped(key: str) -> str:
    """A parameter's name without the names of what wrapped its network."""
    while key.startswith(WRAPPERS):
        key = key[key.index(".") + 1 :]
    return key


def read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Every array of an .npz file."""
    with archive.reading(path, "no such file", "not a complete .npz") as arrays:
        return arrays


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise RequestError("reading .safetensors needs: pip install safetensors") from None
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise RequestError(f"{path}: not a complete .safetensors ({error})") from None


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise RequestError(
            "reading .pt needs PyTorch: pip install torch, or convert to .safetensors"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several types for damaged and for pickled-code files
        raise RequestError(f"{path}: not a complete PyTorch state_dict ({error})") from None
    for wrapper in ("state_dict", "model_state_dict", "model"):
        content = content.get(wrapper, content) if isinstance(content, dict) else content
    named = isinstance(content, dict) and all(isinstance(key, str) for key in content)
    if not named or not all(map(torch.is_tensor, content.values())):
        raise RequestError(f"{path}: holds no state_dict (a dict of tensors by name)")
    for key, tensor in content.items():
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            raise RequestError(f"{path}: {key} is sparse, quantized or without numbers; parameters are dense")
    plain = {key: tensor.detach() for key, tensor in content.items()}
    return {key: (t.float() if t.is_floating_point() else t).numpy() for key, t in plain.items()}


READERS = {
    ".npz": read_npz,
    ".safetensors": _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
    "": _read_torch,  # HRM-ACT's trainer calls its files step_26041
}
