"""Build puzzle data sets: mazes, sudokus, ARC, city routes, lattices. Interrupted, the same command resumes.

    python -m hrm_jax.puzzles maze   --out data/maze30 --size 30 --train 1000 --test 1000
    python -m hrm_jax.puzzles lattice --out data/lattice12 --size 12 --train 10000 --test 2000
    python -m hrm_jax.puzzles sudoku --out data/sudoku9 --size 9 --train 1000 --test 1000 --augment 1000
    python -m hrm_jax.puzzles arc    --out data/arc1 --source FOLDER
    python -m hrm_jax.puzzles city   --out data/city
    python -m hrm_jax.puzzles statistics data/maze30
    python -m hrm_jax.puzzles page   --out city.html

Each command says more with --help. What they write is HRM's own layout (`dataset`).
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import (
    JOBS,
    Parser,
    at_least,
    choose,
    interruptible,
    program,
    run_command,
)
from hrm_jax.puzzles import dataset, kinds
from hrm_jax.puzzles.city import commands, conversion, page
from hrm_jax.puzzles.kinds import KINDS
from hrm_jax.puzzles.lattice import build as lattice
from hrm_jax.puzzles.lattice import files as lattice_files
from hrm_jax.puzzles.lattice import law

STATISTICS = """What the puzzles of a data set are like ({kinds}).

    python -m hrm_jax.puzzles statistics data/maze30
"""
CONVERT = """Data sets in HRM's layout, and the files of other tools, into one another.

    python -m hrm_jax.puzzles convert city_logistics_hrm_dataset.zip --out data/city
    python -m hrm_jax.puzzles convert data/city --out city.zip
    python -m hrm_jax.puzzles convert data/lattice12 --split train --out train.zanj

Of cities SOURCE is a ZIP or a folder of the original's 18 JSON files, which becomes a data set, or a data
set, which becomes the files: a ZIP where --out ends so, else a folder. Of a data set of lattice mazes one
split becomes a file of maze-dataset; `lattice --zanj` is the way back.
"""


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Command line; see the module docstring."""
    builders = {name: kind.builder for name, kind in KINDS.items() if kind.builder}
    commands = {name: KINDS[name].summary for name in builders}
    commands |= {name: summary for name, (summary, _) in OTHERS.items()}
    command, rest = choose(program("puzzles"), __doc__, commands, arguments)
    if command in OTHERS:
        return OTHERS[command][1](rest)
    builder = builders[command]
    parser = Parser(f"{program('puzzles')} {command}", builder.__doc__ or "")
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the data set, not there yet")
    add("--seed", type=int, default=0, help="another seed, other puzzles or augmentations")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes; the result does not depend on them")
    builder.add_arguments(parser)
    options = parser.parse_args(rest)
    options.words = [command, *rest]  # which commands for other machines repeat
    at_least(options, jobs=(1, JOBS), seed=(0, 2**64))
    with interruptible("the same command goes on"):
        builder.build(options)
    return None


def _statistics(arguments: Sequence[str]) -> None:
    """Print what the puzzles of a data set are like."""
    known = [name for name, kind in KINDS.items() if kind.statistics]
    parser = Parser(f"{program('puzzles')} statistics", STATISTICS.format(kinds=", ".join(known)))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    sets = [kinds.load(options.folder, s) for s in dataset.SPLITS if (options.folder / s).is_dir()]
    if not sets:
        raise RequestError(f"{options.folder}: no data set, which is a folder with train/ and test/")
    for puzzles in sets:
        kind = kinds.of(puzzles)
        if kind.statistics is None:
            raise RequestError(
                f"{options.folder}: kind {puzzles.kind!r}; statistics are of the kinds {', '.join(known)}"
            )
        other = next((found for found in sets if found is not puzzles), None)
        print(f"{options.folder} {puzzles.split}")
        for name, value in kind.statistics(puzzles, other).items():
            print(f"  {name:<44} {value:,.4g}" if isinstance(value, float) else f"  {name:<44} {value}")


def _convert(arguments: Sequence[str]) -> None:
    """The files of other tools and data sets into one another."""
    parser = Parser(f"{program('puzzles')} convert", CONVERT)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("--out", type=Path, required=True, help="not there yet, where it is a data set")
    parser.add_argument("--split", choices=dataset.SPLITS, help="that a .zanj file gets; default: test")
    options = parser.parse_args(arguments)
    files.check_writable(options.out.parent / "any", [options.source])
    if options.out.suffix != ".zanj":
        if options.split:
            raise RequestError("--split: the files of a city have both")
        print(conversion.convert(options.source, options.out))
        return
    puzzles = kinds.load(options.source, options.split or "test")
    if puzzles.kind != "lattice":
        raise RequestError(f"{options.source}: kind {puzzles.kind!r}; .zanj files hold mazes of lattice")
    mazes = law.read(np.asarray(puzzles.inputs))
    lattice_files.write(options.out, mazes, **lattice.law_of(options.source))
    print(f"{options.out}: {len(mazes.open)} mazes")


OTHERS: dict[str, tuple[str, Callable[[Sequence[str]], int | None]]] = {  # commands that build nothing
    "statistics": ("what the puzzles of a data set are like", _statistics),
    "convert": ("a city's 18 JSON files to and from a data set, lattice mazes to .zanj", _convert),
    "check": ("what a city's data set is worth", commands.check),
    "page": ("the page of the cities: scenarios, data sets, answers", page.write),
    "serve": ("that page at a local address", page.serve),
    "predictions": ("recorded answers to city puzzles, for the page", page.predictions),
}


if __name__ == "__main__":
    sys.exit(run_command(main))
