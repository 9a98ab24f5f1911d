"""The arrays of traces.npz: checked as they are read, and packed for the page's player."""

import base64
import zlib

import numpy as np

HUNDREDTHS = 100  # positions between cells come in hundredths of a cell


def shaped(arrays: dict[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """The array `name`, refused unless it has this shape; None stands for any size."""
    array = arrays[name]
    fits = array.ndim == len(shape) and all(w in (None, s) for w, s in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "biu":
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; whole numbers [{wanted}] are needed")
    return array


def pack(array: np.ndarray, axis: int) -> dict:
    """Shape, axis of time, and base64 of zlib of int16 differences along it (mod 2^16): small ones repeat."""
    bounds = np.iinfo(np.int16)
    whole = np.clip(array.astype(np.int64), bounds.min, bounds.max)
    steps = np.diff(whole, axis=axis, prepend=0).astype(np.uint16).astype("<u2")
    return {
        "shape": list(array.shape),
        "axis": axis,
        "data": base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii"),
    }
