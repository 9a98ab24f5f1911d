"""ARC from its public JSON files: 30x30 frames, colours and orientations permuted, in HRM's layout.

    python -m hrm_jax.puzzles arc --out data/arc1 --source ARC-AGI/data ConceptARC/corpus
    python -m hrm_jax.puzzles arc --out data/arc2 --source combined --sets training2 evaluation2 concept

A source is a folder of sets (training/*.json, evaluation/*.json; ConceptARC's AboveBelow/*.json, …), or one
of combined files (arc-agi_training_challenges.json next to arc-agi_training_solutions.json, …).

Trained are the demonstrations of every task, and the test pairs of tasks that are not judged; judged are the
test pairs of the evaluation sets. Every task has its augmentations, each with an identifier of its own, the
same in both splits. A training pair that is, but for turn and colours, the test pair of a judged task of
another name is left out, and named. With the arrays go `identifiers.json` (names by identifier, written as
the evaluator of --names reads them) and `test_puzzles.json` (the judged tasks, for the votes). See
docs/puzzles.md.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hrm_jax.artefacts import parts, workers
from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.artefacts.files import atomic_write
from hrm_jax.console.parser import at_least
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles.arc import files, grids
from hrm_jax.puzzles.arc.grids import CELLS, SIDE, Task, canonical
from hrm_jax.puzzles.dataset import BLANK, SPLITS, write

SIDES = ("inputs", "labels")
RULES = building.Rules("arc", lambda height, width: grids.VOCABULARY if height == width == SIDE else 0)
# Room on the disk itself: where that is full, writing to a memory map of a file with holes kills the process.
RESERVE = getattr(os, "posix_fallocate", lambda file, start, size: os.ftruncate(file, start + size))


def divide(sets: dict[str, list[Task]], judged: Iterable[str]) -> tuple[list[Task], list[str]]:
    """Tasks with the pairs that are trained and those that are judged; and which pairs were left out.

    Left out of training are pairs that are a judged pair of another task, but for turn and colours.
    """
    judged = set(judged)
    answers: dict[bytes, set[str]] = {}
    for name in judged:
        for task in sets[name]:
            for pair in task.test:
                answers.setdefault(canonical(pair), set()).add(task.name)
    tasks, left_out = [], []
    for name, members in sets.items():
        for task in members:
            of_task = {f"train {i}": pair for i, pair in enumerate(task.train)}
            if name not in judged:
                of_task |= {f"test {i}": pair for i, pair in enumerate(task.test)}
            leaks = [
                key for key, pair in of_task.items() if answers.get(canonical(pair), set()) - {task.name}
            ]
            left_out += [f"{task.name} {key}" for key in leaks]
            trained = tuple(pair for key, pair in of_task.items() if key not in leaks)
            tasks.append(Task(task.name, trained, task.test if name in judged else ()))
    return [task for task in tasks if task.train or task.test], left_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m hrm_jax.puzzles arc`."""
    add = parser.add_argument
    add("--source", type=Path, nargs="+", required=True, metavar="FOLDER", help="of public JSON files")
    add("--sets", nargs="+", metavar="NAME", help="sets to read; default: all that have solutions")
    add("--evaluation", nargs="+", metavar="NAME",
        help="sets whose test pairs are judged; default: those named evaluation…")  # fmt: skip
    add("--augment", type=int, default=1000, help="augmentations of a task besides itself")
    add("--names", choices=grids.MARKS,
        help="whose evaluator reads identifiers.json; default: trm of combined files, else hrm")  # fmt: skip


def build(options: argparse.Namespace) -> None:
    """Write the data set; interrupted, the same request goes on."""
    at_least(options, augment=(0, building.MOST_AUGMENTED))
    sets = files.read(options.source, options.sets)
    judged = list(dict.fromkeys(options.evaluation or [n for n in sets if n.startswith("evaluation")]))
    for name in judged:
        if name not in sets:
            raise RequestError(f"--evaluation {name}: read were {', '.join(sets)}{nearest(name, sets)}")
    if not judged:
        raise RequestError(f"no set to judge: --evaluation NAME takes one of {', '.join(sets)}")
    tasks, left_out = divide(sets, judged)
    if left_out:
        print(
            f"left out of training, being the answer to a judged task: {', '.join(left_out)}", file=sys.stderr
        )
    settings = {
        "builder": "arc",
        "sets": list(sets),
        "evaluation": sorted(judged),
        "tasks": _digest(sets),
        "augment": options.augment,
        "seed": options.seed,
    }
    if (options.names or files.reader(options.source)) == "trm":
        settings["names"] = "trm"  # a note that says nothing of them is of HRM's names

    def fill(work: Path, folder: Path) -> None:
        _fill(work, folder, tasks, settings, options.jobs)
        asked = {task.name: files.as_json(task) for name in sorted(judged) for task in sets[name]}
        with atomic_write(folder / files.TEST_PUZZLES) as file:
            json.dump(asked, file)

    if not building.produce(options.out, settings, RULES, fill):
        print(f"{options.out} is there already")
        return
    of_sets = ", ".join(f"{name} {len(members)}" for name, members in sets.items())
    print(f"{options.out}: tasks {of_sets}; judged: {', '.join(sorted(judged))}")


