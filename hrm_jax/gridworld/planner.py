"""The standard planner under jit: `referee.cells.space_time_astar.plan_swept`, rewritten in jax.numpy.

The method, the tie rules and the formulas are those of that module (which says why they are right),
so that in float64 the plans are the same and in float32 they differ by rounding only: what is exactly
`clearance` away from an obstacle that moves along a row or a column is allowed in both. What differs
is the order of the work: one `scan` over layers closes cells and moves on, with an inner `scan` over
obstacles, so nothing is ever held per obstacle and row.

Shapes: A episodes (last, where the CPU vectorises), T moves, N obstacles, R rows, C columns. A bit set
is one unsigned integer per row; arrays of them are [..., R + 1, A], the last row always empty: it takes
what falls off the grid.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.worlds.arrays import rounded
from hrm_jax.worlds.geometry import known_ends, swept_distance

MOVES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0), (0, 0)], np.int32)  # the order that breaks ties
RIGHT, LEFT, DOWN, UP, WAIT = range(5)
HAIR = 2.0**-100  # rows by which a segment along a row leaves it; a power of two: no rounding


class Plan(NamedTuple):
    """Planned cells of every episode; `cells[:, 1]` is the move to make."""

    cells: jax.Array  # int32 [A, T + 1, 2]; from `length` on, the last cell repeated
    length: jax.Array  # int32 [A], moves planned


def plan(
    free: jax.Array,
    start: jax.Array,
    goal: jax.Array,
    tracks: jax.Array,
    clearance: float,
    gaps: bool = False,
) -> Plan:
    """Plan moves whose swept distance to every predicted obstacle segment is at least `clearance`.

    Where no first move is safe, `least_bad_move` is made; an agent that is on the goal stays. The arithmetic
    is in the dtype of `tracks`.

    Args:
        free: bit sets [R + 1, A] of the cells that are not static (`free_cells`).
        start, goal: cells [A, 2], integers.
        tracks: obstacle positions [A, T + 1, N, 2], in cells: observed now, then T predictions.
        clearance: cells.
        gaps: whether positions may be NaN, of obstacles that are not there (`known_ends`).
    """
    start, goal = start.astype(jnp.int32), goal.astype(jnp.int32)
    segments = tracks[:, :-1], tracks[:, 1:]
    if gaps:
        segments = known_ends(*segments)
    layers, leaving = _reachable(free, start, segments, clearance)
    end, length = _terminal(layers, goal)
    cells = _backtrack(leaving, end, length, goal)
    moved = least_bad_move(free, start, *(ends[:, 0] for ends in segments))
    stuck = ((length == 0) & jnp.any(start != goal, axis=1))[:, None, None]
    return Plan(cells.at[:, 1:].set(jnp.where(stuck, moved[:, None], cells[:, 1:])), length)


def free_cells(static: jax.Array) -> jax.Array:
    """Bit sets [R + 1, A] of the cells not in `static` (bool [A, R, C]).

    uint32 up to 32 columns; up to 64, uint64, which takes jax's x64 mode.
    """
    cols = static.shape[2]
    if cols > 64:
        raise RequestError(f"{cols} columns; a row is held in 64 bits")
    if cols > 32 and not jax.config.jax_enable_x64:
        raise RequestError(f"{cols} columns; more than 32 need jax_enable_x64")
    dtype = jnp.uint32 if cols <= 32 else jnp.uint64
    bits = jnp.left_shift(jnp.ones((), dtype), jnp.arange(cols, dtype=dtype))
    rows = jnp.where(static, jnp.zeros((), dtype), bits).sum(axis=2, dtype=dtype).T
    return _with_empty_row(rows)


def least_bad_move(free: jax.Array, start: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """The neighbouring cell [A, 2] with the largest clearance to the segments between these [A, N, 2]."""
    cells = start[:, None] + MOVES  # [A, 5, 2]
    rows = free[cells[..., 0], jnp.arange(len(start))[:, None]]
    leaving = start[:, None, None] - before[:, None]
    arriving = cells[:, :, None] - after[:, None]
    clearance = swept_distance(leaving, arriving).min(axis=2, initial=np.inf)  # [A, 5]
    best = jnp.where(_holds(rows, cells[..., 1]), clearance, -np.inf).argmax(axis=1)
    return start + jnp.asarray(MOVES)[best]


# ---------------------------------------------------------------- search


def _reachable(
    free: jax.Array, start: jax.Array, segments: tuple[jax.Array, jax.Array], clearance: float
) -> tuple[jax.Array, jax.Array]:
    """Layers [T + 1, R + 1, A] reachable from `start`, and what leaves them [T, 5, R + 1, A] by each move."""
    points = tuple(ends.transpose(1, 2, 3, 0) for ends in segments)  # [T, N, 2, A] each
    first = jnp.arange(len(free))[:, None] == start[:, 0]
    first = jnp.where(first, _bit(start[:, 1], free.dtype), jnp.zeros((), free.dtype))

    def advance(layer, segments):
        position, then = segments
        closed = _closed_departures(position, then - position, clearance, len(free) - 1, free.dtype)
        leaving = layer & _with_empty_row(~closed)
        arriving = _arriving(leaving) & free
        return arriving, (arriving, leaving)

    _, (later, leaving) = jax.lax.scan(advance, first, points)
    return jnp.concatenate([first[None], later]), leaving


def _arriving(leaving: jax.Array) -> jax.Array:
    """Where `leaving` [5, R + 1, A] gets to: [R + 1, A]."""
    aside = leaving[WAIT] | leaving[RIGHT] << 1 | leaving[LEFT] >> 1
    none = jnp.zeros_like(aside[:1])
    down = jnp.concatenate([none, leaving[DOWN, :-1]])
    up = jnp.concatenate([leaving[UP, 1:], none])
    return aside | down | up


def _terminal(layers: jax.Array, goal: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where and when plans end: cells [A, 2] and layers [A]."""
    episodes = jnp.arange(len(goal))
    at_goal = _holds(layers[:, goal[:, 0], episodes], goal[:, 1])  # [T + 1, A]
    deepest = (layers != 0).any(axis=1).sum(axis=0, dtype=jnp.int32) - 1  # such layers come first
    reaches = at_goal.any(axis=0)
    length = jnp.where(reaches, at_goal.argmax(axis=0).astype(jnp.int32), deepest)
    nearest = _nearest(layers[deepest, :, episodes].T, goal)
    return jnp.where(reaches[:, None], goal, nearest), length


