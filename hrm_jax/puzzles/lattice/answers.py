"""Answers to lattice mazes: a move for every cell, judged by rolling it out (docs/puzzles.md#lattice-mazes).

Answers are tokens [..., K, N], 1 + move; what is none goes nowhere.
"""

from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.lattice import law
from hrm_jax.puzzles.lattice.law import Mazes
from hrm_jax.worlds import lattice
from hrm_jax.worlds.lattice import ARRIVED, LARGEST, PAD, UNREACHABLE, VOCABULARY

FORK = 3  # open edges from which on a cell leaves a choice to who does not turn back
PARTS = {"under 10": 2, "10 to 24": 10, "25 to 49": 25, "50 to 99": 50, "100 or more": 100}  # least cells
SLACK = 1.05  # pot/2025-10: cells of a walk that counts as optimal, over those of the shortest path


class Walked(NamedTuple):
    """What became of walks [...] from start to goal."""

    arrived: np.ndarray  # bool
    optimal: np.ndarray  # bool
    efficiency: np.ndarray  # float64: moves of the shortest path over those walked; NaN: never arrived


def walked(steps: np.ndarray, shortest: np.ndarray, slack: float = 1) -> Walked:
    """Walks of so many `steps` [...], judged by the moves of the shortest path; `UNREACHABLE`: no arrival."""
    arrived = steps < UNREACHABLE
    return Walked(
        arrived,
        arrived & (steps + 1 <= slack * (shortest + 1)),
        np.where(arrived, shortest / np.maximum(steps, 1), np.nan),
    )


def shortest(mazes: Mazes, labels: np.ndarray) -> np.ndarray:
    """int [..., K]: moves of the shortest paths from start to goal, by the labels [K, N]."""
    return lattice.roll_out(np, mazes.open, labels.astype(int) - 1, mazes.start, mazes.goal)


def lenient(puzzles: PuzzleSet, index: np.ndarray | slice, answers: np.ndarray) -> np.ndarray:
    """bool [..., K]: which answers [..., K, N] lead from start to goal by a shortest path."""
    mazes, labels = law.read(puzzles.inputs[index]), puzzles.labels[index]
    steps = lattice.roll_out(np, mazes.open, answers.astype(int) - 1, mazes.start, mazes.goal)
    return walked(steps, shortest(mazes, labels)).optimal


def measure(puzzles: PuzzleSet, index: np.ndarray | slice, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Of answers as `lenient` takes them, float64 [..., K] by the names of `kinds`."""
    mazes, labels = law.read(puzzles.inputs[index]), puzzles.labels[index]
    moves, least = answers.astype(int) - 1, shortest(mazes, labels)
    found = walked(lattice.roll_out(np, mazes.open, moves, mazes.start, mazes.goal), least)
    board = lattice.everywhere(np, puzzles.height)
    legacy = walked(lattice.roll_out(np, board, moves, mazes.start, mazes.goal), least, SLACK)
    return {
        "success": found.arrived.astype(np.float64),
        "efficiency": found.efficiency,
        "forks": _forks(mazes, labels, moves),
        "pot_success": legacy.arrived.astype(np.float64),
        "pot_optimal": legacy.optimal.astype(np.float64),
    }


def _forks(mazes: Mazes, labels: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """float64 [..., K]: the share of cells with a choice where the move is an optimal one; NaN: none such."""
    fork = (np.bitwise_count(mazes.open) >= FORK) & (labels != PAD) & (labels != ARRIVED)
    steps = lattice.roll_outs(np, mazes.open, labels.astype(int) - 1, mazes.goal)
    best = lattice.optimal_moves(np, mazes.open, steps)
    best = np.broadcast_to(best, (*moves.shape, 4))
    right = np.take_along_axis(best, np.clip(moves, 0, 3)[..., None], -1)[..., 0]
    right = right & (moves >= 0) & (moves < 4) & fork
    count = fork.sum(axis=-1)
    return np.where(count, right.sum(axis=-1) / np.maximum(count, 1), np.nan)


def part(puzzles: PuzzleSet) -> np.ndarray:
    """int [N]: which of `PARTS` the examples are of, by the cells of their shortest paths."""
    cells = shortest(law.read(np.asarray(puzzles.inputs)), np.asarray(puzzles.labels)) + 1
    return np.searchsorted(list(PARTS.values()), cells, side="right")


def wrong(inputs: np.ndarray, labels: np.ndarray, height: int, width: int, *_: object) -> np.ndarray:
    """Which rows [N] are no lattice maze with the canonical optimal moves.

    The moves of labels are ways to the goal. Where no cell has a neighbour by which its way would be shorter,
    all ways are the shortest: labels need no search to be checked.
    """
    fit = ((inputs > PAD) & (inputs < VOCABULARY)).all(axis=1)
    for mark in (lattice.STARTS, lattice.GOALS):
        fit &= (lattice.marks_of(inputs) == mark).sum(axis=1) == 1
    mazes = law.read(inputs)
    fit &= lattice.sound(np, mazes.open)
    steps = lattice.roll_outs(np, mazes.open, labels.astype(int) - 1, mazes.goal)
    ahead = np.where(lattice.edges(np, mazes.open), lattice.ahead(np, steps, height), UNREACHABLE)
    fit &= (steps <= ahead.min(axis=-1) + 1).all(axis=1)
    fit &= (lattice.labels(np, mazes.open, steps) == labels).all(axis=1)
    return ~(fit & (steps[np.arange(len(steps)), mazes.start] < UNREACHABLE))


def vocabulary(height: int, width: int) -> int:
    """Tokens of boards of so many cells; 0: there are none such."""
    return VOCABULARY if height == width and 2 <= height <= LARGEST else 0
