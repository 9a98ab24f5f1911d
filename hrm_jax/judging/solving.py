"""A data set of puzzles answered by models and baselines: judged, kept, recorded."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.report_file import Before
from hrm_jax.console import progress
from hrm_jax.judging import answers, keeping, puzzle_report, solvers, tables
from hrm_jax.puzzles import kinds


@dataclass(frozen=True)
class Request:
    """What is to be solved and by whom, in the words of the command line."""

    data: Path  # a data set's folder
    models: Sequence[str]  # FILE or NAME=FILE
    out: Path | None = None  # where report.json goes; None: only the table is printed
    split: str = "test"
    segments: int | None = None  # None: as many as in training
    examples: int | None = None  # the first so many; None: all
    batch: int | None = None  # examples at a time; None: by their length and the device
    record: int = 0  # examples to record
    before: Before = field(default_factory=Before)  # what the report says of how the models were trained


def solve(asked: Request) -> None:
    """Everything that can be wrong with the request is found before the first puzzle."""
    if asked.record and not (asked.out and asked.models):
        raise RequestError("--record needs --model, whose answers it keeps, and --out, where they go")
    puzzles = kinds.load(asked.data, asked.split)
    held = len(puzzles.inputs)
    count = asked.examples or held
    if count > held:
        raise RequestError(f"--examples {count}: {asked.data}/{asked.split} has {held}")
    named = model_file.named(asked.models, kinds.baseline_names())
    models = {name: solvers.load(path, puzzles) for name, path in named.items()}
    most = max((model.trained_segments for model in models.values()), default=solvers.UNKNOWN_SEGMENTS)
    segments = asked.segments or most
    if asked.out:
        keeping.check(asked.out, asked.record, [*named.values(), asked.data])
    voting, why_not = puzzle_report.find_voting(puzzles, count)
    if why_not:
        print(why_not, file=sys.stderr)
    by_name = solvers.solvers(models, puzzles, segments, asked.batch)
    results = {}
    for name, solver in by_name.items():
        with progress.watch(name, "examples", count) as show:
            results[name] = answers.judge(solver, puzzles, count, voting is not None, show)
    report = puzzle_report.build(puzzles, count, segments, results, models, voting)
    report |= asked.before
    if not asked.out:
        print(tables.puzzles(report))
        return
    keeping.keep(asked.out, report, tables.puzzles(report))
    if asked.record:
        judged = {name: results[name].exact for name in models}
        index = answers.choose(np.stack(list(judged.values())), asked.record)
        shown = {name: by_name[name] for name in models}
        keeping.record(asked.out, report, lambda path: answers.record(path, puzzles, shown, index, judged))
