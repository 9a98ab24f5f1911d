"""The closed loop, all episodes in lockstep: observe, predict, plan, act, judge.

Shapes: E episodes of which A are still running, N obstacles, H history steps, T = horizon.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.artefacts.traces_file import CellTrace
from hrm_jax.referee import dynamics
from hrm_jax.referee.cells import space_time_astar
from hrm_jax.referee.cells.space_time_astar import Plan
from hrm_jax.referee.geometry import connected
from hrm_jax.referee.protocols import CellProtocol
from hrm_jax.worlds import motion
from hrm_jax.worlds.features import Observation, Predict
from hrm_jax.worlds.geometry import known_ends, swept_distance
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.rules import BOUNDS, COLLISION, FAILURES, FURTHEST, SUCCESS, TIMEOUT
from hrm_jax.worlds.world import World

DIVERGED = f"predicts positions that are not finite, or over {FURTHEST:.0e} cells away"
BLOCK = 500  # episodes at a time: bounds memory, and larger blocks are no faster

NEAR = 2.0  # cells between an obstacle and the planned way, within which its prediction matters

Predictor = Predict | str  # a function, or one of BOUNDS


class Step(NamedTuple):
    """One step of the episodes that were running when it began. Positions in cells."""

    episodes: np.ndarray  # int64 [A], indices into the scenarios
    agent: np.ndarray  # int64 [A, 2], before the move
    obstacles: np.ndarray  # float64 [A, N, 2], before the move
    tracks: np.ndarray  # float64 [A, T + 1, N, 2], what the planner takes them to be: now, then predicted
    future: np.ndarray  # float64 [A, T, N, 2], the truth, should the agent stay where it is
    plan: Plan
    outcomes: np.ndarray  # str [A]: SUCCESS, COLLISION, or "" while it goes on
    boxed_in: np.ndarray  # bool [A], collided, and so would every other move have


class ErrorCounts:
    """Counts of prediction errors by steps ahead: their quantiles in memory that does not grow."""

    WIDTH = 0.02  # cells a bin; the last bin holds what is beyond
    BINS = 2000

    def __init__(self, horizon: int):
        self.counts = np.zeros((horizon, self.BINS + 1), np.int64)
        self.sums = np.zeros(horizon)

    def add(self, error: np.ndarray, chosen: np.ndarray | None = None) -> None:
        """Count errors [A, T, N] in cells, all or those `chosen`, bool of the same shape."""
        self.sums += error.sum(axis=(0, 2), where=True if chosen is None else chosen)
        step = np.broadcast_to(np.arange(error.shape[1])[:, None], error.shape)
        if chosen is not None:
            error, step = error[chosen], step[chosen]
        bins = np.minimum(error / self.WIDTH, self.BINS).astype(np.int64) + step * (self.BINS + 1)
        self.counts += np.bincount(bins.ravel(), minlength=self.counts.size).reshape(self.counts.shape)

    def summary(self, within: Sequence[float] = (0.2, 0.5, 1.0)) -> dict | None:
        """Mean, median and 90 % quantile by steps ahead, and the share nearer than `within`, in cells.

        None where nothing was counted; steps of which nothing was are None.
        """
        total = self.counts.sum(axis=1, keepdims=True)
        if not total.any():
            return None
        share = np.cumsum(self.counts, axis=1) / np.maximum(total, 1)
        known = total[:, 0] > 0

        def told(values: np.ndarray, digits: int) -> list[float | None]:
            rounded = values.round(digits).tolist()
            return [value if told else None for value, told in zip(rounded, known, strict=True)]

        return {
            "mean": told(self.sums / np.maximum(total[:, 0], 1), 4),
            **{
                name: told((share >= q).argmax(axis=1) * self.WIDTH + self.WIDTH / 2, 3)
                for name, q in (("median", 0.5), ("p90", 0.9))
            },
            "within": {str(d): told(share[:, round(d / self.WIDTH) - 1], 5) for d in within},
        }


class Result(NamedTuple):
    """What an evaluation keeps of one predictor."""

    outcomes: str  # one of SUCCESS, COLLISION, TIMEOUT per scenario, in order
    failures: dict[str, int]  # episodes by FAILURES
    errors: ErrorCounts  # of the predicted positions; empty for BOUNDS
    near_plan: ErrorCounts | None = None  # the same of those within NEAR of where the agent means to be then


def run(
    scenarios: Scenarios,
    protocol: CellProtocol,
    predictor: Predictor,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Play all scenarios.

    `progress`, if given, is called with (episodes finished, episodes in all) after every step.
    """
    total = len(scenarios)
    outcomes, boxed_in = np.full(total, TIMEOUT), np.zeros(total, bool)
    errors, near_plan = ErrorCounts(protocol.horizon), ErrorCounts(protocol.horizon)
    for first in range(0, total, BLOCK):
        block = scenarios.select(slice(first, first + BLOCK))
        for step in play(block, protocol, predictor):
            ended = step.outcomes != ""
            outcomes[first + step.episodes[ended]] = step.outcomes[ended]
            boxed_in[first + step.episodes[step.boxed_in]] = True
            if predictor not in BOUNDS:
                error = _distance(step.tracks[:, 1:] - step.future)
                known = None if not scenarios.world.recorded else ~np.isnan(error)
                near = _near_plan(step)
                errors.add(error, known)
                near_plan.add(error, near if known is None else near & known)
            if progress:
                progress(first + len(block) - int((~ended).sum()), total)
    if progress:
        progress(total, total)
    return Result("".join(outcomes), count_failures(scenarios, outcomes, boxed_in), errors, near_plan)


