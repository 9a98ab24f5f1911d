"""Lattice mazes: square boards with walls between cells, for the arrays of NumPy and, under jit, of jax.

Cells are row-major, N = n * n of them. Moves are north, south, west, east, 0 to 3, and ties go in this order.
A maze is `open`, uint8 [..., N]: bit m of a cell says that the edge in direction m is open; edges have two
sides, and none leads off the board. A policy is a move for every cell, start-free (docs/puzzles.md).
"""

from collections.abc import Callable
from typing import Any

from hrm_jax.worlds.arrays import Array

NORTH, SOUTH, WEST, EAST = MOVES = range(4)
OPPOSITE = (SOUTH, NORTH, EAST, WEST)
STARTS, GOALS = 1, 2  # marks of cells; 0: none
MARK = 16  # an input token is 1 + mask + MARK * mark
PAD, ARRIVED = 0, 5  # label tokens besides 1 + move: where no move leads to the goal, and at the goal
VOCABULARY = 1 + 3 * MARK
LARGEST = 100  # cells a side
UNREACHABLE = 2**14 - 1  # moves; more than any board has cells, and twice as many are an int16

Loop = Callable[[Callable[[Any], Any], Callable[[Any], Any], Any], Any]


def while_loop(condition: Callable[[Any], Any], body: Callable[[Any], Any], state: Any) -> Any:
    """As `jax.lax.while_loop`."""
    while condition(state):
        state = body(state)
    return state


def side(open: Array) -> int:
    """Cells a side."""
    return int(round(open.shape[-1] ** 0.5))


def shifts(size: int) -> tuple[int, int, int, int]:
    """What each move adds to the number of a cell."""
    return -size, size, -1, 1


def edges(xp: Any, open: Array) -> Array:
    """bool [..., N, 4]: which moves are open."""
    return (open[..., None] >> xp.arange(4, dtype=open.dtype) & 1) == 1


def masks(xp: Any, down: Array, right: Array) -> Array:
    """uint8 [..., N] of the open edges between rows `down` and columns `right`, bool [..., n, n].

    Entry (i, j) is the edge from that cell down to (i + 1, j), or right to (i, j + 1); the last row of `down`
    and the last column of `right` are False.
    """
    down, right = down.astype("uint8"), right.astype("uint8")
    up, left = xp.roll(down, 1, axis=-2), xp.roll(right, 1, axis=-1)
    found = up << NORTH | down << SOUTH | left << WEST | right << EAST
    return found.reshape(*found.shape[:-2], -1)


def connections(xp: Any, open: Array) -> Array:
    """bool [..., 2, n, n]: the `down` and `right` of `masks`."""
    size = side(open)
    found = edges(xp, open.reshape(*open.shape[:-1], size, size))
    return xp.stack([found[..., SOUTH], found[..., EAST]], axis=-3)


def ahead(xp: Any, values: Array, size: int) -> Array:
    """[..., N, 4]: the values [..., N] of the cells that the moves lead to; off the board, of some cell."""
    return xp.stack([xp.roll(values, -shift, axis=-1) for shift in shifts(size)], axis=-1)


def distances(xp: Any, open: Array, goal: Array, loop: Loop = while_loop) -> Array:
    """int16 [..., N]: moves from every cell to `goal` [...]; `UNREACHABLE` where there is no way.

    Under jit, `loop` is `jax.lax.while_loop`; with jax's arrays outside of it, either does.
    """
    cells = open.shape[-1]
    size, far = side(open), xp.asarray(UNREACHABLE, "int16")
    cost = xp.where(edges(xp, open), 1, far)
    at_goal = xp.arange(cells) == xp.asarray(goal)[..., None]

    def relax(state: tuple[Array, Array]) -> tuple[Array, Array]:
        now = state[0]
        found = now
        for move, shift in zip(MOVES, shifts(size), strict=True):
            found = xp.minimum(found, xp.roll(now, -shift, axis=-1) + cost[..., move])
        return found, now

    first = xp.where(at_goal, xp.asarray(0, "int16"), far)
    return loop(lambda state: (state[0] != state[1]).any(), relax, relax((first, first)))[0]


