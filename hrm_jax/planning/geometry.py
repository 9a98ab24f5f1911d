"""Distances between points that move in straight lines."""

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
