"""Shortest routes in many mazes at once: distances, a route, the number of routes.

Mazes are `free` bool [M, H, W]; cells are given as row * W + column; moves go down, left, right, up.
"""

import functools
from collections.abc import Callable

import numpy as np

NOWHERE = -1  # distance of a cell that cannot be reached
BLOCK = 256  # mazes at a time: their arrays stay in the cache
BORDER = ((0, 0), (1, 1), (1, 1))  # what `np.pad` adds to mazes, that every cell has four neighbours
MOVES = np.array([(1, 0), (0, -1), (0, 1), (-1, 0)])  # rows and columns: down, left, right, up


def _in_blocks(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The same function of arrays of M mazes, computed for `BLOCK` mazes at a time."""

    @functools.wraps(function)
    def by_blocks(*arrays: np.ndarray) -> np.ndarray:
        blocks = (slice(n, n + BLOCK) for n in range(0, max(len(arrays[0]), 1), BLOCK))
        return np.concatenate([function(*(array[block] for array in arrays)) for block in blocks])

    return by_blocks


@_in_blocks
def distances(free: np.ndarray, source: np.ndarray) -> np.ndarray:
    """int16 [M, H, W]: steps from cell `source` [M] to every free cell, -1 where there is no way."""
    count, height, width = free.shape
    open_ = np.pad(free, BORDER)
    steps = np.full(open_.shape, NOWHERE, np.int16)
    layer = np.zeros_like(open_)
    layer[np.arange(count), source // width + 1, source % width + 1] = True
    step = 0
    while layer.any():
        steps[layer] = step
        open_ &= ~layer
        adjacent = np.zeros_like(open_)
        adjacent[:, 1:] |= layer[:, :-1]
        adjacent[:, :-1] |= layer[:, 1:]
        adjacent[:, :, 1:] |= layer[:, :, :-1]
        adjacent[:, :, :-1] |= layer[:, :, 1:]
        layer = adjacent & open_
        step += 1
    return steps[:, 1:-1, 1:-1]


def at(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The values [M] of grids [M, H, W] at a cell [M] of each."""
    width = values.shape[2]
    return values[np.arange(len(values)), cell // width, cell % width]


def shortest(
    free: np.ndarray, start: np.ndarray, goal: np.ndarray, rng: np.random.Generator | None = None
) -> np.ndarray:
    """bool [M, H, W]: the cells of a shortest route, `start` and `goal` [M] among them.

    With `rng` one at random, at every step to any of the cells that are nearer; `start` and `goal` alone
    where there is none. Else the canonical one, that of the published labels, the first in the order down <
    left < right < up: from the start, always the first of these whose distance to the goal is one smaller. It
    is the route that a breadth-first search from the start finds with a first-in-first-out queue and
    neighbours in that order (docs/puzzles.md#mazes).
    """
    moves = MOVES if rng is None else MOVES[[3, 0, 1, 2]]
    steps = np.pad(distances(free, goal), BORDER, constant_values=NOWHERE)
    cell, end = (np.stack(divmod(ends, free.shape[2]), axis=1) + 1 for ends in (start, goal))
    maze = np.arange(len(free))
    left = steps[maze, *cell.T]
    if rng is None and (left < 0).any():
        raise ValueError("a goal that cannot be reached from its start")
    on_route = np.zeros(steps.shape, bool)
    on_route[maze, *cell.T] = on_route[maze, *end.T] = True
    for step in range(1, left.max(initial=0)):
        going = np.flatnonzero(left > step)
        adjacent = cell[going, None] + moves
        ahead = steps[going[:, None], adjacent[..., 0], adjacent[..., 1]]
        nearer = ahead == (left[going] - step)[:, None]
        rank = nearer if rng is None else np.where(nearer, rng.random(nearer.shape), -1)
        cell[going] = adjacent[np.arange(len(going)), rank.argmax(axis=1)]
        on_route[going, *cell[going].T] = True
    return on_route[:, 1:-1, 1:-1]


@_in_blocks
def number(free: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """float64 [M]: how many shortest routes lead from `start` to `goal` [M]; exact up to 2**53.

    Every cell, in the order of their distance, takes the sum of its neighbours that are one nearer.
    """
    steps = np.pad(distances(free, start), BORDER, constant_values=NOWHERE)
    ways = np.where(steps == 0, 1.0, 0.0)
    for step in range(1, steps.max(initial=0) + 1):
        maze, row, column = np.nonzero(steps == step)
        for down, right in MOVES:
            adjacent = maze, row + down, column + right
            ways[maze, row, column] += np.where(steps[adjacent] == step - 1, ways[adjacent], 0)
    return at(ways[:, 1:-1, 1:-1], goal)
