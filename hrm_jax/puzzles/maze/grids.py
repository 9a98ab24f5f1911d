"""Mazes as tokens: the alphabet, the label, the same maze seen from elsewhere, answers that are a route."""

from collections.abc import Callable

import numpy as np

from hrm_jax.puzzles import routes, symmetries
from hrm_jax.puzzles.dataset import PuzzleSet

ALPHABET = {"#": 1, " ": 2, "S": 3, "G": 4, "o": 5}
WALL, FREE, START, GOAL, ROUTE = ALPHABET.values()
VOCABULARY = 6
ELSEWHERE = -3  # no distance, and not one less than routes.NOWHERE


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


# ---------------------------------------------------------------- any shortest route


def lenient(puzzles: PuzzleSet, index: np.ndarray | slice, answers: np.ndarray) -> np.ndarray:
    """bool [..., K]: which answers [..., K, S] to the mazes `index` [K] mark any shortest route."""
    shape = puzzles.height, puzzles.width
    mazes = puzzles.inputs[index].reshape(-1, *shape)
    return shortest_routes(mazes, answers.reshape(*answers.shape[:-1], *shape))


def shortest_routes(mazes: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Which answers [..., K, H, W] to mazes [K, H, W] are the maze with one shortest route marked: [..., K].

    The route's length is that of a search, not of a label: labels are one route out of many.
    """
    marked = answers == ROUTE
    kept = ((answers == mazes) | (marked & (mazes == FREE))).all(axis=(-2, -1))
    free, start, goal = read(mazes)
    distance = routes.distances(free, goal)
    edges = routes.at(distance, start)
    fitting = kept & (edges > 0) & (marked.sum(axis=(-2, -1)) == edges - 1)
    found = np.zeros(fitting.shape, bool)
    which = np.broadcast_to(np.arange(len(mazes)), fitting.shape)[fitting]
    found[fitting] = _descends(np.where(answers[fitting] >= START, distance[which], ELSEWHERE))
    return found


def _descends(route: np.ndarray) -> np.ndarray:
    """Whether of the cells of a route [M, H, W] each has a neighbour on it that is nearer to G: bool [M].

    A cell is its distance to G, `ELSEWHERE` off the route. As many cells as a shortest route has, S and G
    among them, are then such a route.
    """
    padded = np.pad(route, routes.BORDER, constant_values=ELSEWHERE)
    sides = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
    nearer = np.any([side == route - 1 for side in sides], axis=0)
    return (nearer | (route == 0) | (route == ELSEWHERE)).all(axis=(1, 2))


def any_route(puzzles: PuzzleSet) -> Callable[..., np.ndarray]:
    """From inputs [K, S] to answers [K, S] with a random shortest route marked, if there is one.

    Lenient scoring gives it everything, exact scoring nearly nothing where mazes have many routes: what exact
    scoring measures there is the labels' tie-break.
    """
    rng = np.random.default_rng(0)

    def answer(inputs: np.ndarray, *_: np.ndarray) -> np.ndarray:
        mazes = inputs.reshape(-1, puzzles.height, puzzles.width)
        marked = routes.shortest(*read(mazes), rng) & (mazes == FREE)
        return np.where(marked, np.uint8(ROUTE), mazes).reshape(inputs.shape)

    return answer
