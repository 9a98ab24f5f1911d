"""Hierarchical reasoning models: train them, judge them, and show what came out.

{program} train --config quickstart --workdir runs/quickstart
{program} export --workdir runs/quickstart --out model.npz
{program} evaluate --model model.npz --model reflection --model oracle --out report.json
"""

import functools
import importlib
import sys
from collections.abc import Iterable, Sequence

from hrm_jax.console import completion
from hrm_jax.console.parser import choose, program, run_command

# What each command does; its module is imported only when it runs.
COMMANDS = {
    "train": "train what a config describes; the same command resumes",
    "export": "write a run's parameters (model.npz) or worlds (scenarios.npz) for the evaluator",
    "evaluate": "judge obstacle predictors and path planners in closed loop, with NumPy alone",
    "solve": "judge answers to puzzles",
    "report": "reports as a table, or as one page with curves and players",
    "sweep": "train, judge and report many models, worlds and seeds",
    "density": "success against the number and speed of obstacles",
    "paths": "the expert's paths, which train planners of paths",
    "puzzles": "build data sets of mazes, sudokus, ARC tasks and city routes",
    "interop": "import PyTorch checkpoints of the originals; check golden files",
}
# What options take besides files, for the shell's completion: names in these modules.
VALUES = {
    "--config": ("hrm_jax.training.configs", "names"),
    "--model": ("hrm_jax.judging.request", "BUILT_IN"),
    "--predictor": ("hrm_jax.worlds.baselines", "BASELINES"),
    "--protocol": ("hrm_jax.referee.protocols", "PROTOCOLS"),
    "--world": ("hrm_jax.worlds.world", "WORLDS"),
    "--worlds": ("hrm_jax.worlds.world", "WORLDS"),
}
PACKAGES = ("puzzles", "interop")  # commands that are rooms: their command line is __main__


def main(arguments: Sequence[str] | None = None) -> int | None:
    """List the commands, or run the one that is named."""
    name, rest = choose(program(), (__doc__ or "").format(program=program()), COMMANDS, arguments)
    module = f"hrm_jax.{name}.__main__" if name in PACKAGES else f"hrm_jax.{name}"
    return importlib.import_module(module).main(rest)


def _named(module: str, name: str) -> Iterable[str]:
    found = getattr(importlib.import_module(module), name)
    return found() if callable(found) else found


def start() -> int:
    """The console script `hrm-jax`."""
    completion.offer({option: functools.partial(_named, *place) for option, place in VALUES.items()})
    return run_command(main)


if __name__ == "__main__":
    sys.exit(start())
