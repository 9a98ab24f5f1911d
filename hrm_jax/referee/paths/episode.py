"""Episodes of agents that follow paths: plan, move a point a step, judge, perhaps plan again.

Shapes: E episodes of which A are still running, P points a path, N obstacles, H observed moments.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.artefacts.traces_file import PathTrace
from hrm_jax.referee import dynamics
from hrm_jax.referee.cells.episode import ErrorCounts, Result
from hrm_jax.referee.geometry import crosses, step_toward
from hrm_jax.referee.paths.planners import Planned, Planner, View
from hrm_jax.referee.protocols import PathProtocol
from hrm_jax.worlds.geometry import swept_distance
from hrm_jax.worlds.rules import COLLISION, SUCCESS, TIMEOUT

BLOCK = 250  # episodes at a time: bounds memory


class Moment(NamedTuple):
    """The running episodes before a step, what was planned if something was, and how the step ended."""

    episodes: np.ndarray  # int64 [A]
    agent: np.ndarray  # float64 [A, 2]
    arrived: np.ndarray  # float64 [A, 2], after the step
    obstacles: np.ndarray  # float64 [A, N, 2]
    moved: np.ndarray  # float64 [A, N, 2], after it
    planned: Planned | None
    outcomes: np.ndarray  # str [A]: SUCCESS, COLLISION, or "" while it goes on


def run(
    scenarios: Scenarios,
    protocol: PathProtocol,
    planner: Planner,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Play all scenarios; `progress` is called with (episodes finished, episodes in all)."""
    total = len(scenarios)
    outcomes = np.full(total, TIMEOUT)
    for first in range(0, total, BLOCK):
        block = scenarios.select(slice(first, first + BLOCK))
        for moment in play(block, protocol, planner):
            ended = moment.outcomes != ""
            outcomes[first + moment.episodes[ended]] = moment.outcomes[ended]
            if progress:
                progress(first + len(block) - int((~ended).sum()), total)
    if progress:
        progress(total, total)
    return Result("".join(outcomes), {}, ErrorCounts(0))


def play(scenarios: Scenarios, protocol: PathProtocol, planner: Planner):
    """Run all scenarios to their end, a `Moment` at a time."""
    if protocol.published:
        yield from _play_published(scenarios, protocol, planner)
        return
    episodes = np.arange(len(scenarios))
    state, history = dynamics.roll(scenarios, scenarios.world.history)
    agent, goal = scenarios.start.astype(float), scenarios.goal.astype(float)
    path = None
    for time in range(protocol.limit(scenarios.world.size)):
        planned = None
        if path is None or (planner.replan and time % planner.replan == 0):
            view = _view(scenarios, protocol, state, history, agent, goal, time)
            planned = planner.plan(view, path)
            path = planned.path
        following = dynamics.step(scenarios, state, scenarios.start, time)
        arrived = step_toward(agent, path[:, 1], protocol.speed)
        outcomes = judge(protocol, scenarios.static, goal, agent, arrived, state.position, following.position)
        yield Moment(episodes, agent, arrived, state.position, following.position, planned, outcomes)
        kept = outcomes == ""
        if not kept.any():
            return
        history = np.concatenate([history[:, 1:], following.position[:, None]], axis=1)
        path = np.concatenate([path[:, 1:], path[:, -1:]], axis=1)
        scenarios, episodes, goal = scenarios.select(kept), episodes[kept], goal[kept]
        agent, path, history = arrived[kept], path[kept], history[kept]
        state = dynamics.select(following, kept)


def _view(scenarios, protocol, state, history, agent, goal, time) -> View:
    _, future = dynamics.roll(scenarios, protocol.points - 1, state, time)
    return View(
        scenarios.ids, time, agent, goal, scenarios.static, history, velocities=state.velocity, future=future
    )


