"""Arrays that a user hands over, taken for real numbers only where they are."""

from typing import Any

import numpy as np


def real(given: Any, kinds: str = "fiu") -> np.ndarray | None:
    """`given` as float64; None where it is no array of real numbers: texts, complex ones, masked, ragged.

    `kinds`: of NumPy's data types, those that will do. A tensor of PyTorch may be on a device, or in a graph.
    """
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    try:
        array = np.asarray(given)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        return None
    if array.dtype.kind not in kinds or np.ma.is_masked(given):
        return None
    return np.asarray(array, np.float64, order="C")
