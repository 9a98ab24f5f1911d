"""The expert: space-time A* with eight moves and a wait.

docs/protocols.md#paths. A* that takes the node of smallest (f, g, row, column, t) first, and leaves a node
reached again at no smaller cost with its first parent, closes every node (row, column, t) at its smallest
cost. So its result can be had without a queue, for many worlds at once:

* the cost of a node is a minimum over its predecessors, one layer of t after another;
* the plan ends at the goal node of smallest (f, g, row, column, t);
* the parent of a node is, of its predecessors on a way of that cost, the one of smallest (f, g, row, column).

Costs are multiples of 2^-30, so that sums are exact and equal costs are equal whatever the order of adding.
The original's are rounded sums, which decide among equals by their last bit: `queue_search` is A* with its
queue, to repeat that too.

Shapes: A worlds, N obstacles, P points a path (times 0 to P - 1), R rows, C columns.
"""

import heapq
import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.errors import RequestError

MOVES = tuple((row, col) for row in (-1, 0, 1) for col in (-1, 0, 1))
GRAIN = 2.0**30  # to the unit of cost
BLOCK = 16  # worlds at a time, whose layers stay in cache


@dataclass(frozen=True)
class Search:
    """How the expert plans. The defaults are ours; `PUBLISHED` is the original's."""

    points: int = 64
    radius: float = 3.0  # cells; a node nearer than this to an obstacle at its time is closed
    tolerance: float = 0.5  # cells; a node nearer than this to the goal ends the search
    wait_cost: float = 1.0  # 0 in the original: idle plans (docs/faults.md#f34)
    cut_corners: bool = False  # pass diagonally between or next to static cells (docs/faults.md#f34)


PUBLISHED = Search(tolerance=2.0, wait_cost=0.0, cut_corners=True)


class Plans(NamedTuple):
    """A path for every world."""

    points: np.ndarray  # int64 [A, P, 2], cells; from `length` on, the last one repeated
    length: np.ndarray  # int64 [A], moves; -1: no plan, and `points` stay at the start


def check_reach(search: Search, start: np.ndarray, goal: np.ndarray) -> None:
    """Refuse a path too short for the way from `start` to `goal` [A, 2] even on an empty map."""
    needed = int(np.abs(start - goal).max(initial=0))
    if needed > search.points - 1 + search.tolerance:
        raise RequestError(
            f"a path of {search.points} points makes {search.points - 1} moves; "
            f"start and goal are {needed} apart"
        )


def plan(
    search: Search, static: np.ndarray, start: np.ndarray, goal: np.ndarray, tracks: np.ndarray
) -> Plans:
    """Plan in `static` [A, R, C] from cell `start` to cell `goal` [A, 2].

    `tracks` [A, P, N, 2] are the obstacles' positions in cells at times 0 to P - 1; the start is not tested.
    """
    blocks = [slice(i, i + BLOCK) for i in range(0, len(static) or 1, BLOCK)]
    plans = [_plan(search, static[b], start[b], goal[b], tracks[b]) for b in blocks]
    return Plans(*(np.concatenate(parts) for parts in zip(*plans, strict=True)))


def _plan(search: Search, static, start, goal, tracks) -> Plans:
    enter = _entrances(static, search.cut_corners)
    cost = _costs(search, enter, start, _closed(tracks, search.radius, static.shape[1:]))
    cells, length = _ends(search, cost, goal, start)
    return Plans(_backtrack(search, cost, enter, goal, cells, length), length)


def _step_costs(search: Search, grain: float = GRAIN) -> dict[tuple[int, int], float]:
    return {m: float(_distance(np.array(m), grain)) if any(m) else search.wait_cost for m in MOVES}


def _distance(offset: np.ndarray, grain: float = GRAIN) -> np.ndarray:
    """Euclidean, of [..., 2], to the nearest multiple of 1 / `grain`; 0: as rounded by the square root."""
    distance = np.sqrt((offset**2).sum(axis=-1))
    return np.rint(grain * distance) / grain if grain else distance


