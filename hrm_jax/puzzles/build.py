"""What the builders share: the options, a folder that appears in one step, the stream of distinct puzzles.

A builder names its `settings` (all that the result depends on) and a function of (settings, number) that
makes part `number`: arrays of one length, among them `split` (0 train, 1 test), `inputs` and `labels` [K, S].
Parts are kept until the folder is complete (`artefacts.parts`): the same command goes on where a killed one
was, with the same result, on any number of processes, for a data set is the first distinct puzzles of the
stream. The function that makes a part decides the split of a puzzle by a hash of what must
not be shared, so that train and test are disjoint however the stream is cut.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hrm_jax.artefacts import files, parts
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import hub
from hrm_jax.puzzles.dataset import SPLITS, write_groups

Part = Callable[[dict, int], dict[str, np.ndarray]]


def add_arguments(parser: argparse.ArgumentParser, train: int = 1000, test: int = 1000) -> None:
    """Arguments that mazes and sudokus have alike."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the data set, not there yet")
    add("--train", type=int, help=f"training puzzles (groups); default: {train:,}; not with --csv")
    add("--test", type=int, help=f"test puzzles; default: {test:,}; not with --csv")
    add("--seed", type=int, default=0, help="another seed, other puzzles")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes; the result does not depend on them")
    add("--csv", type=Path, help="folder with the hub's train.csv and test.csv, instead of generating")
    add("--subsample", type=int, help="so many rows of train.csv, drawn with --seed")
    parser.set_defaults(counts=(train, test))


def check(options: argparse.Namespace) -> None:
    """Refuse what no builder can do."""
    if options.jobs < 1 or options.seed < 0 or options.augment < 0:
        raise RequestError("--jobs: at least 1; --seed and --augment: 0 or more")
    if options.csv is None:
        if options.subsample is not None:
            raise RequestError("--subsample draws rows of --csv; without it, --train says how many puzzles")
        for name, usual in zip(SPLITS, options.counts, strict=True):
            if getattr(options, name) is None:
                setattr(options, name, usual)
            if getattr(options, name) < 1:
                raise RequestError(f"--{name} {getattr(options, name)}: at least 1")
    elif options.train is not None or options.test is not None:
        raise RequestError(
            "--csv has its own rows: --subsample N takes N of train.csv; --train and --test do not go"
        )
    if options.subsample is not None and options.subsample < 1:
        raise RequestError("--subsample: at least 1")


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
class Maker:
    """What one kind of puzzle adds to `make`. Inputs and labels are tokens [N, S]."""

    kind: str
    vocabulary: int
    part: Part
    patience: int  # parts in sequence without a new puzzle, after which there are none
    augment: Callable[[np.ndarray, np.ndarray, int, int, int], np.ndarray]
    """(inputs, labels, size, copies, seed) -> [2, N, 1 + copies, S]: each puzzle with others like it."""
    alphabet: dict[str, int]  # tokens by the signs of the hub's files
    wrong: Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows [N] that are no puzzle with its answer
    fault: str  # what is wrong with them


def make(options: argparse.Namespace, settings: dict, maker: Maker) -> None:
    """Write the data set of `options`: generated, or rows of the hub's files; training puzzles augmented."""
    size = options.size
    settings = settings | {"csv": None if options.csv is None else str(options.csv.resolve())}

    def fill(work: Path, whole: Path) -> None:
        if options.csv is None:
            what, wanted = f"{size}x{size} {maker.kind}s", (options.train, options.test)
            found = gather(work, settings, maker.part, wanted, options.jobs, what, maker.patience)
        else:
            found = [hub.rows(options, s, maker.alphabet, maker.wrong, maker.fault) for s in SPLITS]
        for split, arrays in zip(SPLITS, found, strict=True):
            copies = options.augment if split == "train" else 0
            inputs, labels = maker.augment(arrays["inputs"], arrays["labels"], size, copies, options.seed)
            extra = {"ratings": arrays["rating"]}
            frame = {"height": size, "width": size}
            write_groups(whole, split, maker.kind, inputs, labels, maker.vocabulary, extra=extra, **frame)

    made = produce(options.out, settings, fill)
    print(f"{options.out}: {'done' if made else 'there already'}")


def produce(out: Path, settings: dict, fill: Callable[[Path, Path], None]) -> bool:
    """Let `fill(parts, folder)` write the data set, which becomes `out` in one step.

    False: it was there already. `settings` are remembered in build.json; a folder made with others, or by
    other tools, is left alone.
    """
    note = out / "build.json"
    if out.exists():
        if not note.exists():
            raise RequestError(f"{out} is there and is not of this builder; remove it, or give another --out")
        parts.check_same(json.loads(note.read_text()), settings, out, "was built")
        return False
    with parts.work_folder(out, settings) as folder:
        whole = folder / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        fill(folder, whole)
        with files.atomic_write(whole / "build.json") as file:
            json.dump(settings, file)
        os.replace(whole, out)
    return True


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
            progress.set_postfix_str(
                ", ".join(f"{n:,} {split}" for n, split in zip(have, SPLITS, strict=True))
            )
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
    limit = int(min(max(test / (train + test), 0.02), 0.98) * 2**64)
    digests = (hashlib.blake2b(key, digest_size=8, person=b"hrm_jax split").digest() for key in keys)
    return np.array([int.from_bytes(d, "little") < limit for d in digests], np.uint8)