def _digest(sets: dict[str, list[Task]]) -> str:
    """Of the content of all tasks."""
    text = json.dumps(
        {name: {t.name: files.as_json(t) for t in tasks} for name, tasks in sets.items()}, sort_keys=True
    )
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _fill(work: Path, folder: Path, tasks: list[Task], settings: dict, jobs: int) -> None:
    """Write both splits. The arrays may be larger than memory: they are filled on disk, task by task."""
    named = workers.ordered(functools.partial(_names, settings=settings), tasks, jobs)
    names = list(tqdm(named, "augmentations", len(tasks), disable=None))
    counts = np.array([len(of_task) for of_task in names])
    pairs = {split: np.array([len(getattr(task, split)) for task in tasks]) for split in SPLITS}
    last = {split: np.cumsum(counts * pairs[split]) for split in SPLITS}
    for split in SPLITS:
        _allocate(work, split, int(last[split][-1]))
    first = {split: last[split] - counts * pairs[split] for split in SPLITS}
    rows = [{split: (int(first[split][t]), int(last[split][t])) for split in SPLITS}
            for t in range(len(tasks))]  # fmt: skip
    filled = workers.ordered(
        functools.partial(put, work, settings), zip(range(len(tasks)), tasks, rows, strict=True), jobs
    )
    for _ in tqdm(filled, "tasks", len(tasks), disable=None):
        pass
    everyone = [BLANK, *(name for of_task in names for name in of_task)]
    own = 1 + np.cumsum(counts) - counts  # a task's first identifier
    for split in SPLITS:
        there = np.flatnonzero(pairs[split])
        write(
            folder,
            split,
            "arc",
            inputs=np.load(_array(work, split, "inputs"), mmap_mode="r"),
            labels=np.load(_array(work, split, "labels"), mmap_mode="r"),
            identifiers=np.concatenate([own[t] + np.arange(counts[t]) for t in there]),
            puzzle_indices=np.cumsum([0, *np.repeat(pairs[split][there], counts[there])]),
            group_indices=np.cumsum([0, *counts[there]]),
            vocab_size=grids.VOCABULARY,
            height=SIDE,
            width=SIDE,
            names=everyone,
        )


def _names(task: Task, settings: dict) -> list[str]:
    variants, _ = grids.variants(task, settings)
    written = settings.get("names", "hrm")
    return [task.name, *(grids.identifier(task.name, variant, written) for variant in variants[1:])]


def _array(work: Path, split: str, side: str) -> Path:
    return work / f"{split}_{side}.npy"


def _allocate(work: Path, split: str, rows: int) -> None:
    """Room for the examples of a split, unless an interrupted request has made it."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, CELLS)}
    for side in SIDES:
        path = _array(work, split, side)
        with contextlib.suppress(Exception):  # whatever is wrong with it, it is made anew
            room = np.load(path, mmap_mode="r")
            if (room.shape, room.dtype, room.flags.c_contiguous) == ((rows, CELLS), np.uint8, True):
                continue
        with atomic_write(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            RESERVE(file.fileno(), file.tell(), rows * CELLS)


def put(work: Path, settings: dict, item: tuple[int, Task, dict[str, tuple[int, int]]]) -> None:
    """Fill in the rows of one task, [from, to) by split, unless that was done and its seal still fits."""
    number, task, rows = item
    room = {
        f"{split} {side}": np.load(_array(work, split, side), mmap_mode="r+")[slice(*rows[split])]
        for split in SPLITS
        for side in SIDES
    }
    done = work / f"{number:06d}.done"
    if done.is_file() and done.read_bytes() == parts.seal(work, number, room).encode():
        return
    for split, arrays in grids.examples(task, settings)[1].items():
        for side, array in zip(SIDES, arrays, strict=True):
            room[f"{split} {side}"][:] = array.reshape(-1, CELLS)
    with atomic_write(done) as file:
        file.write(parts.seal(work, number, room))
