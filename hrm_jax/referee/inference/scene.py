"""What a predictor sees, in NumPy: the twin of `hrm_jax.models.predictors.scene`, where the reasons are.

Shapes: G groups (worlds), N obstacles, T time, R rows, C columns, F features, D width. Positions and
displacements are over size, float32. Every function computes one time step and keeps the axes before G.
"""

from typing import Any, NamedTuple

import numpy as np

Weights = dict[str, np.ndarray]
NEAR_WALL, BEYOND, FAR = np.float32(3), np.float32(0.01), np.float32(10)  # cells


class Context(NamedTuple):
    """What a predictor sees in addition to the positions [G, N, T, 2]."""

    observed: np.ndarray  # [G, N, T] float32: 1 observed, 0 filled in
    agent: np.ndarray  # [G, T, 2] float32 over size
    static: np.ndarray  # [G, R, C] float32: 1 at static cells


class Seen(NamedTuple):
    """A context as the features read it: at one time step, or at all with T in front."""

    observed: np.ndarray  # [(T), G, N]
    agent: np.ndarray  # [(T), G, 2]
    occupied: np.ndarray  # [G, R + 2, C + 2]: 1 at static cells and on a ring around the grid


def arrange(context: Context | None) -> Seen | None:
    """Time in front, a ring around the grid."""
    if context is None:
        return None
    occupied = np.pad(context.static, ((0, 0), (1, 1), (1, 1)), constant_values=1)
    return Seen(np.moveaxis(context.observed, -1, 0), np.moveaxis(context.agent, 1, 0), occupied)


def afterwards(seen: Seen | None) -> Seen | None:
    """The scene of a step after the history: nothing observed, the agent where it last was."""
    if seen is None:
        return None
    return Seen(np.zeros_like(seen.observed[-1]), seen.agent[-1], seen.occupied)


def moves(positions: np.ndarray) -> np.ndarray:
    """Displacements [T, ..., 2] since the step before; the oldest step repeats the one that follows."""
    moved = positions[1:] - positions[:-1]
    return np.concatenate([moved[:1], moved]) if len(moved) else np.zeros_like(positions)


def features(config: dict[str, Any], now: np.ndarray, moved: np.ndarray, seen: Seen | None) -> np.ndarray:
    """Positions and displacements since the step before [..., 2] to [..., F]."""
    if config["features"] == "positions":
        return now
    size = np.float32(config["size"])
    motion = [2 * now - 1, moved * size]
    if config["features"] == "motion":
        return np.concatenate(motion, axis=-1)
    cells = now * size
    walls = [np.clip(d, 0, NEAR_WALL) / NEAR_WALL for d in (cells, size - BEYOND - cells)]
    parts = [*motion, seen.observed[..., None], *walls]
    if config["agent"]:
        parts.append(2 * (seen.agent[..., None, :] - now))
    if config["patch"]:
        parts += [cells - np.round(cells), _patch(cells, seen.occupied, config["patch"])]
    return np.concatenate(parts, axis=-1)


def _patch(cells: np.ndarray, occupied: np.ndarray, side: int) -> np.ndarray:
    """Occupancy around the nearest cell, row-major: [..., G, N, 2] to [..., G, N, side²]."""
    groups, rows, columns = occupied.shape
    around = np.arange(side) - side // 2 + 1  # + 1: the ring
    limit = np.array([rows - 2, columns - 2]) + side
    centre = np.clip(np.nan_to_num(np.round(cells)), -side, limit).astype(np.int64)
    row = np.clip(centre[..., 0, None] + around, 0, rows - 1)
    column = np.clip(centre[..., 1, None] + around, 0, columns - 1)
    row += np.arange(groups)[:, None, None] * rows
    index = row[..., :, None] * columns + column[..., None, :]
    return occupied.reshape(-1)[index.reshape(*index.shape[:-2], side * side)]


def attend_neighbours(
    config: dict[str, Any], w: Weights, x: np.ndarray, now: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """x [..., N, D] plus what every obstacle reads from the others of its world, the near ones first."""
    members, heads, size = x.shape[-2], config["neighbours"], np.float32(config["size"])
    if members == 1:
        return x
    qkv = (x @ w["qkv_kernel"] + w["qkv_bias"]).reshape(*x.shape[:-1], 3, heads, -1)
    q, k, v = (np.swapaxes(qkv[..., part, :, :], -3, -2) for part in range(3))  # [..., heads, N, D_head]
    place, speed = (_relative(a * size) for a in (now, moved))  # [..., 2, N, N]
    scores = q @ np.swapaxes(k, -1, -2) / np.float32(q.shape[-1] ** 0.5)
    square = np.sum(place**2, axis=-3)
    scores -= np.logaddexp(w["sharpness"], np.float32(0))[:, None, None] * square[..., None, :, :]
    scores[..., np.arange(members), np.arange(members)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    read = [np.swapaxes(weights @ v, -3, -2)]
    read += [np.einsum("...hij,...cij->...ihc", weights, relative) for relative in (place, speed)]
    read = np.concatenate([a.reshape(*x.shape[:-1], -1) for a in read], axis=-1)
    return x + (read @ w["out_kernel"] + w["out_bias"])


def _relative(a: np.ndarray) -> np.ndarray:
    """[..., N, 2] to [..., 2, N, N]: of j as seen from i, an absurdly far one cut to FAR."""
    a = np.swapaxes(a, -1, -2)
    return np.clip(a[..., None, :] - a[..., :, None], -FAR, FAR)
