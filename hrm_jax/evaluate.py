"""Closed-loop evaluation: predictors, a protocol, scenarios -> report.json and a table.

python -m hrm_jax.evaluate --model model.npz --model reflection --model oracle --out report.json
python -m hrm_jax.evaluate --model oracle --protocol hrm-cloud/2025-12 --out legacy.report.json
python -m hrm_jax.evaluate --protocol paths --model hybrid.npz --predictor lstm.npz --out paths.json

Needs NumPy and scipy only; `--backend jax` computes the predictions of model files with jax. What takes long
is not lost: interrupted, the same command goes on with the models that are not judged yet.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from hrm_jax.console import memory as allocator
from hrm_jax.console.parser import Parser, interruptible, program, run_command
from hrm_jax.judging.entrants import BACKENDS, PATH_PLANNERS, PREDICTORS
from hrm_jax.judging.evaluation import evaluate
from hrm_jax.judging.request import Request
from hrm_jax.referee.protocols import PROTOCOLS
from hrm_jax.worlds.world import WORLDS


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate as the command line asks; no report is written unless all of it was judged."""
    parser = Parser(program("evaluate"), __doc__)
    add = parser.add_argument
    add("--model", dest="models", action="append", required=True, metavar="NAME|FILE|NAME=FILE",
        help=f"repeatable; a model.npz, or one of {', '.join(PREDICTORS)}; for paths, of "
        f"{', '.join(PATH_PLANNERS)}")  # fmt: skip
    add("--predictor", metavar="NAME|FILE",
        help="rolls the obstacles forward for planners of paths that ask for it")  # fmt: skip
    add("--protocol", default="standard", help=", ".join(PROTOCOLS))
    add("--world", metavar="NAME|FILE",
        help=f"one of {', '.join(WORLDS)}; a scenarios.npz; or recorded obstacles, tracks.csv or tracks.npz "
        "(docs/your_own.md); default: the protocol's")  # fmt: skip
    add("--history", type=int, metavar="N", help="steps that are watched first, of recorded tracks")
    add("--episodes", type=int, help="how many, from the protocol's first seed on")
    add("--seeds", metavar="A:B", help="scenario ids A to B-1")
    add("--backend", choices=BACKENDS, default="numpy",
        help="numpy is the referee; jax predicts for it; jit plays whole episodes on the device")  # fmt: skip
    add("--jobs", type=int, default=1, metavar="N",
        help="models judged at a time, each by a process; of backend numpy, without functions")  # fmt: skip
    add("--record", type=int, default=0, metavar="N",
        help="also write N episodes, at most 1,000, that tell the models apart, for the page")  # fmt: skip
    add("--out", type=Path, required=True, help="where report.json goes")
    allocator.keep_freed_memory()
    with interruptible("no report was written"):
        evaluate(Request(**vars(parser.parse_args(arguments))))


if __name__ == "__main__":
    sys.exit(run_command(main))
