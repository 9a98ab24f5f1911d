"""Planner speed: episodes per second under `standard` with the oracle, against a plain loop.

python benchmarks/planner.py [--episodes 1000] [--plain 3]

The plain loop is what the documents describe: A* with a heap, one norm per neighbour per obstacle,
one episode at a time. Both judge the same scenarios in the same run, and their outcomes must agree.
"""

import argparse
import heapq
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from hrm_jax.artefacts.scenarios import Scenarios  # noqa: E402
from hrm_jax.referee import drawing, dynamics
from hrm_jax.referee.cells import episode  # noqa: E402
from hrm_jax.referee.protocols import PROTOCOLS  # noqa: E402
from hrm_jax.worlds.world import WORLDS  # noqa: E402

MOVES = [np.array(move) for move in ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 0))]
STANDARD = PROTOCOLS["standard"]


def clearance(here: np.ndarray, there: np.ndarray, now: np.ndarray, then: np.ndarray) -> float:
    """Smallest swept distance to the obstacles [N, 2], one norm each."""
    smallest = np.inf
    for p, q in zip(now, then, strict=True):
        before, travel = here - p, (there - q) - (here - p)
        along = travel @ travel
        fraction = min(max(-(before @ travel) / along, 0.0), 1.0) if along else 0.0
        smallest = min(smallest, np.linalg.norm(before + fraction * travel))
    return smallest


def next_cell(static: np.ndarray, start: np.ndarray, goal: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """First cell of the space-time A* plan; `tracks` [horizon + 1, N, 2], the first observed."""
    first, parents = (*start.tolist(), 0), {(*start.tolist(), 0): None}
    queue, deepest = [(int(np.abs(start - goal).sum()), 0, first)], None
    while queue:
        f, g, node = heapq.heappop(queue)
        cell = np.array(node[:2])
        if deepest is None or (-g, f, node) < deepest:
            deepest = (-g, f, node)
        if (cell == goal).all():
            deepest = (-g, f, node)
            break
        if g == STANDARD.horizon:
            continue
        for move in MOVES:
            there = cell + move
            child = (*there.tolist(), g + 1)
            if child in parents or (there < 0).any() or (there >= len(static)).any():
                continue
            if static[tuple(there)]:
                continue
            if clearance(cell, there, tracks[g], tracks[g + 1]) < STANDARD.planning_radius:
                continue
            parents[child] = node
            heapq.heappush(queue, (g + 1 + int(np.abs(there - goal).sum()), g + 1, child))
    node = deepest[2]
    if node == first:
        return least_bad(static, start, tracks)
    while parents[node] != first:
        node = parents[node]
    return np.array(node[:2])


def least_bad(static: np.ndarray, start: np.ndarray, tracks: np.ndarray) -> np.ndarray:
    """The neighbour of largest clearance where no move is safe."""
    ways = [start + move for move in MOVES]
    inside = [way for way in ways if (way >= 0).all() and (way < len(static)).all()]
    free = [way for way in inside if not static[tuple(way)]]
    return max(free, key=lambda way: clearance(start, way, tracks[0], tracks[1]))


def plain_episode(scenario: Scenarios) -> str:
    """Outcome of one episode with the oracle."""
    history, horizon = scenario.world.history, STANDARD.horizon
    truth = dynamics.roll(scenario, history + STANDARD.steps + horizon)[1][0]
    static, agent, goal = scenario.static[0], scenario.start[0], scenario.goal[0]
    for now in range(history, history + STANDARD.steps):
        there = next_cell(static, agent, goal, truth[now : now + horizon + 1])
        if clearance(agent, there, truth[now], truth[now + 1]) < STANDARD.collision_radius:
            return episode.COLLISION
        if (there == goal).all():
            return episode.SUCCESS
        agent = there
    return episode.TIMEOUT


def main() -> None:
    """Time both and print their rates and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=1000, help="for the lockstep planner")
    parser.add_argument("--plain", type=int, default=3, help="episodes for the plain loop")
    options = parser.parse_args()

    scenarios = drawing.draw(WORLDS["standard"], range(options.episodes))
    began = time.perf_counter()
    outcomes = episode.run(scenarios, STANDARD, "oracle").outcomes
    lockstep = options.episodes / (time.perf_counter() - began)

    began = time.perf_counter()
    plain = [plain_episode(scenarios.select(slice(e, e + 1))) for e in range(options.plain)]
    loop = options.plain / (time.perf_counter() - began)
    if "".join(plain) != outcomes[: options.plain]:
        raise SystemExit(f"outcomes differ: {''.join(plain)} and {outcomes[: options.plain]}")

    print(f"lockstep: {lockstep:10.2f} episodes/s  ({options.episodes} episodes)")
    print(f"plain:    {loop:10.4f} episodes/s  ({options.plain} episodes)")
    print(f"ratio:    {lockstep / loop:10.0f}")


if __name__ == "__main__":
    main()
