"""The trivial predictors under jit: the twins of `hrm_jax.referee.baselines`.

All have one signature: what was `Seen` in E episodes of N obstacles; the result is [E, horizon, N, 2],
positions in cells in the dtype of the history, the first entry one step ahead. `config` is their world.
"""

import jax
import jax.numpy as jnp

from hrm_jax.gridworld import dynamics
from hrm_jax.gridworld.geometry import rounded
from hrm_jax.gridworld.types import Seen, WorldConfig

# What the Kalman filter assumes; why is said in planning.baselines.
MEASUREMENT_STD = 0.01  # cells, beside the world's own noise
ACCELERATION_STD = 0.1  # cells per step^2
INITIAL_VELOCITY_STD = 1.0  # cells per step


def constant_velocity(seen: Seen, horizon: int, *, config: WorldConfig) -> jax.Array:
    """The last displacement, repeated."""
    del config
    return _extrapolate(seen.history[:, -1], _last_displacement(seen.history), horizon)


def reflection(seen: Seen, horizon: int, *, config: WorldConfig) -> jax.Array:
    """The last displacement under the world's own rule at the walls."""

    def body(state, _):
        state = dynamics.bounce(*state, config.size)
        return state, state[0]

    now = seen.history[:, -1], _last_displacement(seen.history)
    return jnp.moveaxis(jax.lax.scan(body, now, length=horizon)[1], 0, 1)


def kalman(seen: Seen, horizon: int, *, config: WorldConfig) -> jax.Array:
    """Constant-velocity Kalman filter on (position, velocity) over the history, then extrapolation."""
    variance = MEASUREMENT_STD**2 + config.noise**2
    # White acceleration, constant within a step: it enters position by 1/2 and velocity by 1.
    q_pp, q_pv, q_vv = (ACCELERATION_STD**2 * share for share in (0.25, 0.5, 1.0))

    def correct(state, inputs):
        (position, velocity, pp, pv, vv), (noted, known) = state, inputs
        position = position + velocity
        pp, pv, vv = pp + 2 * pv + vv + q_pp, pv + vv + q_pv, vv + q_vv
        gain_p, gain_v = (jnp.where(known, p / (pp + variance), 0) for p in (pp, pv))
        innovation = noted - position
        position = position + gain_p[..., None] * innovation
        velocity = velocity + gain_v[..., None] * innovation
        return (position, velocity, pp - gain_p * pp, pv - gain_p * pv, vv - gain_v * pv), None

    first = seen.history[:, 0]
    covariance = (jnp.full(first.shape[:2], x, first.dtype) for x in (variance, 0, INITIAL_VELOCITY_STD**2))
    steps = (jnp.moveaxis(a[:, 1:], 1, 0) for a in (seen.history, seen.observed))
    state = jax.lax.scan(correct, (first, jnp.zeros_like(first), *covariance), tuple(steps))[0]
    return _extrapolate(*state[:2], horizon)


def frozen(seen: Seen, horizon: int, *, config: WorldConfig) -> jax.Array:
    """Every obstacle stays where it is."""
    del config
    return jnp.repeat(seen.history[:, -1:], horizon, axis=1)


def _last_displacement(history: jax.Array) -> jax.Array:
    return history[:, -1] - history[:, -2]


def _extrapolate(position: jax.Array, velocity: jax.Array, horizon: int) -> jax.Array:
    ahead = jnp.arange(1, horizon + 1, dtype=velocity.dtype)[:, None, None]
    return position[:, None] + rounded(ahead * velocity[:, None])


BASELINES = {
    "constant_velocity": constant_velocity,
    "reflection": reflection,
    "kalman": kalman,
    "frozen": frozen,
}
