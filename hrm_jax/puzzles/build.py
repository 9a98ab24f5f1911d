"""What the builders share: options, a folder that appears in one step, CSV files, the stream of puzzles.

A builder names its `settings` (all that the result depends on) and a function of (settings, number) that
makes part `number`: arrays of one length, among them `split` (0 train, 1 test), `inputs` and `labels` [K, S].
Parts are kept until the folder is complete (`artefacts.parts`): the same command goes on where a killed one
was, with the same result, on any number of processes, for a data set is the first distinct puzzles of the
stream. The function that makes a part decides the split of a puzzle by a hash of what must
not be shared, so that train and test are disjoint however the stream is cut. Instead of the stream, the
published CSV files of mazes and sudokus (the "hub") are read: source, question, answer, rating.
"""

import argparse
import contextlib
import csv
import functools
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hrm_jax.artefacts import files, json_file, parts
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import at_least
from hrm_jax.puzzles import sharing
from hrm_jax.puzzles.dataset import SPLITS, PuzzleSet, load, write_groups
from hrm_jax.puzzles.sharing import Part

USUAL = 1000  # puzzles of a split
MOST = 10**8  # puzzles of a split, augmentations among them: they are made in memory
MOST_AUGMENTED = 100_000  # augmentations of a puzzle
BLOCK = 4096  # examples whose rules are checked at a time
COLUMNS = ("source", "question", "answer", "rating")  # of the hub's files
SAMPLE = 2  # parts whose puzzles tell how many a data set takes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that mazes and sudokus have alike."""
    add = parser.add_argument
    add("--train", type=int, help=f"training puzzles (groups); default: {USUAL:,}; not with --csv")
    add("--test", type=int, help=f"test puzzles; default: {USUAL:,}; not with --csv")
    add("--csv", type=Path, help="folder of the hub's train.csv and test.csv, not to generate")
    add("--subsample", type=int, help="so many rows of train.csv, drawn with --seed")
    add_parts(parser)


def add_parts(parser: argparse.ArgumentParser) -> None:
    """Arguments of builders whose data set comes in parts (`sharing`)."""
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--list", type=int, metavar="N",
        help="print the parts as N commands, a line each, for several machines; make nothing")  # fmt: skip
    only.add_argument("--parts", type=interval, metavar="A:B",
        help="make the parts A to B alone; the same command without this puts them together")  # fmt: skip


def check(options: argparse.Namespace) -> None:
    """Refuse what no builder can do."""
    if options.csv is None:
        if options.subsample is not None:
            raise RequestError("--subsample draws rows of --csv; without it, --train says how many puzzles")
        for name in SPLITS:
            if getattr(options, name) is None:
                setattr(options, name, USUAL)
            if getattr(options, name) < 1:
                raise RequestError(f"--{name} {getattr(options, name)}: at least 1")
    elif (options.list, options.parts) != (None, None):
        raise RequestError("--list and --parts: the rows of --csv are read, not made")
    elif options.train is not None or options.test is not None:
        raise RequestError(
            "--csv has its own rows: --subsample N takes N of train.csv; --train and --test do not go"
        )
    at_least(options, subsample=1, augment=(0, MOST_AUGMENTED))
    if options.csv is None:
        _check_number(max(options.train * (1 + options.augment), options.test))


def _check_number(puzzles: int) -> None:
    if puzzles > MOST:
        raise RequestError(f"{puzzles:,} puzzles of a split, augmentations among them: at most {MOST:,}")


def interval(text: str) -> tuple[int, int]:
    """argparse type of A:B, both included; B may be left out."""
    low, colon, high = text.partition(":")
    try:
        bounds = int(low or 0), int(high) if high else 2**31 - 1
    except ValueError:
        bounds = (1, 0)
    if not colon or not 0 <= bounds[0] <= bounds[1]:
        raise argparse.ArgumentTypeError(
            f"{text}: A:B with 0 <= A <= B is expected, both included; B may be left out"
        )
    return bounds


# ---------------------------------------------------------------- the folder


@dataclass(frozen=True)
class Rules:
    """What every data set of a kind keeps to, whoever made it. Inputs and labels are tokens [N, S]."""

    kind: str
    vocabulary: Callable[[int, int], int]  # tokens, of so many rows and columns; 0: there are no such puzzles
    wrong: Callable[..., np.ndarray] = lambda inputs, *_: np.zeros(len(inputs), bool)
    """(inputs, labels, rows, columns, and puzzle identifiers [N] of what is no CSV file): which are no such
    puzzle with its right answer, bool [N]."""
    fault: str = ""  # what is wrong with a row of them
    also: int | None = None  # tokens of the original tool's, where ours have another number

    def misfit(self, puzzles: PuzzleSet) -> str:
        """How a data set breaks the rules, or empty."""
        shape, vocabulary = (puzzles.height, puzzles.width), puzzles.meta.vocab_size
        allowed = self.vocabulary(*shape)
        if not allowed or vocabulary not in (allowed, self.also):
            return f"there are none of {shape[0]}x{shape[1]} cells and {vocabulary} tokens"
        columns = puzzles.inputs, puzzles.labels, puzzles.puzzle_of_example
        for first in range(0, len(puzzles.inputs), BLOCK):
            inputs, labels, identifiers = (column[first : first + BLOCK] for column in columns)
            faulty = self.wrong(inputs, labels, *shape, identifiers)
            if faulty.any():
                return f"example {first + int(faulty.argmax())} {self.fault}"
        return ""


