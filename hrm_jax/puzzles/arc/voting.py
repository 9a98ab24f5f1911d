"""ARC's two tries: the answers to all augmentations of a test input, undone, vote for one another.

The grid of an answer is the largest rectangle of colours that begins in its corner. Candidates for a test
input are ranked by votes, then by the mean of sigmoid(q_halt) over their votes, then by who came first.
Votes are those of one evaluation (docs/faults.md, F40).
"""

from dataclasses import dataclass

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.arc import files, grids
from hrm_jax.puzzles.arc.grids import COLOUR, SIDE, VOCABULARY, Augmentation, Pair
from hrm_jax.puzzles.dataset import PuzzleSet

TRIES = (1, 2)
BLOCK = 4096  # answers cropped at a time


@dataclass(frozen=True, eq=False)
class Tasks:
    """What the votes on the test split of a data set are counted against."""

    puzzles: PuzzleSet
    asked: dict[int, tuple[str, Augmentation]]  # what the identifiers of the split stand for
    tests: dict[str, tuple[Pair, ...]]  # the judged tasks' test pairs

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
        identifiers = self.puzzles.puzzle_of_example
        for first in range(0, len(answers), BLOCK):
            block = slice(first, first + BLOCK)
            cropped = crop(self.puzzles.inputs[block]), crop(answers[block])
            for identifier, given, answer, q in zip(identifiers[block], *cropped, trust[block], strict=True):
                task, augmentation = self.asked[int(identifier)]
                asked, vote = (_key(grids.undo(augmentation, grid)) for grid in (given, answer))
                ballots.setdefault((task, asked), {}).setdefault(vote, []).append(float(q))
        return ballots


def load(puzzles: PuzzleSet) -> Tasks | None:
    """The judged tasks of a data set, of its test_puzzles.json or, as of HRM's builder, of its own examples.

    None where neither has them. A file that says something else than the examples is refused.
    """
    if puzzles.digest is None:
        return None
    names = dataset.names(puzzles.folder / dataset.NAMES, puzzles.meta.num_puzzle_identifiers)
    path = puzzles.folder / files.TEST_PUZZLES
    asked = {i: grids.parse(names[i]) for i in np.unique(puzzles.identifiers).tolist()}
    own = _not_augmented(puzzles, asked)
    if not path.exists():
        whole = own.keys() == {task for task, _ in asked.values()}
        return Tasks(puzzles, asked, own) if whole else None
    tests = {task.name: task.test for task in files.read_tasks(path)}
    for name in sorted(own.keys() | tests.keys()):
        found, said = (sorted((_key(a), _key(b)) for a, b in of.get(name, ())) for of in (own, tests))
        if found != said:
            raise RequestError(
                f"{puzzles.folder}: {files.TEST_PUZZLES} and the split {puzzles.split} differ in tasks, "
                f"as in {name}"
            )
    return Tasks(puzzles, asked, tests)


def _not_augmented(
    puzzles: PuzzleSet, asked: dict[int, tuple[str, Augmentation]]
) -> dict[str, tuple[Pair, ...]]:
    """The pairs of the puzzles that are tasks as they were, by task."""
    found: dict[str, tuple[Pair, ...]] = {}
    for puzzle, identifier in enumerate(puzzles.identifiers.tolist()):
        task, augmentation = asked[identifier]
        if augmentation == grids.IDENTITY and task not in found:
            rows = slice(*puzzles.puzzle_indices[puzzle : puzzle + 2])
            found[task] = tuple(zip(crop(puzzles.inputs[rows]), crop(puzzles.labels[rows]), strict=True))
    return found


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
