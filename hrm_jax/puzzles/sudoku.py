"""Sudokus with one solution each: 9x9 (boxes 3x3), 6x6 (boxes of 2 rows and 3 columns) and 4x4 (2x2).

    python -m hrm_jax.puzzles sudoku --out data/sudoku9 --train 1000 --test 1000 --augment 1000
    python -m hrm_jax.puzzles sudoku --out data/sudoku6 --size 6 --givens 12:16 --train 5000 --augment 20
    python -m hrm_jax.puzzles sudoku --out data/extreme --csv FOLDER --subsample 1000 --augment 1000

Tokens: blank 1, digit d at d + 1, PAD 0; a vocabulary of size + 2 (11 for 9x9). Labels are the solution, all
cells of which count (docs/puzzles.md#sudoku).

A puzzle: a random full grid, cells emptied in random order as long as the solution stays the only one (the
solver proves it for each), until every cell has been tried (the puzzle is then minimal), or with --givens A:B
until a number of clues drawn from A to B is left; more than B, and the puzzle is dropped. Its rating is the
number of backtracks of `solve`, a measure of its own: not comparable with the ratings of the hub's files,
which are those of the tdoku solver. --rating A:B keeps the puzzles rated from A to B.

Train and test share no puzzle, nor any two puzzles that are one another under the symmetries (digits, rows
and columns, bands and stacks, transposition): the split is decided by a hash of an invariant of these
symmetries. (There are so few 4x4 puzzles that each has many equivalent ones on its own side; ask --givens 4:8
for variety.) Rows of --csv are taken as they are divided there.

--augment N: a group is a training puzzle and N further ones: digits permuted, transposed with probability
1/2 (square boxes only: others would change their shape), bands, rows in bands, stacks and columns in stacks
in random order. Test puzzles are not augmented.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles.dataset import SPLITS, PuzzleSet, write_groups

BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # size: rows and columns of a box
PART = {4: 256, 6: 128, 9: 32}  # puzzles tried for one part
PATIENCE = 100  # parts in sequence without a new puzzle, after which there are none
BLANK = 1  # the token; digit d is d + 1
FEWEST = {
    4: 4,
    6: 8,
    9: 17,
}  # no puzzle of so few clues less one has one solution (McGuire et al., 2012, for 9x9)


# ---------------------------------------------------------------- the solver


@dataclass(frozen=True)
class Rules:
    """Candidates (digit, cell) as bits of one integer: bit digit * cells + cell, digits from 0.

    `keep[c]`: what candidate c leaves standing. `units`: for each of the four kinds of constraint (a digit in
    a row, in a column, in a box; a cell has a digit) the first candidate of every constraint, as bits, and by
    how much to shift to the others.
    """

    size: int
    full: int
    keep: tuple[int, ...]
    units: tuple[tuple[int, tuple[int, ...]], ...]


@cache
def rules(size: int) -> Rules:
    """The rules of one size of sudoku."""
    high, wide = BOXES[size]
    cells = size * size
    box = [r // high * high + c // wide for r in range(size) for c in range(size)]

    def bits(chosen):
        return sum(1 << bit for bit in chosen)

    keep = []
    full = (1 << size * cells) - 1
    for digit in range(size):
        for cell in range(cells):
            r, c = divmod(cell, size)
            peers = [p for p in range(cells) if p // size == r or p % size == c or box[p] == box[cell]]
            gone = bits(digit * cells + p for p in peers) | bits(d * cells + cell for d in range(size))
            keep.append(full & ~gone | 1 << digit * cells + cell)
    digits = range(size)
    rows = bits(d * cells + size * r for d in digits for r in range(size))
    columns = bits(d * cells + c for d in digits for c in range(size))
    corners = bits(
        d * cells + r * size + c for d in digits for r in range(0, size, high) for c in range(0, size, wide)
    )
    units = (
        (rows, tuple(range(size))),
        (columns, tuple(size * r for r in range(size))),
        (corners, tuple(r * size + c for r in range(high) for c in range(wide))),
        (bits(range(cells)), tuple(d * cells for d in digits)),
    )
    return Rules(size, full, tuple(keep), units)


def _settle(rule: Rules, alive: int) -> int:
    """What naked and hidden singles leave standing of the candidates; 0 where a constraint cannot be met."""
    settled = 0
    while True:
        singles = 0
        for first, shifts in rule.units:
            once = twice = 0
            for shift in shifts:
                here = alive >> shift & first
                twice |= once & here
                once |= here
            if once != first:
                return 0
            alone = once & ~twice
            for shift in shifts:
                singles |= (alive >> shift & alone) << shift
        singles &= ~settled
        if not singles:
            return alive
        settled |= singles
        while singles:
            lowest = singles & -singles
            if not alive & lowest:
                return 0  # two singles of this round contradict one another
            alive &= rule.keep[lowest.bit_length() - 1]
            singles ^= lowest


def _branch(rule: Rules, alive: int) -> list[int]:
    """Candidates of the first cell among those with the fewest, by rising digit; one when all is decided."""
    cells = rule.size**2
    first, shifts = rule.units[3]
    exactly = [first] + [0] * rule.size  # cells with exactly k candidates so far
    for shift in shifts:
        here = alive >> shift & first
        for k in range(rule.size, 0, -1):
            exactly[k] = exactly[k] & ~here | exactly[k - 1] & here
        exactly[0] &= ~here
    fewest = next((cells_with for cells_with in exactly[2:] if cells_with), 0)
    if not fewest:
        return []
    cell = (fewest & -fewest).bit_length() - 1
    return [d * cells + cell for d in range(rule.size) if alive >> d * cells + cell & 1]


def _solutions(rule: Rules, alive: int, backtracks: list[int], order=None) -> Iterator[int]:
    """Every solution below `alive`, depth first; `backtracks[0]` counts the guesses that led to none."""
    alive = _settle(rule, alive)
    if not alive:
        return
    choices = _branch(rule, alive)
    if not choices:
        yield alive
        return
    if order is not None:
        order.shuffle(choices)
    for choice in choices:
        found = False
        for solution in _solutions(rule, alive & rule.keep[choice], backtracks, order):
            found = True
            yield solution
        backtracks[0] += not found


def _candidates(rule: Rules, puzzle: np.ndarray) -> int:
    """What clues (digits 1 to size, 0 blank; [S]) leave standing."""
    alive = rule.full
    for cell, digit in enumerate(puzzle.tolist()):
        if digit:
            alive &= rule.keep[(digit - 1) * rule.size**2 + cell]
    return alive


def _grid(rule: Rules, solution: int) -> np.ndarray:
    """Digits 1 to size, uint8 [S], of a decided set of candidates."""
    cells = rule.size**2
    ones = [solution >> bit & 1 for bit in range(rule.size * cells)]
    return np.array(ones, np.uint8).reshape(rule.size, cells).argmax(axis=0).astype(np.uint8) + np.uint8(1)


def solve(puzzle: np.ndarray, size: int) -> tuple[np.ndarray | None, int, bool]:
    """(solution [S] or None, rating, whether it is the only one) of a puzzle [S], digits from 1, 0 blank.

    The rating is the number of backtracks before the solution is found: after all naked and hidden singles
    the solver guesses in the first of the cells with the fewest candidates, lowest digit first; a guess below
    which there is no solution is one backtrack.
    """
    rule = rules(size)
    backtracks = [0]
    solutions = _solutions(rule, _candidates(rule, puzzle), backtracks)
    first = next(solutions, None)
    rating = backtracks[0]
    if first is None:
        return None, rating, False
    return _grid(rule, first), rating, next(solutions, None) is None


# ---------------------------------------------------------------- generation


def generate(size: int, rng: np.random.Generator, givens: tuple[int, int] | None) -> tuple | None:
    """(puzzle, solution, rating) of a random puzzle, digits as in `solve`; None: too many clues were left."""
    rule = rules(size)
    cells = size * size
    empty = _solutions(rule, rule.full, [0], rng)
    full = shuffled(_grid(rule, next(empty))[None], size, rng, 1)[0, 0]
    target = 0 if givens is None else int(rng.integers(givens[0], min(givens[1], cells) + 1))
    puzzle, left = full.copy(), cells
    for cell in rng.permutation(cells).tolist():
        if left <= target:
            break
        puzzle[cell] = 0
        # Another solution would have another digit here, or the puzzle before had two.
        other = _candidates(rule, puzzle) & ~(1 << (int(full[cell]) - 1) * cells + cell)
        if next(_solutions(rule, other, [0]), None) is None:
            left -= 1
        else:
            puzzle[cell] = full[cell]
    if givens is not None and left > givens[1]:
        return None
    solution, rating, only = solve(puzzle, size)
    if not only or (solution != full).any():
        raise AssertionError(f"not the only solution: {puzzle}")
    return puzzle, full, rating


def _part(settings: dict, number: int) -> dict[str, np.ndarray]:
    """The puzzles of one part of the stream (`build.gather`)."""
    size, rated = settings["size"], settings["rating"]
    rng = np.random.default_rng([settings["seed"], number])
    made = [generate(size, rng, settings["givens"]) for _ in range(PART[size])]
    made = [m for m in made if m and (rated is None or rated[0] <= m[2] <= rated[1])]
    puzzles = np.array([m[0] for m in made], np.uint8).reshape(-1, size * size)
    answers = np.array([m[1] for m in made], np.uint8).reshape(-1, size * size)
    keys = [value.tobytes() for value in invariant(puzzles, answers, size)]
    return {
        "split": building.split_of(keys, settings["train"], settings["test"]),
        "inputs": puzzles + np.uint8(1),
        "labels": answers + np.uint8(1),
        "rating": np.array([m[2] for m in made], np.int32),
    }


# ---------------------------------------------------------------- symmetries


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


def augmented(puzzles: np.ndarray, answers: np.ndarray, size: int, copies: int, seed: int) -> np.ndarray:
    """Digits [2, G, 1 + copies, S] (puzzles, answers): each with `copies` symmetric ones after it.

    The symmetries of group g are a function of (seed, g).
    """
    pairs = np.stack([puzzles, answers])
    out = np.empty((*pairs.shape[:2], 1 + copies, size * size), np.uint8)
    out[:, :, 0] = pairs
    for group in range(len(puzzles) if copies else 0):
        rng = np.random.default_rng([seed, group, 0xA6])
        out[:, group, 1:] = shuffled(pairs[:, group], size, rng, copies).swapaxes(0, 1)
    return out


# ---------------------------------------------------------------- the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m hrm_jax.puzzles sudoku`."""
    building.add_arguments(parser)
    parser.add_argument("--size", type=int, default=9, choices=sorted(BOXES), help="cells a side")
    parser.add_argument("--augment", type=int, default=0, help="symmetric copies of every training puzzle")
    parser.add_argument(
        "--givens", type=building.interval, help="A:B clues left; minimal puzzles unless told"
    )
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
            found = building.gather(parts, settings, _part, wanted, options.jobs, what, PATIENCE)
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
    inputs, labels = augmented(puzzles, answers, size, copies, options.seed) + np.uint8(1)
    extra = {"ratings": arrays["rating"]}
    write_groups(folder, split, "sudoku", inputs, labels, size + 2, height=size, width=size, extra=extra)


