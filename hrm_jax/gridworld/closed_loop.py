"""The closed loop under jit: simulator, predictor and planner as one function of many episodes.

Observe, predict, plan, act, judge, as in `hrm_jax.referee.cells.episode`, which stays the authority: the
rules are those of the `standard` protocol. Shapes: E episodes, N obstacles, H history steps, T = horizon.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hrm_jax.gridworld import dynamics, planner
from hrm_jax.worlds import motion
from hrm_jax.worlds.geometry import swept_distance
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.observation import Observation
from hrm_jax.worlds.rules import OUTCOMES, Rules
from hrm_jax.worlds.world import World

COLLISION, SUCCESS, TIMEOUT = range(len(OUTCOMES))  # codes of `rules.OUTCOMES`

Predict = Callable[[Observation, int], jax.Array]  # (seen, T) -> [E, T, N, 2]


class _State(NamedTuple):
    time: jax.Array  # int32
    running: jax.Array  # [E] bool
    outcome: jax.Array  # [E] int32
    agent: jax.Array  # [E, 2] int32
    obstacles: Obstacles
    noted: jax.Array  # [E, H, N, 2] as observed, gaps and all
    observed: jax.Array  # [E, H, N] bool
    agents: jax.Array  # [E, H, 2] int32


def play(
    world: World,
    rules: Rules,
    static: jax.Array,
    obstacles: Obstacles,
    predict: Predict | str,
) -> jax.Array:
    """Outcomes [E] int32 (COLLISION, SUCCESS, TIMEOUT) of the worlds `static` [E, R, C] bool, `obstacles`.

    `predict` is a function or one of BOUNDS. To be jitted by the caller; the arithmetic is in the dtype
    of the obstacles' positions.
    """
    last = world.history + rules.limit(world.size)
    free = planner.free_cells(static)
    goal = jnp.full((len(static), 2), world.size - 1)

    def busy(state):
        return jnp.any(state.running) & (state.time < last)

    def body(state):
        following = _step(world, state.obstacles, state.agent, state.time, static)
        future = _future(world, rules, following, state.agent, state.time, static)
        now, predicted = _predict(world, predict, state, future, static, rules.horizon)
        tracks = jnp.concatenate([now[:, None], predicted], axis=1)
        there = planner.plan(free, state.agent, goal, tracks, rules.planning_radius).cells[:, 1]
        hit = _hit(rules, state.agent, there, state.obstacles.position, following.position)
        outcome = jnp.where(hit, COLLISION, jnp.where(jnp.all(there == goal, axis=1), SUCCESS, TIMEOUT))
        outcome = jnp.where(state.running, outcome, state.outcome)
        state = state._replace(
            running=state.running & (outcome == TIMEOUT), outcome=outcome, agent=there, obstacles=following
        )
        return _look(world, state)

    return jax.lax.while_loop(busy, body, _wait(world, static, obstacles)).outcome


def _step(
    world: World, obstacles: Obstacles, agent: jax.Array, time: jax.Array, static: jax.Array
) -> Obstacles:
    return jax.vmap(lambda o, a, s: motion.step(world, o, a, time, s))(obstacles, agent, static)


def _future(
    world: World,
    rules: Rules,
    following: Obstacles,
    agent: jax.Array,
    time: jax.Array,
    static: jax.Array,
) -> jax.Array:
    """True positions [E, T, N, 2] at `time` + 1 (`following`) and on, should the agent stay where it is."""

    def one(obstacles, at, cells):
        return dynamics.roll(world, obstacles, rules.horizon - 1, at, time + 1, cells)[1]

    later = jax.vmap(one)(following, agent, static)
    return jnp.concatenate([following.position[:, None], later], axis=1)


def _wait(world: World, static: jax.Array, obstacles: Obstacles) -> _State:
    """The state after the history steps, in which the agent watches from the start."""
    n, history = len(static), world.history
    shape = obstacles.position.shape
    state = _State(
        time=jnp.zeros((), jnp.int32),
        running=jnp.ones((n,), bool),
        outcome=jnp.full((n,), TIMEOUT),
        agent=jnp.zeros((n, 2), jnp.int32),
        obstacles=obstacles,
        noted=jnp.zeros((n, history, *shape[1:]), obstacles.position.dtype),
        observed=jnp.zeros((n, history, shape[1]), bool),
        agents=jnp.zeros((n, history, 2), jnp.int32),
    )

    def watch(_, state):
        moved = _step(world, state.obstacles, state.agent, state.time, static)
        return _look(world, state._replace(obstacles=moved))

    return jax.lax.fori_loop(0, history, watch, state)


def _look(world: World, state: _State) -> _State:
    """A step later: what is seen now becomes the newest entry of the history."""
    time = state.time + 1
    position, seen = motion.observe(world, state.obstacles, time)

    def push(old, new):
        return jnp.concatenate([old[:, 1:], new[:, None]], axis=1)

    return state._replace(
        time=time,
        noted=push(state.noted, position),
        observed=push(state.observed, seen),
        agents=push(state.agents, state.agent),
    )


def _predict(
    world: World,
    predict: Predict | str,
    state: _State,
    future: jax.Array,
    static: jax.Array,
    horizon: int,
) -> tuple[jax.Array, jax.Array]:
    """Positions now [E, N, 2] and predicted [E, T, N, 2], by a predictor or one of BOUNDS."""
    if predict == "oracle":
        return state.obstacles.position, future
    if predict == "blind":
        return state.obstacles.position[:, :0], future[:, :, :0]
    assert callable(predict), predict
    history = jax.vmap(dynamics.fill)(state.noted, state.observed) if world.drop else state.noted
    seen = Observation(history, state.observed, state.agents.astype(history.dtype), static)
    return history[:, -1], predict(seen, horizon).astype(history.dtype)


def _hit(rules: Rules, here: jax.Array, there: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """Whether the straight way from `here` to `there` [E, 2] meets an obstacle on its own [E, N, 2]."""
    start, end = here[:, None] - before, there[:, None] - after
    return jnp.any(swept_distance(start, end) < rules.collision_radius, axis=1)
