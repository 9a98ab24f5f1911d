"""The closed loop of `hrm_jax.evaluate --backend jit`: simulator, predictor and planner as one function.

Simulator and planner run in float64, rounded as NumPy rounds: the trivial predictors and the bounds get the
NumPy referee's outcomes to the episode. A model's forward pass stays float32, and may differ in a few.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld import baselines, closed_loop
from hrm_jax.gridworld.types import Motion, Obstacles, WorldConfig
from hrm_jax.judging.backend import JaxPredictor
from hrm_jax.referee.cells import episode
from hrm_jax.referee.cells.protocols import Protocol
from hrm_jax.referee.prediction_errors import ErrorCounts
from hrm_jax.referee.world import Scenarios, World
from hrm_jax.tasks.forecast import predictor

BLOCK = 1000  # episodes in one call, which ends with the last of them
LETTERS = {
    closed_loop.COLLISION: episode.COLLISION,
    closed_loop.SUCCESS: episode.SUCCESS,
    closed_loop.TIMEOUT: episode.TIMEOUT,
}

try:
    enable_x64 = jax.enable_x64
except AttributeError:  # jax before 0.8
    from jax.experimental import enable_x64


def run(
    scenarios: Scenarios,
    protocol: Protocol,
    rival: JaxPredictor | str,
    progress: Callable[[int, int], None] | None = None,
) -> episode.Result:
    """Outcomes of a model, or of the predictor of that name; why episodes failed is not counted here."""
    check(protocol)
    config = lift_world(scenarios.world)
    rules = closed_loop.Rules(
        protocol.horizon, protocol.planning_radius, protocol.collision_radius, protocol.limit(20) // 20
    )
    predict = _predict(rival, config)
    loop = jax.jit(lambda static, obstacles: closed_loop.play(config, rules, static, obstacles, predict))
    total, outcomes = len(scenarios), []
    size = min(BLOCK, total)
    with enable_x64(True):
        for first in range(0, total, size):
            # The last block begins earlier, so that all have one shape and one program.
            start = min(first, total - size)
            block = scenarios.select(slice(start, start + size))
            codes = np.asarray(loop(jnp.asarray(block.static), lift(block, config)))
            outcomes += [LETTERS[code] for code in codes[first - start :].tolist()]
            if progress:
                progress(len(outcomes), total)
    return episode.Result("".join(outcomes), {}, ErrorCounts(protocol.horizon))


def check(protocol: Protocol) -> None:
    """Refuse a protocol whose rules the jitted loop does not know."""
    if not protocol.swept:
        raise RequestError(f'--backend jit plays by the rules of "standard", not of "{protocol.name}"')


def _predict(rival: JaxPredictor | str, config: WorldConfig) -> closed_loop.Predict | str:
    if isinstance(rival, JaxPredictor):
        return predictor(rival.model, rival.tree, rival.history)
    if rival in baselines.BASELINES:
        return functools.partial(baselines.BASELINES[rival], config=config)
    return rival


def lift_world(world: World) -> WorldConfig:
    """The world of scenarios as the simulator knows it."""
    names = ("size", "n_static", "n_obstacles", "speed", "history", "kinds", "interacting", "noise", "drop")
    return WorldConfig(**{name: getattr(world, name) for name in names})


def lift(scenarios: Scenarios, config: WorldConfig) -> Obstacles:
    """The obstacles of E scenarios as the simulator holds them, leading axis E, in float64."""
    motion = None
    if not config.simple:
        motion = Motion(
            kind=jnp.asarray(scenarios.kind, jnp.int32),
            anchors=jnp.asarray(scenarios.anchors),
            turn=jnp.asarray(scenarios.turn),
            seed=jnp.asarray(scenarios.seed),
            waypoint=jnp.ones(scenarios.kind.shape, jnp.int32),
        )
    return Obstacles(jnp.asarray(scenarios.positions), jnp.asarray(scenarios.velocities), motion)
