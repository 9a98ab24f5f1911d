"""The closed loop, all episodes in lockstep: observe, predict, plan, act, judge.

Shapes: E episodes of which A are still running, N obstacles, H history steps, T = horizon.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hrm_jax.errors import RequestError
from hrm_jax.planning import space_time_astar, world
from hrm_jax.planning.geometry import swept_distance
from hrm_jax.planning.protocols import Protocol
from hrm_jax.planning.space_time_astar import Plan
from hrm_jax.planning.world import Scenarios

SUCCESS, COLLISION, TIMEOUT = "1", "0", "T"
BOUNDS = ("oracle", "blind")  # the true future; no obstacles at all
FURTHEST = 1e6  # cells; a prediction beyond it has diverged
BLOCK = 500  # episodes at a time: bounds memory, and larger blocks are no faster

Predict = Callable[[np.ndarray, int], np.ndarray]  # history [A, H, N, 2], T -> [A, T, N, 2]
Predictor = Predict | str  # a function, or one of BOUNDS


class Step(NamedTuple):
    """One step of the episodes that were running when it began."""

    episodes: np.ndarray  # int64 [A], indices into the scenarios
    agent: np.ndarray  # int64 [A, 2], before the move
    observed: np.ndarray  # float64 [A, N, 2], obstacles before the move
    predicted: np.ndarray  # float64 [A, T, N, 2]; N = 0 for "blind"
    plan: Plan
    succeeded: np.ndarray  # bool [A]
    collided: np.ndarray  # bool [A]


def run(
    scenarios: Scenarios,
    protocol: Protocol,
    predictor: Predictor,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Outcomes, one character per scenario in order: SUCCESS, COLLISION or TIMEOUT.

    `progress`, if given, is called with (episodes finished, episodes in all) after every step.
    """
    total = len(scenarios)
    outcomes = np.full(total, TIMEOUT)
    for first in range(0, total, BLOCK):
        block = scenarios.select(slice(first, first + BLOCK))
        for step in play(block, protocol, predictor):
            outcomes[first + step.episodes[step.succeeded]] = SUCCESS
            outcomes[first + step.episodes[step.collided]] = COLLISION
            if progress:
                running = len(step.episodes) - (step.succeeded | step.collided).sum()
                progress(first + len(block) - int(running), total)
    if progress:
        progress(total, total)
    return "".join(outcomes)


def play(scenarios: Scenarios, protocol: Protocol, predictor: Predictor) -> Iterator[Step]:
    """Run all scenarios to their end, a step at a time."""
    history, horizon = scenarios.world.history, protocol.horizon
    truth = world.tracks(scenarios, history + protocol.steps + horizon)
    free = space_time_astar.free_cells(scenarios.static)
    agent, goal = scenarios.start.copy(), scenarios.goal
    running = np.arange(len(scenarios))
    for now in range(history, history + protocol.steps):
        seen = truth[running, now - history + 1 : now + 1]
        future = truth[running, now + 1 : now + 1 + horizon]
        predicted = _predict(predictor, seen, future)
        observed = seen[:, -1, : predicted.shape[2]]
        plan = _plan(protocol, free[:, running], agent[running], goal[running], observed, predicted)
        there = plan.cells[:, 1]
        succeeded, collided = _judge(
            protocol, agent[running], there, goal[running], seen[:, -1], future[:, 0]
        )
        yield Step(running, agent[running], seen[:, -1], predicted, plan, succeeded, collided)
        agent[running] = there
        running = running[~(succeeded | collided)]
        if not running.size:
            return


def _predict(predictor: Predictor, seen: np.ndarray, future: np.ndarray) -> np.ndarray:
    """Predicted positions [A, T, N, 2] by a predictor or one of BOUNDS."""
    if predictor == "oracle":
        return future
    if predictor == "blind":
        return future[:, :, :0]
    predicted = np.asarray(predictor(seen, future.shape[1]), np.float64)
    if not (np.abs(predicted) < FURTHEST).all():  # NaN fails this too
        raise RequestError(f"predicts positions that are not finite, or over {FURTHEST:.0e} cells away")
    return predicted


def _plan(
    protocol: Protocol,
    free: np.ndarray,
    agent: np.ndarray,
    goal: np.ndarray,
    observed: np.ndarray,
    predicted: np.ndarray,
) -> Plan:
    if protocol.swept:
        tracks = np.concatenate([observed[:, None], predicted], axis=1)
        return space_time_astar.plan_swept(free, agent, goal, tracks, protocol.planning_radius)
    # The published search ends at plan time horizon - 1, shifted index or not.
    first = protocol.index_shift
    tracks = predicted[:, first : first + protocol.horizon - 1]
    return space_time_astar.plan_sampled(free, agent, goal, tracks, protocol.planning_radius)


def _judge(
    protocol: Protocol,
    here: np.ndarray,
    there: np.ndarray,
    goal: np.ndarray,
    observed: np.ndarray,
    arrived: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Who succeeds and who collides [A], going from `here` to `there` while obstacles move on."""
    at_goal = np.linalg.norm(there - goal, axis=1) < protocol.goal_tolerance
    after = there[:, None] - arrived
    before = here[:, None] - observed if protocol.swept else after
    hit = (swept_distance(before, after) < protocol.collision_radius).any(axis=1)
    return (at_goal & ~hit, hit) if protocol.swept else (at_goal, hit & ~at_goal)


# ---------------------------------------------------------------- one episode, recorded


@dataclass(frozen=True)
class Trace:
    """One episode, step by step, for figures and players. S steps were made."""

    outcome: str
    agent: np.ndarray  # int64 [S + 1, 2]
    obstacles: np.ndarray  # float64 [S + 1, N, 2]
    predicted: np.ndarray  # float64 [S, T, N, 2]; [t, k] is the prediction at t for t + k + 1
    plans: list[np.ndarray]  # S arrays int64 [L + 1, 2]: the planned cells, the agent's first


def trace(scenarios: Scenarios, protocol: Protocol, predictor: Predictor) -> Trace:
    """Record the episode of `scenarios`, which must hold one scenario."""
    if len(scenarios) != 1:
        raise ValueError(f"{len(scenarios)} scenarios; a trace is of one")
    steps = list(play(scenarios, protocol, predictor))
    last = steps[-1]
    history = scenarios.world.history
    truth = world.tracks(scenarios, history + len(steps))[0]
    return Trace(
        outcome=SUCCESS if last.succeeded[0] else COLLISION if last.collided[0] else TIMEOUT,
        agent=np.array([step.agent[0] for step in steps] + [last.plan.cells[0, 1]]),
        obstacles=truth[history:],
        predicted=np.array([step.predicted[0] for step in steps]),
        plans=[_planned(step.plan) for step in steps],
    )


def _planned(plan: Plan) -> np.ndarray:
    """The planned cells of the only episode; a forced move counts as a plan of one."""
    return plan.cells[0, : max(int(plan.length[0]), 1) + 1]