def _entrances(static: np.ndarray, cut_corners: bool) -> dict[tuple[int, int], np.ndarray]:
    """For each move, the cells [A, R, C] that it may enter."""
    free = np.pad(~static, ((0, 0), (1, 1), (1, 1)))
    entrances = {}
    for move in MOVES:
        entered = _shifted(free, (0, 0))
        if not cut_corners and all(move):
            entered = entered & _shifted(free, (-move[0], 0)) & _shifted(free, (0, -move[1]))
        entrances[move] = entered
    return entrances


def _shifted(padded: np.ndarray, move: tuple[int, int]) -> np.ndarray:
    """[A, R, C] out of [A, R + 2, C + 2]: the entry `move` away from each cell."""
    rows, cols = padded.shape[1] - 2, padded.shape[2] - 2
    return padded[:, 1 + move[0] : 1 + move[0] + rows, 1 + move[1] : 1 + move[1] + cols]


def _closed(tracks: np.ndarray, radius: float, shape: tuple[int, ...]) -> np.ndarray:
    """Cells [P, A, R, C] nearer than `radius` to an obstacle of `tracks` at that time."""
    reach = int(np.ceil(radius))
    closed = np.zeros((tracks.shape[1], len(tracks), *shape), bool)
    time, world = np.ogrid[: tracks.shape[1], : len(tracks)]
    around = range(1 - reach, reach + 1)
    for position, row, col in itertools.product(tracks.transpose(2, 1, 0, 3), around, around):
        cell = np.floor(position) + (row, col)  # [P, A, 2]
        near = np.linalg.norm(cell - position, axis=-1) < radius
        near &= ((cell >= 0) & (cell < shape)).all(axis=-1)
        r, c = np.where(near[..., None], cell, 0).astype(np.int64).transpose(2, 0, 1)
        closed[time, world, r, c] |= near
    return closed


def _costs(search: Search, enter: dict, start: np.ndarray, closed: np.ndarray) -> np.ndarray:
    """The smallest cost of reaching each node, [P, A, R + 2, C + 2] with a border of infinity."""
    points, worlds, rows, cols = closed.shape
    cost = np.full((points, worlds, rows + 2, cols + 2), np.inf)
    cost[0, np.arange(worlds), start[:, 0] + 1, start[:, 1] + 1] = 0.0
    for t in range(points - 1):
        best = np.full((worlds, rows, cols), np.inf)
        for move, step in _step_costs(search).items():
            arriving = _shifted(cost[t], (-move[0], -move[1])) + step
            np.minimum(best, arriving, out=best, where=enter[move])
        best[closed[t + 1]] = np.inf
        _shifted(cost[t + 1], (0, 0))[...] = best
    return cost


def _ends(search: Search, cost, goal, start) -> tuple[np.ndarray, np.ndarray]:
    """Where and when plans end: cells [A, 2], moves [A]; the start and -1 where no goal node is reached."""
    cells, length = start.copy(), np.full(len(goal), -1)
    inside, reach = cost[:, :, 1:-1, 1:-1], int(search.tolerance)
    for a, target in enumerate(goal):
        low, stop = np.maximum(target - reach, 0), target + reach + 1
        window = inside[:, a, low[0] : stop[0], low[1] : stop[1]]
        t, row, col = np.nonzero(np.isfinite(window))
        g = window[t, row, col]
        row, col = row + low[0], col + low[1]
        h = _distance(np.stack([row, col], axis=-1) - target)
        near = np.flatnonzero(h < search.tolerance)
        if near.size:
            t, row, col, g, h = (part[near] for part in (t, row, col, g, h))
            first = np.lexsort((t, col, row, g, g + h))[0]
            cells[a], length[a] = (row[first], col[first]), t[first]
    return cells, length


