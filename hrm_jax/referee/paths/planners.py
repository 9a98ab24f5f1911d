"""Planners of whole paths that learn nothing: the references in every table of path planners.

Shapes: A episodes, P points a path (the first one where the agent is), N obstacles, R rows, C columns.
Positions are (row, column) in cells.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from hrm_jax.referee import dynamics
from hrm_jax.referee.paths import expert
from hrm_jax.referee.paths import field as space_time_field
from hrm_jax.referee.paths.field import Field
from hrm_jax.referee.protocols import PathProtocol


class View(NamedTuple):
    """What a planner may look at; `velocities` and `future` are for bounds alone."""

    ids: np.ndarray  # int64 [A], of the scenarios
    time: int  # steps since the agent left the start
    agent: np.ndarray  # float64 [A, 2]
    goal: np.ndarray  # float64 [A, 2]
    static: np.ndarray  # bool [A, R, C]
    history: np.ndarray  # float64 [A, H, N, 2], oldest first, now last
    velocities: np.ndarray  # float64 [A, N, 2], the truth
    future: np.ndarray  # float64 [A, P, N, 2], the truth, now first


class Planned(NamedTuple):
    """Paths, and how they came about."""

    path: np.ndarray  # float [A, P, 2], what to follow: a point a step
    length: np.ndarray | None = None  # int64 [A], moves until the plan ends, where that is not P - 1
    samples: np.ndarray | None = None  # float [A, S, P, 2], before refinement
    refined: np.ndarray | None = None  # float [A, S, P, 2], after it
    chosen: np.ndarray | None = None  # int64 [A], which of them `path` is; -1: an earlier plan, kept
    believed: np.ndarray | None = None  # float64 [A, P, N, 2], where obstacles were taken to be, now first


class Planner(Protocol):
    """Anything that plans paths."""

    replan: int  # steps between two plans; 0: one plan

    def plan(self, view: View, previous: np.ndarray | None) -> Planned:
        """Paths from where the agents are; `previous` [A, P, 2] is what is left of the plans in force."""


@dataclass
class Reference:
    """A `Planner` that is one of the functions below, its settings given."""

    plan: Callable[..., Planned]
    replan: int = 0


def straight_line(
    rules: PathProtocol, view: View, previous: np.ndarray | None = None, refine: int = 0
) -> Planned:
    """Straight to the goal: at the speed limit, or as published over all points.

    Pushed `refine` times away from what the map shows now, as the original does after sampling.
    """
    path = line(view.agent, view.goal, rules.points, None if rules.published else rules.speed)
    if not refine:
        return Planned(path)
    return repaired(view, path[:, None], refine, _frozen(view, rules.points))


def repaired(view: View, samples: np.ndarray, iterations: int, believed: np.ndarray) -> Planned:
    """The original's repair of samples [A, S, P, 2], and its choice, by the map of now."""
    distance = space_time_field.distance_map(view.static, view.history[:, -1])
    refined = space_time_field.repair(distance, samples, iterations)
    return chosen(samples, refined, space_time_field.nearness(distance, refined), believed)


def chosen(samples: np.ndarray, candidates: np.ndarray, costs: np.ndarray, believed: np.ndarray) -> Planned:
    """The candidates [A, K, P, 2] of least cost [A, K]: of S refined samples, and perhaps earlier plans."""
    best, count = costs.argmin(axis=1), samples.shape[1]
    path = candidates[np.arange(len(best)), best]
    return Planned(path, None, samples, candidates[:, :count], np.where(best < count, best, -1), believed)


def costs(rules: PathProtocol, view: View, field: Field, paths: np.ndarray) -> np.ndarray:
    """What following paths [A, S, P, 2] for the rest of the episode is expected to cost, [A, S]."""
    left = rules.points - 1 - view.time
    return space_time_field.costs(field, view.static, view.goal, paths, rules, left)


def stand_still(rules: PathProtocol, view: View, previous: np.ndarray | None = None) -> Planned:
    """Stay at the start and jump to the goal at the last point: 80 % under the published rule (fault F28)."""
    path = np.repeat(view.agent[:, None], rules.points, axis=1)
    path[:, -1] = view.goal
    return Planned(path)


def published_expert(
    rules: PathProtocol, view: View, previous: np.ndarray | None = None, stretch: bool = False
) -> Planned:
    """The published expert: it reads true velocities, and lets obstacles bounce beyond the walls.

    Under the published rule by the original's queue, whose rounding decides among equal plans. With its own
    timing, or stretched over all points as the original's training data are.
    """
    search, size = expert.PUBLISHED, view.static.shape[1]
    tracks = published_future(view.history[:, -1], view.velocities, size, search.points)
    return _search(search, view, tracks, expert.queue_search if rules.published else expert.plan, stretch)


