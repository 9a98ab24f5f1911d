"""The law of lattice mazes: lattices with a start and a goal, and what is shown and asked of them."""

from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles.lattice.generators import GENERATORS, SHARE
from hrm_jax.worlds import lattice

PILOT = 4096  # mazes from which `acceptance` is estimated
BLOCK = 256  # mazes at a time: their arrays stay in the cache


class Mazes(NamedTuple):
    """M mazes with a way from start to goal."""

    open: np.ndarray  # uint8 [M, N], as in `worlds.lattice`
    start: np.ndarray  # int [M], cells
    goal: np.ndarray  # int [M]

    def of(self, chosen: np.ndarray) -> "Mazes":
        """Those `chosen`."""
        return Mazes(*(array[chosen] for array in self))


def draw(
    rng: np.random.Generator, count: int, size: int, generator: str, least: int, share: float = SHARE
) -> Mazes:
    """Those of `count` mazes whose shortest path has `least` cells or more, both ends counted.

    Start is uniform over the cells, goal over the others that can be reached; a start without any is none.
    """
    open = GENERATORS[generator](rng, count, size, share)
    start = rng.integers(size * size, size=count)
    steps = distances(open, start)
    others = (steps > 0) & (steps < lattice.UNREACHABLE)
    goal = np.where(others, rng.random(others.shape, np.float32), -1).argmax(axis=1)
    long_enough = others.any(axis=1) & (steps[np.arange(count), goal] + 1 >= least)
    return Mazes(open, start, goal).of(long_enough)


def acceptance(size: int, generator: str, least: int, share: float = SHARE) -> float:
    """The share of mazes, estimated from a few thousand, that `draw` keeps: for who waits for such mazes."""
    return len(draw(np.random.default_rng(0), PILOT, size, generator, least, share).open) / PILOT


def distances(open: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """`lattice.distances` int16 [M, N], for some mazes at a time."""
    blocks = [slice(first, first + BLOCK) for first in range(0, max(len(open), 1), BLOCK)]
    return np.concatenate([lattice.distances(np, open[block], goal[block]) for block in blocks])


def examples(mazes: Mazes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(inputs, labels) uint8 [M, N], and the cells of the shortest paths int32 [M]."""
    steps = distances(mazes.open, mazes.goal)
    length = steps[np.arange(len(steps)), mazes.start].astype(np.int32) + 1
    return lattice.tokens(np, *mazes), lattice.labels(np, mazes.open, steps), length


def paths(mazes: Mazes) -> tuple[np.ndarray, np.ndarray]:
    """The canonical shortest paths: cells int [M, L], at the end the goal again, and lengths int [M]."""
    labels = examples(mazes)[1]
    length = lattice.roll_out(np, mazes.open, labels.astype(int) - 1, mazes.start, mazes.goal) + 1
    shifts = np.array([0, *lattice.shifts(lattice.side(mazes.open)), 0])
    cells = [mazes.start]
    for _ in range(length.max() - 1):
        cells.append(cells[-1] + shifts[labels[np.arange(len(length)), cells[-1]]])
    return np.stack(cells, axis=1), length


def read(inputs: np.ndarray) -> Mazes:
    """The mazes that inputs [M, N] show."""
    ends = (lattice.marked(inputs, mark) for mark in (lattice.STARTS, lattice.GOALS))
    return Mazes(lattice.masks_of(inputs), *ends)
