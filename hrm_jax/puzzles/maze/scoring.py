"""Any shortest route through a maze: whether an answer is one, and one at random."""

from collections.abc import Callable

import numpy as np

from hrm_jax.puzzles import routes
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.maze.grids import FREE, GOAL, ROUTE, START, WALL


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
    distance = to_goal(mazes)
    edges = _at(distance, mazes == START)
    fitting = kept & (edges > 0) & (marked.sum(axis=(-2, -1)) == edges - 1)
    found = np.zeros(fitting.shape, bool)
    which = np.broadcast_to(np.arange(len(mazes)), fitting.shape)[fitting]
    if len(which):
        found[fitting] = _descend(marked[fitting], mazes[which], distance[which], edges[which])
    return found


def _descend(marked: np.ndarray, mazes: np.ndarray, distance: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Whether S, the marked cells and G are neighbours in the order of their distance to G: bool [M].

    All [M, H, W], `edges` [M]; there are as many marks as a route has cells between its ends.
    """
    route = marked | (mazes == START) | (mazes == GOAL)
    grid, row, column = np.nonzero(route)
    step = distance[grid, row, column]
    place = np.full((len(mazes), edges.max() + 1, 2), -(10**6))  # of the cell at each distance; far from any
    on = (step >= 0) & (step <= edges[grid])
    place[grid[on], step[on]] = np.stack([row, column], axis=1)[on]
    beside = np.abs(np.diff(place, axis=1)).sum(axis=2) == 1
    return (beside | (np.arange(edges.max()) >= edges[:, None])).all(axis=1)


def _at(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The value [M] of grids [M, H, W] at their one true cell."""
    flat = cell.reshape(len(cell), -1).argmax(axis=1)
    return values.reshape(len(values), -1)[np.arange(len(values)), flat]


def route_edges(mazes: np.ndarray) -> np.ndarray:
    """Edges of a shortest route from S to G in mazes [K, H, W]: int16 [K]; -1 where there is none."""
    return _at(to_goal(mazes), mazes == START)


def to_goal(mazes: np.ndarray) -> np.ndarray:
    """Edges from every cell of mazes [K, H, W] to G: int16 [K, H, W], -1 where no way leads there."""
    return routes.distances(mazes != WALL, (mazes == GOAL).reshape(len(mazes), -1).argmax(axis=1))


# ---------------------------------------------------------------- the baseline


def any_route(puzzles: PuzzleSet) -> Callable[[np.ndarray], np.ndarray]:
    """From inputs [K, S] to answers [K, S] with a shortest route marked that is drawn at random.

    Lenient scoring gives it everything, exact scoring nearly nothing where mazes have many routes: what exact
    scoring measures there is the labels' tie-break.
    """
    rng = np.random.default_rng(0)

    def answer(inputs: np.ndarray) -> np.ndarray:
        mazes = inputs.reshape(-1, puzzles.height, puzzles.width)
        return random_routes(mazes, rng).reshape(inputs.shape)

    return answer


def random_routes(mazes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mazes [K, H, W] with a shortest route marked, at every step to any of the cells that are nearer.

    Without a route they stay as they are.
    """
    distance = to_goal(mazes)
    padded = np.pad(distance, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    width = padded.shape[2]
    left, padded = _at(distance, mazes == START), padded.reshape(len(mazes), -1)
    cell = np.pad(mazes == START, ((0, 0), (1, 1), (1, 1))).reshape(len(mazes), -1).argmax(axis=1)
    answers = np.pad(mazes, ((0, 0), (1, 1), (1, 1)))
    flat = answers.reshape(len(mazes), -1)
    steps = np.array([-width, width, -1, 1])
    for step in range(1, left.max(initial=0)):
        (going,) = np.nonzero(left > step)
        ahead = cell[going, None] + steps
        nearer = padded[going[:, None], ahead] == (left[going] - step)[:, None]
        chosen = np.where(nearer, rng.random(nearer.shape), -1).argmax(axis=1)
        cell[going] = ahead[np.arange(len(going)), chosen]
        flat[going, cell[going]] = ROUTE
    return np.ascontiguousarray(answers[:, 1:-1, 1:-1])