def _nearest(rows: jax.Array, goal: jax.Array) -> jax.Array:
    """The cell [A, 2] of each bit set [R + 1, A] with the smallest (h, row, column)."""
    row = jnp.arange(len(rows), dtype=jnp.int32)[:, None, None]
    col = jnp.arange(rows.dtype.itemsize * 8, dtype=jnp.int32)[:, None]
    key = jnp.where(_holds(rows[:, None], col), _key(row, col, goal), np.iinfo(np.int32).max)
    best = key.min(axis=(0, 1))
    return jnp.stack([best >> 6 & 63, best & 63], axis=-1)


def _key(row: jax.Array, col: jax.Array, goal: jax.Array) -> jax.Array:
    """Orders cells [..., A] by (h, row, column); columns are at most 63."""
    h = jnp.abs(row - goal[:, 0]) + jnp.abs(col - goal[:, 1])
    return (h * 64 + row) * 64 + col


def _backtrack(leaving: jax.Array, end: jax.Array, length: jax.Array, goal: jax.Array) -> jax.Array:
    """Cells [A, T + 1, 2] of the plans that end at `end` in layer `length`."""
    moves, episodes = np.arange(len(MOVES))[:, None], jnp.arange(len(end))

    def back(cell, layer):
        t, departures = layer
        row, col = (cell - MOVES[:, None]).transpose(2, 0, 1)  # predecessors, each [5, A]
        # Off the grid: rows -1 and R are the empty row; columns -1 (wrapped) and C shift to no bit.
        expanded = _holds(departures[moves, row, episodes], col)
        key = jnp.where(expanded, _key(row, col, goal), np.iinfo(np.int32).max)
        parent = cell - jnp.asarray(MOVES)[key.argmin(axis=0)]
        before = jnp.where((t <= length)[:, None], parent, cell)
        return before, before

    times = jnp.arange(1, len(leaving) + 1, dtype=jnp.int32)
    _, earlier = jax.lax.scan(back, end, (times, leaving), reverse=True)
    return jnp.concatenate([earlier, end[None]]).transpose(1, 0, 2)


# ---------------------------------------------------------------- bit sets


def _with_empty_row(rows: jax.Array) -> jax.Array:
    """[..., R, A] with the last row added: [..., R + 1, A]."""
    return jnp.concatenate([rows, jnp.zeros_like(rows[..., :1, :])], axis=-2)


