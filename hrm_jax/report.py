"""Reports side by side: one table out of several report.json, or one page out of all there is.

python -m hrm_jax.report --report standard.report.json --report hrm-cloud.report.json
python -m hrm_jax.report --report standard.report.json --workdir runs/hrm --density density.json --out report/

Without --out: a row per model, a column per report, printed; of answers to puzzles (hrm_jax.solve) a table
each, and one of their accuracy by segment. With it: index.html, which needs no network, and PNG figures
in the same folder; `--gif 17` adds an animation of episode 17.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.report_file import PUZZLES
from hrm_jax.console.parser import Parser, interruptible, program, run_command
from hrm_jax.console.tables import markdown
from hrm_jax.judging import reports, tables
from hrm_jax.reporting import writing


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or write the page and its figures."""
    parser = Parser(program("report"), __doc__)
    add = parser.add_argument
    add("--report", dest="reports", type=Path, action="append", default=[], metavar="FILE",
        help="repeatable")  # fmt: skip
    add("--workdir", dest="workdirs", type=Path, action="append", default=[], metavar="FOLDER",
        help="of a training run, for its curves; repeatable")  # fmt: skip
    add("--density", type=Path, metavar="FILE", help="density.json")
    add("--gif", dest="gifs", action="append", default=[], metavar="EPISODE",
        help="id of a recorded episode, or all")  # fmt: skip
    add("--gif-models", metavar="A,B", help="models to animate; default: the first two recorded")
    add("--out", type=Path, metavar="FOLDER", help="where index.html and the figures go")
    options = parser.parse_args(arguments)
    with interruptible("files named above are whole, the others were not written"):
        if options.out:
            writing.write(writing.Request(**vars(options)))
        else:
            print(_tables(options))


def _tables(options: argparse.Namespace) -> str:
    """The tables, and what a faulty protocol's column shows."""
    for flag, given in (
        ("--workdir", options.workdirs),
        ("--density", options.density),
        ("--gif", options.gifs),
        ("--gif-models", options.gif_models),
    ):
        if given:
            raise RequestError(f"{flag} needs --out FOLDER, where the page goes")
    if not options.reports:
        raise RequestError(f"--report FILE is needed (see {program('report')} --help)")
    loaded = [reports.load(path) for path in options.reports]
    planned = [report for report in loaded if report["protocol"] != PUZZLES]
    parts = [markdown(tables.comparison(planned))] if planned else []
    parts += filter(None, map(tables.fault_note, planned))
    parts += [tables.puzzles(report) for report in loaded if report["protocol"] == PUZZLES]
    if planned or len(loaded) > 1:  # the tables of a report of puzzles have its own
        parts += filter(None, [tables.group_tests(loaded)])
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(run_command(main))