def optimal_moves(xp: Any, open: Array, distances: Array) -> Array:
    """bool [..., N, 4]: the moves that begin a shortest way to the goal; none at it, or without a way."""
    nearer = ahead(xp, distances, side(open)) == distances[..., None] - 1
    return edges(xp, open) & nearer & (distances < UNREACHABLE)[..., None]


def labels(xp: Any, open: Array, distances: Array) -> Array:
    """uint8 [..., N]: 1 + the first optimal move, `ARRIVED` at the goal, `PAD` where none leads to it."""
    best = optimal_moves(xp, open, distances)
    found = xp.where(best.any(axis=-1), 1 + best.argmax(axis=-1), PAD)
    return xp.where(distances == 0, ARRIVED, found).astype("uint8")


def tokens(xp: Any, open: Array, start: Array, goal: Array) -> Array:
    """uint8 [..., N]: what is shown of a maze with `start` and `goal` [...]."""
    cells = xp.arange(open.shape[-1])
    marks = STARTS * (cells == start[..., None]) + GOALS * (cells == goal[..., None])
    return (1 + open + MARK * marks).astype("uint8")


def masks_of(tokens: Array) -> Array:
    """uint8 [..., N]: the mask of every cell of input tokens; closed all around where there is padding."""
    return (tokens - (tokens > PAD)).astype("uint8") & (MARK - 1)


def marks_of(tokens: Array) -> Array:
    """[..., N]: the mark of every cell of input tokens; 0 where there is none, or padding."""
    return (tokens - (tokens > PAD)) // MARK


def marked(tokens: Array, mark: int) -> Array:
    """int [...]: the (first) cell of input tokens [..., N] that is marked `STARTS` or `GOALS`."""
    return (marks_of(tokens) == mark).argmax(axis=-1)


def roll_outs(xp: Any, open: Array, moves: Array, goal: Array) -> Array:
    """int [..., N]: how many moves the policy `moves` [..., N] takes from every cell to `goal` [...].

    `UNREACHABLE` where it never arrives: it meets a wall, or itself. A policy has no memory, so what has not
    arrived after N - 1 moves never will. What is no move, 0 to 3, goes nowhere. `open` [..., N] and `goal`
    may lack leading axes of `moves`.
    """
    here, allowed = xp.arange(open.shape[-1]), xp.clip(moves, 0, 3)
    legal = (open >> allowed.astype("uint8") & 1 == 1) & (moves == allowed)
    ends = here == goal[..., None]
    reach = xp.where(legal & ~ends, here + xp.asarray(shifts(side(open)))[allowed], here)
    steps = xp.where(ends, xp.zeros_like(reach), 1)  # moves that lead from a cell to `reach`
    for _ in range((open.shape[-1] - 1).bit_length()):  # each of twice as many moves as before
        steps = xp.minimum(steps + xp.take_along_axis(steps, reach, -1), UNREACHABLE)
        reach = xp.take_along_axis(reach, reach, -1)
    return xp.where(reach == goal[..., None], steps, UNREACHABLE)


def roll_out(xp: Any, open: Array, moves: Array, start: Array, goal: Array) -> Array:
    """int [...]: the same from `start` [...] alone."""
    steps = roll_outs(xp, open, moves, goal)
    return (xp.where(xp.arange(open.shape[-1]) == start[..., None], steps, 0)).sum(axis=-1)


def everywhere(xp: Any, size: int) -> Array:
    """uint8 [N]: the masks of a board without walls."""
    row, column = xp.divmod(xp.arange(size * size), size)
    edges = (row > 0, row < size - 1, column > 0, column < size - 1)
    return sum(open.astype("uint8") << move for move, open in zip(MOVES, edges, strict=True))


def sound(xp: Any, open: Array) -> Array:
    """bool [...]: whether every open edge has its other side, and none leads off the board."""
    down, right = (xp.moveaxis(connections(xp, open), -3, 0)[axis] for axis in (0, 1))
    off = down[..., -1, :].any(axis=-1) | right[..., -1].any(axis=-1)
    return (masks(xp, down, right) == open).all(axis=-1) & ~off
