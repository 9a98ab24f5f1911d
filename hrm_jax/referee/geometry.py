"""Steps, segments and paths among the cells of a map."""

from collections.abc import Sequence

import numpy as np


def step_toward(here: np.ndarray, there: np.ndarray, speed: float) -> np.ndarray:
    """From `here` to `there` [..., 2], or as far on the way as `speed` allows."""
    travel = there - here
    far = np.linalg.norm(travel, axis=-1, keepdims=True)
    return here + travel * np.minimum(1.0, speed / np.maximum(far, speed))


def crosses(static: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Whether segments from `start` to `end` [A, ..., 2] enter a static cell of [A, R, C] or leave the map.

    Cells are unit squares centred at integers; a corner that is only touched is not entered. Segments may
    be up to 2 cells long along each axis.
    """
    start, end = start + 0.5, end + 0.5  # cell (i, j) is now [i, i + 1) x [j, j + 1)
    travel = end - start
    lines = np.floor(np.minimum(start, end))[..., None] + (1, 2)  # whole numbers that each axis may pass
    with np.errstate(divide="ignore", invalid="ignore"):
        passed = (lines - start[..., None]) / travel[..., None]
    passed = np.where((passed > 0) & (passed < 1), passed, 0.0)
    passed = passed.reshape(*passed.shape[:-2], -1)
    ends = np.zeros((*passed.shape[:-1], 1))
    moments = np.sort(np.concatenate([ends, passed, ends + 1], axis=-1), axis=-1)
    middle = 0.5 * (moments[..., 1:] + moments[..., :-1])  # of the stay in each cell
    stays = np.diff(moments, axis=-1) > 1e-9
    cell = np.floor(start[..., None, :] + middle[..., None] * travel[..., None, :]).astype(np.int64)
    size = np.array(static.shape[1:])
    inside = ((cell >= 0) & (cell < size)).all(axis=-1)
    row, col = np.moveaxis(np.clip(cell, 0, size - 1), -1, 0)
    world = np.arange(len(static)).reshape(-1, *[1] * (row.ndim - 1))
    return (stays & (~inside | static[world, row, col])).any(axis=-1)


def connected(static: np.ndarray, start: Sequence[int], goal: Sequence[int]) -> bool:
    """Whether a 4-connected path of free cells of [R, C] joins two cells (negative: counted from the end).

    `start` is taken to be free.
    """
    rows, cols = static.shape
    # The whole map as one integer, a spare zero column at the right of each row to stop wrapping.
    width = cols + 1
    bits = np.packbits(np.pad(~static, ((0, 0), (0, 1))), bitorder="little")
    free = int.from_bytes(bits.tobytes(), "little")
    first, last = (1 << int(row) % rows * width + int(col) % cols for row, col in (start, goal))
    seen, grown = 0, first
    while grown != seen:
        seen = grown
        grown |= (seen << 1 | seen >> 1 | seen << width | seen >> width) & free
    return bool(seen & last)
