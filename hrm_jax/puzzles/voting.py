"""ARC's two tries: the answers to all augmentations of a test input, undone, vote for one another.

The grid of an answer is the largest rectangle of colours that begins in its corner. Candidates for a test
input are ranked by votes, then by the mean of sigmoid(q_halt) over their votes, then by who came first.
Votes are those of one evaluation; the original of TRM also pools them over successive ones of a run.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import arc
from hrm_jax.puzzles.dataset import PuzzleSet

TRIES = (1, 2)
BLOCK = 4096  # answers cropped at a time


class Tasks(NamedTuple):
    """What the votes are counted against."""

    names: list[str]  # by identifier
    tests: dict[str, list[arc.Pair]]  # the judged tasks' test pairs


class Votes(NamedTuple):
    """Which test inputs were solved, by task in the order of `Tasks`."""

    solved: dict[int, list[list[bool]]]  # by tries: for each task, for each of its test inputs

    def all_right(self, tries: int) -> list[bool]:
        """HRM's score by task: every test input is solved."""
        return [all(of_task) for of_task in self.solved[tries]]

    def share(self, tries: int) -> float:
        """TRM's score: the share of a task's test inputs that are solved, averaged over tasks."""
        return float(np.mean([np.mean(of_task) for of_task in self.solved[tries]]))


def load(folder: Path) -> Tasks | None:
    """The judged tasks of a data set; None where its folder does not have them."""
    path = folder / arc.TEST_PUZZLES
    if not path.exists():
        return None
    names, content = _json(folder / "identifiers.json", list), _json(path, dict)
    tests = {name: list(arc.read_task(name, task, path).test) for name, task in content.items()}
    if not tests:
        raise RequestError(f"{path} has no tasks")
    return Tasks([str(name) for name in names], tests)


def check(tasks: Tasks, dataset: PuzzleSet) -> None:
    """Refuse a data set whose examples are not the test inputs of these tasks."""
    names, meta = tasks.names, dataset.meta
    if meta.seq_len != arc.CELLS or len(names) != meta.num_puzzle_identifiers:
        raise RequestError(
            f"{dataset.folder}: {len(names)} names in identifiers.json and sequences of {meta.seq_len}; "
            f"votes need {meta.num_puzzle_identifiers} names and sequences of {arc.CELLS}"
        )
    asked = {arc.parse(names[i])[0] for i in np.unique(dataset.identifiers).tolist()}
    strangers = sorted(asked ^ tasks.tests.keys())
    if strangers:
        raise RequestError(
            f"{dataset.folder}: {arc.TEST_PUZZLES} and the split {dataset.split} differ in tasks, "
            f"as in {strangers[0]}"
        )


def _json(path: Path, kind: type) -> list | dict:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, kind):
        raise RequestError(f"{path}: a {kind.__name__} is expected, found is a {type(content).__name__}")
    return content


def crop(answers: np.ndarray) -> list[np.ndarray]:
    """The grids of answers, tokens [N, 900]: colours [h, w] each, 0x0 where the corner has no colour.

    Of rectangles of colours that begin in the corner, the largest; of those as large, the one of fewest rows.
    """
    answers = answers.reshape(-1, arc.SIDE, arc.SIDE)
    colours = (answers >= arc.COLOUR) & (answers < arc.VOCABULARY)
    # A rectangle is as wide as the shortest run of colours from the left among its rows.
    widths = np.minimum.accumulate(np.logical_and.accumulate(colours, axis=2).sum(axis=2), axis=1)
    areas = widths * np.arange(1, arc.SIDE + 1)
    heights = areas.argmax(axis=1) + 1
    return [
        answer[:height, :width] - np.uint8(arc.COLOUR) if width else np.zeros((0, 0), np.uint8)
        for answer, height, width in zip(
            answers, heights, widths[np.arange(len(widths)), heights - 1], strict=True
        )
    ]


def count(tasks: Tasks, dataset: PuzzleSet, answers: np.ndarray, q_halt: np.ndarray) -> Votes:
    """Count the votes of answers [N, 900] with q_halt [N] to every example of the test split."""
    ballots = _collect(tasks, dataset, answers, q_halt)
    solved = {tries: [] for tries in TRIES}
    for name, pairs in tasks.tests.items():
        ranked = [rank(ballots.get((name, _key(given)), {})) for given, _ in pairs]
        for tries, of_tasks in solved.items():
            right = [_key(pair[1]) in best[:tries] for pair, best in zip(pairs, ranked, strict=True)]
            of_tasks.append(right)
    return Votes(solved)


def rank(ballot: dict[bytes, list[float]]) -> list[bytes]:
    """Candidates, the best first; a ballot has the sigmoid(q_halt) of each vote for each candidate."""
    return sorted(ballot, key=lambda grid: (-len(ballot[grid]), -float(np.mean(ballot[grid]))))


def _collect(
    tasks: Tasks, dataset: PuzzleSet, answers: np.ndarray, q_halt: np.ndarray
) -> dict[tuple[str, bytes], dict[bytes, list[float]]]:
    """Ballots by (task, test input)."""
    ballots: dict[tuple[str, bytes], dict[bytes, list[float]]] = {}
    trust = 1 / (1 + np.exp(-np.clip(q_halt.astype(np.float64), -50, 50)))
    parsed = {i: arc.parse(tasks.names[i]) for i in np.unique(dataset.identifiers).tolist()}
    identifiers = dataset.puzzle_of_example
    for first in range(0, len(answers), BLOCK):
        block = slice(first, first + BLOCK)
        grids = crop(dataset.inputs[block]), crop(answers[block])
        for identifier, given, answer, q in zip(identifiers[block], *grids, trust[block], strict=True):
            task, augmentation = parsed[int(identifier)]
            given, answer = (_key(arc.undo(augmentation, grid)) for grid in (given, answer))
            ballots.setdefault((task, given), {}).setdefault(answer, []).append(float(q))
    return ballots


def _key(grid: np.ndarray) -> bytes:
    """A grid as bytes that no other grid has."""
    return bytes(grid.shape) + np.ascontiguousarray(grid, np.uint8).tobytes()
