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
from hrm_jax.puzzles.sudoku import generate, symmetry
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
        kind="sudoku",
        vocabulary=size + 2,
        part=part,
        patience=PATIENCE,
        augment=_augmented,
        alphabet={".": BLANK, "0": BLANK} | {str(d): d + 1 for d in range(1, size + 1)},
        wrong=_wrong,
        fault="has an answer that is not full or not that of its question",
    )
    building.make(options, settings, maker)


def _augmented(inputs: np.ndarray, labels: np.ndarray, size: int, copies: int, seed: int) -> np.ndarray:
    one = np.uint8(1)
    return symmetry.augmented(inputs - one, labels - one, size, copies, seed) + one


def _wrong(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which rows [N] are no sudoku with its full answer."""
    return ((inputs != BLANK) & (inputs != labels)).any(axis=1) | (labels == BLANK).any(axis=1)


def part(settings: dict, number: int) -> dict[str, np.ndarray]:
    """The puzzles of one part of the stream (`build.gather`)."""
    size, rated = settings["size"], settings["rating"]
    rng = np.random.default_rng([settings["seed"], number])
    tried = [generate.generate(size, rng, settings["givens"]) for _ in range(PART[size])]
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
