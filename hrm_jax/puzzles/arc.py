"""ARC from its public JSON files: 30x30 frames, colours and orientations permuted, in HRM's layout.

    python -m hrm_jax.puzzles arc --out data/arc1 --source ARC-AGI/data ConceptARC/corpus
    python -m hrm_jax.puzzles arc --out data/arc2 --source combined --sets training2 evaluation2 concept

A source is a folder of sets (training/*.json, evaluation/*.json; ConceptARC's AboveBelow/*.json, …), or one
of combined files (arc-agi_training_challenges.json beside arc-agi_training_solutions.json, …).

Trained are the demonstrations of every task, and the test pairs too of tasks that are not judged; judged are
the test pairs of the evaluation sets. Every task has its augmentations (a turn of the grid, a permutation of
the colours 1 to 9), each with an identifier of its own, the same in both splits: the demonstrations of a
judged task are trained under the identifier by which it is asked later. A training pair that is, but for
turn and colours, the test pair of a judged task of another name is left out, and said so.

Beside the arrays: `identifiers.json`, names by id: "<blank>", "<task>", "<task>_t<turn>_<permutation>", …;
`test_puzzles.json`, the judged tasks as they were, for the votes: {task: {"train": [{"input", "output"}],
"test": [the same]}}, the original's file. The same request gives the same files on any machine: sets and
tasks go by name, and what is random depends on the seed and the task's name alone.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from hrm_jax.artefacts import files, parts
from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles.dataset import BLANK, PAD, SPLITS, write

SIDE = 30  # of the frame
CELLS = SIDE * SIDE
EOS, COLOUR = 1, 2  # tokens beside PAD; colour c is token COLOUR + c
COLOURS, VOCABULARY = 10, 12
TRIALS = 5  # drawn for one augmentation that is wanted; then there are fewer
TEST_PUZZLES = "test_puzzles.json"
CHALLENGES, SOLUTIONS = "_challenges.json", "_solutions.json"
SIDES = ("inputs", "labels")
INVERSE = (0, 3, 2, 1, 4, 5, 6, 7)  # the turn that undoes a turn
NAME = re.compile(r"(?P<task>.+?)(?:_|\|\|\|)t(?P<turn>[0-7])(?:_|\|\|\|)(?P<colours>\d{10})")

Pair = tuple[np.ndarray, np.ndarray]  # input and output: colours uint8 [h, w]


class Task(NamedTuple):
    """A task: as it is in its file, or with its pairs as they go into the splits."""

    name: str
    train: tuple[Pair, ...]  # demonstrations, or all pairs that are trained
    test: tuple[Pair, ...]  # test pairs, or those that are judged


class Augmentation(NamedTuple):
    """What becomes of a grid: turned, then recoloured."""

    turn: int  # 0 to 7, see `turned`
    colours: tuple[int, ...]  # [10] the new colour of each old one; 0 stays


IDENTITY = Augmentation(0, tuple(range(COLOURS)))


def turned(grid: np.ndarray, turn: int) -> np.ndarray:
    """The grid [..., h, w] by one of its 8 symmetries.

    0 none, 1 to 3 quarter turns counter-clockwise, 4 left-right, 5 up-down, 6 transposed, 7 the other
    diagonal.
    """
    if turn < 4:
        return np.rot90(grid, turn, axes=(-2, -1))
    if turn == 4:
        return grid[..., ::-1]
    if turn == 5:
        return grid[..., ::-1, :]
    swapped = np.swapaxes(grid, -2, -1)
    return swapped if turn == 6 else swapped[..., ::-1, ::-1]


def apply(augmentation: Augmentation, grid: np.ndarray) -> np.ndarray:
    """The augmented grid [h, w] of colours."""
    return np.array(augmentation.colours, np.uint8)[turned(grid, augmentation.turn)]


def undo(augmentation: Augmentation, grid: np.ndarray) -> np.ndarray:
    """The grid [h, w] of colours before it was augmented."""
    return turned(np.argsort(augmentation.colours).astype(np.uint8)[grid], INVERSE[augmentation.turn])


def identifier(task: str, augmentation: Augmentation) -> str:
    """The name by which an augmented task is known; the task's own where nothing was changed first."""
    return f"{task}_t{augmentation.turn}_{''.join(map(str, augmentation.colours))}"


