"""Cheapest routes on many grids at once, by what entering each cell costs: uint16 [M, H, W].

Cells are given as row * W + column; moves go down, up, right, left. NOWHERE is the cost of a cell that may
not be entered, and that of going on from where there is no way.
"""

import numpy as np

from hrm_jax.puzzles import routes
from hrm_jax.puzzles.city.tokens import NOWHERE

BLOCK = 64  # grids at a time: their arrays stay in the cache
LOOK = 8  # steps between two looks for changes
MOVES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])  # rows and columns: down, up, right, left


def to_go(entering: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """uint16 [M, H, W]: the least cost of the way from each cell to `goal` [M], that of the cell left out.

    The fixed point of: the least, over the neighbours, of entering one and going on from there.
    """
    left = np.full(entering.shape, NOWHERE, np.uint16)
    left[np.arange(len(left)), *divmod(goal, entering.shape[2])] = 0
    for first in range(0, len(left), BLOCK):
        _relax(left[first : first + BLOCK], entering[first : first + BLOCK])
    return left


def _relax(left: np.ndarray, entering: np.ndarray) -> None:
    """Lower `left` to its fixed point, in place."""
    by = np.empty_like(left)
    while True:
        before = left.copy()
        for _ in range(LOOK):
            np.add(left, entering, out=by)
            for here, there in (
                (left[:, :-1], by[:, 1:]),
                (left[:, 1:], by[:, :-1]),
                (left[:, :, :-1], by[:, :, 1:]),
                (left[:, :, 1:], by[:, :, :-1]),
            ):
                np.minimum(here, there, out=here)
        if np.array_equal(left, before):
            return


def cheapest(entering: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """bool [M, H, W]: the cells of the canonical cheapest route, `start` and `goal` [M] among them.

    From the start always the first of down, up, right, left that is on a cheapest way to the goal; where
    there is no way, start and goal alone.
    """
    left = np.pad(to_go(entering, goal), routes.BORDER, constant_values=NOWHERE)
    price = np.pad(entering, routes.BORDER, constant_values=NOWHERE)
    cell, end = (np.stack(divmod(ends, entering.shape[2]), axis=1) + 1 for ends in (start, goal))
    on_route = np.zeros(left.shape, bool)
    grid = np.arange(len(left))
    on_route[grid, *cell.T] = on_route[grid, *end.T] = True
    going = np.flatnonzero((left[grid, *cell.T] > 0) & (left[grid, *cell.T] < NOWHERE))
    while len(going):
        ahead = going[:, None], *np.moveaxis(cell[going, None] + MOVES, -1, 0)
        next_ = (price[ahead] + left[ahead] == left[going, *cell[going].T][:, None]).argmax(axis=1)
        cell[going] += MOVES[next_]
        on_route[going, *cell[going].T] = True
        going = going[left[going, *cell[going].T] > 0]
    return on_route[:, 1:-1, 1:-1]


def number(entering: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """float64 [M]: how many cheapest routes lead from `start` to `goal` [M]; exact up to 2**53."""
    left = np.pad(to_go(entering, goal), routes.BORDER, constant_values=NOWHERE).astype(np.int32)
    price = np.pad(entering, routes.BORDER, constant_values=NOWHERE).astype(np.int32)
    ways = np.where(left == 0, 1.0, 0.0)
    near = np.flatnonzero((left > 0) & (left < NOWHERE))
    near = near[np.argsort(left.flat[near], kind="stable")]  # a way on always costs less
    for cells in np.split(near, np.flatnonzero(np.diff(left.flat[near])) + 1):
        grid, row, column = np.unravel_index(cells, left.shape)
        cost = left[grid, row, column]
        for down, right in MOVES:
            ahead = grid, row + down, column + right
            ways[grid, row, column] += np.where(price[ahead] + left[ahead] == cost, ways[ahead], 0)
    return routes.at(ways[:, 1:-1, 1:-1], start)
