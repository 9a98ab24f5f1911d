"""The symmetries of sudoku: digits, lines, bands and stacks permuted, transposition (docs/puzzles.md)."""

import numpy as np

from hrm_jax.puzzles.sudoku.solver import BOXES


def invariant(puzzles: np.ndarray, answers: np.ndarray, size: int) -> np.ndarray:
    """uint64 [N]: equal for puzzles [N, S] that are one another under the symmetries (`shuffled`).

    Different numbers prove that two puzzles are not equivalent; equal ones leave it open, which costs nothing
    here. It is a colour refinement: a cell begins as clue or blank, and its colour is four times mixed with
    the colours of its row, its column, its box and the cells of the same digit, as sums, so that no order
    enters; rows and columns enter alike where transposition is a symmetry.
    """
    high, wide = BOXES[size]
    count = len(puzzles)
    salt = iter(np.random.default_rng(0x5D0C).integers(1, 2**63, 32, dtype=np.uint64) | np.uint64(1))

    def mix(x, by):
        x = (x + by) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        return x ^ (x >> np.uint64(32))

    def spread(colour, axes, shape):
        """Every cell's sum over its unit: `shape` splits the grid into axes, of which `axes` are the unit."""
        total = colour.reshape(count, *shape).sum(axis=axes, keepdims=True, dtype=np.uint64)
        return np.broadcast_to(total, (count, *shape)).reshape(count, size * size)

    same = (answers[:, :, None] == np.arange(1, size + 1, dtype=np.uint8)).astype(np.uint64)  # [N, S, digits]
    colour = np.where(puzzles > 0, next(salt), next(salt))
    boxed = (size // high, high, size // wide, wide)
    with np.errstate(over="ignore"):
        for _ in range(4):
            mixed = mix(colour, next(salt))
            line, box, digit, column = (next(salt) for _ in range(4))
            if high == wide:
                column = line
            of_digit = np.einsum("nsd,ns->nd", same, mixed)
            colour = (
                mix(colour, np.uint64(1))
                + mix(spread(mixed, 2, (size, size)), line)
                + mix(spread(mixed, 1, (size, size)), column)
                + mix(spread(mixed, (2, 4), boxed), box)
                + mix(np.einsum("nsd,nd->ns", same, of_digit), digit)
            )
        return mix(colour, next(salt)).sum(axis=1, dtype=np.uint64)


def shuffled(grids: np.ndarray, size: int, rng: np.random.Generator, copies: int) -> np.ndarray:
    """The A grids [A, S] of a puzzle under each of `copies` random symmetries: [copies, A, S]; 0 stays 0."""
    high, wide = BOXES[size]

    def lines(groups, within):
        """[copies, size]: groups in random order, and the lines within each of them."""
        outer = rng.permuted(np.tile(np.arange(groups), (copies, 1)), axis=1)[:, :, None]
        inner = rng.permuted(np.tile(np.arange(within), (copies, groups, 1)), axis=2)
        return (outer * within + inner).reshape(copies, size)

    rows, columns = lines(size // high, high), lines(size // wide, wide)
    cells = rows[:, :, None] * size + columns[:, None, :]  # [copies, R, C]: where a cell comes from
    if high == wide:
        flip = rng.random(copies) < 0.5
        cells[flip] = cells[flip].swapaxes(1, 2)
    digits = np.zeros((copies, size + 1), np.uint8)
    digits[:, 1:] = rng.permuted(np.tile(np.arange(1, size + 1, dtype=np.uint8), (copies, 1)), axis=1)
    moved = grids[:, cells.reshape(copies, -1)].swapaxes(0, 1)  # [copies, A, S]
    return digits[np.arange(copies)[:, None, None], moved]


def augmented(inputs: np.ndarray, labels: np.ndarray, size: int, copies: int, seed: int) -> np.ndarray:
    """Tokens [2, G, 1 + copies, S] (inputs, labels): each puzzle with `copies` symmetric ones after it.

    The symmetries of group g are a function of (seed, g).
    """
    pairs = np.stack([inputs, labels])
    out = np.empty((*pairs.shape[:2], 1 + copies, size * size), np.uint8)
    out[:, :, 0] = pairs
    digits = pairs - np.uint8(1)
    for group in range(len(inputs) if copies else 0):
        rng = np.random.default_rng([seed, group, 0xA6])
        out[:, group, 1:] = shuffled(digits[:, group], size, rng, copies).swapaxes(0, 1) + np.uint8(1)
    return out
