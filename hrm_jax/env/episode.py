"""One episode, a move at a time: written once for the arrays of NumPy (`env.gym`) and of jax (`env.jitted`).

The rules are those of the protocol `standard`, as in `hrm_jax.referee.cells.episode`; `tests/test_env.py`
holds the two to the same outcomes. Shapes: N obstacles, H history steps, R rows, C columns, T = horizon.
Positions are in cells, (row, column).
"""

import functools
import math
from numbers import Real
from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.referee.cells.space_time_astar import MOVES
from hrm_jax.worlds import motion
from hrm_jax.worlds.arrays import Array, Scan, scan
from hrm_jax.worlds.baselines import BASELINES, LEAST_HISTORY
from hrm_jax.worlds.features import Observation, Predict
from hrm_jax.worlds.geometry import known_ends, swept_distance
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.rules import BOUNDS, Rules
from hrm_jax.worlds.world import WORLDS, World

ACTIONS = ("right", "left", "down", "up", "wait")  # in the planner's order
RULES = Rules()  # the protocol `standard`
STEP_REWARD = -0.01  # of every step; a success adds 1, a collision takes 1


class State(NamedTuple):
    """Everything of one episode. Its arrays are NumPy's or jax's."""

    time: Array  # int32 [], steps since the scenario was drawn; the agent moves from time H on
    agent: Array  # int [2], its cell
    goal: Array  # int [2]
    static: Array  # bool [R, C]
    obstacles: Obstacles  # the truth, [N]
    noted: Array  # [H, N, 2], positions as observed, oldest first; anything where they were not
    observed: Array  # bool [H, N]
    agents: Array  # int [H, 2], the agent's cells at the times of the history, the current one last


class Ending(NamedTuple):
    """Which way an episode ended with this step; at most one is True. Bools []."""

    success: Array
    collision: Array
    timeout: Array


def chosen(world: World | str) -> World:
    """The world, by name or as it is; `RequestError` unless it is one of single moves with a history."""
    allowed = [name for name, each in WORLDS.items() if each.layout == "cells"]
    if isinstance(world, str):
        world = WORLDS[world if world in WORLDS else known("world", world, allowed)]
    if not isinstance(world, World):
        raise RequestError(f"world is a {type(world).__name__}; wanted is a World, or the name of one")
    if world.layout != "cells":
        raise RequestError(
            f'world "{world.name}" is one of discs, for planners of whole paths; environments are of single '
            f"moves, in {', '.join(allowed)}"
        )
    if world.history < LEAST_HISTORY:
        raise RequestError(
            f'world "{world.name}": history = {world.history}; at least {LEAST_HISTORY} are needed here'
        )
    return world


def finite(shaping: float) -> float:
    """The weight of `reward`'s shaping, refused unless it is a finite number."""
    if not (isinstance(shaping, Real) and -math.inf < shaping < math.inf):
        raise RequestError(f"shaping = {shaping!r:.50}: a finite number is needed")
    return shaping


def begin(
    world: World, static: Array, obstacles: Obstacles, start: Array, goal: Array, scan: Scan = scan
) -> State:
    """The state of a drawn scenario after its history steps, in which the agent waits and watches."""
    xp, history = start.__array_namespace__(), world.history
    noted = xp.zeros((history, *obstacles.position.shape), obstacles.position.dtype)
    state = State(
        time=xp.zeros((), np.int32),
        agent=start,
        goal=goal,
        static=static,
        obstacles=obstacles,
        noted=noted,
        observed=noted[..., 0].astype(bool),
        agents=xp.zeros((history, 2), start.dtype),
    )
    return scan(lambda state, _: (_advance(world, state, start), None), state, length=history)[0]


def step(world: World, state: State, action: Array) -> tuple[State, Ending]:
    """The state after the move MOVES[action], and whether the episode has ended.

    A move off the map or into a static cell is a wait. Nearer than the collision radius anywhere within the
    step is a collision, which is tested before the goal.
    """
    after = _advance(world, state, _moved(state, action))
    met = state.obstacles.position, after.obstacles.position
    if world.recorded:
        met = known_ends(*met)
    swept = swept_distance(state.agent - met[0], after.agent - met[1])
    collision = (swept < RULES.collision_radius).any()
    success = (after.agent == after.goal).all() & ~collision
    late = after.time >= world.history + world.until(RULES.limit(world.size))
    return after, Ending(success, collision, late & ~success & ~collision)


