"""Build puzzle data sets: mazes, sudokus, ARC. Interrupted, the same command goes on.

    python -m hrm_jax.puzzles maze   --out data/maze30 --size 30 --train 1000 --test 1000
    python -m hrm_jax.puzzles sudoku --out data/sudoku9 --size 9 --train 1000 --test 1000 --augment 1000
    python -m hrm_jax.puzzles arc    --out data/arc1 --source FOLDER
    python -m hrm_jax.puzzles statistics data/maze30

Each builder says more with --help. What they write is HRM's own layout (`dataset`).
"""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import Parser, choose, interruptible, program, run_command
from hrm_jax.puzzles import dataset

COMMANDS = {
    "maze": "mazes of loose walls with a long way through",
    "sudoku": "sudokus of 4x4, 6x6 and 9x9 with one solution",
    "arc": "ARC tasks and their augmentations, from the public files",
    "statistics": "what the mazes or sudokus of a data set are like",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module docstring."""
    command, rest = choose(program("puzzles"), __doc__, COMMANDS, arguments)
    if command == "statistics":
        return _statistics(rest)
    module = importlib.import_module(f"hrm_jax.puzzles.{command}")
    parser = _parser(command, module.__doc__)
    module.add_arguments(parser)
    options = parser.parse_args(rest)
    with interruptible("the same command goes on"):
        module.build(options)


def _parser(command: str, text: str) -> Parser:
    return Parser(f"{program('puzzles')} {command}", text)


def _statistics(arguments: Sequence[str]) -> None:
    """Print what the puzzles of a data set are like."""
    parser = _parser("statistics", "What the mazes or sudokus of a data set are like.")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    sets = [dataset.load(options.folder, s) for s in dataset.SPLITS if (options.folder / s).is_dir()]
    if not sets:
        raise RequestError(f"{options.folder}: no data set, which is a folder with train/ and test/")
    for puzzles in sets:
        if puzzles.kind not in ("maze", "sudoku"):
            raise RequestError(
                f"{options.folder}: kind {puzzles.kind!r}; statistics are told of mazes and sudokus"
            )
        module = importlib.import_module(f"hrm_jax.puzzles.{puzzles.kind}")
        print(f"{options.folder} {puzzles.split}")
        for name, value in module.statistics(puzzles).items():
            print(f"  {name:<44} {value:,.4g}" if isinstance(value, float) else f"  {name:<44} {value}")


if __name__ == "__main__":
    sys.exit(run_command(main))
