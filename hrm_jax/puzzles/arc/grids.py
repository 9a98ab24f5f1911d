"""ARC's tasks as grids of colours, and their augmentations: a turn, a permutation of the colours 1 to 9."""

import re
from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles import symmetries

SIDE = 30  # of the frame
CELLS = SIDE * SIDE
EOS, COLOUR = 1, 2  # tokens after PAD; colour c is token COLOUR + c
COLOURS, VOCABULARY = 10, 12
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


def apply(augmentation: Augmentation, grid: np.ndarray) -> np.ndarray:
    """The augmented grid [h, w] of colours."""
    return np.array(augmentation.colours, np.uint8)[symmetries.apply(grid, augmentation.turn)]


def undo(augmentation: Augmentation, grid: np.ndarray) -> np.ndarray:
    """The grid [h, w] of colours before it was augmented."""
    colours = np.argsort(augmentation.colours).astype(np.uint8)
    return symmetries.apply(colours[grid], symmetries.INVERSE[augmentation.turn])


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


def canonical(pair: Pair) -> bytes:
    """The same bytes for all pairs that are one another's augmentations, and for no others."""
    forms = []
    for turn in range(symmetries.COUNT):
        views = [symmetries.apply(grid, turn) for grid in pair]
        cells = np.concatenate([view.ravel() for view in views])
        seen, first = np.unique(cells[cells > 0], return_index=True)
        table = np.zeros(COLOURS, np.uint8)
        table[seen[np.argsort(first)]] = np.arange(1, len(seen) + 1)
        forms.append(bytes(side for view in views for side in view.shape) + table[cells].tobytes())
    return min(forms)
