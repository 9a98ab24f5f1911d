"""Any shortest route through a maze: whether an answer is one, and one at random."""

from collections.abc import Callable

import numpy as np

from hrm_jax.puzzles import routes
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.maze.grids import FREE, ROUTE, START, read

ELSEWHERE = -3  # no distance, and not one less than routes.NOWHERE


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


# ---------------------------------------------------------------- the baseline


def any_route(puzzles: PuzzleSet) -> Callable[[np.ndarray], np.ndarray]:
    """From inputs [K, S] to answers [K, S] with a random shortest route marked, if there is one.

    Lenient scoring gives it everything, exact scoring nearly nothing where mazes have many routes: what exact
    scoring measures there is the labels' tie-break.
    """
    rng = np.random.default_rng(0)

    def answer(inputs: np.ndarray) -> np.ndarray:
        mazes = inputs.reshape(-1, puzzles.height, puzzles.width)
        marked = routes.shortest(*read(mazes), rng) & (mazes == FREE)
        return np.where(marked, np.uint8(ROUTE), mazes).reshape(inputs.shape)

    return answer
