"""Answers to city puzzles: which cells they mark, whether these are a way for the vehicle, what it costs.

Answers are tokens [..., K, H, W], inputs and labels [K, H, W]; vehicles [K] are puzzle identifiers.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles.city import routes, tokens
from hrm_jax.puzzles.city.tokens import GOAL, NOWHERE, PATH, START
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.routes import at

Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # inputs [K, S], identifiers [K] -> answers [K, S]


class Verdict(NamedTuple):
    """On answers [..., K]."""

    kept: np.ndarray  # bool: besides what is marked, nothing is changed, and start and goal are as in labels
    forbidden: np.ndarray  # int: marked cells that the vehicle may not enter
    valid: np.ndarray  # bool: kept, and the marked cells are one way from start to goal, allowed throughout
    cost: np.ndarray  # int: of entering all marked cells but the start; without meaning where not valid


def judge(inputs: np.ndarray, labels: np.ndarray, vehicles: np.ndarray, answers: np.ndarray) -> Verdict:
    """The verdict on each answer; a way may not branch, nor touch itself, for then it could be cut short."""
    path_only = ~(labels == START).any(axis=(1, 2), keepdims=True)
    is_end = (inputs == START) | (inputs == GOAL)
    unchanged = answers == np.where(path_only, 0, inputs)
    kept = np.where(is_end, answers == labels, unchanged | (answers == PATH)).all(axis=(-2, -1))
    marked = (answers == PATH) | is_end
    entering = tokens.entering(inputs, vehicles)
    there = marked & (inputs != START)
    forbidden = (there & (entering == NOWHERE)).sum(axis=(-2, -1))
    cost = np.where(there, entering, 0).sum(axis=(-2, -1), dtype=np.int64)
    valid = kept & (forbidden == 0)
    which = np.broadcast_to(np.arange(len(inputs)), valid.shape)[valid]
    start, goal = tokens.ends(inputs)
    within = np.where(marked[valid], entering[which], np.uint16(NOWHERE))
    valid[valid] = at(routes.to_go(within, goal[which]), start[which]) == cost[valid]
    return Verdict(kept, forbidden, valid, cost)


def least_cost(inputs: np.ndarray, vehicles: np.ndarray) -> np.ndarray:
    """int [K]: the cost of the cheapest route, NOWHERE where there is none."""
    start, goal = tokens.ends(inputs)
    return at(routes.to_go(tokens.entering(inputs, vehicles), goal), start).astype(np.int64)


def solved(inputs: np.ndarray, vehicles: np.ndarray, path_only: bool = False) -> np.ndarray:
    """uint8 [K, H, W]: the labels, with the canonical cheapest route of each vehicle."""
    route = routes.cheapest(tokens.entering(inputs, vehicles), *tokens.ends(inputs))
    return tokens.label(inputs, route, path_only)


def lenient(puzzles: PuzzleSet, index: np.ndarray | slice, answers: np.ndarray) -> np.ndarray:
    """bool [..., K]: which answers [..., K, S] to the examples `index` [K] are as cheap a route as the label.

    Where no vehicle is said, all roads are allowed.
    """
    inputs, labels, vehicles, drawn = _as_grids(puzzles, index, answers)
    found = judge(inputs, labels, vehicles, drawn)
    return found.valid & (found.cost == judge(inputs, labels, vehicles, labels).cost)


def measure(puzzles: PuzzleSet, index: np.ndarray | slice, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Of answers as `lenient` takes them, float64 [..., K]: the cost ratio is NaN where there is no way."""
    inputs, labels, vehicles, drawn = _as_grids(puzzles, index, answers)
    found = judge(inputs, labels, vehicles, drawn)
    ratio = np.where(found.valid, found.cost / least_cost(inputs, vehicles), np.nan)
    measured = {"valid": found.valid, "cost_ratio": ratio, "violations": found.forbidden}
    return {name: np.asarray(values, np.float64) for name, values in measured.items()}


def _as_grids(puzzles: PuzzleSet, index: np.ndarray | slice, answers: np.ndarray) -> tuple[np.ndarray, ...]:
    """Inputs and labels [K, H, W], vehicles [K], answers [..., K, H, W]."""
    shape = puzzles.height, puzzles.width
    inputs, labels = (array[index].reshape(-1, *shape) for array in (puzzles.inputs, puzzles.labels))
    return inputs, labels, puzzles.puzzle_of_example[index], answers.reshape(*answers.shape[:-1], *shape)


def wrong(
    inputs: np.ndarray, labels: np.ndarray, height: int, width: int, identifiers: np.ndarray
) -> np.ndarray:
    """Which rows [N] are no city with a cheapest route of its vehicle marked; any way, if none is said."""
    fit = np.isin(inputs, [*range(tokens.BUILDING, PATH), tokens.JAM_SMALL, tokens.JAM_DIAGONAL]).all(axis=1)
    fit &= ((inputs == START).sum(axis=1) == 1) & ((inputs == GOAL).sum(axis=1) == 1)
    fit &= (identifiers >= 0) & (identifiers <= len(tokens.VEHICLES))
    asked, answered = (array[fit].reshape(-1, height, width) for array in (inputs, labels))
    vehicles = identifiers[fit]
    found = judge(asked, answered, vehicles, answered)
    fit[fit] = found.valid & ((vehicles == 0) | (found.cost == least_cost(asked, vehicles)))
    return ~fit


# ---------------------------------------------------------------- baselines


def without_traffic(puzzles: PuzzleSet) -> Answer:
    """Each vehicle's route if no cell were jammed."""
    return _baseline(puzzles, lambda grids, vehicles: (tokens.FREED[grids], vehicles))


def of_the_car(puzzles: PuzzleSet) -> Answer:
    """The car's route, whatever the vehicle."""
    car = 1 + tokens.VEHICLES.index("car")
    return _baseline(puzzles, lambda grids, vehicles: (grids, np.where(vehicles > 0, car, 0)))


def everywhere(puzzles: PuzzleSet) -> Answer:
    """Path in every cell, which the original's masked labels could not tell from a perfect answer."""
    return lambda inputs, vehicles: np.full_like(inputs, PATH)


def _baseline(puzzles: PuzzleSet, seen: Callable[[np.ndarray, np.ndarray], tuple]) -> Answer:
    """The canonical route of the grids and vehicles that a baseline takes for the true ones."""
    path_only = not (puzzles.labels[0] == START).any()

    def answer(inputs: np.ndarray, vehicles: np.ndarray) -> np.ndarray:
        grids = inputs.reshape(-1, puzzles.height, puzzles.width)
        believed, by = seen(grids, vehicles)
        route = routes.cheapest(tokens.entering(believed, by), *tokens.ends(grids))
        return tokens.label(grids, route, path_only).reshape(inputs.shape)

    return answer


BASELINES: dict[str, Callable[[PuzzleSet], Answer]] = {
    "no traffic": without_traffic,
    "the car's route": of_the_car,
    "path everywhere": everywhere,
}
