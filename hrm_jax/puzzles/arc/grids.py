"""ARC's tasks as grids of colours, their augmentations, and their pairs under each as frames of 30x30 tokens.

An augmentation is a turn and a permutation of the colours 1 to 9.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles import symmetries
from hrm_jax.puzzles.dataset import PAD, SPLITS

SIDE = 30  # of the frame
CELLS = SIDE * SIDE
EOS, COLOUR = 1, 2  # tokens after PAD; colour c is token COLOUR + c
COLOURS, VOCABULARY = 10, 12
TRIALS = 5  # drawn for one augmentation that is wanted; then there are fewer
MARKS = {"hrm": "_", "trm": "|||"}  # between the parts of a name, by whose evaluator reads it
NAME = re.compile(r"(?P<task>.+?)(?:_|\|\|\|)t(?P<turn>[0-7])(?:_|\|\|\|)(?P<colours>\d{10})")

Pair = tuple[np.ndarray, np.ndarray]  # input and output: colours uint8 [h, w]


class Task(NamedTuple):
    """A task: as it is in its file, or with its pairs as they go into the splits."""

    name: str
    train: tuple[Pair, ...]  # demonstrations, or all pairs that are trained
    test: tuple[Pair, ...]  # test pairs, or those that are judged


class Augmentation(NamedTuple):
    """What becomes of a grid: turned, then recoloured."""

    turn: int  # 0 to 7, see `symmetries`
    colours: tuple[int, ...]  # [10] the new colour of each old one; 0 stays


IDENTITY = Augmentation(0, tuple(range(COLOURS)))


def undo(augmentation: Augmentation, grid: np.ndarray) -> np.ndarray:
    """The grid [h, w] of colours before it was augmented."""
    colours = np.argsort(augmentation.colours).astype(np.uint8)
    return symmetries.apply(colours[grid], symmetries.INVERSE[augmentation.turn])


def identifier(task: str, augmentation: Augmentation, names: str = "hrm") -> str:
    """The name by which an augmented task is known, written as one of `MARKS`; the task keeps its own."""
    mark = MARKS[names]
    return f"{task}{mark}t{augmentation.turn}{mark}{''.join(map(str, augmentation.colours))}"


def parse(name: str) -> tuple[str, Augmentation]:
    """The task and the augmentation of an identifier, HRM's or TRM's ("|||" for "_")."""
    match = NAME.fullmatch(name)
    if not match:
        return name, IDENTITY
    colours = tuple(map(int, match["colours"]))
    if sorted(colours) != list(range(COLOURS)):
        return name, IDENTITY
    return match["task"], Augmentation(int(match["turn"]), colours)


def canonical(pair: Pair) -> bytes:
    """The same bytes for all pairs that are one another's augmentations, and for no others."""
    forms = []
    for cells, shapes in _views(pair):
        seen, first = np.unique(cells[cells > 0], return_index=True)
        table = np.zeros(COLOURS, np.uint8)
        table[seen[np.argsort(first)]] = np.arange(1, len(seen) + 1)
        forms.append(shapes + table[cells].tobytes())
    return min(forms)


def _views(grids: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, bytes]]:
    """The cells of all grids and the shapes of all, after each turn."""
    for turn in range(symmetries.COUNT):
        views = [symmetries.apply(grid, turn) for grid in grids]
        yield np.concatenate([view.ravel() for view in views]), bytes(side for v in views for side in v.shape)


# ---------------------------------------------------------------- augmented tasks, in frames


def augmentations(task: Task, count: int, rng: np.random.Generator) -> list[Augmentation]:
    """The identity and up to `count` more that make puzzles different from one another.

    They are fewer where 5 `count` draws give no more, as of a task of one colour.
    """
    views = list(_views([grid for pair in (*task.train, *task.test) for grid in pair]))

    def digest(a: Augmentation) -> bytes:
        cells, shapes = views[a.turn]
        recoloured = np.array(a.colours, np.uint8)[cells].tobytes()
        return hashlib.blake2b(recoloured + shapes, digest_size=16).digest()

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
    drawn, rng = variants(task, settings)
    turns, colours = (np.array(column) for column in zip(*drawn, strict=True))
    arrays = {}
    for split, pairs in zip(SPLITS, (task.train, task.test), strict=True):
        arrays[split] = [np.empty((len(drawn), len(pairs), CELLS), np.uint8) for _ in range(2)]
        stays = rng.integers(max(len(pairs), 1), size=len(drawn))
        for i, pair in enumerate(pairs):
            corners = np.zeros((len(drawn), 2), np.int64)
            if split == "train":
                corners = _corners(pair, turns, rng)
                corners[stays == i] = 0
            for array, grid in zip(arrays[split], pair, strict=True):
                for turn in range(symmetries.COUNT):
                    rows = turns == turn
                    array[rows, i] = frames(symmetries.apply(grid, turn), colours[rows], corners[rows])
    return drawn, arrays


def variants(task: Task, settings: dict) -> tuple[list[Augmentation], np.random.Generator]:
    """A task's augmentations, and the generator for what else is random about it."""
    rng = np.random.default_rng([settings["seed"], *hashlib.blake2b(task.name.encode()).digest()])
    return augmentations(task, settings["augment"], rng), rng


def _corners(pair: Pair, turns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the corner of both grids goes, by augmentation: [A, 2], anywhere that both fit."""
    room = SIDE + 1 - np.maximum(pair[0].shape, pair[1].shape)
    sideways = np.isin(turns, symmetries.TRANSPOSING)[:, None]
    return rng.integers(np.where(sideways, room[::-1], room))
