"""ARC's public JSON files: folders of tasks, or combined files of challenges and solutions."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from hrm_jax.artefacts import json_file
from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.artefacts.files import listed
from hrm_jax.puzzles.arc import grids
from hrm_jax.puzzles.arc.grids import COLOURS, SIDE, Pair, Task
from hrm_jax.puzzles.dataset import BLANK

CHALLENGES, SOLUTIONS = "_challenges.json", "_solutions.json"
TEST_PUZZLES = "test_puzzles.json"

Colour = Annotated[int, msgspec.Meta(ge=0, lt=COLOURS)]
Row = Annotated[list[Colour], msgspec.Meta(min_length=1, max_length=SIDE)]
Grid = Annotated[list[Row], msgspec.Meta(min_length=1, max_length=SIDE)]


class Question(msgspec.Struct):
    """A test input without its answer."""

    input: Grid


class PairFile(Question):
    """An input and its output."""

    output: Grid


class Challenge(msgspec.Struct):
    """A task of a combined file, whose answers are in another."""

    train: Annotated[list[PairFile], msgspec.Meta(min_length=1)]
    test: Annotated[list[Question], msgspec.Meta(min_length=1)]


class TaskFile(msgspec.Struct):
    """A task."""

    train: Annotated[list[PairFile], msgspec.Meta(min_length=1)]
    test: Annotated[list[PairFile], msgspec.Meta(min_length=1)]


def find_sets(source: Path) -> dict[str, tuple[Path, ...]]:
    """Sets in a source, by name: the files of its tasks, or (challenges, solutions), or (challenges,)."""
    if not source.is_dir():
        raise RequestError(f"--source {source}: no such folder")
    for place in (source / "data", source / "corpus", source):
        if not place.is_dir():
            continue
        if combined := _combined(place):
            return combined
        folders = {f.name: tuple(listed(f, ".json")) for f in listed(place) if f.is_dir()}
        if any(folders.values()):
            return {name: paths for name, paths in folders.items() if paths}
    own = tuple(listed(source, ".json"))
    if not own:
        raise RequestError(
            f"--source {source}: no ARC files; wanted are folders of tasks (training/*.json, …) "
            f"or combined files (*{CHALLENGES} and *{SOLUTIONS})"
        )
    return {source.name: own}


def _combined(place: Path) -> dict[str, tuple[Path, ...]]:
    """The sets of the combined files in a folder."""
    answers = {path.name.lower(): path for path in listed(place, SOLUTIONS)}
    sets: dict[str, tuple[Path, ...]] = {}
    for path in listed(place, CHALLENGES):
        stem = path.name[: -len(CHALLENGES)]  # arc-agi_training2, of the set training2
        solutions, name = answers.get(f"{stem}{SOLUTIONS}".lower()), stem.rpartition("_")[2]
        if name in sets:
            other = sets[name][0].name
            raise RequestError(
                f"{place}: {other} and {path.name} are both of the set {name}: give them as two --source"
            )
        sets[name] = (path, solutions) if solutions else (path,)
    return sets


def _read_set(paths: Sequence[Path]) -> list[Task]:
    """The tasks of a set, by name."""
    if not _is_combined(paths):
        return [_task(path.stem, json_file.load(path, TaskFile, "task of ARC"), str(path)) for path in paths]
    if len(paths) < 2:
        raise RequestError(f"{paths[0]}: the solutions (*{SOLUTIONS}) are missing")
    challenges = json_file.load(paths[0], dict[str, Challenge], "file of ARC's challenges")
    solutions = json_file.load(paths[1], dict[str, list[Grid]], "file of ARC's solutions")
    tasks = []
    for name, task in sorted(challenges.items()):
        answers = solutions.get(name, ())
        if len(answers) != len(task.test):
            raise RequestError(
                f"{paths[1]}: not one solution for every test input of task {name} in {paths[0]}"
            )
        test = [PairFile(asked.input, answer) for asked, answer in zip(task.test, answers, strict=True)]
        tasks.append(_task(name, TaskFile(task.train, test), str(paths[0])))
    return tasks


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a file like test_puzzles.json."""
    content = json_file.load(path, dict[str, TaskFile], "file of ARC's tasks")
    return [_task(name, task, str(path)) for name, task in content.items()]


def _task(name: str, content: TaskFile, where: str) -> Task:
    def pairs(part: str) -> tuple[Pair, ...]:
        place = f"{where}: task {name}, {part}"
        return tuple(
            (_grid(pair.input, f"{place}[{i}].input"), _grid(pair.output, f"{place}[{i}].output"))
            for i, pair in enumerate(getattr(content, part))
        )

    if name in ("", BLANK) or "|||" in name or not name.isprintable() or grids.NAME.fullmatch(name):
        raise RequestError(
            f"{where}: {name!r} cannot name a task: it would be taken for an augmentation, or none"
        )
    return Task(name, pairs("train"), pairs("test"))


def _grid(rows: list[list[int]], where: str) -> np.ndarray:
    if len({len(row) for row in rows}) > 1:
        raise RequestError(f"{where} has rows of different lengths; a grid has one length")
    return np.array(rows, np.uint8)


def as_json(task: Task) -> dict[str, list[dict[str, list]]]:
    """A task as in its file."""

    def pairs(of: tuple[Pair, ...]) -> list[dict[str, list]]:
        return [{"input": given.tolist(), "output": answer.tolist()} for given, answer in of]

    return {"train": pairs(task.train), "test": pairs(task.test)}


def reader(sources: Sequence[Path]) -> str:
    """Whose builder reads such sources, of `grids.MARKS`: TRM's combined files, HRM's folders of tasks."""
    found = [paths for source in sources for paths in find_sets(source).values()]
    return "trm" if all(map(_is_combined, found)) else "hrm"


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
    return paths[0].name.lower().endswith(CHALLENGES)
