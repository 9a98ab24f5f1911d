"""The law of maze-hard, drawn exactly and quickly (docs/puzzles.md, "Mazes").

Rejection sampling would keep one of 55,000 draws at 30x30. Of every wall map all pairs (start, goal) with a
route of at least `shortest` cells, both ends included, are counted instead, and the map brings as many mazes
as so many random pairs would: a binomial number, each with one of its pairs, none twice. Sets of cells are
words [H, M], see `flood`.
"""

import math
from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles import flood

DRAWN = 2**13  # maps drawn at a time: their arrays stay in the cache


# ---------------------------------------------------------------- the maps


def draw(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Free cells [H, M] (`flood`) of about `count` maps of `size` x `size`: walls uniform from 30 % to 50 %.

    Every cell is a wall with the map's own probability t / 256, t uniform; of the maps those are kept whose
    number of walls is wanted. Given that number, all sets of so many cells are equally likely, and the number
    is uniform: it would be exactly so for a probability uniform in [0, 1]; leaving out the t from which no
    wanted number lies within six standard deviations, and taking steps of 1 / 256 (a quarter of the standard
    deviation at 30x30), changes its law by less than 1e-8.
    """
    return np.concatenate([_draw(size, min(DRAWN, count - n), rng) for n in range(0, count, DRAWN)], axis=1)


def _draw(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    cells, kind = size * size, flood.word(size)
    low, high = walls(size)
    slack = 6 * (cells / 4) ** 0.5
    first, last = (round(256 * p / cells) for p in (max(low - slack, 0), min(high + slack, cells)))
    threshold = rng.integers(first, last + 1, count)
    row = kind((1 << size) - 1)
    is_wall: np.ndarray = np.zeros((size, count), kind)
    # Of every cell, whether an 8-bit random number is below t, found bit by bit from the last one on: with
    # the complement of its bit it is the majority of that, the bit of t, and what the lower bits say.
    for bit in range(8):
        noise = rng.integers(0, np.iinfo(kind).max, (size, count), kind, endpoint=True)
        one = np.where(threshold >> bit & 1, row, kind(0))
        is_wall = (noise & (is_wall | one)) | (is_wall & one)
    is_wall |= np.where(threshold == 256, row, kind(0))
    number = flood.count(is_wall)
    return row & ~is_wall[:, (number >= low) & (number <= high)]


def walls(size: int) -> tuple[int, int]:
    """The smallest and the largest number of walls: the integers from 30 % to 50 % of the cells."""
    return -(-3 * size * size // 10), size * size // 2


# ---------------------------------------------------------------- where the long routes are


class Ends(NamedTuple):
    """Cells that may end a long route: their map [K] (rising), their component [H, K], the cell [H, K]."""

    map: np.ndarray
    component: np.ndarray
    cell: np.ndarray


def ends(free: np.ndarray, shortest: int) -> Ends:
    """All cells of maps [H, M] that may end a route of `shortest` cells or more; the others surely do not."""
    found = [_wide(free[:, block], block.start, shortest) for block in flood.blocks(free.shape[1])]
    index, component, rim = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
    order = np.argsort(index, kind="stable")
    index, component, rim = index[order], component[:, order], rim[:, order]
    pieces = []
    for block in flood.blocks(max(len(index), 1)):  # also of none: so many rows each
        pieces.append(_ends(index[block], component[:, block], rim[:, block], shortest))
    index, component, cells = (np.concatenate(part, axis=-1) for part in zip(*pieces, strict=True))
    which, cell = _single_cells(cells)
    return Ends(index[which], component[:, which], cell)


def _wide(free: np.ndarray, first: int, shortest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(map, component, its cells farthest from a middle one) where that one does not rule it out."""
    half = (shortest - 2) // 2  # a cell from which none is farther: no route has `shortest` cells
    found = [(np.arange(0), free[:, :0], free[:, :0])]
    index, left = _large(np.arange(first, first + free.shape[1]), free, shortest)
    turn = 0
    while len(index):
        if turn == 1:  # what is left are mostly small pieces
            index, left = _without_small(index, left, shortest)
        seed = flood.first_cell(left, len(free) // 2, len(free) // 2)
        near, beyond = flood.reach(seed, left, half)
        if beyond.any():
            everything, rim, _ = flood.farthest(near[:, beyond], left[:, beyond])
            found.append((index[beyond], everything, rim))
            near[:, beyond] = everything
        index, left = _large(index, left & ~near, shortest)
        turn += 1
    index, everything, rim = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
    return index, everything, rim


def _large(index: np.ndarray, cells: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of the sets [H, M] and of their indices that have at least so many cells."""
    large = flood.count(cells) >= least
    return (index, cells) if large.all() else (index[large], np.ascontiguousarray(cells[:, large]))


def _without_small(index: np.ndarray, cells: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Sets [H, M] without most of their components of fewer than `least` cells.

    A component of n cells extends over at least sqrt(n) rows or columns, so it meets every family of lines
    with that spacing; what is not connected to a line of the family is too small.
    """
    spacing = math.isqrt(least - 1) + 1
    for offset in range(0, spacing, max(1, spacing // 3)):
        line = sum(1 << c for c in range(offset, 64, spacing)) & (1 << 8 * cells.itemsize) - 1
        lines = cells & cells.dtype.type(line)
        lines[offset::spacing] = cells[offset::spacing]
        cells, _ = flood.reach(lines, cells, cells.size)
        index, cells = _large(index, cells, least)
        if not len(index):
            break
    return index, cells


def _ends(
    index: np.ndarray, component: np.ndarray, rim: np.ndarray, shortest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(map, component, its cells that may be ends) of those components that their centre does not rule out.

    The centre is half way between two cells that are far apart. With e the distance of the cell farthest from
    it, two cells are at most d + e apart, d being the distance of one of them.
    """
    one = flood.first_cell(rim)
    _, rim, _ = flood.farthest(one, component)
    centre = flood.first_cell(flood.middle(one, flood.first_cell(rim), component))
    _, beyond = flood.reach(centre, component, (shortest - 2) // 2)
    index, component, centre = index[beyond], component[:, beyond], centre[:, beyond]
    _, _, radius = flood.farthest(centre, component)
    return index, component, component & ~flood.within_each(centre, component, shortest - 2 - radius)


def _single_cells(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which set [K], the cell as a set of its own [H, K]) of all cells of sets [H, M], by set."""
    which, row, column = np.nonzero(flood.unpack(cells, 8 * cells.itemsize))
    alone = np.zeros((len(cells), len(which)), cells.dtype)
    alone[row, np.arange(len(which))] = cells.dtype.type(1) << column.astype(cells.dtype)
    return which, alone


def far_cells(found: Ends, chosen: np.ndarray, shortest: int) -> np.ndarray:
    """[H, K]: the other ends of the routes of at least `shortest` cells from the `chosen` [K] of the ends."""
    component = found.component[:, chosen]
    near, _ = flood.reach(found.cell[:, chosen], component, shortest - 2)
    return component & ~near


# ---------------------------------------------------------------- mazes


def sample(
    free: np.ndarray, shortest: int, tries: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(map, start, goal) [K] of mazes of the maps [H, M], by the law; cells are row * W + column."""
    size = len(free)
    found = ends(free, shortest)
    others = np.empty(len(found.map), np.int64)
    for block in flood.blocks(len(others)):
        others[block] = flood.count(far_cells(found, np.arange(len(others))[block], shortest))
    qualifying = np.bincount(found.map, others, free.shape[1]).astype(np.int64)
    room = flood.count(free)
    taken = np.minimum(rng.binomial(tries, qualifying / (room * (room - 1))), qualifying)
    upto, before = np.cumsum(others), np.cumsum(qualifying) - qualifying  # pairs, counted through all maps
    drawn = [
        before[m] + np.sort(rng.choice(qualifying[m], taken[m], replace=False, shuffle=False))
        for m in np.flatnonzero(taken)
    ]
    pairs = np.concatenate([np.zeros(0, np.int64), *drawn])
    starts = np.searchsorted(upto, pairs, side="right")
    ranks = pairs - upto[starts] + others[starts]  # of the goals among their starts' far cells
    far = flood.unpack(far_cells(found, starts, shortest), size).reshape(len(starts), size * size)
    goal = (far.cumsum(axis=1) == ranks[:, None] + 1).argmax(axis=1)
    start = flood.unpack(found.cell[:, starts], size).reshape(len(starts), size * size).argmax(axis=1)
    return found.map[starts], start, goal


def effort(size: int, shortest: int) -> tuple[int, int]:
    """(maps drawn for a part, default pairs tried per map): many where few maps have a route so long."""
    if size >= 20:
        pilot = draw(size, 512, np.random.default_rng(0))
        if len(np.unique(ends(pilot, shortest).map)) < 0.05 * pilot.shape[1]:
            return min(2**17, 2**17 * 900 // size**2), 8
    return min(2**13, 2**13 * 100 // size**2), 1