@dataclass(frozen=True)
class Maker:
    """What one kind of puzzle adds to `make`. Inputs and labels are tokens [N, S]."""

    rules: Rules
    part: Part
    patience: int  # parts in sequence without a new puzzle, after which there are none
    augment: Callable[[np.ndarray, np.ndarray, int, int, int], np.ndarray]
    """(inputs, labels, size, copies, seed) -> [2, N, 1 + copies, S]: each puzzle with others like it."""
    alphabet: dict[str, int]  # tokens by the signs of the hub's files


def make(options: argparse.Namespace, settings: dict, maker: Maker) -> None:
    """Write the data set of `options`: generated, or rows of the hub's files; training puzzles augmented."""
    kind, size, wanted = settings["kind"], options.size, (options.train, options.test)
    settings = settings | {"csv": None if options.csv is None else str(options.csv.resolve())}
    if sharing.asked(options, settings, maker.part, lambda: expected(settings, maker.part, wanted)):
        return

    def fill(work: Path, whole: Path) -> None:
        if options.csv is None:
            what = f"{size}x{size} {kind}s"
            found = gather(work, settings, maker.part, wanted, options.jobs, what, maker.patience)
        else:
            found = [_rows(options, split, maker) for split in SPLITS]
        for split, arrays in zip(SPLITS, found, strict=True):
            copies = options.augment if split == "train" else 0
            _check_number(len(arrays["inputs"]) * (1 + copies))
            inputs, labels = maker.augment(arrays["inputs"], arrays["labels"], size, copies, options.seed)
            more: dict = {"height": size, "width": size, "extra": {"ratings": arrays["rating"]}}
            write_groups(whole, split, kind, inputs, labels, maker.rules.vocabulary(size, size), **more)

    made = produce(options.out, settings, maker.rules, fill)
    print(f"{options.out}: {'done' if made else 'there already'}")


def produce(out: Path, settings: dict, rules: Rules, fill: Callable[[Path, Path], None]) -> bool:
    """Let `fill(parts, folder)` write the data set, which keeps to `rules` and becomes `out` in one step.

    False: it was there already. `settings` are remembered in build.json; a folder made with others, or by
    other tools, is left alone.
    """
    note = out / "build.json"
    if out.exists():
        if not note.exists():
            raise RequestError(f"{out} is there and is not of this builder; remove it, or give another --out")
        parts.check_same(json_file.load(note, dict[str, Any], "build.json"), settings, out, "was built")
        for puzzles in (load(out, split) for split in SPLITS):  # which may have been damaged since
            groups, wanted = puzzles.meta.total_groups, settings.get(puzzles.split)
            fault = f"its kind is {puzzles.kind!r}" if puzzles.kind != rules.kind else rules.misfit(puzzles)
            if not fault and wanted not in (None, groups):
                fault = f"it has {groups} puzzles, not {wanted}"
            if fault:
                place = f"{out}/{puzzles.split}"
                raise RequestError(f"{place} was changed: {fault}; remove the folder, to build it again")
        return False
    with parts.work_folder(out, settings) as folder:
        whole = folder / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        fill(folder, whole)
        with files.atomic_write(whole / "build.json") as file:
            json.dump(settings, file)
        os.replace(whole, out)
    return True


# ---------------------------------------------------------------- the hub's files


def _rows(options: argparse.Namespace, split: str, maker: Maker) -> dict[str, np.ndarray]:
    """Inputs, labels and ratings of the rows of one split's file that the options ask for."""
    path = options.csv / f"{split}.csv"
    inputs, labels, rating = _read_csv(path, maker.alphabet, options.size**2)
    low, high = getattr(options, "rating", None) or (0, 2**31 - 1)
    kept = np.flatnonzero((rating >= low) & (rating <= high))
    if not len(kept):
        raise RequestError(f"{path}: no row is rated from {low} to {high}")
    faulty = maker.rules.wrong(inputs, labels, options.size, options.size)
    if faulty.any():
        raise RequestError(f"{path}: row {faulty.argmax() + 1} {maker.rules.fault}")
    if split == "train" and options.subsample is not None:
        if options.subsample > len(kept):
            raise RequestError(f"--subsample {options.subsample}: {path} has {len(kept)} rows")
        rng = np.random.default_rng([options.seed, 0x5B])
        kept = kept[np.sort(rng.choice(len(kept), options.subsample, replace=False))]
    return {"inputs": inputs[kept], "labels": labels[kept], "rating": rating[kept]}


