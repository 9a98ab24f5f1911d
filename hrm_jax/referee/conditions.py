"""The map of a world as a denoiser of paths sees it; `hrm_jax.gridworld.raster` is this file's twin.

Shapes: A episodes, N obstacles, P points, R = C cells a side. Cells are unit squares centred at integers.
"""

from collections.abc import Sequence

import numpy as np

OFFSETS = 1.4 * (np.arange(17) - 8)  # cells across a line at which its corridor is looked at


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


def axes(line):
    """Unit vectors [A, 2, 2] along and across lines [A, P, 2] from their first to their last points.

    For the arrays of NumPy and of jax.
    """
    xp = line.__array_namespace__()
    travel = line[:, -1] - line[:, 0]
    length = xp.sqrt(xp.sum(travel * travel, axis=-1, keepdims=True))
    along = xp.where(length > 0, travel / xp.where(length > 0, length, 1), xp.asarray((0.0, 1.0)))
    return xp.stack([along, xp.stack([-along[:, 1], along[:, 0]], axis=-1)], axis=1)


def corridor(
    channels: Sequence[str],
    static: np.ndarray,
    tracks: np.ndarray,
    velocities: np.ndarray,
    line: np.ndarray,
    radius: float,
) -> np.ndarray:
    """What stands beside each point of lines [A, P, 2] when it is passed: [A, P, features] float32.

    At each of OFFSETS across the line: 1 at static cells and beyond the maps [A, R, C]; how much of an
    obstacle of `tracks` [A, P, N, 2] is there at the point's time; with "velocity", times its velocity
    ([A, N, 2]) along and across.
    """
    along, across = axes(line).swapaxes(0, 1)[:, :, None, None]  # each [A, 1, 1, 2]
    place = line[:, :, None] + OFFSETS[:, None] * across  # [A, P, K, 2]
    cell, last = np.rint(place).astype(np.int64), static.shape[1] - 1
    outside = ((cell < 0) | (cell > last)).any(axis=-1)
    row, col = np.moveaxis(np.clip(cell, 0, last), -1, 0)
    worlds = np.arange(len(line))[:, None, None]
    away = place[:, :, :, None] - tracks[:, :, None]
    square = (away**2).sum(axis=-1)  # [A, P, K, N]
    there = np.clip(radius + 1 - np.sqrt(square.min(axis=-1)), 0, 1)
    seen = [outside | static[worlds, row, col], there]
    if "velocity" in channels:
        nearest = velocities[worlds, square.argmin(axis=-1)]
        seen += [there * (nearest * axis).sum(axis=-1) for axis in (along, across)]
    return np.concatenate(seen, axis=-1).astype(np.float32)


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