def _backtrack(search: Search, cost, enter, goal, cells, length) -> np.ndarray:
    """Cells [A, P, 2] of the plans that end in `cells` [A, 2] after `length` [A] moves."""
    points = np.repeat(cells[:, None], len(cost), axis=1)
    worlds = np.arange(len(cells))
    for t in range(len(cost) - 1, 0, -1):
        here = points[:, t]
        keys = []
        for move, step in _step_costs(search).items():
            before = here - move
            g = cost[t - 1, worlds, *(before + 1).T]
            leads_here = enter[move][worlds, *here.T]
            leads_here &= g + step == cost[t, worlds, *(here + 1).T]
            f = g + _distance(before - goal)
            keys.append(np.where(leads_here, (f, g), np.inf))
        f, g = np.moveaxis(np.array(keys), 1, 0)  # [9, A]
        # Of equals the last move stands for the predecessor of smallest (row, column).
        first = np.where(f == f.min(axis=0), g, np.inf)
        parent = len(MOVES) - 1 - first[::-1].argmin(axis=0)
        points[:, t - 1] = np.where((t <= length)[:, None], here - np.array(MOVES)[parent], here)
    return points


# ---------------------------------------------------------------- the original's queue


def queue_search(
    search: Search,
    static: np.ndarray,
    start: np.ndarray,
    goal: np.ndarray,
    tracks: np.ndarray,
    grain: float = 0.0,
) -> Plans:
    """The same plans by A* with a queue, one world after another; a hundred times slower.

    With `grain` 0 costs are rounded sums, as the original's are; with GRAIN the plans are those of `plan`.
    """
    plans = [_queue_search(search, *world, grain) for world in zip(static, start, goal, tracks, strict=True)]
    return Plans(*(np.array(part) for part in zip(*plans, strict=True)))


def _queue_search(search: Search, static, start, goal, tracks, grain: float) -> tuple[np.ndarray, int]:
    """Cells [P, 2] and moves of one plan."""
    moves = _queue_moves(search, static, grain)
    free = (~_closed(tracks[None], search.radius, static.shape)[:, 0]).tolist()
    h = _distance(np.moveaxis(np.indices(static.shape), 0, -1) - goal, grain).tolist()
    best: dict[tuple[int, int, int], float] = {}
    row, col = map(int, start)
    tries, closed = itertools.count(), set()
    queue: list[tuple] = [(h[row][col], 0.0, row, col, 0, next(tries), None)]
    while queue:
        _, g, row, col, t, _, parent = heapq.heappop(queue)
        if (row, col, t) in closed:
            continue
        closed.add((row, col, t))
        node = (row, col, parent)
        if h[row][col] < search.tolerance:
            return _unwound(node, search.points), t
        if t + 1 == search.points:
            continue
        for r, c, cost in moves[row][col]:
            key, total = (r, c, t + 1), g + cost
            if free[t + 1][r][c] and key not in closed and total < best.get(key, math.inf):
                best[key] = total
                heapq.heappush(queue, (total + h[r][c], total, *key, next(tries), node))
    return np.repeat(start[None], search.points, axis=0), -1


def _queue_moves(search: Search, static, grain: float) -> list:
    """For each cell the cells that may follow it, with what the move costs."""
    enter = {move: cells[0] for move, cells in _entrances(static[None], search.cut_corners).items()}
    costs = _step_costs(search, grain)

    def following(row: int, col: int) -> list:
        there = ((row + move[0], col + move[1], move) for move in MOVES)
        inside = ((r, c, m) for r, c, m in there if 0 <= r < len(static) and 0 <= c < static.shape[1])
        return [(r, c, costs[m]) for r, c, m in inside if enter[m][r, c]]

    return [[following(row, col) for col in range(static.shape[1])] for row in range(len(static))]


def _unwound(node: tuple, points: int) -> np.ndarray:
    """The cells [P, 2] that lead to a node, the last one repeated."""
    cells = []
    while node:
        cells.append(node[:2])
        node = node[2]
    return np.pad(cells[::-1], ((0, points - len(cells)), (0, 0)), mode="edge")
