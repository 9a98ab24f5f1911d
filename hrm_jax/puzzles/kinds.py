"""What a kind of puzzle is: one record, which all that builds, judges and draws puzzles reads.

A new kind is a module with its functions, its record in `KINDS`, and a file that draws it (docs/puzzles.md).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.arc import build as arc
from hrm_jax.puzzles.arc import grids, voting
from hrm_jax.puzzles.build import Rules
from hrm_jax.puzzles.city import answers as city_answers
from hrm_jax.puzzles.city import build as city
from hrm_jax.puzzles.city import statistics as city_statistics
from hrm_jax.puzzles.city import tokens as city_tokens
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.lattice import answers as lattice_answers
from hrm_jax.puzzles.lattice import build as lattice
from hrm_jax.puzzles.lattice import walks as lattice_walks
from hrm_jax.puzzles.lattice.answers import Walked
from hrm_jax.puzzles.lattice.walks import Scores
from hrm_jax.puzzles.maze import build as maze
from hrm_jax.puzzles.maze import grids as maze_grids
from hrm_jax.puzzles.sudoku import build as sudoku

Statistics = dict[str, float | int]
Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # inputs [K, S], identifiers [K] -> answers [K, S]
Index = np.ndarray | slice


class Published(NamedTuple):
    """The data sets that others have published, none of which says its kind."""

    vocabulary: int
    length: int  # cells


class Grids(Protocol):
    """What `Lenient.right` reads of a `PuzzleSet`, or of answers that were recorded."""

    inputs: np.ndarray  # [N, S]
    labels: np.ndarray  # [N, S]
    puzzle_of_example: np.ndarray  # [N], identifiers
    height: int
    width: int


@dataclass(frozen=True)
class Lenient:
    """A score for answers that are right without being the label."""

    right: Callable[[Any, Index, np.ndarray], np.ndarray]  # of `Grids`; answers [..., K, S] -> bool [..., K]
    short: str  # below a table in the terminal
    note: str  # below the page's table


class Measure(NamedTuple):
    """A number of one answer, of which reports hold means; below 1 at most, they are shares."""

    heading: str
    least: float
    most: float = math.inf


SEGMENTS = "segments"  # the measure that is known of every kind: after how many the Q head would have stopped


@dataclass(frozen=True)
class Measuring:
    """What else is measured of answers, of all examples and of each of their parts."""

    # Of answers [..., K, S], float64 [..., K] by name; NaN where there is no such number.
    of: Callable[[PuzzleSet, Index, np.ndarray], dict[str, np.ndarray]]
    measures: dict[str, Measure]
    part: Callable[[PuzzleSet], np.ndarray]  # int [N]: the part of each example, from 1 on; 0: of none
    parts: tuple[str, ...]  # their names
    heading: str  # what they are
    note: str  # below a table

    @property
    def shown(self) -> dict[str, Measure]:
        """The measures of a report, SEGMENTS among them."""
        return self.measures | {SEGMENTS: Measure("segments", 1)}


class Voting(Protocol):
    """What several answers to one question are counted by."""

    def count(self, answers: np.ndarray, q_halt: np.ndarray) -> dict[int, list[list[bool]]]:
        """By tries: of each task, which of its questions are solved by answers [N, S] with q_halt [N]."""


@dataclass(frozen=True)
class Kind:
    """What a kind of puzzle is; without anything, a kind of which nothing is known."""

    summary: str = ""  # a line, of its command
    builder: ModuleType | None = None  # a command: add_arguments(parser), build(options), usage as docstring
    statistics: Callable[[PuzzleSet, PuzzleSet | None], Statistics] | None = None  # of a split, and the other
    published: Published | None = None
    rules: Rules | None = None
    lenient: Lenient | None = None
    measuring: Measuring | None = None
    baselines: dict[str, Callable[[PuzzleSet], Answer]] = field(default_factory=dict)  # besides a copy
    # What walks instead of answering, of the first so many examples, and models that are to walk, too: (name,
    # most moves, what became of it). Of such a kind the measures "success" and "efficiency" are those of the
    # answers' own walks.
    walkers: Callable[[PuzzleSet, int, Mapping[str, Scores]], Iterable[tuple[str, int, Walked]]] | None = None
    votes: Callable[[PuzzleSet], Voting | None] | None = None  # None of a data set that has nothing for it
    one_size: bool = True  # whether the frame's height and width say how large a puzzle is
    drawing: str | None = None  # the file of reporting/assets that draws it; None: as numbers


KINDS = {
    "maze": Kind(
        summary="mazes of loose walls with a long way through",
        builder=maze,
        statistics=maze.statistics,
        published=Published(maze_grids.VOCABULARY, 900),
        rules=maze.RULES,
        lenient=Lenient(
            maze_grids.lenient,
            short="any shortest route",
            note="the marked cells are a route from start to goal that is as short as any, be it the label's "
            "or another.",
        ),
        baselines={"any shortest route": maze_grids.any_route},
        drawing="puzzle_maze.js",
    ),
    "sudoku": Kind(
        summary="sudokus of 4x4, 6x6 and 9x9 with one solution",
        builder=sudoku,
        statistics=sudoku.statistics,
        published=Published(11, 81),
        rules=sudoku.RULES,
        drawing="puzzle_sudoku.js",
    ),
    "arc": Kind(
        summary="ARC tasks and their augmentations, from the public files",
        builder=arc,
        published=Published(grids.VOCABULARY, grids.CELLS),
        rules=arc.RULES,
        votes=voting.load,
        one_size=False,
        drawing="puzzle_arc.js",
    ),
    "city": Kind(
        summary="routes of four vehicles through the traffic of cities",
        builder=city,
        statistics=city_statistics.statistics,
        published=Published(city_tokens.ORIGINAL_VOCABULARY, 1600),
        rules=city.RULES,
        lenient=Lenient(
            city_answers.lenient,
            short="any route that the vehicle may take and that costs as much as the label's",
            note="the marked cells are one way from start to goal, allowed to the vehicle throughout, that "
            "costs as much as the label's, which is the cheapest.",
        ),
        measuring=Measuring(
            city_answers.measure,
            {
                "valid": Measure("valid", 0, 1),
                "cost_ratio": Measure("cost ratio", 1),
                "violations": Measure("violations", 0),
            },
            part=lambda puzzles: puzzles.puzzle_of_example,
            parts=city_tokens.VEHICLES,
            heading="vehicle",
            note="Valid: one way from start to goal that the vehicle may take throughout. Cost ratio: of a "
            "valid way, its cost over that of the cheapest, averaged. Violations: marked cells that the "
            "vehicle may not enter, of an answer. Segments: after how many the Q head would have stopped, "
            "averaged.",
        ),
        baselines=city_answers.BASELINES,
        drawing="puzzle_city.js",
    ),
    "lattice": Kind(
        summary="mazes with walls between cells, a move for every cell",
        builder=lattice,
        statistics=lattice.statistics,
        rules=lattice.RULES,
        lenient=Lenient(
            lattice_answers.lenient,
            short="the moves lead from start to goal by a shortest path",
            note="the moves lead from the start to the goal through open edges alone, by a shortest path.",
        ),
        measuring=Measuring(
            lattice_answers.measure,
            {
                "success": Measure("success", 0, 1),
                "efficiency": Measure("efficiency", 0, 1),
                "forks": Measure("forks right", 0, 1),
                "pot_success": Measure(f"{lattice_walks.LEGACY} success", 0, 1),
                "pot_optimal": Measure(f"{lattice_walks.LEGACY} optimal", 0, 1),
            },
            part=lattice_answers.part,
            parts=tuple(lattice_answers.PARTS),
            heading="path cells",
            note="Success: the moves, rolled out from the start, reach the goal through open edges. "
            "Efficiency: moves of the shortest path over those walked, of successes. Forks right: of the "
            "cells with three open edges or more, those whose move is an optimal one. "
            f"{lattice_walks.LEGACY}: the published measure, by which moves go through walls, and are "
            "optimal if they lead through at most 1.05 times the cells of the shortest path. Segments: after "
            "how many the Q head would have stopped, averaged.",
        ),
        walkers=lattice_walks.judged,
        drawing="puzzle_lattice.js",
    ),
}
COPY = "copy"  # the baseline of every kind: the input itself
UNKNOWN = Kind()


def load(folder: Path | str, split: str) -> PuzzleSet:
    """`dataset.load`, with the kind that dataset.json says or that vocabulary and cells leave no doubt of.

    A kind whose rules the data break is refused: answers would be scored and drawn as what they are not.
    """
    puzzles = dataset.load(folder, split)
    if not puzzles.kind:
        size = puzzles.meta.vocab_size, puzzles.meta.seq_len
        published = [(name, kind.rules) for name, kind in KINDS.items() if kind.published == size]
        fitting = (name for name, rules in published if not (rules and rules.misfit(puzzles)))
        return replace(puzzles, kind=next(fitting, ""))
    where = f"{puzzles.folder / split / 'dataset.json'}: kind is {puzzles.kind!r}"
    if puzzles.kind not in KINDS:
        raise RequestError(f"{where}; allowed: {', '.join(KINDS)}")
    rules = of(puzzles).rules
    if misfit := rules and rules.misfit(puzzles):
        raise RequestError(f"{where}, but {misfit}; allowed: the kind that the puzzles are of, or none")
    return puzzles


def of(puzzles: PuzzleSet) -> Kind:
    """The kind of a data set that `load` has read."""
    return KINDS.get(puzzles.kind, UNKNOWN)


def baselines(puzzles: PuzzleSet) -> dict[str, Answer]:
    """Answers to `puzzles` that nothing was trained for, by name."""
    own = {name: make(puzzles) for name, make in of(puzzles).baselines.items()}
    return {COPY: lambda inputs, identifiers: inputs} | own


def baseline_names() -> tuple[str, ...]:
    """The names of all kinds' baselines."""
    return (COPY, *(name for kind in KINDS.values() for name in kind.baselines))