def judge(
    protocol: PathProtocol,
    static: np.ndarray,
    goal: np.ndarray,
    here: np.ndarray,
    there: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> np.ndarray:
    """How a step ends, str [A]: agents go from `here` to `there`, obstacles from `before` to `after`."""
    gap = swept_distance(here[:, None] - before, there[:, None] - after)
    hit = (gap < protocol.collision_radius).any(axis=1) | crosses(static, here, there)
    there_now = np.linalg.norm(there - goal, axis=1) < protocol.goal_tolerance
    return np.where(hit, COLLISION, np.where(there_now, SUCCESS, ""))


# ---------------------------------------------------------------- the published rule


def _play_published(scenarios: Scenarios, protocol: PathProtocol, planner: Planner):
    """Point k is tested at time k + 1, where it is; an agent that passes on to the last point has arrived."""
    episodes = np.arange(len(scenarios))
    state, history = dynamics.roll(scenarios, scenarios.world.history)
    agent, goal = scenarios.start.astype(float), scenarios.goal.astype(float)
    planned = planner.plan(_view(scenarios, protocol, state, history, agent, goal, 0), None)
    path = planned.path
    length = np.full(len(path), protocol.points - 1) if planned.length is None else planned.length
    for k in range(protocol.points):
        following = dynamics.step(scenarios, state, scenarios.start, k)
        clear = _clear(protocol, scenarios.static, path[:, k], following.position)
        outcomes = np.where(clear & (length >= 0), np.where(k >= length, SUCCESS, ""), COLLISION)
        before = path[:, max(k - 1, 0)]
        made = None if k else planned
        yield Moment(episodes, before, path[:, k], state.position, following.position, made, outcomes)
        kept = outcomes == ""
        if not kept.any():
            return
        scenarios, episodes, path, length = scenarios.select(kept), episodes[kept], path[kept], length[kept]
        state = dynamics.select(following, kept)


def _clear(
    protocol: PathProtocol, static: np.ndarray, point: np.ndarray, obstacles: np.ndarray
) -> np.ndarray:
    """Whether points [A, 2] lie in the map, in a free cell when truncated, and off obstacles [A, N, 2]."""
    inside = ((point >= 0) & (point < static.shape[1])).all(axis=1)
    cell = np.clip(np.trunc(point), 0, static.shape[1] - 1).astype(np.int64)
    free = ~static[np.arange(len(point)), *cell.T]
    gap = np.linalg.norm(point[:, None] - obstacles, axis=-1)
    return inside & free & (gap >= protocol.collision_radius).all(axis=1)


# ---------------------------------------------------------------- one episode, recorded


def trace(scenarios: Scenarios, protocol: PathProtocol, planner: Planner) -> PathTrace:
    """Record the episode of `scenarios`, which must hold one scenario."""
    if len(scenarios) != 1:
        raise ValueError(f"{len(scenarios)} scenarios; a trace is of one")
    moments = list(play(scenarios, protocol, planner))
    made = [(step, moment.planned) for step, moment in enumerate(moments) if moment.planned is not None]
    last = moments[-1]
    return PathTrace(
        outcome=str(last.outcomes[0]) or TIMEOUT,
        agent=np.array([moment.agent[0] for moment in moments] + [last.arrived[0]]),
        obstacles=np.array([moment.obstacles[0] for moment in moments] + [last.moved[0]]),
        planned_at=np.array([step for step, _ in made]),
        plans=np.array([planned.path[0] for _, planned in made]),
        samples=_recorded([planned.samples for _, planned in made], (0, protocol.points, 2)),
        refined=_recorded([planned.refined for _, planned in made], (0, protocol.points, 2)),
        chosen=np.array([-1 if planned.chosen is None else planned.chosen[0] for _, planned in made]),
        believed=_recorded([planned.believed for _, planned in made], (protocol.points, 0, 2)),
    )


def _recorded(arrays: list[np.ndarray | None], nothing: tuple[int, ...]) -> np.ndarray:
    """The first episode of each plan's array, [K, ...]; `nothing` is the shape of what was not made."""
    return np.array([np.zeros(nothing) if array is None else array[0] for array in arrays])