def _near_plan(step: Step) -> np.ndarray:
    """bool [A, T, N]: which obstacles will be near where the agent means to be."""
    # A published plan is shorter than the horizon.
    cells = step.plan.cells[:, 1:, None]
    near = np.zeros(step.future.shape[:-1], bool)
    near[:, : cells.shape[1]] = _distance(cells - step.future[:, : cells.shape[1]]) < NEAR
    return near


def _distance(between: np.ndarray) -> np.ndarray:
    """Lengths [...] of vectors [..., 2]."""
    return np.sqrt(np.sum(between**2, axis=-1))


def count_failures(scenarios: Scenarios, outcomes: np.ndarray, boxed_in: np.ndarray) -> dict[str, int]:
    """Failed episodes by FAILURES; `outcomes` and `boxed_in` are [E]."""
    failed = outcomes != SUCCESS
    walled_off = failed.copy()
    worlds = (scenarios.static, scenarios.start, scenarios.goal)
    walled_off[failed] = [not connected(*one) for one in zip(*(a[failed] for a in worlds), strict=True)]
    causes = (
        walled_off,
        boxed_in & ~walled_off,
        (outcomes == COLLISION) & ~boxed_in & ~walled_off,
        (outcomes == TIMEOUT) & ~walled_off,
    )
    return {name: int(cause.sum()) for name, cause in zip(FAILURES, causes, strict=True)}


# ---------------------------------------------------------------- the loop


class _Running(NamedTuple):
    """Everything of the episodes that still run, its first axis A throughout."""

    episodes: np.ndarray  # int64 [A]
    agent: np.ndarray  # int64 [A, 2]
    state: Obstacles
    past: Observation  # its gaps yet to be filled


def play(scenarios: Scenarios, protocol: CellProtocol, predictor: Predictor) -> Iterator[Step]:
    """Run all scenarios to their end, a step at a time."""
    world = scenarios.world
    running = _wait(scenarios)
    free = space_time_astar.free_cells(scenarios.static)
    for now in range(world.history, world.history + world.until(protocol.limit(world.size))):
        following = dynamics.step(scenarios, running.state, running.agent, now)
        _, future = dynamics.roll(scenarios, protocol.horizon - 1, following, now + 1, running.agent)
        tracks = _predict(world, predictor, running, future)
        plan = _plan(world, protocol, free, running.agent, scenarios.goal, tracks)
        step = _act(world, protocol, free, scenarios.goal, running, tracks, future, plan)
        yield step
        kept = step.outcomes == ""
        if not kept.any():
            return
        running = running._replace(agent=plan.cells[:, 1], state=following)
        running = _look(scenarios, running, now + 1)
        if not kept.all():
            scenarios, free = scenarios.select(kept), free[:, kept]
            running = dynamics.select(running, kept)


def _wait(scenarios: Scenarios) -> _Running:
    """The history steps: the agent stays at the start and watches."""
    n, history = len(scenarios), scenarios.world.history
    nothing = np.zeros((n, history, *scenarios.positions.shape[1:]))
    agents = np.repeat(scenarios.start[:, None], history, axis=1).astype(np.float64)
    past = Observation(nothing, nothing[..., 0].astype(bool), agents, scenarios.static)
    running = _Running(np.arange(n), scenarios.start, scenarios.obstacles, past)
    for now in range(history):
        state = dynamics.step(scenarios, running.state, running.agent, now)
        running = _look(scenarios, running._replace(state=state), now + 1)
    return running


