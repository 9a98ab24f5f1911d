"""Trivial predictors of obstacle motion: what every learned one has to beat.

All have one signature: an `Observation` of A episodes, N obstacles over H steps; the result is
[A, horizon, N, 2], positions in cells, the first entry one step ahead. `world` is the one they are in:
`reflection` uses its size, `kalman` its noise. The two bounds that are not predictors, the oracle (the
true future) and blind (no obstacles), belong to the episode (`episode.BOUNDS`).
"""

import numpy as np

from hrm_jax.referee.dynamics import bounce
from hrm_jax.referee.inference.observation import Observation
from hrm_jax.referee.world import World

# What the Kalman filter assumes. Where observations are exact, what it has to forget is the velocity
# before a bounce.
MEASUREMENT_STD = 0.01  # cells, beside the world's own noise
ACCELERATION_STD = 0.1  # cells per step^2
INITIAL_VELOCITY_STD = 1.0  # cells per step


def constant_velocity(seen: Observation, horizon: int, *, world: World) -> np.ndarray:
    """The last displacement, repeated."""
    del world
    return _extrapolate(seen.history[:, -1], _last_displacement(seen.history), horizon)


def reflection(seen: Observation, horizon: int, *, world: World) -> np.ndarray:
    """The last displacement under the world's own rule at the walls."""
    positions, velocities = seen.history[:, -1], _last_displacement(seen.history)
    out = np.empty((len(positions), horizon, *positions.shape[1:]))
    for step in range(horizon):
        positions, velocities = bounce(positions, velocities, world.size)
        out[:, step] = positions
    return out


def kalman(seen: Observation, horizon: int, *, world: World) -> np.ndarray:
    """Constant-velocity Kalman filter on (position, velocity) over the history, then extrapolation.

    The axes are independent and share their covariance. A step without an observation only predicts.
    """
    variance = MEASUREMENT_STD**2 + world.noise**2
    # White acceleration, constant within a step: it enters position by 1/2 and velocity by 1.
    process = ACCELERATION_STD**2 * np.outer([0.5, 1.0], [0.5, 1.0])
    position, velocity = seen.history[:, 0], np.zeros_like(seen.history[:, 0])
    shape = position.shape[:2]  # covariances are [A, N]: they depend on what was seen
    pp, pv, vv = (np.full(shape, x) for x in (variance, 0.0, INITIAL_VELOCITY_STD**2))
    for step in range(1, seen.history.shape[1]):
        position = position + velocity
        pp, pv, vv = pp + 2 * pv + vv + process[0, 0], pv + vv + process[0, 1], vv + process[1, 1]
        known = seen.observed[:, step]
        gain_p, gain_v = (np.where(known, p / (pp + variance), 0.0) for p in (pp, pv))
        innovation = seen.history[:, step] - position
        position = position + gain_p[..., None] * innovation
        velocity = velocity + gain_v[..., None] * innovation
        pp, pv, vv = pp - gain_p * pp, pv - gain_p * pv, vv - gain_v * pv
    return _extrapolate(position, velocity, horizon)


def frozen(seen: Observation, horizon: int, *, world: World) -> np.ndarray:
    """Every obstacle stays where it is."""
    del world
    return np.repeat(seen.history[:, -1:], horizon, axis=1)


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
