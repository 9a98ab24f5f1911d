"""Walkers that nothing was trained for: what the roll-outs of a model have to beat.

A walker goes on to a cell that it has not visited, where there is one, else to any; which of them is decided
by chance, or by the Manhattan distance to the goal (ties: north, south, west, east), as in the original. So
walk models by the original's protocol, too: asked anew after every move, with the start moved along.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.lattice import answers, law
from hrm_jax.puzzles.lattice.answers import SLACK, Walked
from hrm_jax.puzzles.lattice.law import Mazes
from hrm_jax.worlds import lattice

LEGACY = "pot/2025-10"  # the original's protocol: walls ignored, N moves
BUDGET = 4  # moves over cells of the board, with walls

Scores = Callable[[np.ndarray], np.ndarray]  # of inputs [K, N]: how good moves are, [K, N, 4], walls or not


class Standing(NamedTuple):
    """Where K walks stand."""

    mazes: Mazes  # theirs, the start where they are now
    cells: np.ndarray  # [K, 4] where moves lead
    size: int  # cells a side


Prefer = Callable[[Standing], np.ndarray]  # [K, 4], the least is taken


def uniform(seed: int) -> Prefer:
    """Any cell, by chance."""
    rng = np.random.default_rng([seed, 0x3A])
    return lambda at: rng.random(at.cells.shape, np.float32)


def manhattan(at: Standing) -> np.ndarray:
    """The cell that is nearest to the goal, walls or not."""
    (row, column), (goal_row, goal_column) = np.divmod(at.cells, at.size), np.divmod(at.mazes.goal, at.size)
    return np.abs(row - goal_row[:, None]) + np.abs(column - goal_column[:, None])


def of_model(scores: Scores) -> Prefer:
    """The cell that a model's scores put first."""

    def prefer(at: Standing) -> np.ndarray:
        found = scores(lattice.tokens(np, *at.mazes))
        return -found[np.arange(len(found)), at.mazes.start]

    return prefer


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
        standing = Standing(Mazes(mazes.open[going], here, mazes.goal[going]), cells, size)
        chosen = np.where(candidates, prefer(standing), np.inf).argmin(axis=1)
        here = cells[np.arange(len(cells)), chosen]
        steps[going[here == mazes.goal[going]]] = step
        left = here != mazes.goal[going]
        going, here = going[left], here[left]
        if not len(going):
            break
    return steps


def judged(
    puzzles: PuzzleSet, count: int, models: Mapping[str, Scores], seed: int = 0
) -> Iterator[tuple[str, int, Walked]]:
    """Every walker's name, its budget of moves, and its walks through the first `count` mazes, one each.

    Models walk by the original's protocol alone.
    """
    mazes = law.read(np.asarray(puzzles.inputs[:count]))
    least = answers.shortest(mazes, np.asarray(puzzles.labels[:count]))
    cells = mazes.open.shape[1]
    board = mazes._replace(open=np.tile(lattice.everywhere(np, puzzles.height), (count, 1)))

    def published(name: str, prefer: Prefer) -> tuple[str, int, Walked]:
        """By the original's protocol: N moves, walls ignored."""
        return f"{name}, {LEGACY}", cells, answers.walked(walk(board, prefer, cells), least, SLACK)

    for walker, prefer in (("random walk", uniform(seed)), ("Manhattan walk", manhattan)):
        yield walker, BUDGET * cells, answers.walked(walk(mazes, prefer, BUDGET * cells), least)
        yield published(walker, prefer)
    for name, scores in models.items():
        yield published(name, of_model(scores))
