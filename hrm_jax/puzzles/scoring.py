"""How right an answer is: exact, lenient (mazes: any shortest route) and token by token; and the
baselines that a model is judged beside.

Axes: K examples, S cells; answers may have axes of their own before these, as the segments of a model.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from hrm_jax.puzzles import routes
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.maze import FREE, GOAL, ROUTE, START, WALL

COPY, ANY_ROUTE = "copy", "any shortest route"  # names of the baselines

# Joined are neighbours in one and the same grid of a stack [M, H, W], never across grids.
IN_PLANE = np.zeros((3, 3, 3), bool)
IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


class Scores(NamedTuple):
    """Of answers [..., K, S]."""

    exact: np.ndarray  # bool [..., K]: every label that counts is met
    lenient: np.ndarray | None  # bool [..., K]: any shortest route; None: only one answer is right
    tokens: np.ndarray  # float64 [..., K]: share of the labels that count


def score(dataset: PuzzleSet, index: np.ndarray | slice, predictions: np.ndarray) -> Scores:
    """How right the answers [..., K, S] to the examples `index` [K] are.

    An example none of whose labels counts is right, as in the original; its tokens are 0.
    """
    labels = dataset.labels[index]
    counts = np.ones_like(labels, bool)
    if dataset.meta.ignore_label_id is not None:
        counts = labels != dataset.meta.ignore_label_id
    right = predictions == labels
    tokens = (right & counts).sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1)
    exact = (right | ~counts).all(axis=-1)
    if dataset.kind != "maze":
        return Scores(exact, None, tokens)
    shape = dataset.height, dataset.width
    grids = dataset.inputs[index].reshape(-1, *shape)
    return Scores(exact, shortest_routes(grids, predictions.reshape(*predictions.shape[:-1], *shape)), tokens)


def shortest_routes(mazes: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Which answers [..., K, H, W] to mazes [K, H, W] are the maze with one shortest route marked: [..., K].

    The route's length is that of a search, not of a label: labels are one route out of many.
    """
    marked = answers == ROUTE
    kept = ((answers == mazes) | (marked & (mazes == FREE))).all(axis=(-2, -1))
    # As many marks as a shortest route has, and S joined to G through them: then they are that route.
    edges = route_edges(mazes)
    fitting = kept & (edges > 0) & (marked.sum(axis=(-2, -1)) == edges - 1)
    found = np.zeros(fitting.shape, bool)
    if fitting.any():
        candidates = answers[fitting]
        open_cells = np.isin(candidates, (START, GOAL, ROUTE))
        areas, _ = ndimage.label(open_cells, structure=IN_PLANE)
        found[fitting] = _at(areas, candidates == START) == _at(areas, candidates == GOAL)
    return found


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


# ---------------------------------------------------------------- what learns nothing


def baselines(dataset: PuzzleSet) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """By name, functions from inputs [K, S] to answers [K, S]: the input itself, and of mazes any route.

    Lenient scoring gives a shortest route everything, exact scoring nearly nothing where mazes have many:
    what exact measures there is the labels' tie-break.
    """
    known = {COPY: lambda inputs: inputs}
    if dataset.kind == "maze":
        rng = np.random.default_rng(0)

        def any_route(inputs: np.ndarray) -> np.ndarray:
            mazes = inputs.reshape(-1, dataset.height, dataset.width)
            return random_routes(mazes, rng).reshape(inputs.shape)

        known[ANY_ROUTE] = any_route
    return known


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
