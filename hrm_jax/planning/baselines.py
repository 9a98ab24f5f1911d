"""Trivial predictors of obstacle motion: what every learned one has to beat.

All have one signature: `history` [E, H, N, 2] of observed positions in cells, oldest first, the
current one last; the result is [E, horizon, N, 2], the first entry one step ahead. `size` is that
of the world, which only `reflection` looks at. The two bounds that are not predictors, the oracle
(the true future) and blind (no obstacles), belong to the episode (`episode.BOUNDS`).
"""

import numpy as np

from hrm_jax.planning.world import bounce

# Noise that the Kalman filter assumes. The worlds here are noise-free: observations are all but
# exact, and what the filter has to forget is the velocity before a bounce.
MEASUREMENT_STD = 0.01  # cells
ACCELERATION_STD = 0.1  # cells per step^2
INITIAL_VELOCITY_STD = 1.0  # cells per step


def constant_velocity(history: np.ndarray, horizon: int, *, size: int) -> np.ndarray:
    """The last displacement, repeated."""
    del size
    return _extrapolate(history[:, -1], _last_displacement(history), horizon)


def reflection(history: np.ndarray, horizon: int, *, size: int) -> np.ndarray:
    """The last displacement under the world's own rule at the walls."""
    positions, velocities = history[:, -1], _last_displacement(history)
    out = np.empty((len(history), horizon, *positions.shape[1:]))
    for step in range(horizon):
        positions, velocities = bounce(positions, velocities, size)
        out[:, step] = positions
    return out


def kalman(history: np.ndarray, horizon: int, *, size: int) -> np.ndarray:
    """Constant-velocity Kalman filter on (position, velocity) over the history, then extrapolation.

    The axes are independent and share their covariance, which depends on no data.
    """
    del size
    transition = np.array([[1.0, 1.0], [0.0, 1.0]])
    # White acceleration, constant within a step: it enters position by 1/2 and velocity by 1.
    process = ACCELERATION_STD**2 * np.outer([0.5, 1.0], [0.5, 1.0])
    covariance = np.diag([MEASUREMENT_STD**2, INITIAL_VELOCITY_STD**2])
    position, velocity = history[:, 0], np.zeros_like(history[:, 0])
    for observed in np.moveaxis(history[:, 1:], 1, 0):
        covariance = transition @ covariance @ transition.T + process
        gain = covariance[:, 0] / (covariance[0, 0] + MEASUREMENT_STD**2)
        innovation = observed - (position + velocity)
        position = position + velocity + gain[0] * innovation
        velocity = velocity + gain[1] * innovation
        covariance = covariance - np.outer(gain, covariance[0])
    return _extrapolate(position, velocity, horizon)


def frozen(history: np.ndarray, horizon: int, *, size: int) -> np.ndarray:
    """Every obstacle stays where it is."""
    del size
    return np.repeat(history[:, -1:], horizon, axis=1)


def _last_displacement(history: np.ndarray) -> np.ndarray:
    return history[:, -1] - history[:, -2]


def _extrapolate(position: np.ndarray, velocity: np.ndarray, horizon: int) -> np.ndarray:
    ahead = np.arange(1, horizon + 1)[:, None, None]
    return position[:, None] + ahead * velocity[:, None]


BASELINES = {
    "constant_velocity": constant_velocity,
    "reflection": reflection,
    "kalman": kalman,
    "frozen": frozen,
}