def oracle(rules: PathProtocol, view: View, previous: np.ndarray | None = None) -> Planned:
    """Our expert with the true future: where it fails, there is no safe path."""
    return _search(expert.Search(points=rules.points), view, view.future)


def frozen_astar(rules: PathProtocol, view: View, previous: np.ndarray | None = None) -> Planned:
    """Our expert on the map of now: it takes every obstacle to stay where it is."""
    return _search(expert.Search(points=rules.points), view, _frozen(view, rules.points))


def guided_line(rules: PathProtocol, view: View, previous: np.ndarray | None = None) -> Planned:
    """Straight lines, fast and slow, pushed off where obstacles are headed: all of the hybrid but learning.

    The best of the lines, and of what is left of the last plan; obstacles are taken to go straight on.
    """
    now, moved = view.history[:, -1], dynamics.last_moves(view.history, view.static.shape[1])
    believed = now[:, None] + np.arange(rules.points)[:, None, None] * moved[:, None]
    field = space_time_field.make(view.static, believed)
    lines = [line(view.agent, view.goal, rules.points, speed) for speed in (rules.speed, None)]
    drawn = np.stack(lines if previous is None else [*lines, previous], axis=1).astype(np.float32)
    refined = space_time_field.refine(field, drawn, space_time_field.REPAIRS, rules.speed)
    return chosen(drawn[:, : len(lines)], refined, costs(rules, view, field, refined), believed)


def _frozen(view: View, points: int) -> np.ndarray:
    """Obstacles where they are now, [A, P, N, 2]."""
    return np.repeat(view.history[:, -1:], points, axis=1)


def _search(
    search: expert.Search, view: View, tracks: np.ndarray, plan=expert.plan, stretch: bool = False
) -> Planned:
    start, goal = view.agent.astype(np.int64), view.goal.astype(np.int64)
    expert.check_reach(search, start, goal)
    points, length = plan(search, view.static, start, goal, tracks)
    if stretch:
        return Planned(stretched(points, length), believed=tracks)
    return Planned(points.astype(float), length, believed=tracks)


def line(start: np.ndarray, goal: np.ndarray, points: int, speed: float | None) -> np.ndarray:
    """Straight lines [A, P, 2] between positions [A, 2]: at `speed` cells a step, or over all points."""
    far = np.linalg.norm(goal - start, axis=-1)[:, None]
    steps = np.arange(points)
    share = steps / (points - 1) if speed is None else np.minimum(steps * speed / np.maximum(far, speed), 1.0)
    share = np.broadcast_to(share, (len(start), points))[..., None]
    return start[:, None] * (1 - share) + goal[:, None] * share


def published_future(positions: np.ndarray, velocities: np.ndarray, size: int, points: int) -> np.ndarray:
    """Positions [A, P, N, 2] as the published expert foresees them: turned at walls, never clipped (F29)."""
    track = [positions]
    for _ in range(points - 1):
        positions = positions + velocities
        velocities = np.where((positions < 0) | (positions >= size), -velocities, velocities)
        track.append(positions)
    return np.stack(track, axis=1)


def stretched(points: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Paths [A, P, 2] whose first `length` [A] moves are spread over all points: the timing is lost (F27)."""
    last = points.shape[1] - 1
    at = np.linspace(0, 1, last + 1) * np.maximum(length, 0)[:, None]
    before = np.minimum(at.astype(np.int64), np.maximum(length - 1, 0)[:, None])
    after = np.minimum(before + 1, last)
    worlds = np.arange(len(points))[:, None]
    share = (at - before)[..., None]
    return points[worlds, before] * (1 - share) + points[worlds, after] * share


def _reference(
    plan: Callable[..., Planned], replan: int = 0, **settings
) -> Callable[[PathProtocol], Planner]:
    return lambda rules: Reference(functools.partial(plan, rules, **settings), replan)


PLANNERS: dict[str, Callable[[PathProtocol], Planner]] = {
    "straight_line": _reference(straight_line),
    "straight_line_refined": _reference(straight_line, refine=space_time_field.REPAIRS),
    "straight_line_refined_20": _reference(straight_line, refine=20),  # as v1 and v0 refine
    "stand_still": _reference(stand_still),
    "frozen_astar": _reference(frozen_astar),
    "guided_line": _reference(guided_line),
    "guided_line_replanned": _reference(guided_line, replan=4),
    "expert": _reference(published_expert),
    "expert_stretched": _reference(published_expert, stretch=True),
    "oracle": _reference(oracle),
}

BOUNDS = ("expert", "expert_stretched", "oracle")  # those that get the true future

# In every table, as references.
ALWAYS = ("straight_line", "straight_line_refined", "stand_still", "frozen_astar", "expert", "oracle")
