"""Walkers that nothing was trained for: what the roll-outs of a model have to beat.

A walker goes on to a cell that it has not visited, where there is one, else to any; which of them is decided
by chance, or by the Manhattan distance to the goal (ties: north, south, west, east), as in the original.
"""

from collections.abc import Callable, Iterator

import numpy as np

from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.lattice import answers, law
from hrm_jax.puzzles.lattice.answers import SLACK, Walked
from hrm_jax.puzzles.lattice.law import Mazes
from hrm_jax.worlds import lattice

LEGACY = "pot/2025-10"  # the original's protocol: walls ignored, N moves
BUDGET = 4  # moves over cells of the board, with walls

Prefer = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # cells [K, 4], goals [K], size -> [K, 4]


def uniform(seed: int) -> Prefer:
    """Any cell, by chance."""
    rng = np.random.default_rng([seed, 0x3A])
    return lambda cells, goals, size: rng.random(cells.shape, np.float32)


def manhattan(cells: np.ndarray, goals: np.ndarray, size: int) -> np.ndarray:
    """The cell that is nearest to the goal, walls or not."""
    (row, column), (goal_row, goal_column) = np.divmod(cells, size), np.divmod(goals[:, None], size)
    return np.abs(row - goal_row) + np.abs(column - goal_column)


def walk(mazes: Mazes, prefer: Prefer, budget: int) -> np.ndarray:
    """int [M]: after how many moves, at most `budget`, a walk is at the goal; `UNREACHABLE`: it is not."""
    size = lattice.side(mazes.open)
    visited = np.zeros(mazes.open.shape, bool)
    steps = np.where(mazes.start == mazes.goal, 0, lattice.UNREACHABLE)
    going, here = np.flatnonzero(steps), mazes.start[steps > 0]
    for step in range(1, budget + 1):
        visited[going, here] = True
        allowed = mazes.open[going, here, None] >> np.arange(4) & 1 == 1
        cells = np.where(allowed, here[:, None] + lattice.shifts(size), here[:, None])
        fresh = allowed & ~visited[going[:, None], cells]
        candidates = np.where(fresh.any(axis=1, keepdims=True), fresh, allowed)
        chosen = np.where(candidates, prefer(cells, mazes.goal[going], size), np.inf).argmin(axis=1)
        here = cells[np.arange(len(cells)), chosen]
        steps[going[here == mazes.goal[going]]] = step
        left = here != mazes.goal[going]
        going, here = going[left], here[left]
        if not len(going):
            break
    return steps


def judged(puzzles: PuzzleSet, count: int, seed: int = 0) -> Iterator[tuple[str, int, Walked]]:
    """Every walker's name, its budget of moves, and its walks through the first `count` mazes, one each."""
    mazes = law.read(np.asarray(puzzles.inputs[:count]))
    least = answers.shortest(mazes, np.asarray(puzzles.labels[:count]))
    cells = mazes.open.shape[1]
    board = mazes._replace(open=np.tile(lattice.everywhere(np, puzzles.height), (count, 1)))
    for walker, prefer in (("random walk", uniform(seed)), ("Manhattan walk", manhattan)):
        yield walker, BUDGET * cells, answers.walked(walk(mazes, prefer, BUDGET * cells), least)
        yield f"{walker}, {LEGACY}", cells, answers.walked(walk(board, prefer, cells), least, SLACK)
