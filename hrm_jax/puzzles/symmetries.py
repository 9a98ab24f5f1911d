"""The eight symmetries of the square, numbered as in the original's data sets."""

import numpy as np

COUNT = 8
INVERSE = (0, 3, 2, 1, 4, 5, 6, 7)  # the symmetry that undoes one
TRANSPOSING = (1, 3, 6, 7)  # those that exchange height and width


def apply(grids: np.ndarray, which: int) -> np.ndarray:
    """Grids [..., H, W] under one symmetry, as a view.

    0 identity, 1 to 3 quarter turns counter-clockwise, 4 left-right flip, 5 up-down flip, 6 transposition,
    7 transposition at the other diagonal.
    """
    if which < 4:
        return np.rot90(grids, which, axes=(-2, -1))
    if which < 6:
        return np.flip(grids, axis=-1 if which == 4 else -2)
    swapped = np.swapaxes(grids, -2, -1)
    return swapped if which == 6 else np.flip(swapped, axis=(-2, -1))