def reward(before: State, after: State, ending: Ending, shaping: float = 0.0) -> Array:
    """1 for a success, -1 for a collision, STEP_REWARD a step; `shaping` for each cell nearer to the goal.

    Nearer is counted along rows and columns, and a step away costs as much: what an episode gets for it
    depends on its ends alone, so that the best way stays the best. float32 [].
    """
    earned = ending.success.astype(np.float32) - ending.collision.astype(np.float32) + STEP_REWARD
    far, near = (abs(one.agent - one.goal).sum() for one in (before, after))
    return earned + shaping * (far - near).astype(np.float32)


def seen(world: World, state: State, scan: Scan = scan) -> Observation:
    """What a predictor sees, without the axis of episodes."""
    gaps = world.drop or world.recorded
    history = motion.fill(state.noted, state.observed, scan) if gaps else state.noted
    return Observation(history, state.observed, state.agents.astype(history.dtype), state.static)


def tracks(world: World, state: State, predict: Predict | str, scan: Scan = scan) -> Array:
    """Positions [T + 1, N, 2] for the planner, now and predicted.

    Of the bound "blind" there is no obstacle; where one of a recorded world is not there now they are NaN.
    `predict` is a function (`worlds.features.Predict`, asked about one episode), or of BASELINES or BOUNDS.
    """
    position, horizon = state.obstacles.position, RULES.horizon
    xp = position.__array_namespace__()
    if predict in BOUNDS:
        _, future = motion.roll(world, state.obstacles, horizon, state.agent, state.time, state.static, scan)
        both = xp.concatenate([position[None], future])
        return both if predict == "oracle" else both[:, :0]
    if not callable(predict):
        known("predictor", predict, (*BOUNDS, *BASELINES))
        predict = functools.partial(BASELINES[predict], world=world, scan=scan)
    scene = seen(world, state, scan)
    predicted = predict(Observation(*(part[None] for part in scene)), horizon)
    found, wanted = getattr(predicted, "shape", None), (1, horizon, *position.shape)
    if found != wanted:  # known under jit, too, where one array would be broadcast against another
        said = type(predicted).__name__ if found is None else f"shape {list(found)}"
        raise RequestError(
            f"the predictor returns {said}; positions [A, horizon, N, 2] = {list(wanted)} are wanted"
        )
    both = xp.concatenate([scene.history[-1:], predicted[0].astype(position.dtype)])
    return xp.where(scene.observed[-1][:, None], both, xp.nan) if world.recorded else both


def _advance(world: World, state: State, there: Array) -> State:
    """A step later, with the agent `there`: what is seen then becomes the newest of the history."""
    obstacles = motion.step(world, state.obstacles, state.agent, state.time, state.static)
    time, xp = state.time + 1, there.__array_namespace__()
    newest = (*motion.observe(world, obstacles, time), there)
    noted, observed, agents = (
        xp.concatenate([old[1:], new[None]])
        for old, new in zip((state.noted, state.observed, state.agents), newest, strict=True)
    )
    return state._replace(
        time=time, agent=there, obstacles=obstacles, noted=noted, observed=observed, agents=agents
    )


def _moved(state: State, action: Array) -> Array:
    """The agent's cell [2] after the action."""
    xp, agent = state.agent.__array_namespace__(), state.agent
    there = agent + xp.asarray(MOVES, dtype=agent.dtype)[action]
    return xp.where(blocked(state.static, there), agent, there)


def blocked(static: Array, cells: Array) -> Array:
    """Whether `cells` [..., 2] are static or off the map [R, C]: bool [...]."""
    xp = cells.__array_namespace__()
    sides = xp.asarray(static.shape, dtype=cells.dtype)
    inside = ((cells >= 0) & (cells < sides)).all(axis=-1)
    row, col = xp.moveaxis(xp.clip(cells, 0, sides - 1), -1, 0)
    return ~inside | static[row, col]
