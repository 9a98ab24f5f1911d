"""report.json of answers to puzzles: what solvers got right, by example, by segment and by vote."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrm_jax.artefacts import files, provenance
from hrm_jax.artefacts.report_file import PUZZLES, PuzzleReport, group_of
from hrm_jax.judging import statistics
from hrm_jax.judging.answers import Result
from hrm_jax.judging.solvers import Model
from hrm_jax.puzzles import kinds
from hrm_jax.puzzles.dataset import Meta, PuzzleSet
from hrm_jax.puzzles.kinds import Voting, Walked


def find_voting(puzzles: PuzzleSet, count: int) -> tuple[Voting | None, str]:
    """What the votes on `count` examples are counted by; else None, and why where one could expect it."""
    votes = kinds.of(puzzles).votes
    if votes is None or puzzles.split != "test":
        return None, ""
    if count < len(puzzles.inputs):
        return None, "no votes: they need every example"
    voting = votes(puzzles)
    return voting, "" if voting else f"no votes: {puzzles.folder} has no tasks to count them against"


def build(
    puzzles: PuzzleSet,
    count: int,
    segments: int,
    results: Mapping[str, Result],
    models: Mapping[str, Model],
    voting: Voting | None,
) -> PuzzleReport:
    """The contents of report.json. Intervals and tests count groups of examples, or tasks that were voted on.

    `models` are those of the solvers that are models.
    """
    groups = puzzles.group_of_example[:count]
    solved = {name: np.bincount(groups, result.exact) for name, result in results.items()}
    parts: dict[str, dict[str, Any]] = {name: _summary(result, groups) for name, result in results.items()}
    for name, model in models.items():
        parts[name] |= model.about
        if group := group_of(name):
            parts[name]["group"] = group
    if measuring := kinds.of(puzzles).measuring:
        number = measuring.part(puzzles)[:count]
        for name, result in results.items():
            if by_part := _by_part(result, groups, number, measuring.parts):
                parts[name]["parts"] = by_part
    if voting:  # then the answer to a puzzle is what its augmentations agree on
        for name, result in results.items():
            assert result.answers is not None, "votes need the answers to be kept"
            votes = voting.count(result.answers, result.q_halt)
            parts[name]["voting"] = {f"pass@{tries}": _votes(tasks) for tries, tasks in votes.items()}
            solved[name] = _all_right(votes[max(votes)])
    size = f"{puzzles.height}x{puzzles.width} " if kinds.of(puzzles).one_size else ""
    report: Any = {
        "protocol": PUZZLES,
        "world": f"{puzzles.kind or 'puzzles'} {size}({files.printable(puzzles.folder)}, {puzzles.split})",
        "kind": puzzles.kind,
        "seeds": [0, count],
        "segments": segments,
        "trained_segments": max((model.trained_segments for model in models.values()), default=None),
        **provenance.stamp(),
        "data": {name: getattr(puzzles.meta, name) for name in Meta.__struct_fields__},
        "models": parts,
        "pairs": statistics.pairs(solved),
        **statistics.puzzle_groups(parts),
    }
    if walkers := kinds.of(puzzles).walkers:
        walking = {name: model.walking() for name, model in models.items() if model.walking}
        judged = walkers(puzzles, count, walking)
        report["walks"] = {name: _walks(budget, found) for name, budget, found in judged}
    return report


def _walks(budget: int, found: Walked) -> dict[str, Any]:
    """A walker's part."""
    outcomes = "".join(np.where(found.optimal, "2", np.where(found.arrived, "1", "0")))
    return {
        "budget": budget,
        **statistics.walks(outcomes),
        "efficiency": _mean(found.efficiency),
        "outcomes": outcomes,
    }


def _summary(result: Result, groups: np.ndarray) -> dict[str, Any]:
    """One solver's part; intervals are those of as many puzzles as there are groups."""
    units = len(np.unique(groups))
    lenient = None
    if result.lenient is not None:
        lenient = _rate(result.lenient, units) | {"outcomes": _letters(result.lenient)}
    return {
        "n": len(result.exact),
        "puzzles": units,
        **_rate(result.exact, units),
        **({"lenient": lenient} if lenient else {}),
        "tokens": float(result.tokens.mean()),
        **({"measures": {n: _mean(v) for n, v in result.measures.items()}} if result.measures else {}),
        **({"segments": result.segments} if result.segments else {}),
        "outcomes": _letters(result.exact),
    }


def _by_part(
    result: Result, groups: np.ndarray, number: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The same of each part's examples: `number` [N] says of which they are, the first is 1."""
    of_part = {name: number == i for i, name in enumerate(names, 1)}
    return {name: _summary(result.of(own), groups[own]) for name, own in of_part.items() if own.any()}


def _mean(values: np.ndarray) -> float | None:
    """Over the examples that have such a number."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _votes(tasks: list[list[bool]]) -> dict[str, Any]:
    """Scores of tasks, their questions solved or not: HRM's (all of a task) and TRM's (`share`)."""
    right = _all_right(tasks)
    return {
        "tasks": len(right),
        **_rate(right),
        "share": float(np.mean([np.mean(questions) for questions in tasks])),
        "outcomes": _letters(right),
    }


def _rate(right: np.ndarray, units: int | None = None) -> dict[str, Any]:
    return statistics.rate(int(right.sum()), len(right), units)


def _all_right(tasks: list[list[bool]]) -> np.ndarray:
    return np.array([all(questions) for questions in tasks])


def _letters(right: np.ndarray) -> str:
    return "".join(np.where(right, "1", "0"))