def _bit(col: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The bit of column `col`; none where the shift is by the full width or more."""
    return jnp.left_shift(jnp.ones((), dtype), col.astype(dtype))


def _holds(rows: jax.Array, col: jax.Array) -> jax.Array:
    """Whether column `col` is in the bit sets `rows`; columns off the grid are not."""
    return (jnp.right_shift(rows, col.astype(rows.dtype)) & 1).astype(bool)


def _bits_below(column: jax.Array, size: int, dtype: jnp.dtype) -> jax.Array:
    """Bit sets of the columns smaller than `column`, a whole number in floating point."""
    # By way of int32: processors convert to signed integers faster, and to long ones hardly at all.
    count = jnp.clip(column, 0, size).astype(jnp.int32)
    return _bit(count, dtype) - jnp.ones((), dtype)  # of a shift by the full width, all bits


# ---------------------------------------------------------------- what obstacles close


def _closed_departures(
    position: jax.Array, travel: jax.Array, clearance: float, size: int, dtype: jnp.dtype
) -> jax.Array:
    """Bit sets [5, R, A] of the cells from which a move comes nearer than `clearance` to an obstacle.

    Obstacles start at `position` and go along `travel`, both [N, 2, A]. Seen from the agent, one that
    goes from p to q while the agent makes move m goes from p to q - m: the cells it closes for that
    move are those within a capsule, an interval per row.
    """
    row_travel = travel[:, 0, None] - MOVES[:, 0, None].astype(travel.dtype)  # [N, 5, A]
    col_travel = travel[:, 1, None] - MOVES[:, 1, None].astype(travel.dtype)
    capsules = _capsules(position[:, :, None], row_travel, col_travel, clearance, size)
    row = jnp.arange(size, dtype=travel.dtype)[:, None]

    def close(closed, capsule):
        return closed | _within(capsule, row, clearance, size, dtype), None

    none = jnp.zeros((len(MOVES), size, travel.shape[-1]), dtype)
    # Not unrolled: of several obstacles at once XLA for CPU makes a loop five times slower.
    return jax.lax.scan(close, none, capsules)[0]


class _Capsules(NamedTuple):
    """Cells about segments: what all rows share. Floating point, [N, 1 or 5, A]."""

    row: jax.Array  # where the segment starts
    col: jax.Array
    lowest: jax.Array  # rows from there to either end of the segment
    highest: jax.Array
    first: jax.Array  # the rows that the capsule meets
    last: jax.Array
    slope: jax.Array  # columns per row
    tangent: jax.Array  # rows from a point to where its disc's tangent is parallel to the segment


def _capsules(
    position: jax.Array, row_travel: jax.Array, col_travel: jax.Array, radius: float, size: int
) -> _Capsules:
    """The capsules of `radius` about the segments from `position` [N, 2, 1, A] along the travel [N, 5, A]."""
    row, col = position[:, 0], position[:, 1]
    rise = jnp.where(row_travel == 0, HAIR, row_travel)
    lowest, highest = jnp.minimum(rise, 0), jnp.maximum(rise, 0)
    first = jnp.maximum(jnp.floor(row + lowest - radius) + 1, 0)
    last = jnp.minimum(jnp.ceil(row + highest + radius) - 1, size - 1)
    tangent = radius * col_travel * jnp.sign(rise) / jnp.hypot(rise, col_travel)
    return _Capsules(row, col, lowest, highest, first, last, col_travel / rise, tangent)


def _within(capsule: _Capsules, row: jax.Array, radius: float, size: int, dtype: jnp.dtype) -> jax.Array:
    """Bit sets [5, R, A] of the cells nearer than `radius` to each of the segments, [5, A]."""
    c = _Capsules(*(x[:, None] for x in capsule))  # [5, 1, A]
    high = c.col + _span_end(c, row, radius, side=1)
    low = c.col + _span_end(c, row, radius, side=-1)
    below_high = _bits_below(jnp.ceil(high), size, dtype)
    up_to_low = _bits_below(jnp.floor(low) + 1, size, dtype)
    # Beyond: a row that the capsule of a segment along the row just touches is not closed.
    met = (row >= c.first) & (row <= c.last)
    return jnp.where(met, below_high & ~up_to_low, jnp.zeros((), dtype))


def _span_end(c: _Capsules, row: jax.Array, radius: float, side: int) -> jax.Array:
    """Right (`side` 1) or left (-1) end of the capsules on `row`, from the segment's start."""
    offset = row - c.row
    contact = jnp.clip(offset + side * c.tangent, c.lowest, c.highest)
    gap = jnp.square(offset - contact)
    # The minimum also keeps the square from being fused, unrounded, into the subtraction.
    chord = jnp.sqrt(radius**2 - jnp.minimum(gap, radius**2))
    return rounded(c.slope * contact) + side * chord