def parse(name: str) -> tuple[str, Augmentation]:
    """The task and the augmentation of an identifier, HRM's or TRM's ("|||" for "_")."""
    match = NAME.fullmatch(name)
    if not match:
        return name, IDENTITY
    colours = tuple(map(int, match["colours"]))
    if sorted(colours) != list(range(COLOURS)):
        return name, IDENTITY
    return match["task"], Augmentation(int(match["turn"]), colours)


# ---------------------------------------------------------------- frames


def augmentations(task: Task, count: int, rng: np.random.Generator) -> list[Augmentation]:
    """The identity and up to `count` more that make puzzles different from one another.

    They are fewer where 5 `count` draws give no more, as of a task of one colour.
    """
    grids = [grid for pair in (*task.train, *task.test) for grid in pair]
    cells, shapes = [], []
    for turn in range(len(INVERSE)):
        views = [turned(grid, turn) for grid in grids]
        cells.append(b"".join(view.tobytes() for view in views))
        shapes.append(bytes(side for view in views for side in view.shape))

    def digest(a: Augmentation) -> bytes:
        table = bytes(a.colours) + bytes(range(COLOURS, 256))
        return hashlib.blake2b(cells[a.turn].translate(table) + shapes[a.turn], digest_size=16).digest()

    kept, seen = [IDENTITY], {digest(IDENTITY)}
    for _ in range(TRIALS * count):
        if len(kept) > count:
            break
        drawn = Augmentation(int(rng.integers(8)), (0, *(rng.permutation(COLOURS - 1) + 1).tolist()))
        mark = digest(drawn)
        if mark not in seen:
            seen.add(mark)
            kept.append(drawn)
    return kept


