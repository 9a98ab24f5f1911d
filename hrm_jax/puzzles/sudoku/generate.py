"""Random sudokus with one solution each: minimal ones, or with a number of clues."""

import numpy as np

from hrm_jax.puzzles.sudoku import solver, symmetry


def generate(size: int, rng: np.random.Generator, givens: tuple[int, int] | None) -> tuple | None:
    """(puzzle, solution, rating) of a random puzzle, digits as in `solve`; None: too many clues were left."""
    rule = solver.rules(size)
    cells = size * size
    empty = solver.solutions(rule, rule.full, [0], rng)
    full = symmetry.shuffled(solver.grid(rule, next(empty))[None], size, rng, 1)[0, 0]
    target = 0 if givens is None else int(rng.integers(givens[0], min(givens[1], cells) + 1))
    puzzle, left = full.copy(), cells
    for cell in rng.permutation(cells).tolist():
        if left <= target:
            break
        puzzle[cell] = 0
        # Another solution would have another digit here, or the puzzle before had two.
        other = solver.candidates(rule, puzzle) & ~(1 << (int(full[cell]) - 1) * cells + cell)
        if next(solver.solutions(rule, other, [0]), None) is None:
            left -= 1
        else:
            puzzle[cell] = full[cell]
    if givens is not None and left > givens[1]:
        return None
    solution, rating, only = solver.solve(puzzle, size)
    if not only or (solution != full).any():
        raise AssertionError(f"not the only solution: {puzzle}")
    return puzzle, full, rating