def _look(scenarios: Scenarios, running: _Running, now: int) -> _Running:
    """What is seen at time `now` becomes the newest entry of the history."""
    *past, static = running.past
    newest = (*motion.observe(scenarios.world, running.state, now), running.agent)
    pushed = (
        np.concatenate([old[:, 1:], new[:, None]], axis=1) for old, new in zip(past, newest, strict=True)
    )
    return running._replace(past=Observation._make((*pushed, static)))


def _predict(world: World, predictor: Predictor, running: _Running, future: np.ndarray) -> np.ndarray:
    """Positions now and predicted, [A, T + 1, N, 2], by a predictor or one of BOUNDS.

    Of a recorded world's obstacle that is not there now they are NaN.
    """
    if predictor in BOUNDS:
        tracks = np.concatenate([running.state.position[:, None], future], axis=1)
        return tracks if predictor == "oracle" else tracks[:, :, :0]
    assert callable(predictor), predictor
    history = dynamics.fill(running.past.history, running.past.observed)
    predicted = np.asarray(predictor(running.past._replace(history=history), future.shape[1]), np.float64)
    if not (np.abs(predicted) < FURTHEST).all():  # NaN fails this too
        raise RequestError(DIVERGED)
    tracks = np.concatenate([history[:, -1:], predicted], axis=1)
    if world.recorded:
        tracks = np.where(running.past.observed[:, -1, None, :, None], tracks, np.nan)
    return tracks


def _plan(
    world: World, protocol: CellProtocol, free: np.ndarray, start: np.ndarray, goal: np.ndarray, tracks
) -> Plan:
    if protocol.swept:
        gaps = bool(world.recorded)
        return space_time_astar.plan_swept(free, start, goal, tracks, protocol.planning_radius, gaps)
    # The published search ends at plan time horizon - 1, shifted index or not.
    shift = protocol.index_shift
    tracks = tracks[:, 1 + shift : protocol.horizon + shift]
    return space_time_astar.plan_sampled(free, start, goal, tracks, protocol.planning_radius)


def _act(world: World, protocol: CellProtocol, free, goal, running, tracks, future, plan: Plan) -> Step:
    """Make the planned moves, and judge them."""
    here, there = running.agent, plan.cells[:, 1]
    obstacles, moved = running.state.position, future[:, 0]
    if world.recorded:
        obstacles, moved = known_ends(obstacles, moved)
    at_goal = np.linalg.norm(there - goal, axis=1) < protocol.goal_tolerance
    after = there[:, None] - moved
    before = here[:, None] - obstacles if protocol.swept else after
    hit = (swept_distance(before, after) < protocol.collision_radius).any(axis=1)
    collided = hit if protocol.swept else hit & ~at_goal
    outcomes = np.where(collided, COLLISION, np.where(at_goal, SUCCESS, ""))
    boxed_in = collided.copy()
    if collided.any():
        met = (free[:, collided], here[collided], obstacles[collided], moved[collided])
        best = space_time_astar.clearances(*met).max(axis=1)
        boxed_in[collided] = best < protocol.collision_radius
    now = running.state.position
    return Step(running.episodes, here, now, tracks, future, plan, outcomes, boxed_in)


# ---------------------------------------------------------------- one episode, recorded


def trace(scenarios: Scenarios, protocol: CellProtocol, predictor: Predictor) -> CellTrace:
    """Record the episode of `scenarios`, which must hold one scenario."""
    if len(scenarios) != 1:
        raise ValueError(f"{len(scenarios)} scenarios; a trace is of one")
    steps = list(play(scenarios, protocol, predictor))
    last = steps[-1]
    return CellTrace(
        outcome=str(last.outcomes[0]) or TIMEOUT,
        agent=np.array([step.agent[0] for step in steps] + [last.plan.cells[0, 1]]),
        obstacles=np.array([step.obstacles[0] for step in steps] + [last.future[0, 0]]),
        observed=np.array([step.tracks[0, 0] for step in steps]),
        predicted=np.array([step.tracks[0, 1:] for step in steps]),
        plan=np.array([step.plan.cells[0] for step in steps]),
    )
