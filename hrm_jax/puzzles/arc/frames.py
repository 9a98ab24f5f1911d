"""A task's augmentations, and its pairs under each of them as frames of 30x30 tokens."""

import hashlib

import numpy as np

from hrm_jax.puzzles import symmetries
from hrm_jax.puzzles.arc.grids import (
    CELLS,
    COLOUR,
    COLOURS,
    EOS,
    IDENTITY,
    SIDE,
    Augmentation,
    Pair,
    Task,
)
from hrm_jax.puzzles.dataset import PAD, SPLITS

TRIALS = 5  # drawn for one augmentation that is wanted; then there are fewer


def augmentations(task: Task, count: int, rng: np.random.Generator) -> list[Augmentation]:
    """The identity and up to `count` more that make puzzles different from one another.

    They are fewer where 5 `count` draws give no more, as of a task of one colour.
    """
    grids = [grid for pair in (*task.train, *task.test) for grid in pair]
    cells, shapes = [], []
    for turn in range(symmetries.COUNT):
        views = [symmetries.apply(grid, turn) for grid in grids]
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
