"""What a predictor may look at, and how gaps in it are filled.

Shapes: A episodes, H steps of history (the current one last), N obstacles, R rows, C columns.
"""

from typing import NamedTuple

import numpy as np


class Observation(NamedTuple):
    """The scene so far. Positions are (row, column) in cells."""

    history: np.ndarray  # float64 [A, H, N, 2], oldest first; gaps filled by `fill`
    observed: np.ndarray  # bool [A, H, N]; False: filled in
    agent: np.ndarray  # float64 [A, H, 2]
    static: np.ndarray  # bool [A, R, C]


def fill(history: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Replace what was not observed by going straight on; before the first sight, by that first sight."""
    if observed.all():
        return history
    first = observed.argmax(axis=1)  # [A, N]; 0 as well where nothing was ever seen
    filled = np.empty_like(history)
    last = before = np.take_along_axis(history, first[:, None, :, None], axis=1)[:, 0]
    for step, (seen, now) in enumerate(zip(observed.swapaxes(0, 1), history.swapaxes(0, 1), strict=True)):
        early = (step < first)[..., None]
        guess = np.where(early, last, 2 * last - before)
        before, last = last, np.where(seen[..., None], now, guess)
        filled[:, step] = last
    return filled
