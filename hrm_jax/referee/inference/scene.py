"""What a predictor sees, in NumPy: the axes of its context, and attention to the neighbours.

Shapes: G groups (worlds), N obstacles, T time, R rows, C columns, D width. Positions and displacements are
over size, float32. The features themselves: `hrm_jax.worlds.features`.
"""

from typing import Any

import numpy as np

from hrm_jax.worlds.features import Context, Seen, relative

Weights = dict[str, np.ndarray]


def arrange(context: Context | None) -> Seen | None:
    """Time in front, a ring around the grid."""
    if context is None:
        return None
    occupied = np.pad(context.static, ((0, 0), (1, 1), (1, 1)), constant_values=1)
    return Seen(np.moveaxis(context.observed, -1, 0), np.moveaxis(context.agent, 1, 0), occupied)


def attend_neighbours(
    config: dict[str, Any], w: Weights, x: np.ndarray, now: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """x [..., N, D] plus what every obstacle reads from the others of its world, the near ones first."""
    members, heads, size = x.shape[-2], config["neighbours"], np.float32(config["size"])
    if members == 1:
        return x
    qkv = (x @ w["qkv_kernel"] + w["qkv_bias"]).reshape(*x.shape[:-1], 3, heads, -1)
    q, k, v = (np.swapaxes(qkv[..., part, :, :], -3, -2) for part in range(3))  # [..., heads, N, D_head]
    place, speed = (relative(a * size) for a in (now, moved))  # [..., 2, N, N]
    scores = q @ np.swapaxes(k, -1, -2) / np.float32(q.shape[-1] ** 0.5)
    square = np.sum(place**2, axis=-3)
    scores -= np.logaddexp(w["sharpness"], np.float32(0))[:, None, None] * square[..., None, :, :]
    scores[..., np.arange(members), np.arange(members)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    read = [np.swapaxes(weights @ v, -3, -2)]
    read += [np.einsum("...hij,...cij->...ihc", weights, away) for away in (place, speed)]
    read = np.concatenate([a.reshape(*x.shape[:-1], -1) for a in read], axis=-1)
    return x + (read @ w["out_kernel"] + w["out_bias"])
