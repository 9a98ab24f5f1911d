"""Arrays packed for the page's player."""

import base64
import zlib

import numpy as np


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
