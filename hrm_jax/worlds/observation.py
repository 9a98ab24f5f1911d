"""What a predictor may look at."""

from typing import NamedTuple

from hrm_jax.worlds.arrays import Array


class Observation(NamedTuple):
    """The scene so far. Positions are in cells; A episodes, H steps (the current one last), N obstacles.

    The referee's are float64 arrays of NumPy, the jitted loop's are jax's.
    """

    history: Array  # [A, H, N, 2], oldest first; gaps filled by `motion.fill`
    observed: Array  # bool [A, H, N]; False: filled in
    agent: Array  # [A, H, 2]
    static: Array  # bool [A, R, C]
