"""What the cities of a data set are like."""

from collections import Counter
from typing import Protocol

import numpy as np

from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.city import answers, routes, tokens
from hrm_jax.puzzles.dataset import PuzzleSet


class Asked(Protocol):
    """What `contradictions` reads of a data set."""

    @property
    def puzzle_of_example(self) -> np.ndarray: ...  # [N]
    @property
    def inputs(self) -> np.ndarray: ...  # [N, S]
    @property
    def labels(self) -> np.ndarray: ...  # [N, S]


def statistics(puzzles: PuzzleSet, other: PuzzleSet | None) -> dict[str, float | int]:
    """What the cities of a split are like (docs/puzzles.md#city-routing)."""
    shape, vehicles = (puzzles.height, puzzles.width), puzzles.puzzle_of_example
    base = puzzles.inputs[puzzles.first_of_group]
    inputs, labels = (array.reshape(-1, *shape) for array in (puzzles.inputs, puzzles.labels))
    entering = tokens.entering(inputs, vehicles)
    ways = routes.number(entering, *tokens.ends(inputs))
    known = answers.judge(inputs, labels, vehicles, labels)
    plans = _plans(puzzles)
    road = (base != tokens.BUILDING).sum()
    jams = np.isin(base, (tokens.JAM, tokens.JAM_SMALL, tokens.JAM_DIAGONAL)).sum()
    found: dict[str, float | int] = {
        "scenarios (groups)": len(base),
        "examples": len(inputs),
        "street plans": len(plans),
        "building or park, % of cells": float(100 * (base == tokens.BUILDING).mean()),
        "jams, % of roads": float(100 * jams / road),
        "closed cells": int((base == tokens.CLOSURE).sum()),
        "route cells, mean": float(cells_of(labels).mean()),
        "route cells, most": int(cells_of(labels).max()),
        "cost of the label, mean": float(known.cost.mean()),
        "labels with one cheapest route, %": float(100 * (ways == 1).mean()),
    }
    for hour, times in zip(*np.unique(_hours(puzzles), return_counts=True), strict=True):
        found[f"scenarios at {hour} h"] = int(times)
    for number, name in enumerate(tokens.VEHICLES, 1):
        if (vehicles == number).any():
            found[f"route cells, mean, {name}"] = float(cells_of(labels[vehicles == number]).mean())
    for name, make in answers.BASELINES.items():
        right = answers.lenient(puzzles, slice(None), make(puzzles)(puzzles.inputs, vehicles))
        found[f"as cheap as the label: {name}, %"] = float(100 * right.mean())
    found["tokens right by copying the input, %"] = float(100 * (puzzles.inputs == puzzles.labels).mean())
    found["questions with several labels"], most = contradictions(puzzles)
    found["most that a model can have exact, %"] = 100 * most / len(inputs)
    if other is not None:
        found[f"street plans shared with {other.split}"] = len(plans & _plans(other))
    return found


def cells_of(labels: np.ndarray) -> np.ndarray:
    """int [N]: the cells of the routes of labels [N, ...], ends among them."""
    ends = np.isin(labels, (tokens.START, tokens.GOAL, tokens.PATH))
    return ends.reshape(len(labels), -1).sum(axis=1)


def contradictions(puzzles: Asked) -> tuple[int, int]:
    """(inputs that with one identifier have several labels, examples of which a model can have all exact)."""
    labels: dict[bytes, Counter[bytes]] = {}
    rows = zip(puzzles.puzzle_of_example, puzzles.inputs, puzzles.labels, strict=True)
    for identifier, question, answer in rows:
        key = identifier.tobytes() + question.tobytes()
        labels.setdefault(key, Counter())[answer.tobytes()] += 1
    counts = [found.values() for found in labels.values()]
    return sum(len(found) > 1 for found in counts), sum(max(found) for found in counts)


def _plans(puzzles: PuzzleSet) -> set[bytes]:
    """The street plans of a split, by their buildings."""
    packed = np.packbits(puzzles.inputs[puzzles.first_of_group] == tokens.BUILDING, axis=1)
    return {plan.tobytes() for plan in packed}


def _hours(puzzles: PuzzleSet) -> np.ndarray:
    found = dataset.extra(puzzles, "hours")
    return np.array([], int) if found is None else found
