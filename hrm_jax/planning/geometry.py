"""Distances between points that move in straight lines, and ways through a map."""

import numpy as np


def swept_distance(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest distance, in cells, of the origin from the segments `start` to `end` [..., 2].

    Given the difference of two points before and after both moved straight on, it is the smallest
    distance between them on the way.
    """
    travel = end - start
    along = np.einsum("...i,...i->...", travel, travel)
    toward = -np.einsum("...i,...i->...", start, travel)
    fraction = np.clip(toward / np.where(along > 0, along, 1.0), 0.0, 1.0)
    nearest = start + fraction[..., None] * travel
    return np.sqrt(np.einsum("...i,...i->...", nearest, nearest))


def connected(static: np.ndarray) -> bool:
    """Whether a 4-connected path of free cells joins the first and the last cell of [R, C]."""
    rows, cols = static.shape
    # The whole map as one integer, a spare zero column at the right of each row to stop wrapping.
    width = cols + 1
    free = sum(1 << (r * width + c) for r, c in np.argwhere(~static).tolist())
    goal = 1 << ((rows - 1) * width + cols - 1)
    seen, grown = 0, 1
    while grown != seen:
        seen = grown
        grown |= (seen << 1 | seen >> 1 | seen << width | seen >> width) & free
    return bool(seen & goal)
