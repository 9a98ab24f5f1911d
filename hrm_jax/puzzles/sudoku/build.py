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
from pathlib import Path

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import hub
from hrm_jax.puzzles.dataset import SPLITS, write_groups
from hrm_jax.puzzles.sudoku import generate, symmetry
from hrm_jax.puzzles.sudoku.solver import BOXES

PART = {4: 256, 6: 128, 9: 32}  # puzzles tried for one part
PATIENCE = 100  # parts in sequence without a new puzzle, after which there are none
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
    settings["csv"] = None if options.csv is None else str(options.csv.resolve())

    def fill(parts: Path, whole: Path) -> None:
        if options.csv is None:
            what = f"{options.size}x{options.size} sudokus"
            wanted = options.train, options.test
            found = building.gather(parts, settings, part, wanted, options.jobs, what, PATIENCE)
        else:
            found = [_from_csv(options, split) for split in SPLITS]
        for split, arrays in zip(SPLITS, found, strict=True):
            _write(whole, split, arrays, options)

    made = building.produce(options.out, settings, fill)
    print(f"{options.out}: {'done' if made else 'there already'}")


def _write(folder: Path, split: str, arrays: dict[str, np.ndarray], options: argparse.Namespace) -> None:
    copies = options.augment if split == "train" else 0
    size = options.size
    puzzles, answers = arrays["inputs"] - np.uint8(1), arrays["labels"] - np.uint8(1)
    inputs, labels = symmetry.augmented(puzzles, answers, size, copies, options.seed) + np.uint8(1)
    extra = {"ratings": arrays["rating"]}
    write_groups(folder, split, "sudoku", inputs, labels, size + 2, height=size, width=size, extra=extra)


def _from_csv(options: argparse.Namespace, split: str) -> dict[str, np.ndarray]:
    """Rows of the hub's file of one split whose rating is asked for."""
    path, size = options.csv / f"{split}.csv", options.size
    alphabet = {".": 1, "0": 1} | {str(d): d + 1 for d in range(1, size + 1)}
    inputs, labels, rating = hub.read_csv(path, alphabet, size * size)
    low, high = options.rating or (0, 2**31 - 1)
    kept = np.flatnonzero((rating >= low) & (rating <= high))
    if not len(kept):
        raise RequestError(f"{path}: no row is rated from {low} to {high}")
    wrong = ((inputs != BLANK) & (inputs != labels)).any(axis=1) | (labels == BLANK).any(axis=1)
    if wrong.any():
        raise RequestError(
            f"{path}: the answer of row {wrong.argmax() + 1} is not full or not that of its question"
        )
    if split == "train":
        kept = kept[hub.subsample(len(kept), options.subsample, options.seed, path)]
    return {"inputs": inputs[kept], "labels": labels[kept], "rating": rating[kept]}


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
