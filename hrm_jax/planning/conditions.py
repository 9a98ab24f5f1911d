"""The map of a world as a denoiser of paths sees it; `hrm_jax.gridworld.raster` is this file's twin.

Shapes: A episodes, N obstacles, P points, R = C cells a side. Cells are unit squares centred at integers.
"""

from collections.abc import Sequence

import numpy as np


def slice_steps(slices: int, points: int) -> list[int]:
    """The steps ahead that the forecast channels show: the middles of `slices` parts of `points` steps."""
    return [(2 * i + 1) * points // (2 * slices) for i in range(slices)]


def draw(
    channels: Sequence[str],
    static: np.ndarray,
    tracks: np.ndarray,
    velocities: np.ndarray,
    radius: float,
    slices: int,
) -> np.ndarray:
    """Images [A, R, C, channels] float32 of maps [A, R, C], in the order of `channels`.

    `tracks` [A, P, N, 2]: where obstacles are, and where they are believed to be at the steps ahead;
    `velocities` [A, N, 2] in cells a step.
    """
    size, now = static.shape[1], tracks[:, 0]

    def ahead() -> np.ndarray:
        steps = slice_steps(slices, tracks.shape[1])
        return np.stack([discs(tracks[:, step], size, radius) for step in steps], axis=-1)

    drawn = {
        "occupancy": lambda: (static | discs(np.floor(now), size, radius))[..., None],
        "static": lambda: static[..., None],
        "obstacles": lambda: discs(now, size, radius)[..., None],
        "velocity": lambda: _velocities(now, velocities, size, radius),
        "forecast": ahead,
    }
    return np.concatenate([drawn[name]().astype(np.float32) for name in channels], axis=-1)


def discs(positions: np.ndarray, size: int, radius: float) -> np.ndarray:
    """Cells [A, size, size] bool whose centre is within `radius` of a position [A, N, 2]."""
    return (_squares(positions, size) <= radius**2).any(axis=1)


def _velocities(positions: np.ndarray, velocities: np.ndarray, size: int, radius: float) -> np.ndarray:
    """The velocity [A, size, size, 2] of the nearest obstacle, the first of equals; 0 beyond `radius`."""
    square = _squares(positions, size)
    nearest = velocities[np.arange(len(square))[:, None, None], square.argmin(axis=1)]
    return np.where(square.min(axis=1)[..., None] <= radius**2, nearest, 0.0)


def _squares(positions: np.ndarray, size: int) -> np.ndarray:
    """Squared distances [A, N, size, size] of all cells from the positions [A, N, 2]."""
    away = np.arange(size) - positions[..., None]  # [A, N, 2, size]
    return away[:, :, 0, :, None] ** 2 + away[:, :, 1, None, :] ** 2
