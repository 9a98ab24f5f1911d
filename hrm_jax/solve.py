"""Puzzles solved by trained models: model.npz and a data set -> a table and report.json.

    python -m hrm_jax.solve --data data/maze10 --model model.npz --segments 64
    python -m hrm_jax.solve --data data/maze10 --model raw=a.npz --model mean=b.npz --record 6 --out r.json

Every example is answered once, from a fresh state, by all segments, which may be more than in training; what
comes out after each of them is judged, and the last one counts. Exact: every label is met. Lenient: any
shortest route of a maze, any cheapest one of a city's vehicle will do. Baselines are judged with the models;
without a model, they alone, and jax is not needed. Raw and averaged weights are two files
(`hrm_jax.export --weights`).

Where the examples of a group are augmentations of one puzzle, groups are what intervals and tests count,
not examples. Of ARC the two tries of all test inputs are voted for (docs/puzzles.md, "ARC").
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console import memory, progress
from hrm_jax.console.parser import Parser, at_least, interruptible, program, run_command
from hrm_jax.judging import answers, keeping, puzzle_report, tables
from hrm_jax.judging import solvers as solving
from hrm_jax.judging.keeping import MOST_RECORDED
from hrm_jax.puzzles import kinds
from hrm_jax.puzzles.dataset import SPLITS


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve as the command line asks; no report is written unless all of it was judged."""
    parser = Parser(program("solve"), __doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help=f"folder of a data set, as {program('puzzles')} writes")
    add("--model", action="append", default=[], metavar="FILE|NAME=FILE", help="model.npz; repeatable")
    add("--split", default="test", choices=SPLITS, help="which half of the data set")
    add("--segments", type=int,
        help="how many each answer gets, at most 10,000; default: as many as in training")  # fmt: skip
    add("--examples", type=int, metavar="N", help="the first N only; default: all")
    add("--batch", type=int, help="examples at a time; default: by their length and the device")
    add("--record", type=int, default=0, metavar="K",
        help="also write K examples, at most 1,000, that tell the models apart, for the page")  # fmt: skip
    add("--out", type=Path, help="where report.json goes; without it, only the table is printed")
    memory.keep_freed_memory()
    with interruptible("no report was written"):
        _solve(parser.parse_args(arguments))


def _solve(options: argparse.Namespace) -> None:
    """Everything that can be wrong with the request is found before the first puzzle."""
    at_least(options, segments=(1, 10_000), examples=1, batch=(1, 100_000), record=(0, MOST_RECORDED))
    if options.record and not (options.out and options.model):
        raise RequestError("--record needs --model, whose answers it keeps, and --out, where they go")
    puzzles = kinds.load(options.data, options.split)
    held = len(puzzles.inputs)
    count = options.examples or held
    if count > held:
        raise RequestError(f"--examples {count}: {options.data}/{options.split} has {held}")
    named = model_file.named(options.model, kinds.baseline_names())
    models = {name: solving.load(path, puzzles) for name, path in named.items()}
    most = max((model.trained_segments for model in models.values()), default=solving.UNKNOWN_SEGMENTS)
    segments = options.segments or most
    if options.out:
        keeping.check(options.out, options.record, [*named.values(), options.data])
    voting, why_not = puzzle_report.find_voting(puzzles, count)
    if why_not:
        print(why_not, file=sys.stderr)
    solvers = solving.solvers(models, puzzles, segments, options.batch)
    results = {}
    for name, solver in solvers.items():
        with progress.watch(name, "examples", count) as show:
            results[name] = answers.judge(solver, puzzles, count, voting is not None, show)
    report = puzzle_report.build(puzzles, count, segments, results, models, voting)
    if not options.out:
        print(tables.puzzles(report))
        return
    keeping.keep(options.out, report, tables.puzzles(report))
    if options.record:
        judged = {name: results[name].exact for name in models}
        index = answers.choose(np.stack(list(judged.values())), options.record)
        shown = {name: solvers[name] for name in models}
        keeping.record(options.out, report, lambda path: answers.record(path, puzzles, shown, index, judged))


if __name__ == "__main__":
    sys.exit(run_command(main))
