"""Lattice mazes drawn by jax, many at once (docs/puzzles.md#lattice-mazes).

The generators have the laws of maze-dataset's; `puzzles.lattice.generators` has them in NumPy, written apart:
each is the other's evidence. Inside the loops a board has a closed border, a column that serves both sides,
and a row above and below: cell (r, c) is (r + 1) * (n + 1) + c of P.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.worlds import lattice
from hrm_jax.worlds.lattice import OPPOSITE

BLOCK = 256  # mazes at a time: their arrays stay in the cache
SHARE = 0.4  # of edges that percolation opens


class Mazes(NamedTuple):
    """Mazes with a way from start to goal."""

    open: jax.Array  # uint8 [B, N], as in `worlds.lattice`
    start: jax.Array  # int32 [B], cells
    goal: jax.Array  # int32 [B]


@functools.partial(jax.jit, static_argnames=("count", "size", "generator"))
def draw(
    key: jax.Array,
    count: int,
    size: int,
    generator: str = "dfs",
    least: jax.Array | int = 2,
    share: jax.Array | float = SHARE,
) -> Mazes:
    """`count` mazes of `size` x `size` cells whose shortest path has `least` cells or more, ends counted.

    They are the first such of a stream: start uniform over the cells, goal uniform over the others that can
    be reached. What hardly ever occurs is waited for, what never does, for ever: `puzzles.lattice.law` has
    the share of mazes that are accepted.
    """
    block = min(BLOCK, max(count, 64))

    def more(state):
        number, filled, found = state
        mazes, length = _block(jax.random.fold_in(key, number), block, size, generator, share)
        fits = length >= least
        place = jnp.where(fits, filled + jnp.cumsum(fits) - 1, count)  # beyond the last: dropped
        kept = (
            array.at[place].set(new, mode="drop", unique_indices=False)
            for array, new in zip(found, mazes, strict=True)
        )
        return number + 1, filled + fits.sum(), Mazes(*kept)

    none = jnp.zeros(count, jnp.int32)
    first = 0, jnp.int32(0), Mazes(jnp.zeros((count, size * size), jnp.uint8), none, none)
    return jax.lax.while_loop(lambda state: state[1] < count, more, first)[2]


def _block(key: jax.Array, count: int, size: int, generator: str, share: jax.Array | float):
    """`count` mazes, whatever their paths, and how many cells these have; 0: there is no second cell."""
    maze_key, ends_key = jax.random.split(key)
    open = GENERATORS[generator](maze_key, count, size, share)
    chances = jax.random.uniform(ends_key, (2, count))
    start = (chances[0] * (size * size)).astype(jnp.int32)
    steps = lattice.distances(jnp, open, start, jax.lax.while_loop)
    others = (steps > 0) & (steps < lattice.UNREACHABLE)
    rank = (chances[1] * others.sum(axis=1)).astype(jnp.int32)
    goal = (others & (jnp.cumsum(others, axis=1) == rank[:, None] + 1)).argmax(axis=1).astype(jnp.int32)
    length = jnp.where(others.any(axis=1), _at(steps, goal) + 1, 0)
    return Mazes(open, start, goal), length


# ---------------------------------------------------------------- boards with a border


def _at(array: jax.Array, cell: jax.Array) -> jax.Array:
    """The values [B] of boards [B, P] at a cell [B] of each."""
    return array.at[jnp.arange(len(array)), cell].get(mode="promise_in_bounds")


def _put(array: jax.Array, cell: jax.Array, value: jax.Array) -> jax.Array:
    """The boards with other values [B] at a cell [B] of each."""
    return array.at[jnp.arange(len(array)), cell].set(value, unique_indices=True, mode="promise_in_bounds")


def _carve(open: jax.Array, here: jax.Array, to: jax.Array, move: jax.Array, where: jax.Array) -> jax.Array:
    """The masks with the edge from `here` by `move` [B], which leads `to`, open `where` [B]."""
    for cell, side in ((here, move), (to, jnp.array(OPPOSITE)[move])):
        bit = jnp.where(where, 1 << side, 0).astype(jnp.uint8)
        open = _put(open, cell, _at(open, cell) | bit)
    return open


def _inside(size: int) -> np.ndarray:
    """bool [P]: which cells are of the board."""
    board = np.zeros((size + 2, size + 1), bool)
    board[1:-1, :size] = True
    return np.append(board.reshape(-1), False)  # what is right of the last row's end


def _unbordered(board: jax.Array, size: int) -> jax.Array:
    """[B, N] of [B, P]."""
    return board[:, np.flatnonzero(_inside(size))]


def _one_of(free: jax.Array, bits: jax.Array) -> jax.Array:
    """int [B]: one of the `free` moves [4, B] by random `bits` uint16 [B]; 0 where there is none."""
    rank = bits.astype(jnp.uint32) * free.sum(axis=0, dtype=jnp.uint32) >> 16
    return (free & (jnp.cumsum(free, axis=0) == rank + 1)).argmax(axis=0)


# ---------------------------------------------------------------- generators: open uint8 [B, N]


def _dfs(key: jax.Array, count: int, size: int, _: object) -> jax.Array:
    """Depth-first search with backtracking; it starts anywhere but in the last row and column."""
    stride, cells = size + 1, size * size
    bits = jax.random.bits(key, (2 * cells, count), jnp.uint16)
    row, column = (bits[-2:].astype(jnp.int32) * (size - 1)) >> 16  # drawn for steps that no search takes
    shifts = jnp.array(lattice.shifts(stride))
    open = jnp.tile(jnp.where(_inside(size), 0, 255).astype(jnp.uint8), (count, 1))  # 0: not visited
    none = jnp.zeros(count, jnp.int32)
    stack = _put(jnp.zeros((count, cells), jnp.int32), none, (row + 1) * stride + column)

    def step(state):
        time, open, stack, top, left = state
        here = _at(stack, top)
        free = jnp.stack([_at(open, here + shift) == 0 for shift in lattice.shifts(stride)])
        ways, move = free.sum(axis=0), _one_of(free, bits[time])
        going = ways > 0
        to = jnp.where(going, here + shifts[move], here)
        open = _carve(open, here, to, move, going)
        top = top + (ways > 1)  # a cell with one way is done with
        stack = _put(stack, top, to)
        return time + 1, open, stack, jnp.maximum(top - ~going, 0), left - going

    state = 0, open, stack, none, jnp.full(count, cells - 1)
    open = jax.lax.while_loop(lambda state: (state[-1] > 0).any(), step, state)[1]
    return _unbordered(open, size)


def _kruskal(key: jax.Array, count: int, size: int, _: object) -> jax.Array:
    """Edges in random order, each opened if it joins two components."""
    cell = np.arange(size * size)
    down, right = cell[:-size], cell[cell % size < size - 1]
    one = jnp.array(np.concatenate([down, right]))
    move = jnp.array(np.repeat([lattice.SOUTH, lattice.EAST], [len(down), len(right)]))
    two = one + jnp.array(lattice.shifts(size))[move]
    order = jax.random.bits(key, (len(one), count)).argsort(axis=0)

    def step(number, state):
        open, component = state
        edge = order[number]
        a, b = one[edge], two[edge]
        own, other = _at(component, a), _at(component, b)
        component = jnp.where(component == other[:, None], own[:, None], component)
        return _carve(open, a, b, move[edge], own != other), component

    state = jnp.zeros((count, size * size), jnp.uint8), jnp.tile(cell.astype(np.int16), (count, 1))
    return jax.lax.fori_loop(0, len(one), step, state)[0]


def _wilson(key: jax.Array, count: int, size: int, _: object) -> jax.Array:
    """A uniform spanning tree: random walks from cells outside of the tree, their loops erased.

    A board seeks a cell that is not in the tree, walks from it, noting how it last left each cell, until it
    meets the tree, and then opens the walk from its start on.
    """
    stride, inside = size + 1, jnp.array(_inside(size))
    shifts = jnp.array(lattice.shifts(stride))
    seeking, walking, opening = range(3)
    area = len(inside)
    root = np.flatnonzero(_inside(size))[-1]
    known = jnp.tile(~inside, (count, 1)).at[:, root].set(True)  # what is in the tree, or no cell

    def step(state):
        time, open, known, exits, cursor, here, doing, left = state
        bits = jax.random.bits(jax.random.fold_in(key, time), (count,), jnp.uint16)
        seen = jnp.where(doing == seeking, cursor, here)
        met = _at(known, seen)
        walk, opened = (doing == walking) & ~met, (doing == opening) & ~met
        free = jnp.stack([inside[seen + shift] for shift in lattice.shifts(stride)])
        move = jnp.where(walk, _one_of(free, bits), _at(exits, seen))
        exits = _put(exits, seen, move)
        to = jnp.where(walk | opened, seen + shifts[move], seen)
        open = _carve(open, seen, to, move, opened)
        known = _put(known, seen, met | opened)
        found = (doing == seeking) & ~met
        begun = (doing == walking) & met
        cursor = jnp.minimum(cursor + ((doing == seeking) & met), area - 1)
        here = jnp.where(begun | found, cursor, to)
        doing = jnp.where(found, walking, jnp.where(begun, opening, doing))
        doing = jnp.where((doing == opening) & met & ~begun, seeking, doing)
        return time + 1, open, known, exits, cursor, here, doing, left - opened

    none, board = jnp.zeros(count, jnp.int32), jnp.zeros((count, area), jnp.uint8)
    first = none + stride
    state = 0, board, known, board.astype(jnp.int32), first, first, none, none + size * size - 1
    open = jax.lax.while_loop(lambda state: (state[-1] > 0).any(), step, state)[1]
    return _unbordered(open, size)


def _percolation(key: jax.Array, count: int, size: int, share: jax.Array | float) -> jax.Array:
    """Every edge open by chance."""
    down, right = jax.random.bernoulli(key, share, (2, count, size, size))
    return lattice.masks(jnp, down.at[:, -1].set(False), right.at[:, :, -1].set(False))


def _dfs_percolation(key: jax.Array, count: int, size: int, share: jax.Array | float) -> jax.Array:
    """A depth-first tree, and every other edge open by chance."""
    tree_key, edge_key = jax.random.split(key)
    return _dfs(tree_key, count, size, None) | _percolation(edge_key, count, size, share)


GENERATORS: dict[str, Callable[..., jax.Array]] = {
    "dfs": _dfs,
    "kruskal": _kruskal,
    "wilson": _wilson,
    "percolation": _percolation,
    "dfs_percolation": _dfs_percolation,
}
