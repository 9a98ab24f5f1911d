"""Puzzles solved by trained models: model.npz and a data set -> a table and report.json.

    python -m hrm_jax.solve --data data/maze10 --model model.npz --segments 64
    python -m hrm_jax.solve --data data/maze10 --model raw=a.npz --model mean=b.npz --record 6 --out r.json

Every example is answered once, from a fresh state, by all segments, which may be more than in training; what
comes out after each of them is judged, and the last one counts. Exact: every label is met. Lenient: any
shortest route of a maze, any cheapest one of a city's vehicle will do; the moves of a lattice maze are
rolled out, next to walkers. Baselines are judged with the models;
without a model, they alone, and jax is not needed. Raw and averaged weights are two files
(`hrm_jax.export --weights`).

Where the examples of a group are augmentations of one puzzle, groups are what intervals and tests count,
not examples. Of ARC the two tries of all test inputs are voted for (docs/puzzles.md, "ARC").
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from hrm_jax.console import memory
from hrm_jax.console.parser import Parser, at_least, interruptible, program, run_command
from hrm_jax.judging import solving
from hrm_jax.judging.keeping import MOST_RECORDED
from hrm_jax.puzzles.dataset import SPLITS


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve as the command line asks; no report is written unless all of it was judged."""
    parser = Parser(program("solve"), __doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help=f"folder of a data set, as {program('puzzles')} writes")
    add("--model", action="append", default=[], dest="models", metavar="FILE|NAME=FILE",
        help="model.npz; repeatable")  # fmt: skip
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
        options = parser.parse_args(arguments)
        at_least(options, segments=(1, 10_000), examples=1, batch=(1, 100_000), record=(0, MOST_RECORDED))
        solving.solve(solving.Request(**vars(options)))


if __name__ == "__main__":
    sys.exit(run_command(main))
