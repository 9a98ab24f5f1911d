"""Space-time A* on (row, column, t) for many episodes at once, as layered reachability.

Every move and the wait cost 1, so g = t; the Manhattan heuristic h is consistent. A* with queue key
(t + h, t, row, column) therefore pops nodes in sorted order and expands, sooner or later, every
node that is reachable within the horizon, unless it meets the goal. Its result can be had
without a queue:

* layer t + 1 is what layer t reaches in one allowed move;
* a node's parent, its first expander, is its reachable predecessor of smallest (h, row, column);
* the plan ends in the earliest layer that holds the goal; failing that, in the deepest layer that
  holds anything, at its smallest (h, row, column).

These are also the tie rules. Layers are bit sets: one unsigned integer per grid row, bit c for
column c, so a move is a shift. Shapes: A episodes, T moves, N obstacles, R rows; arrays of bit
sets are [..., R + 1, A], the last row always empty: it takes what falls off the grid.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hrm_jax.worlds.geometry import known_ends, swept_distance

MOVES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0), (0, 0)])  # the order that breaks ties
RIGHT, LEFT, DOWN, UP, WAIT = range(5)


class Plan(NamedTuple):
    """Planned cells of every episode; `cells[:, 1]` is the move to make."""

    cells: np.ndarray  # int64 [A, T + 1, 2]; from `length` on, the last cell repeated
    length: np.ndarray  # int64 [A], moves planned


# ---------------------------------------------------------------- the two planners


def plan_swept(
    free: np.ndarray,
    start: np.ndarray,
    goal: np.ndarray,
    tracks: np.ndarray,
    clearance: float,
    gaps: bool = False,
) -> Plan:
    """Plan moves whose swept distance to every predicted obstacle segment is at least `clearance`.

    Where no first move is safe, the one of largest predicted clearance is taken (in-grid, free,
    first of MOVES on ties). An agent that is on the goal stays.

    Args:
        free: bit sets [R + 1, A] of the cells that are not static (`free_cells`).
        start, goal: cells [A, 2].
        tracks: obstacle positions [A, T + 1, N, 2], in cells: observed now, then T predictions.
        clearance: cells.
        gaps: whether positions may be NaN, of obstacles that are not there (`known_ends`).
    """
    before, after = tracks[:, :-1], tracks[:, 1:]
    if gaps:
        before, after = known_ends(before, after)
    node_open = np.broadcast_to(free, (tracks.shape[1], *free.shape))
    plan = _search(start, goal, node_open, _safe_departures(before, after, start, free, clearance))
    stuck = np.flatnonzero((plan.length == 0) & (start != goal).any(axis=1))
    if stuck.size:
        kept = clearances(free[:, stuck], start[stuck], before[stuck, 0], after[stuck, 0])
        plan.cells[stuck, 1:] = (start[stuck] + MOVES[kept.argmax(axis=1)])[:, None]
    return plan


def plan_sampled(
    free: np.ndarray, start: np.ndarray, goal: np.ndarray, tracks: np.ndarray, radius: float
) -> Plan:
    """The published planner: a node at time t is tested against one position per obstacle.

    A node is blocked when an obstacle of `tracks` [A, T, N, 2] is nearer than `radius`; nodes at
    time k + 1 are tested against tracks[:, k]. The start, and the ways between nodes, are not. The
    agent stays where it is, untested, when neither the goal nor the last layer is reached.
    """
    node_open = np.concatenate([free[None], free & _unoccupied(tracks, free, radius)])
    edge_open = np.broadcast_to(~free.dtype.type(0), (tracks.shape[1], len(MOVES), *free.shape))
    plan = _search(start, goal, node_open, edge_open)
    at_goal = (plan.cells[:, -1] == goal).all(axis=1)
    gives_up = (plan.length < tracks.shape[1]) & ~at_goal
    plan.cells[gives_up, 1:] = start[gives_up, None]
    return plan


def free_cells(static: np.ndarray) -> np.ndarray:
    """Bit sets [R + 1, A] of the cells not in `static` (bool [A, R, C], C at most 64)."""
    cols = static.shape[2]
    if cols > 64:
        raise ValueError(f"{cols} columns; a row is held in 64 bits")
    dtype = np.uint32 if cols <= 32 else np.uint64
    bits = np.left_shift(dtype(1), np.arange(cols, dtype=dtype))
    rows = np.where(static, dtype(0), bits).sum(axis=2, dtype=dtype).T
    return np.concatenate([rows, np.zeros_like(rows[:1])])


# ---------------------------------------------------------------- search


def _search(start: np.ndarray, goal: np.ndarray, node_open: np.ndarray, edge_open: np.ndarray) -> Plan:
    """Plan through `node_open` [T + 1, R + 1, A] by departures `edge_open` [T, 5, R + 1, A]."""
    layers = _reachable(start, node_open, edge_open)
    end, length = _terminal(layers, goal)
    return Plan(_backtrack(layers, edge_open, end, length, goal), length)


def _reachable(start: np.ndarray, node_open: np.ndarray, edge_open: np.ndarray) -> np.ndarray:
    """Layers [T + 1, R + 1, A] of the nodes reachable from `start`."""
    layers = np.zeros(node_open.shape, node_open.dtype)
    one = node_open.dtype.type(1)
    layers[0, start[:, 0], np.arange(len(start))] = one << start[:, 1].astype(one.dtype)
    for t in range(len(layers) - 1):
        leaving = layers[t] & edge_open[t]
        arriving = leaving[WAIT] | leaving[RIGHT] << one
        arriving |= leaving[LEFT] >> one
        arriving[1:] |= leaving[DOWN, :-1]
        arriving[:-1] |= leaving[UP, 1:]
        np.bitwise_and(arriving, node_open[t + 1], out=layers[t + 1])
    return layers


def _terminal(layers: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where and when plans end: cells [A, 2] and layers [A]."""
    episodes = np.arange(len(goal))
    dtype = layers.dtype.type
    at_goal = layers[:, goal[:, 0], episodes] >> goal[:, 1].astype(dtype) & dtype(1)
    deepest = layers.any(axis=1).sum(axis=0) - 1  # layers that hold anything come first
    reaches = at_goal.any(axis=0)
    length = np.where(reaches, at_goal.argmax(axis=0), deepest)
    end = goal.copy()
    short = np.flatnonzero(~reaches)
    if short.size:
        end[short] = _nearest(layers[length[short], :-1, short], goal[short])
    return end, length