def _from_csv(options: argparse.Namespace, split: str) -> dict[str, np.ndarray]:
    """Rows of the hub's file of one split whose rating is asked for."""
    path, size = options.csv / f"{split}.csv", options.size
    alphabet = {".": 1, "0": 1} | {str(d): d + 1 for d in range(1, size + 1)}
    inputs, labels, rating = building.read_csv(path, alphabet, size * size)
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
        kept = kept[building.subsample(len(kept), options.subsample, options.seed, path)]
    return {"inputs": inputs[kept], "labels": labels[kept], "rating": rating[kept]}


# ---------------------------------------------------------------- statistics


def statistics(puzzles: PuzzleSet) -> dict[str, float | int]:
    """What the sudokus of a data set are like; ratings are those of our builder, where it made the set."""
    base = puzzles.puzzle_indices[puzzles.group_indices[:-1]]
    clues = (puzzles.inputs[base] != BLANK).sum(axis=1)
    told = {
        "puzzles (groups)": len(base),
        "examples": len(puzzles.inputs),
        "clues, mean": float(clues.mean()),
        "clues, least": int(clues.min()),
        "clues, most": int(clues.max()),
        "tokens right by copying the input, %": float(100 * clues.mean() / puzzles.meta.seq_len),
    }
    path = puzzles.folder / puzzles.split / "all__ratings.npy"
    if path.exists():
        rating = np.load(path)
        told |= {
            "backtracks, mean": float(rating.mean()),
            "backtracks, median": float(np.median(rating)),
            "backtracks, 95 %": float(np.quantile(rating, 0.95)),
            "solved by singles alone, %": float(100 * (rating == 0).mean()),
        }
    return told
