"""Mazes as tokens: the alphabet, the label, what is the same maze seen from elsewhere."""

import numpy as np

from hrm_jax.puzzles import routes, symmetries

ALPHABET = {"#": 1, " ": 2, "S": 3, "G": 4, "o": 5}
WALL, FREE, START, GOAL, ROUTE = ALPHABET.values()
VOCABULARY = 6


def tokens(free: np.ndarray, start: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, labels) uint8 [M, H * W] of mazes: `free` bool [M, H, W], cells `start` and `goal` [M]."""
    maze = np.arange(len(free))
    inputs = np.where(free, FREE, WALL).astype(np.uint8).reshape(len(free), free.shape[1] * free.shape[2])
    inputs[maze, start], inputs[maze, goal] = START, GOAL
    labels = inputs.copy()
    labels[routes.shortest(free, start, goal).reshape(labels.shape) & (inputs == FREE)] = ROUTE
    return inputs, labels


def read(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(free bool [M, ...], start [M], goal [M]) of inputs [M, ...], such as [M, S] or [M, H, W]."""
    flat = inputs.reshape(len(inputs), -1)
    return inputs != WALL, (flat == START).argmax(axis=1), (flat == GOAL).argmax(axis=1)


def map_keys(free: np.ndarray) -> list[bytes]:
    """Of each wall map [M, H, W] what it shares with its turns and reflections, and with no other map."""
    cells = free.shape[1] * free.shape[2]
    turns = [
        np.packbits(symmetries.apply(free, t).reshape(len(free), cells), axis=1)
        for t in range(symmetries.COUNT)
    ]
    return [min(turn[m].tobytes() for turn in turns) for m in range(len(free))]


def augmented(inputs: np.ndarray, labels: np.ndarray, size: int, copies: int, seed: int) -> np.ndarray:
    """uint8 [2, G, 1 + copies, S] (inputs, labels): each maze with `copies` of its 15 other aspects after it.

    An aspect is a symmetry of the square and whether start and goal are exchanged; those of group g are
    `copies` different ones, a function of (seed, g). Each is solved anew.
    """
    out = np.empty((2, len(inputs), 1 + copies, size * size), np.uint8)
    out[0, :, 0], out[1, :, 0] = inputs, labels
    drawn = [np.random.default_rng([seed, g, 0xA6]).permutation(15)[:copies] + 1 for g in range(len(inputs))]
    chosen = np.array(drawn).reshape(len(inputs), copies)
    exchange = np.arange(VOCABULARY, dtype=np.uint8)
    exchange[[START, GOAL]] = GOAL, START
    for aspect in range(1, 16):
        group, copy = np.nonzero(chosen == aspect)
        if not len(group):
            continue
        grids = symmetries.apply(inputs[group].reshape(-1, size, size), aspect // 2)
        grids = np.ascontiguousarray(exchange[grids] if aspect % 2 else grids)
        out[:, group, copy + 1] = tokens(*read(grids))
    return out