def _nearest(rows: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The cell [A, 2] of each bit set [A, R] with the smallest (h, row, column)."""
    little_endian = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder("<")))
    as_bytes = little_endian.view(np.uint8).reshape(*rows.shape, -1)
    reached = np.unpackbits(as_bytes, axis=-1, bitorder="little")  # [A, R, 32 or 64]
    n_rows, n_bits = reached.shape[1:]
    row_part = np.abs(np.arange(n_rows) - goal[:, :1]).astype(np.uint8)
    col_part = np.abs(np.arange(n_bits) - goal[:, 1:]).astype(np.uint8)
    h = row_part[:, :, None] + col_part[:, None]
    h |= reached - np.uint8(1)  # 255 where not reached; h is at most 126
    # argmin takes the first of equals, which in row-major order is the smallest (row, column).
    return np.stack(np.divmod(h.reshape(len(h), -1).argmin(axis=1), n_bits), axis=-1)


def _backtrack(
    layers: np.ndarray, edge_open: np.ndarray, end: np.ndarray, length: np.ndarray, goal: np.ndarray
) -> np.ndarray:
    """Cells [A, T + 1, 2] of the plans that end at `end` in layer `length`."""
    dtype = layers.dtype.type
    episodes = np.arange(len(end))
    moves = np.arange(len(MOVES))[:, None]
    cells = np.empty((len(layers), *end.shape), np.int64)
    cells[-1] = end
    for t in range(len(layers) - 1, 0, -1):
        row, col = (cells[t] - MOVES[:, None]).transpose(2, 0, 1)  # predecessors, each [5, A]
        # Off the grid: rows -1 and R are the empty row; columns -1 (wrapped) and C shift to no bit.
        departures = layers[t - 1, row, episodes] & edge_open[t - 1, moves, row, episodes]
        expanded = (departures >> col.astype(dtype) & dtype(1)).astype(bool)
        h = np.abs(row - goal[:, 0]) + np.abs(col - goal[:, 1])
        key = np.where(expanded, (h * 64 + row) * 64 + col, np.iinfo(np.int64).max)
        parent = cells[t] - MOVES[key.argmin(axis=0)]
        cells[t - 1] = np.where((t <= length)[:, None], parent, cells[t])
    return cells.transpose(1, 0, 2)


# ---------------------------------------------------------------- what obstacles close


def _safe_departures(
    before: np.ndarray, after: np.ndarray, start: np.ndarray, free: np.ndarray, clearance: float
) -> np.ndarray:
    """Bit sets [T, 5, R + 1, A] of the cells from which a move keeps `clearance` to every obstacle.

    They go from `before` to `after` [A, T, N, 2]. Seen from the agent, one that goes from p to q while the
    agent makes move m goes from p to q - m: the cells it closes for that move are those within a capsule, an
    interval per row.
    """
    n_rows, n_episodes = free.shape
    departures = np.full((before.shape[1], len(MOVES), *free.shape), ~free.dtype.type(0))
    flat = departures.reshape(-1)
    for position, travel, layer, episode in _segments_in_reach(before, after, start, clearance):
        for m, move in enumerate(MOVES):
            relative = travel - move[:, None]
            row, closed = _capsule_rows(position, relative, clearance, n_rows - 1, free.dtype)
            set_index = (layer * len(MOVES) + m) * n_rows + row
            # One obstacle meets every (layer, row, episode) once, so `&=` loses nothing.
            flat[set_index * n_episodes + episode] &= ~closed
    return departures


def _segments_in_reach(
    before: np.ndarray, after: np.ndarray, start: np.ndarray, clearance: float
) -> Iterator[tuple[np.ndarray, ...]]:
    """The K predicted segments of each obstacle that some plan could meet, over all episodes and layers.

    Positions and what is travelled in one step, [2, K] in cells; layers and episodes [K].
    """
    by_obstacle = (3, 2, 1, 0)  # [2, N, T, A]
    position = np.ascontiguousarray(before.transpose(by_obstacle))
    travel = after.transpose(by_obstacle) - position
    layers = np.arange(position.shape[2])[:, None]
    # At layer t the agent is within t moves of its start, and a capsule within this of its cell.
    reach = layers + 1 + np.sqrt(2) * clearance + np.abs(travel).sum(axis=0)
    in_reach = np.abs(position - start.T[:, None, None]).sum(axis=0) <= reach
    for n, met in enumerate(in_reach):
        yield position[:, n, met], travel[:, n, met], *np.nonzero(met)


def _capsule_rows(
    position: np.ndarray, travel: np.ndarray, radius: float, size: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Cells nearer than `radius` to the segments from `position` along `travel`, both [2, K].

    Returns row numbers [rows, K], `size` for rows beyond the capsule, and their bit sets. On one
    row the capsule is the union of the chords of discs around the points of the segment. How far
    right a chord ends is a concave function of the point: it peaks where the disc's tangent is
    parallel to the segment, or at the end of the segment nearest to there; likewise on the left.
    """
    # A segment along a row leaves it by a hair (a power of two: the division below is exact).
    rise = np.where(travel[0] == 0, 2.0**-100, travel[0])
    lowest, highest = np.minimum(rise, 0), np.maximum(rise, 0)
    first = np.maximum(np.floor(position[0] + lowest - radius) + 1, 0)
    last = np.minimum(np.ceil(position[0] + highest + radius) - 1, size - 1)
    n_rows = max(int((last - first).max(initial=-1)) + 1, 0)
    row = first + np.arange(n_rows)[:, None]
    offset = row - position[0]
    slope = travel[1] / rise
    tangent = radius * travel[1] * np.sign(rise) / np.hypot(rise, travel[1])
    high = _span_end(offset, tangent, slope, lowest, highest, radius, side=1)
    low = _span_end(offset, tangent, slope, lowest, highest, radius, side=-1)
    below_high = _bits_below(np.ceil(position[1] + high), size, dtype)
    up_to_low = _bits_below(np.floor(position[1] + low) + 1, size, dtype)
    # Beyond: a row that the capsule of a segment along the row just touches is not closed.
    return np.where(row <= last, row, size).astype(np.int64), below_high & ~up_to_low


def _span_end(
    offset: np.ndarray,
    tangent: np.ndarray,
    slope: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
    radius: float,
    side: int,
) -> np.ndarray:
    """Right (`side` 1) or left (-1) end of the capsule, `offset` rows from the segment's start.

    On a row that the capsule does not meet both ends are the same point: nothing lies between.
    """
    contact = np.clip(offset + side * tangent, lowest, highest)
    chord = radius**2 - np.square(offset - contact)
    return slope * contact + side * np.sqrt(np.maximum(chord, 0, out=chord), out=chord)


def _bits_below(column: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
    """Bit sets of the columns smaller than `column`, a whole number in floating point."""
    count = np.clip(column, 0, size).astype(dtype)
    one = dtype.type(1)
    return (one << count) - one  # a shift by the full width gives 0, hence all bits


def _unoccupied(tracks: np.ndarray, free: np.ndarray, radius: float) -> np.ndarray:
    """Bit sets [T, R + 1, A] of the cells at `radius` or more from every position [A, T, N, 2]."""
    n_rows, n_episodes = free.shape
    size, dtype = n_rows - 1, free.dtype.type
    # Far outside, where a position lies does not matter; clipped, its cell fits an integer.
    row, col = np.clip(tracks, -radius - 1, size + radius).transpose(3, 2, 1, 0)  # each [N, T, A]
    around = range(1 - int(np.ceil(radius)), 1 + int(np.ceil(radius)))
    layers = np.arange(tracks.shape[1])[:, None]
    opened = np.full((tracks.shape[1], *free.shape), ~dtype(0))
    for n in range(len(row)):
        for i in around:
            cell_row = np.floor(row[n]) + i
            closed = np.zeros(cell_row.shape, dtype)
            for j in around:
                cell_col = np.floor(col[n]) + j
                near = np.sqrt((cell_row - row[n]) ** 2 + (cell_col - col[n]) ** 2) < radius
                near &= (cell_col >= 0) & (cell_col < size)
                closed |= near.astype(dtype) << np.maximum(cell_col, 0).astype(dtype)
            inside = (cell_row >= 0) & (cell_row < size)
            target = np.where(inside, cell_row, size).astype(np.int64)
            opened[layers, target, np.arange(n_episodes)] &= ~closed
    return opened


def clearances(free: np.ndarray, start: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Smallest swept distance [A, 5] that each of MOVES keeps, -inf where a static cell or the edge is.

    The obstacles go from `before` to `after` [A, N, 2]; `free` is a bit set, `start` a cell [A, 2].
    """
    cells = start[:, None] + MOVES  # [A, 5, 2]
    dtype = free.dtype.type
    rows = free[cells[..., 0], np.arange(len(start))[:, None]]
    allowed = (rows >> cells[..., 1].astype(dtype) & dtype(1)).astype(bool)
    leaving = start[:, None, None] - before[:, None]
    arriving = cells[:, :, None] - after[:, None]
    distance = swept_distance(leaving, arriving).min(axis=2, initial=np.inf)
    return np.where(allowed, distance, -np.inf)
