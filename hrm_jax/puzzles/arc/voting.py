"""ARC's two tries: the answers to all augmentations of a test input, undone, vote for one another.

The grid of an answer is the largest rectangle of colours that begins in its corner. Candidates for a test
input are ranked by votes, then by the mean of sigmoid(q_halt) over their votes, then by who came first.
Votes are those of one evaluation (docs/faults.md, F40).
"""

from dataclasses import dataclass

import numpy as np

from hrm_jax.artefacts import json_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles.arc import files, grids
from hrm_jax.puzzles.arc.grids import CELLS, COLOUR, SIDE, VOCABULARY, Pair
from hrm_jax.puzzles.dataset import PuzzleSet

TRIES = (1, 2)
BLOCK = 4096  # answers cropped at a time


@dataclass(frozen=True, eq=False)
class Tasks:
    """What the votes on the test split of a data set are counted against."""

    puzzles: PuzzleSet
    names: list[str]  # by identifier
    tests: dict[str, tuple[Pair, ...]]  # the judged tasks' test pairs

    def __post_init__(self):
        """Refuse a data set whose examples are not the test inputs of its tasks."""
        puzzles, meta = self.puzzles, self.puzzles.meta
        if meta.seq_len != CELLS or len(self.names) != meta.num_puzzle_identifiers:
            raise RequestError(
                f"{puzzles.folder}: {len(self.names)} names in identifiers.json and sequences of "
                f"{meta.seq_len}; votes need {meta.num_puzzle_identifiers} names and sequences of {CELLS}"
            )
        asked = {grids.parse(self.names[i])[0] for i in np.unique(puzzles.identifiers).tolist()}
        unmatched = sorted(asked ^ self.tests.keys())
        if unmatched:
            raise RequestError(
                f"{puzzles.folder}: {files.TEST_PUZZLES} and the split {puzzles.split} differ in tasks, "
                f"as in {unmatched[0]}"
            )

    def count(self, answers: np.ndarray, q_halt: np.ndarray) -> dict[int, list[list[bool]]]:
        """Which test inputs answers [N, 900] with q_halt [N] solve: by tries, for each task and input."""
        ballots = self._ballots(answers, q_halt)
        solved: dict[int, list[list[bool]]] = {tries: [] for tries in TRIES}
        for name, pairs in self.tests.items():
            ranked = [rank(ballots.get((name, _key(given)), {})) for given, _ in pairs]
            for tries, of_tasks in solved.items():
                right = [_key(pair[1]) in best[:tries] for pair, best in zip(pairs, ranked, strict=True)]
                of_tasks.append(right)
        return solved

    def _ballots(
        self, answers: np.ndarray, q_halt: np.ndarray
    ) -> dict[tuple[str, bytes], dict[bytes, list[float]]]:
        """Of each (task, test input) the sigmoid(q_halt) of each vote for each candidate."""
        ballots: dict[tuple[str, bytes], dict[bytes, list[float]]] = {}
        trust = 1 / (1 + np.exp(-np.clip(q_halt.astype(np.float64), -50, 50)))
        parsed = {i: grids.parse(self.names[i]) for i in np.unique(self.puzzles.identifiers).tolist()}
        identifiers = self.puzzles.puzzle_of_example
        for first in range(0, len(answers), BLOCK):
            block = slice(first, first + BLOCK)
            cropped = crop(self.puzzles.inputs[block]), crop(answers[block])
            for identifier, given, answer, q in zip(identifiers[block], *cropped, trust[block], strict=True):
                task, augmentation = parsed[int(identifier)]
                asked, vote = (_key(grids.undo(augmentation, grid)) for grid in (given, answer))
                ballots.setdefault((task, asked), {}).setdefault(vote, []).append(float(q))
        return ballots


def load(puzzles: PuzzleSet) -> Tasks | None:
    """The judged tasks of a data set; None where its folder does not have them."""
    path = puzzles.folder / files.TEST_PUZZLES
    if not path.exists():
        return None
    names = json_file.load(puzzles.folder / "identifiers.json", list[str], "list of names")
    return Tasks(puzzles, names, {task.name: task.test for task in files.read_tasks(path)})


def crop(answers: np.ndarray) -> list[np.ndarray]:
    """The grids of answers, tokens [N, 900]: colours [h, w] each, 0x0 where the corner has no colour.

    Of rectangles of colours that begin in the corner, the largest; of those as large, the one of fewest rows.
    """
    answers = answers.reshape(-1, SIDE, SIDE)
    colours = (answers >= COLOUR) & (answers < VOCABULARY)
    # A rectangle is as wide as the shortest run of colours from the left among its rows.
    widths = np.minimum.accumulate(np.logical_and.accumulate(colours, axis=2).sum(axis=2), axis=1)
    areas = widths * np.arange(1, SIDE + 1)
    heights = areas.argmax(axis=1) + 1
    widths = widths[np.arange(len(widths)), heights - 1]
    return [
        answer[:height, :width] - np.uint8(COLOUR) if width else np.zeros((0, 0), np.uint8)
        for answer, height, width in zip(answers, heights, widths, strict=True)
    ]


def rank(ballot: dict[bytes, list[float]]) -> list[bytes]:
    """Candidates, the best first; a ballot has the sigmoid(q_halt) of each vote for each candidate."""
    return sorted(ballot, key=lambda grid: (-len(ballot[grid]), -float(np.mean(ballot[grid]))))


def _key(grid: np.ndarray) -> bytes:
    """A grid as bytes that no other grid has."""
    return bytes(grid.shape) + np.ascontiguousarray(grid, np.uint8).tobytes()
