"""What an agent is shown of a state, for arrays of NumPy and of jax: the scene, or what is around it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hrm_jax.env import episode
from hrm_jax.env.episode import State
from hrm_jax.referee.cells.space_time_astar import MOVES
from hrm_jax.worlds.arrays import Array, Scan, scan
from hrm_jax.worlds.geometry import FAR_AWAY, dot, swept_distance
from hrm_jax.worlds.world import World

NEAREST = 6  # obstacles of the view "ego"
AROUND = 2  # cells of the map it has to each side
OFFSETS = np.moveaxis(np.mgrid[-AROUND : AROUND + 1, -AROUND : AROUND + 1], 0, -1)  # [5, 5, 2]
REACH = 6.0  # cells an axis; an obstacle further away counts as this far
PACE = 2.0  # cells a step an axis; a faster one counts as this fast
CLOSE = 2.0  # cells; a move that keeps further away from obstacles counts as keeping this far


def scene(world: World, state: State, scan: Scan = scan) -> dict[str, Array]:
    """What a predictor sees, and the goal. N obstacles, H steps (the current one last), R rows, C columns.

    history: float32 [H, N, 2], positions in cells, gaps filled by straight motion; observed: int8 [H, N], 0
    where filled; agent: float32 [H, 2]; goal: float32 [2]; static: int8 [R, C].
    """
    seen = episode.seen(world, state, scan)
    return {
        "history": seen.history.astype(np.float32),
        "observed": seen.observed.astype(np.int8),
        "agent": seen.agent.astype(np.float32),
        "goal": state.goal.astype(np.float32),
        "static": seen.static.astype(np.int8),
    }


def ego(world: World, state: State, scan: Scan = scan) -> Array:
    """Numbers from -1 to 1 as seen from the agent, float32 [`ego_length`], for a small network.

    The way to the goal [2] over the size; the cells around [5, 5], 1 where static or off the map; how far
    each of the moves [5] would keep from obstacles that repeat their last step, over CLOSE; and of each of
    the nearest obstacles, nearest first, the way to it [2] over REACH and its last step [2] over PACE.
    """
    xp, here = state.agent.__array_namespace__(), state.agent
    history = episode.seen(world, state, scan).history
    away, moved = history[-1] - here, history[-1] - history[-2]
    if world.recorded:  # what is not there is far away
        away = xp.where(state.observed[-1][:, None], away, FAR_AWAY)
    nearest = xp.argsort(dot(away, away), stable=True)[:NEAREST]
    # Times a constant: what is divided by one, compilers multiply by its inverse, which rounds otherwise.
    obstacles = xp.concatenate([away[nearest] * (1 / REACH), moved[nearest] * (1 / PACE)], axis=-1)
    around = episode.blocked(state.static, here + xp.asarray(OFFSETS, dtype=here.dtype))
    moves = xp.asarray(MOVES, dtype=here.dtype)
    moves = xp.where(episode.blocked(state.static, here + moves)[:, None], 0, moves)
    kept = swept_distance(-away, moves[:, None] - (away + moved)).min(axis=1)
    parts = (
        (state.goal - here) * (1 / world.size),
        around.reshape(-1),
        xp.clip(kept * (1 / CLOSE), 0, 1),
        xp.clip(obstacles, -1, 1).reshape(-1),
    )
    return xp.concatenate([part.astype(np.float32) for part in parts])


def ego_length(world: World) -> int:
    """How many numbers `ego` has."""
    return 2 + OFFSETS[..., 0].size + len(MOVES) + 4 * min(NEAREST, world.n_obstacles)


VIEWS: dict[str, Callable[..., Any]] = {"scene": scene, "ego": ego}
