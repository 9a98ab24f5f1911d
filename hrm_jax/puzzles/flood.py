"""Breadth-first search in many grids at once: a row of a grid is one integer, a step a few shifts.

A set of cells is an array [H, M] of uint32 (up to 32 columns) or uint64 (up to 64): bit c of [r, m] is cell
(r, c) of grid m. With the grids on the last axis, one NumPy operation serves all of them, and a step of the
search costs about 40 ns for a 30x30 grid.
"""

from collections.abc import Iterator

import numpy as np

CHECK = 8  # steps between two looks for searches that have ended
BLOCK = 4096  # grids at a time: their arrays stay in the cache


def word(width: int) -> type:
    """The type of a row of `width` cells."""
    return np.uint32 if width <= 32 else np.uint64


def unpack(cells: np.ndarray, width: int) -> np.ndarray:
    """[H, M] words -> [M, H, W] bool."""
    return (cells.T[:, :, None] >> np.arange(width, dtype=cells.dtype) & 1).astype(bool)


def count(cells: np.ndarray) -> np.ndarray:
    """int64 [M]: how many cells."""
    return np.bitwise_count(cells).sum(axis=0, dtype=np.int64)


def blocks(size: int) -> Iterator[slice]:
    """Slices of `BLOCK` grids."""
    return (slice(first, first + BLOCK) for first in range(0, size, BLOCK))


def first_cell(cells: np.ndarray, column: int = 0, row: int = 0) -> np.ndarray:
    """[H, M]: of each set one cell: in the row nearest to `row`, the first from `column` on, or the first."""
    chosen = np.zeros_like(cells)
    found = np.zeros(cells.shape[1], bool)
    for r in sorted(range(len(cells)), key=lambda r: abs(r - row)):
        beyond = cells[r] >> column << column
        here = np.where(beyond != 0, beyond, cells[r])
        np.multiply(here & np.negative(here), ~found, out=chosen[r])
        found |= here != 0
    return chosen


class Search:
    """Sets that grow by their free neighbours, a step at a time; `cells` [H, M] after the steps so far."""

    def __init__(self, start: np.ndarray, free: np.ndarray):
        # In memory row after row, whatever the order of what comes: five times as fast.
        self.cells, self.free = np.array(start, order="C"), np.ascontiguousarray(free)
        self.before, self._other = np.empty_like(self.cells), np.empty_like(self.cells)

    def step(self) -> None:
        """One step; `before` is then what `cells` was."""
        self.cells, self.before = self.before, self.cells
        grown, old, other = self.cells, self.before, self._other
        np.left_shift(old, 1, out=grown)
        np.right_shift(old, 1, out=other)
        grown |= other
        grown |= old
        grown[1:] |= old[:-1]
        grown[:-1] |= old[1:]
        grown &= self.free

    def moved(self) -> np.ndarray:
        """[M]: whether the last step brought anything."""
        return (self.cells != self.before).any(axis=0)

    def keep(self, chosen: np.ndarray) -> None:
        """Go on with some of the grids only."""
        for name in ("cells", "free", "before", "_other"):
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[:, chosen]))


def within_each(start: np.ndarray, free: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """[H, M]: the cells at most `steps` [M] steps from `start`, none where that is below 0."""
    search = Search(start, free)
    reached = start * (steps >= 0)
    for step in range(1, int(steps.max(initial=0)) + 1):
        search.step()
        np.copyto(reached, search.cells, where=step <= steps)
    return reached


def reach(start: np.ndarray, free: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(cells at most `steps` from `start` [H, M], whether there are cells beyond [M])."""
    reached = np.empty_like(start)
    beyond = np.zeros(start.shape[1], bool)
    active = np.arange(start.shape[1])
    search = Search(start, free)
    for done in range(1, steps + 2):
        if not len(active):
            break
        search.step()
        if done % CHECK and done <= steps:
            continue
        moved = search.moved()
        if done > steps:
            reached[:, active] = search.before
            beyond[active] = moved
        elif moved.mean() < 0.7:
            reached[:, active[~moved]] = search.cells[:, ~moved]
            search.keep(moved)
            active = active[moved]
    return reached, beyond


def farthest(start: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(all cells that can be reached [H, M], the farthest of them [H, M], how far these are [M])."""
    everything, last = np.empty_like(start), np.empty_like(start)
    steps = np.zeros(start.shape[1], np.int64)
    active, live = np.arange(start.shape[1]), np.ones(start.shape[1], bool)
    search, layer, done = Search(start, free), start, 0
    while len(active):
        search.step()
        moved = search.moved()
        ended = live & ~moved  # the layer of the step before is their last one
        if ended.any():
            everything[:, active[ended]] = search.cells[:, ended]
            last[:, active[ended]] = layer[:, ended]
            steps[active[ended]] = done
        live, done = moved, done + 1
        if live.mean() < 0.7:
            search.keep(live)
            active, live = active[live], live[live]
        layer = search.cells & ~search.before
    return everything, last, steps


def middle(a: np.ndarray, b: np.ndarray, free: np.ndarray) -> np.ndarray:
    """[H, M]: the cells half way on the shortest routes between connected cells `a` and `b`."""
    met = np.zeros_like(a)
    active = np.arange(a.shape[1])
    ends = [Search(a, free), Search(b, free)]
    for turn in range(free.shape[0] * 64):
        if not len(active):
            return met
        ends[turn % 2].step()
        common = ends[0].cells & ends[1].cells
        meeting = common.any(axis=0)
        if meeting.any():
            met[:, active[meeting]] = common[:, meeting]
            for end in ends:
                end.keep(~meeting)
            active = active[~meeting]
    raise AssertionError("two cells that are not connected")
