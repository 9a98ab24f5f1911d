"""Trivial predictors of obstacle motion: what every learned one has to beat; for NumPy and jax alike.

All have one signature: an `Observation` of A episodes, N obstacles over H steps; the result is
[A, horizon, N, 2], positions in cells in the dtype of the history, the first entry one step ahead. `world` is
the one observed: `reflection` uses its size, `kalman` its noise. `scan` is the loop over time
(`worlds.arrays`). The two bounds that are no predictors, the oracle (the true future) and blind (no
obstacles), belong to the closed loops (`rules.BOUNDS`).
"""

from hrm_jax.worlds.arrays import Array, Scan, rounded, scan
from hrm_jax.worlds.features import Observation
from hrm_jax.worlds.motion import bounce
from hrm_jax.worlds.world import World

# What the Kalman filter assumes. Where observations are exact, what it has to forget is the velocity
# before a bounce.
MEASUREMENT_STD = 0.01  # cells, added to the world's own noise
ACCELERATION_STD = 0.1  # cells per step^2
INITIAL_VELOCITY_STD = 1.0  # cells per step

LEAST_HISTORY = 2  # observed steps: a displacement


def constant_velocity(seen: Observation, horizon: int, *, world: World, scan: Scan = scan) -> Array:
    """The last displacement, repeated."""
    del world, scan
    return _extrapolate(seen.history[:, -1], _last_displacement(seen.history), horizon)


def reflection(seen: Observation, horizon: int, *, world: World, scan: Scan = scan) -> Array:
    """The last displacement under the world's own rule at the walls."""
    walls = seen.history.__array_namespace__().asarray(world.shape) if world.shape else world.size

    def body(state, _):
        state = bounce(*state, walls)
        return state, state[0]

    now = seen.history[:, -1], _last_displacement(seen.history)
    return scan(body, now, length=horizon)[1].swapaxes(0, 1)


def kalman(seen: Observation, horizon: int, *, world: World, scan: Scan = scan) -> Array:
    """Constant-velocity Kalman filter on (position, velocity) over the history, then extrapolation.

    The axes are independent and share their covariance. A step without an observation only predicts.
    """
    xp = seen.history.__array_namespace__()
    variance = MEASUREMENT_STD**2 + world.noise**2
    # White acceleration, constant within a step: it enters position by 1/2 and velocity by 1.
    q_pp, q_pv, q_vv = (ACCELERATION_STD**2 * share for share in (0.25, 0.5, 1.0))

    def correct(state, now):
        (position, velocity, pp, pv, vv), (noted, known) = state, now
        position = position + velocity
        # Rounded as well: a compiler that may add the constants first, here and below, does.
        pp, pv, vv = rounded(pp + 2 * pv + vv + q_pp), pv + vv + q_pv, vv + q_vv
        gain_p, gain_v = (xp.where(known, p / (pp + variance), 0.0) for p in (pp, pv))
        innovation = noted - position
        position = position + rounded(gain_p[..., None] * innovation)
        velocity = velocity + rounded(gain_v[..., None] * innovation)
        pp, pv, vv = pp - rounded(gain_p * pp), pv - rounded(gain_p * pv), vv - rounded(gain_v * pv)
        return (position, velocity, pp, pv, vv), None

    first = seen.history[:, 0]
    # Covariances are [A, N]: they depend on what was observed.
    covariance = (xp.full(first.shape[:2], x, first.dtype) for x in (variance, 0, INITIAL_VELOCITY_STD**2))
    steps = tuple(a[:, 1:].swapaxes(0, 1) for a in (seen.history, seen.observed))
    (position, velocity, *_), _ = scan(correct, (first, xp.zeros_like(first), *covariance), steps)
    return _extrapolate(position, velocity, horizon)


def frozen(seen: Observation, horizon: int, *, world: World, scan: Scan = scan) -> Array:
    """Every obstacle stays where it is."""
    del world, scan
    return seen.history.__array_namespace__().repeat(seen.history[:, -1:], horizon, axis=1)


def _last_displacement(history: Array) -> Array:
    return history[:, -1] - history[:, -2]


def _extrapolate(position: Array, velocity: Array, horizon: int) -> Array:
    ahead = position.__array_namespace__().arange(1, horizon + 1, dtype=velocity.dtype)[:, None, None]
    return position[:, None] + rounded(ahead * velocity[:, None])


BASELINES = {
    "constant_velocity": constant_velocity,
    "reflection": reflection,
    "kalman": kalman,
    "frozen": frozen,
}
