"""Success against density: the same predictors among ever more, ever faster obstacles.

python -m hrm_jax.density --model reflection --model oracle --model lstm=model.npz --out runs/density

Every cell of the grid obstacles x speed is a world of its own, otherwise like `standard` and judged like it.
Leaves OUT/density.json, which the report turns into a figure, and prints the table.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hrm_jax.artefacts import files, report_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import Parser, program, run_command
from hrm_jax.judging import density
from hrm_jax.judging.entrants import BACKENDS
from hrm_jax.judging.request import model_files
from hrm_jax.reporting import writing


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module docstring."""
    options = _parser().parse_args(arguments)
    if options.episodes < 1:
        raise RequestError(f"--episodes {options.episodes}: at least 1")
    worlds = [density.make_world(n, speed) for n in options.obstacles for speed in options.speeds]
    predictors = density.read_predictors(model_files(options.model), options.backend, worlds[0])
    out = options.out / "density.json"
    files.check_writable(out)
    report = density.judge(worlds, predictors, options.episodes, options.backend)
    report_file.write(out, report)
    print(density.table(report))
    writing.write(writing.Request(out=options.out, density=out))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(program("density"), __doc__)
    add = parser.add_argument
    add("--model", action="append", required=True, metavar="NAME|FILE|NAME=FILE", help="as in evaluate")
    add("--obstacles", type=int, nargs="+", default=[6, 12, 20, 30], metavar="N", help="their numbers")
    add("--speeds", type=float, nargs="+", default=[0.4, 0.8, 1.2], metavar="CELLS",
        help="their speeds, in cells a step")  # fmt: skip
    add("--episodes", type=int, default=200, help="scenarios a cell")
    add("--backend", choices=BACKENDS, default="numpy")
    add("--out", type=Path, required=True, help="a folder")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
