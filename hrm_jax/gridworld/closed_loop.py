"""The closed loop under jit: simulator, predictor and planner as one function of many episodes.

Observe, predict, plan, act, judge, as in `hrm_jax.referee.cells.episode`, which stays the authority: the
rules are those of the `standard` protocol. Shapes: E episodes, N obstacles, H history steps, T = horizon.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hrm_jax.gridworld import planner
from hrm_jax.worlds import motion
from hrm_jax.worlds.baselines import BASELINES
from hrm_jax.worlds.features import Observation, Predict
from hrm_jax.worlds.geometry import known_ends, swept_distance
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.rules import BOUNDS, FURTHEST, OUTCOMES, Rules
from hrm_jax.worlds.world import World

COLLISION, SUCCESS, TIMEOUT = range(len(OUTCOMES))  # codes of `rules.OUTCOMES`
DIVERGED = len(OUTCOMES)  # a prediction was not finite or beyond FURTHEST: no outcome, the model is refused


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
    predict: Predict | str,
    static: jax.Array,
    obstacles: Obstacles,
    start: jax.Array,
    goal: jax.Array,
) -> jax.Array:
    """Outcomes [E] int32 of the worlds `static` [E, R, C] bool, `obstacles`, from `start` to `goal` [E, 2].

    They are COLLISION, SUCCESS, TIMEOUT or, where a prediction diverges, DIVERGED. `predict` is a function,
    or a name of BASELINES or BOUNDS. To be jitted by the caller; the arithmetic is in the dtype of the
    obstacles' positions.
    """
    last = world.history + world.until(rules.limit(world.size))
    gaps = bool(world.recorded)
    free = planner.free_cells(static)
    start, goal = (cells.astype(jnp.int32) for cells in (start, goal))

    def busy(state):
        return jnp.any(state.running) & (state.time < last)

    def body(state):
        following = _step(world, state, static)
        future = _future(world, rules, state, following, static)
        tracks, sane = _predict(world, predict, state, future, static)
        there = planner.plan(free, state.agent, goal, tracks, rules.planning_radius, gaps).cells[:, 1]
        here, ends = state.agent, (state.obstacles.position, following.position)
        before, after = known_ends(*ends) if gaps else ends
        swept = swept_distance(here[:, None] - before, there[:, None] - after)
        hit = jnp.any(swept < rules.collision_radius, axis=1)
        outcome = jnp.where(hit, COLLISION, jnp.where(jnp.all(there == goal, axis=1), SUCCESS, TIMEOUT))
        outcome = jnp.where(state.running, jnp.where(sane, outcome, DIVERGED), state.outcome)
        state = state._replace(
            running=state.running & (outcome == TIMEOUT), outcome=outcome, agent=there, obstacles=following
        )
        return _look(world, state)

    return jax.lax.while_loop(busy, body, _wait(world, static, obstacles, start)).outcome


def _step(world: World, state: _State, static: jax.Array) -> Obstacles:
    step = jax.vmap(lambda o, a, s: motion.step(world, o, a, state.time, s))
    return step(state.obstacles, state.agent, static)


def _future(world: World, rules: Rules, state: _State, following: Obstacles, static: jax.Array) -> jax.Array:
    """True positions [E, T, N, 2] a step on (`following`) and later, should the agent stay where it is."""

    def one(obstacles, at, cells):
        return motion.roll(world, obstacles, rules.horizon - 1, at, state.time + 1, cells, jax.lax.scan)[1]

    later = jax.vmap(one)(following, state.agent, static)
    return jnp.concatenate([following.position[:, None], later], axis=1)


def _wait(world: World, static: jax.Array, obstacles: Obstacles, start: jax.Array) -> _State:
    """The state after the history steps, in which the agent watches from the start."""
    n, history = len(static), world.history
    shape = obstacles.position.shape
    state = _State(
        time=jnp.zeros((), jnp.int32),
        running=jnp.ones((n,), bool),
        outcome=jnp.full((n,), TIMEOUT),
        agent=start,
        obstacles=obstacles,
        noted=jnp.zeros((n, history, *shape[1:]), obstacles.position.dtype),
        observed=jnp.zeros((n, history, shape[1]), bool),
        agents=jnp.zeros((n, history, 2), jnp.int32),
    )

    def watch(_, state):
        return _look(world, state._replace(obstacles=_step(world, state, static)))

    return jax.lax.fori_loop(0, history, watch, state)


def _look(world: World, state: _State) -> _State:
    """A step later: what is seen now becomes the newest entry of the history."""
    time = state.time + 1
    position, seen = motion.observe(world, state.obstacles, time)

    def push(old, new):
        return jnp.concatenate([old, new[:, None]], axis=1)[:, 1:]  # of no history, none

    return state._replace(
        time=time,
        noted=push(state.noted, position),
        observed=push(state.observed, seen),
        agents=push(state.agents, state.agent),
    )


def _predict(
    world: World, predict: Predict | str, state: _State, future: jax.Array, static: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Positions now and predicted, [E, T + 1, N, 2], by a predictor or one of BOUNDS; whether sane, [E] bool.

    Of a recorded world's obstacle that is not there now they are NaN.
    """
    if predict in BOUNDS:
        tracks = jnp.concatenate([state.obstacles.position[:, None], future], axis=1)
        return tracks if predict == "oracle" else tracks[:, :, :0], jnp.ones(len(tracks), bool)
    if isinstance(predict, str):
        predict = functools.partial(BASELINES[predict], world=world, scan=jax.lax.scan)
    history = state.noted
    if world.drop or world.recorded:
        history = jax.vmap(functools.partial(motion.fill, scan=jax.lax.scan))(history, state.observed)
    seen = Observation(history, state.observed, state.agents.astype(history.dtype), static)
    now, predicted = history[:, -1], predict(seen, future.shape[1]).astype(history.dtype)
    tracks = jnp.concatenate([now[:, None], predicted], axis=1)
    sane = jnp.all(jnp.abs(tracks) < FURTHEST, axis=(1, 2, 3))  # NaN is not
    if world.recorded:
        tracks = jnp.where(state.observed[:, -1, None, :, None], tracks, jnp.nan)
    return tracks, sane