def frames(grid: np.ndarray, colours: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The grid [h, w], recoloured by colours [A, 10], with its corner at corners [A, 2]: tokens [A, 900].

    EOS below its columns and right of its rows, where inside the frame.
    """
    count, (height, width) = len(colours), grid.shape
    tile = np.full((count, height + 1, width + 1), EOS, np.uint8)
    tile[:, :height, :width] = colours[:, grid] + COLOUR
    tile[:, height, width] = PAD
    frame = np.full((count, SIDE + 1, SIDE + 1), PAD, np.uint8)
    rows = corners[:, :1] + np.arange(height + 1)
    columns = corners[:, 1:] + np.arange(width + 1)
    frame[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None]] = tile
    return frame[:, :SIDE, :SIDE].reshape(count, CELLS)


def examples(task: Task, settings: dict) -> tuple[list[Augmentation], dict[str, list[np.ndarray]]]:
    """A task's augmentations A, and by split its inputs and labels: tokens [A, pairs, 900].

    In train a pair stands anywhere in the frame, input and output at the same place; one random pair of each
    puzzle stays in the corner, as all do in test.
    """
    variants, rng = _variants(task, settings)
    turns, colours = (np.array(column) for column in zip(*variants, strict=True))
    arrays = {}
    for split, pairs in zip(SPLITS, (task.train, task.test), strict=True):
        arrays[split] = [np.empty((len(variants), len(pairs), CELLS), np.uint8) for _ in range(2)]
        stays = rng.integers(max(len(pairs), 1), size=len(variants))
        for i, pair in enumerate(pairs):
            corners = np.zeros((len(variants), 2), np.int64)
            if split == "train":
                corners = _corners(pair, turns, rng)
                corners[stays == i] = 0
            for array, grid in zip(arrays[split], pair, strict=True):
                for turn in range(len(INVERSE)):
                    rows = turns == turn
                    array[rows, i] = frames(turned(grid, turn), colours[rows], corners[rows])
    return variants, arrays


def _variants(task: Task, settings: dict) -> tuple[list[Augmentation], np.random.Generator]:
    """A task's augmentations, and the generator for what else is random about it."""
    rng = np.random.default_rng([settings["seed"], *hashlib.blake2b(task.name.encode()).digest()])
    return augmentations(task, settings["augment"], rng), rng


def _corners(pair: Pair, turns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the corner of both grids goes, by augmentation: [A, 2], anywhere that both fit."""
    room = SIDE + 1 - np.maximum(pair[0].shape, pair[1].shape)
    sideways = np.isin(turns, (1, 3, 6, 7))[:, None]
    return rng.integers(np.where(sideways, room[::-1], room))


# ---------------------------------------------------------------- the public files


def find_sets(source: Path) -> dict[str, tuple[Path, ...]]:
    """Sets in a source, by name: the files of its tasks, or (challenges, solutions), or (challenges,)."""
    if not source.is_dir():
        raise RequestError(f"--source {source}: no such folder")
    for place in (source / "data", source / "corpus", source):
        if not place.is_dir():
            continue
        combined = sorted(place.glob(f"*{CHALLENGES}"))
        if combined:
            return {_set_name(path): _with_solutions(path) for path in combined}
        folders = {f.name: tuple(sorted(f.glob("*.json"))) for f in sorted(place.iterdir()) if f.is_dir()}
        if any(folders.values()):
            return {name: paths for name, paths in folders.items() if paths}
    own = tuple(sorted(source.glob("*.json")))
    if not own:
        raise RequestError(
            f"--source {source}: no ARC files; wanted are folders of tasks (training/*.json, …) "
            f"or combined files (*{CHALLENGES} beside *{SOLUTIONS})"
        )
    return {source.name: own}


def _set_name(path: Path) -> str:
    """arc-agi_training2_challenges.json: training2."""
    return path.name.removesuffix(CHALLENGES).rpartition("_")[2]


def _with_solutions(path: Path) -> tuple[Path, ...]:
    solutions = path.with_name(path.name.removesuffix(CHALLENGES) + SOLUTIONS)
    return (path, solutions) if solutions.exists() else (path,)


def _read_set(paths: Sequence[Path]) -> list[Task]:
    """The tasks of a set, by name."""
    if not paths[0].name.endswith(CHALLENGES):
        return [read_task(path.stem, _json(path), path) for path in paths]
    if len(paths) < 2:
        raise RequestError(f"{paths[0]}: the solutions (*{SOLUTIONS}) are missing beside it")
    challenges, solutions = map(_json, paths)
    tasks = []
    for name, task in sorted(challenges.items()):
        answers = solutions.get(name)
        tests = task.get("test") if isinstance(task, dict) else None
        if not isinstance(tests, list) or not isinstance(answers, list) or len(answers) != len(tests):
            raise RequestError(
                f"{paths[1]}: not one solution for every test input of task {name} in {paths[0]}"
            )
        if all(isinstance(test, dict) for test in tests):
            tests = [{**test, "output": answer} for test, answer in zip(tests, answers, strict=True)]
        tasks.append(read_task(name, {**task, "test": tests}, paths[0]))
    return tasks


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} is no JSON that can be read: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: not ARC, whose files hold an object")
    return content


def read_task(name: str, content: dict, path: Path) -> Task:
    """A task from {"train": [{"input", "output"}], "test": [the same]}."""
    pairs = {}
    for part in ("train", "test"):
        found = content.get(part) if isinstance(content, dict) else None
        if not isinstance(found, list) or not found:
            raise RequestError(
                f'{path}: task {name} has no pairs in "{part}"; both train and test are needed'
            )
        pairs[part] = tuple(
            tuple(_grid(pair, side, f"{path}: task {name}, {part} {i}") for side in ("input", "output"))
            for i, pair in enumerate(found)
        )
    return Task(name, **pairs)


def _grid(pair: Any, side: str, where: str) -> np.ndarray:
    if not isinstance(pair, dict) or side not in pair:
        raise RequestError(f'{where} has no "{side}"')
    try:
        grid = np.array(pair[side])
    except ValueError:  # rows of different lengths
        grid = np.array(None)
    if grid.ndim != 2 or grid.dtype.kind not in "iu" or not grid.size:
        raise RequestError(f"{where}: the {side} is not a grid, which is rows of whole numbers, all as long")
    if max(grid.shape) > SIDE:
        raise RequestError(
            f"{where}: the {side} is {grid.shape[0]}x{grid.shape[1]}; at most {SIDE}x{SIDE} fit"
        )
    if grid.min() < 0 or grid.max() >= COLOURS:
        wrong = grid.min() if grid.min() < 0 else grid.max()
        raise RequestError(f"{where}: the {side} has colour {wrong}; colours are 0 to {COLOURS - 1}")
    return grid.astype(np.uint8)


def read(sources: Sequence[Path], wanted: Sequence[str] | None = None) -> dict[str, list[Task]]:
    """Tasks by set, of the sets `wanted` or of all that have answers; no task twice."""
    found: dict[str, list[tuple[Path, ...]]] = {}
    for source in sources:
        for name, paths in find_sets(source).items():
            found.setdefault(name, []).append(paths)
    for name in wanted or ():
        if name not in found:
            raise RequestError(f"--sets {name}: there are {', '.join(sorted(found))}{nearest(name, found)}")
    hidden = [n for n, places in found.items() if any(len(p) < 2 and _is_combined(p) for p in places)]
    if not wanted and hidden:
        print(f"left out, having no solutions: {', '.join(sorted(hidden))}", file=sys.stderr)
    chosen = sorted(set(wanted)) if wanted else sorted(set(found) - set(hidden))
    sets = {name: [task for paths in found[name] for task in _read_set(paths)] for name in chosen}
    home: dict[str, str] = {}
    for name, tasks in sets.items():
        for task in tasks:
            if task.name in home:
                raise RequestError(
                    f"task {task.name} is in {home[task.name]} and in {name}; "
                    f"choose with --sets, of {', '.join(sets)}"
                )
            home[task.name] = name
    return sets


def _is_combined(paths: Sequence[Path]) -> bool:
    return paths[0].name.endswith(CHALLENGES)


# ---------------------------------------------------------------- what is trained, what is judged


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


def canonical(pair: Pair) -> bytes:
    """The same bytes for all pairs that are one another's augmentations, and for no others."""
    forms = []
    for turn in range(len(INVERSE)):
        views = [turned(grid, turn) for grid in pair]
        cells = np.concatenate([view.ravel() for view in views])
        seen, first = np.unique(cells[cells > 0], return_index=True)
        table = np.zeros(COLOURS, np.uint8)
        table[seen[np.argsort(first)]] = np.arange(1, len(seen) + 1)
        forms.append(bytes(side for view in views for side in view.shape) + table[cells].tobytes())
    return min(forms)


# ---------------------------------------------------------------- the builder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m hrm_jax.puzzles arc`."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the data set, not there yet")
    add("--source", type=Path, nargs="+", required=True, metavar="FOLDER", help="with the public JSON files")
    add("--sets", nargs="+", metavar="NAME", help="sets to read; default: all that have solutions")
    add("--evaluation", nargs="+", metavar="NAME",
        help="sets whose test pairs are judged; default: those named evaluation…")  # fmt: skip
    add("--augment", type=int, default=1000, help="augmentations of a task beside itself")
    add("--seed", type=int, default=0, help="another seed, other augmentations")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes; the result does not depend on them")


def build(options: argparse.Namespace) -> None:
    """Write the data set; interrupted, the same request goes on."""
    if options.jobs < 1 or options.seed < 0 or options.augment < 0:
        raise RequestError("--jobs: at least 1; --seed and --augment: 0 or more")
    sets = read(options.source, options.sets)
    judged = options.evaluation or [name for name in sets if name.startswith("evaluation")]
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

    def fill(work: Path, folder: Path) -> None:
        _fill(work, folder, tasks, settings, options.jobs)
        asked = {task.name: _as_json(task) for name in sorted(judged) for task in sets[name]}
        with files.written_whole(folder / TEST_PUZZLES) as file:
            json.dump(asked, file)

    if not building.produce(options.out, settings, fill):
        print(f"{options.out} is there already")
        return
    of_sets = ", ".join(f"{name} {len(members)}" for name, members in sets.items())
    print(f"{options.out}: tasks {of_sets}; judged: {', '.join(sorted(judged))}")


def _digest(sets: dict[str, list[Task]]) -> str:
    """Of the content of all tasks."""
    text = json.dumps(
        {name: {t.name: _as_json(t) for t in tasks} for name, tasks in sets.items()}, sort_keys=True
    )
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _as_json(task: Task) -> dict[str, list[dict[str, list]]]:
    return {
        part: [{"input": a.tolist(), "output": b.tolist()} for a, b in getattr(task, part)]
        for part in ("train", "test")
    }


def _fill(work: Path, folder: Path, tasks: list[Task], settings: dict, jobs: int) -> None:
    """Write both splits. The arrays may be larger than memory: they are filled on disk, task by task."""
    named = parts.ordered(functools.partial(_names, settings=settings), tasks, jobs)
    names = list(tqdm(named, "augmentations", len(tasks), disable=None))
    counts = np.array([len(of_task) for of_task in names])
    pairs = {split: np.array([len(getattr(task, split)) for task in tasks]) for split in SPLITS}
    last = {split: np.cumsum(counts * pairs[split]) for split in SPLITS}
    for split in SPLITS:
        _allocate(work, split, int(last[split][-1]))
    first = [{split: int((last[split] - counts * pairs[split])[t]) for split in SPLITS}
             for t in range(len(tasks))]  # fmt: skip
    put = parts.ordered(
        functools.partial(_put, work, settings), zip(range(len(tasks)), tasks, first, strict=True), jobs
    )
    for _ in tqdm(put, "tasks", len(tasks), disable=None):
        pass
    everyone = [BLANK, *(name for of_task in names for name in of_task)]
    own = 1 + np.cumsum(counts) - counts  # a task's first identifier
    for split in SPLITS:
        there = np.flatnonzero(pairs[split])
        write(
            folder,
            split,
            "arc",
            *(np.load(_array(work, split, side), mmap_mode="r") for side in SIDES),
            identifiers=np.concatenate([own[t] + np.arange(counts[t]) for t in there]),
            puzzle_indices=np.cumsum([0, *np.repeat(pairs[split][there], counts[there])]),
            group_indices=np.cumsum([0, *counts[there]]),
            vocab_size=VOCABULARY,
            num_puzzle_identifiers=len(everyone),
            height=SIDE,
            width=SIDE,
            names=everyone,
        )


def _names(task: Task, settings: dict) -> list[str]:
    variants, _ = _variants(task, settings)
    return [task.name, *(identifier(task.name, variant) for variant in variants[1:])]


def _array(work: Path, split: str, side: str) -> Path:
    return work / f"{split}_{side}.npy"


def _allocate(work: Path, split: str, rows: int) -> None:
    """Room for the examples of a split, unless an interrupted request has made it."""
    for side in SIDES:
        path = _array(work, split, side)
        if not path.exists():
            partial = path.with_suffix(".partial")
            np.lib.format.open_memmap(partial, "w+", np.uint8, (rows, CELLS))
            os.replace(partial, path)


def _put(work: Path, settings: dict, item: tuple[int, Task, dict[str, int]]) -> None:
    """Fill in the rows of one task from `first` on, unless that was done."""
    number, task, first = item
    done = work / f"{number:06d}.done"
    if done.exists():
        return
    for split, arrays in examples(task, settings)[1].items():
        for side, array in zip(SIDES, arrays, strict=True):
            rows = array.reshape(-1, CELLS)
            if len(rows):
                room = np.load(_array(work, split, side), mmap_mode="r+")
                room[first[split] : first[split] + len(rows)] = rows
    done.touch()
