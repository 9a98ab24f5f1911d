"""Sudokus with one solution each: 9x9 (boxes 3x3), 6x6 (boxes of 2 rows and 3 columns) and 4x4 (2x2).

    python -m hrm_jax.puzzles sudoku --out data/sudoku9 --train 1000 --test 1000 --augment 1000
    python -m hrm_jax.puzzles sudoku --out data/sudoku6 --size 6 --givens 12:16 --train 5000 --augment 20
    python -m hrm_jax.puzzles sudoku --out data/extreme --csv FOLDER --subsample 1000 --augment 1000

Tokens: blank 1, digit d at d + 1; labels are the solution. Sudokus are minimal (each clue is needed), or with
--givens A:B have so many clues. The rating, which --rating A:B selects, is the number of backtracks of our
solver, not comparable with that of the hub's files (docs/puzzles.md). Train and test share no two puzzles
that are one another under the symmetries; rows of --csv are taken as they are divided there. --augment N:
after every training puzzle N symmetric ones.
"""

import argparse

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.sudoku import solver, symmetry
from hrm_jax.puzzles.sudoku.solver import BOXES

PART = {4: 256, 6: 128, 9: 32}  # puzzles tried for one part
PATIENCE = 100
BLANK = 1  # the token; digit d is d + 1
# No puzzle of fewer clues has one solution (McGuire et al., 2012, for 9x9).
FEWEST = {4: 4, 6: 8, 9: 17}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m hrm_jax.puzzles sudoku`."""
    building.add_arguments(parser)
    parser.add_argument("--size", type=int, default=9, choices=sorted(BOXES), help="cells a side")
    parser.add_argument("--augment", type=int, default=0, help="symmetric copies of every training puzzle")
    parser.add_argument("--givens", type=building.interval, help="A:B clues left; default: minimal sudokus")
    parser.add_argument("--rating", type=building.interval, help="A:B backtracks of the solver")


def build(options: argparse.Namespace) -> None:
    """Build the data set that the options ask for."""
    building.check(options)
    size, fewest = options.size, FEWEST[options.size]
    if options.givens and (options.givens[0] > size**2 or options.givens[1] < fewest):
        raise RequestError(f"--givens: {fewest} to {size**2} clues are possible at {size}x{size}")
    if options.csv is not None and options.givens:
        raise RequestError("--givens: puzzles of --csv have the clues they have")
    names = ("size", "train", "test", "seed", "augment", "givens", "rating", "subsample")
    settings = {"kind": "sudoku"} | {name: getattr(options, name) for name in names}
    maker = building.Maker(
        rules=RULES,
        part=part,
        patience=PATIENCE,
        augment=symmetry.augmented,
        alphabet={".": BLANK, "0": BLANK} | {str(d): d + 1 for d in range(1, size + 1)},
    )
    building.make(options, settings, maker)


def _wrong(inputs: np.ndarray, labels: np.ndarray, size: int, *_: object) -> np.ndarray:
    """Which rows [N] are no sudoku with a full answer, in which no row, column or box has a digit twice."""
    digits = np.uint16(1) << labels.reshape(-1, size, size)
    high, wide = BOXES[size]
    boxes = digits.reshape(-1, size // high, high, size // wide, wide).swapaxes(2, 3).reshape(digits.shape)
    every = ((1 << size) - 1) << (BLANK + 1)
    units = [(np.bitwise_or.reduce(grid, axis=axis) != every).any(axis=1)
             for grid, axis in ((digits, 1), (digits, 2), (boxes, 2))]  # fmt: skip
    return ((inputs != BLANK) & (inputs != labels)).any(axis=1) | np.any(units, axis=0)


RULES = building.Rules(
    "sudoku",
    lambda height, width: height + 2 if height == width and height in BOXES else 0,  # PAD, blank, digits
    _wrong,
    "has an answer that is no full sudoku, or not that of its question",
)


def part(settings: dict, number: int) -> dict[str, np.ndarray]:
    """The puzzles of one part of the stream (`build.gather`)."""
    size, rated = settings["size"], settings["rating"]
    rng = np.random.default_rng([settings["seed"], number])
    tried = [generate(size, rng, settings["givens"]) for _ in range(PART[size])]
    made = [m for m in tried if m and (rated is None or rated[0] <= m[2] <= rated[1])]
    puzzles = np.array([m[0] for m in made], np.uint8).reshape(-1, size * size)
    answers = np.array([m[1] for m in made], np.uint8).reshape(-1, size * size)
    keys = [value.tobytes() for value in symmetry.invariant(puzzles, answers, size)]
    return {
        "split": building.split_of(keys, settings["train"], settings["test"]),
        "inputs": puzzles + np.uint8(1),
        "labels": answers + np.uint8(1),
        "rating": np.array([m[2] for m in made], np.int32),
    }


def generate(size: int, rng: np.random.Generator, givens: tuple[int, int] | None) -> tuple | None:
    """(puzzle, solution, rating) of a random puzzle, as in `solver.solve`; None: too many clues were left."""
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


def statistics(puzzles: PuzzleSet, other: PuzzleSet | None = None) -> dict[str, float | int]:
    """What the sudokus of a split are like; ratings are those of our builder, where it made the set."""
    base = puzzles.first_of_group
    clues = (puzzles.inputs[base] != BLANK).sum(axis=1)
    found = {
        "puzzles (groups)": len(base),
        "examples": len(puzzles.inputs),
        "clues, mean": float(clues.mean()),
        "clues, least": int(clues.min()),
        "clues, most": int(clues.max()),
        "tokens right by copying the input, %": float(100 * clues.mean() / puzzles.meta.seq_len),
    }
    rating = dataset.extra(puzzles, "ratings")
    if rating is not None:
        found |= {
            "backtracks, mean": float(rating.mean()),
            "backtracks, median": float(np.median(rating)),
            "backtracks, 95 %": float(np.quantile(rating, 0.95)),
            "solved by singles alone, %": float(100 * (rating == 0).mean()),
        }
    return found
