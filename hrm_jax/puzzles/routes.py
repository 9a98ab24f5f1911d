"""Shortest routes in many mazes at once: distances, the canonical route, the number of routes.

Mazes are `free` bool [M, H, W]; cells are given as row * W + column; moves go down, left, right, up.
"""

import numpy as np

NOWHERE = -1  # distance of a cell that cannot be reached
BLOCK = 256  # mazes at a time: their arrays stay in the cache


def distances(free: np.ndarray, source: np.ndarray) -> np.ndarray:
    """int16 [M, H, W]: steps from cell `source` [M] to every free cell, -1 where there is no way."""
    out = np.empty(free.shape, np.int16)
    for first in range(0, len(free), BLOCK):
        block = slice(first, first + BLOCK)
        out[block] = _distances(free[block], source[block])
    return out


def _distances(free: np.ndarray, source: np.ndarray) -> np.ndarray:
    count, height, width = free.shape
    open_ = np.zeros((count, height + 2, width + 2), bool)  # a border of walls
    open_[:, 1:-1, 1:-1] = free
    steps = np.full(open_.shape, NOWHERE, np.int16)
    layer = np.zeros_like(open_)
    layer[np.arange(count), source // width + 1, source % width + 1] = True
    step = 0
    while layer.any():
        steps[layer] = step
        open_ &= ~layer
        beside = np.zeros_like(open_)
        beside[:, 1:] |= layer[:, :-1]
        beside[:, :-1] |= layer[:, 1:]
        beside[:, :, 1:] |= layer[:, :, :-1]
        beside[:, :, :-1] |= layer[:, :, 1:]
        layer = beside & open_
        step += 1
    return steps[:, 1:-1, 1:-1]


def canonical(free: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """bool [M, H, W]: the cells of the route of the published labels, `start` and `goal` [M] among them.

    Of all shortest routes the first in the order down < left < right < up: from the start, always the first
    of these whose distance to the goal is one smaller. It is the route that a breadth-first search from the
    start finds with a first-in-first-out queue and neighbours in that order (docs/puzzles.md#mazes).
    """
    count, height, width = free.shape
    padded = np.full((count, height + 2, width + 2), NOWHERE, np.int16)
    padded[:, 1:-1, 1:-1] = distances(free, goal)
    padded = padded.reshape(count, (height + 2) * (width + 2))
    stride = width + 2
    moves = np.array([stride, -1, 1, -stride])  # down, left, right, up
    cell = (start // width + 1) * stride + start % width + 1
    maze = np.arange(count)
    left = padded[maze, cell].copy()
    if (left < 0).any():
        raise ValueError("a goal that cannot be reached from its start")
    on_route = np.zeros(padded.shape, bool)
    on_route[maze, cell] = True
    while (left > 0).any():
        beside = cell[:, None] + moves
        nearer = padded[maze[:, None], beside] == left[:, None] - 1
        nearer &= (left > 0)[:, None]
        cell = cell + np.where(left > 0, moves[nearer.argmax(axis=1)], 0)
        on_route[maze, cell] = True
        left = np.maximum(left - 1, 0)
    return on_route.reshape(count, height + 2, width + 2)[:, 1:-1, 1:-1]


def number(free: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """float64 [M]: how many shortest routes lead from `start` to `goal` [M]; exact up to 2**53."""
    out = np.empty(len(free))
    for first in range(0, len(free), BLOCK):
        block = slice(first, first + BLOCK)
        out[block] = _number(free[block], start[block], goal[block])
    return out


def _number(free: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The cells in order of their distance: each takes the sum of its neighbours that are one nearer."""
    count, height, width = free.shape
    steps = np.full((count, height + 2, width + 2), NOWHERE - 1, np.int16)
    steps[:, 1:-1, 1:-1] = distances(free, start)
    steps = steps.ravel()
    stride = width + 2
    size = (height + 2) * stride
    maze = np.arange(count) * size
    ways = np.zeros(steps.shape)
    ways[maze + (start // width + 1) * stride + start % width + 1] = 1
    order = np.argsort(steps, kind="stable")
    ends = np.searchsorted(steps[order], np.arange(1, steps.max(initial=0) + 2))
    for step, (first, last) in enumerate(zip(ends[:-1], ends[1:], strict=True), start=1):
        cells = order[first:last]
        for move in (stride, -1, 1, -stride):
            ways[cells] += np.where(steps[cells + move] == step - 1, ways[cells + move], 0)
    return ways[maze + (goal // width + 1) * stride + goal % width + 1]