def _read_csv(path: Path, alphabet: dict[str, int], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of questions and answers uint8 [N, S], ratings int32 [N]. A space is a cell, never stripped."""
    texts: dict[str, list[str]] = {"question": [], "answer": []}
    ratings: list[int] = []
    try:
        with open(path, newline="", encoding="ascii") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise RequestError(
                    f"{path} lacks the columns {', '.join(missing)}; wanted: {','.join(COLUMNS)}"
                )
            for row in reader:
                place = f"{path} line {reader.line_num}"
                for name, rows in texts.items():
                    rows.append(row[name] or "")
                    if len(rows[-1]) != length:
                        raise RequestError(f"{place}: the {name} has {len(rows[-1])} signs, not {length}")
                try:
                    ratings.append(int(np.int32(int(row["rating"] or ""))))
                except (ValueError, OverflowError):
                    wrong = f"the rating is {row['rating']!r}; an integer of 32 bits is expected"
                    raise RequestError(f"{place}: {wrong}") from None
    except FileNotFoundError:
        raise RequestError(f"{path} is missing; --csv takes a folder with train.csv and test.csv") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None
    if not ratings:
        raise RequestError(f"{path} has no rows")
    table = np.zeros(256, np.uint8)
    table[[ord(sign) for sign in alphabet]] = list(alphabet.values())
    signs = {name: np.frombuffer("".join(rows).encode(), np.uint8) for name, rows in texts.items()}
    for name, found in signs.items():
        unknown = table[found] == 0
        if unknown.any():
            first = int(unknown.argmax())
            raise RequestError(
                f"{path}: the {name} of row {first // length + 1} has the sign {chr(found[first])!r}; "
                f"allowed: {''.join(alphabet)!r}"
            )
    questions, answers = (table[found].reshape(-1, length) for found in signs.values())
    return questions, answers, np.array(ratings, np.int32)


# ---------------------------------------------------------------- the stream


def gather(
    folder: Path, settings: dict, part: Part, wanted: Sequence[int], jobs: int, what: str, patience: int
) -> list[dict[str, np.ndarray]]:
    """The first `wanted` (train, test) distinct puzzles of the stream: for each split, arrays by name.

    Puzzles are distinct when their inputs differ. A `RequestError` when `patience` parts in sequence bring
    no new puzzle, wanted or not: then there are no more, or hardly any.
    """
    found: list[list[dict[str, np.ndarray]]] = [[], []]  # by split: arrays of the puzzles of every part
    seen: set[bytes] = set()
    have, idle = [0, 0], 0
    stream = parts.stream(folder, functools.partial(part, settings), jobs)
    with tqdm(total=sum(wanted), desc=what, unit="", disable=None) as progress, contextlib.closing(stream):
        for number, arrays in enumerate(stream, 1):
            known = len(seen)
            for split in (0, 1):
                rows = _new(arrays, split, seen)[: wanted[split] - have[split]]
                if rows:
                    found[split].append({name: array[rows] for name, array in arrays.items()})
                    have[split] += len(rows)
            progress.set_postfix_str(f"{have[0]:,} train, {have[1]:,} test")
            progress.update(sum(have) - progress.n)
            if have == list(wanted):
                break
            idle = idle + 1 if len(seen) == known else 0
            if idle >= patience:
                raise RequestError(
                    f"{have[0]:,} of {wanted[0]:,} train and {have[1]:,} of {wanted[1]:,} test {what} found, "
                    f"and no new one in the last {patience} of {number} parts: ask for fewer, or for less"
                )
    return [{name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]} for pieces in found]


def expected(settings: dict, part: Part, wanted: Sequence[int]) -> int:
    """How many parts of the stream have the `wanted` (train, test) puzzles, about, as the first ones tell."""
    each = sum(len(part(settings, number)["inputs"]) for number in range(SAMPLE)) / SAMPLE
    if not each:
        raise RequestError(f"--list: no puzzle in the first {SAMPLE} parts; --parts A:B makes those you name")
    share = _test_share(*wanted)
    return math.ceil(max(wanted[0] / (1 - share), wanted[1] / share) / each)


def _new(arrays: dict[str, np.ndarray], split: int, seen: set[bytes]) -> list[int]:
    """Rows of this split whose inputs were not seen before; now they are."""
    rows = []
    for row in np.flatnonzero(arrays["split"] == split).tolist():
        key = arrays["inputs"][row].tobytes()
        if key not in seen:
            seen.add(key)
            rows.append(row)
    return rows


def split_of(keys: Sequence[bytes], train: int, test: int) -> np.ndarray:
    """uint8 [K]: 0 (train) or 1 (test), by the hash of a key; the shares of both are about as wanted.

    Neither share is below 2 %: a few test puzzles should not be waited for longer than for the rest.
    """
    limit = int(_test_share(train, test) * 2**64)
    digests = (hashlib.blake2b(key, digest_size=8, person=b"hrm_jax split").digest() for key in keys)
    return np.array([int.from_bytes(d, "little") < limit for d in digests], np.uint8)


def _test_share(train: int, test: int) -> float:
    return min(max(test / (train + test), 0.02), 0.98)
