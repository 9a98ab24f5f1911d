"""Train, judge and report models in many worlds, over several training seeds: the benchmark in one command.

python -m hrm_jax.sweep --worlds swarm mixed --models hrm lstm --seeds 3 --out runs/benchmark
python -m hrm_jax.sweep --worlds swarm --models hrm --ablations --seeds 3 --out runs/ablations

Every run is one that `hrm_jax.train` would make by itself, in OUT/world/model/seed; what is done is not done
again, and a killed sweep goes on where it was. Leaves OUT/world.report.json and OUT/report/index.html.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.console.parser import JOBS, Parser, at_least, interruptible, program, run_command
from hrm_jax.judging.entrants import PREDICTORS
from hrm_jax.judging.evaluation import evaluate
from hrm_jax.judging.keeping import MOST_RECORDED
from hrm_jax.judging.request import Request
from hrm_jax.reporting import writing
from hrm_jax.training import configs
from hrm_jax.training import runs as training
from hrm_jax.training.runs import Run
from hrm_jax.worlds.world import WORLDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring."""
    parser = Parser(program("sweep"), __doc__)
    add = parser.add_argument
    add("--config", default="benchmark", help="a file of configs/ whose choice is world,model[,ablation]")
    add("--worlds", nargs="+", required=True, help="of the config")
    add("--models", "--rivals", nargs="+", default=["hrm", "lstm"], help="hrm lstm gru transformer hrm,k1 …")
    add("--ablations", action="store_true", help="add every ablation of the config to the models")
    add("--seeds", type=int, default=3, help="training seeds 0, 1, …")
    add("--episodes", type=int, default=1000, help="scenarios that judge each world")
    add("--first", type=int, default=0, help="id of the first of them")
    add("--jobs", type=int, default=1, help="runs at a time, each on its share of the CPU cores")
    add("--record", type=int, default=6, help="episodes for the report's player")
    add("--set", nargs="*", action="extend", default=[], metavar="FIELD=VALUE",
        help="config fields, the same in every run")  # fmt: skip
    add("--out", type=Path, required=True, help="a folder")
    with interruptible("the same command goes on"):
        return _sweep(parser.parse_args(arguments))


def _sweep(options: argparse.Namespace) -> int:
    runs = _runs(options)
    if not training.train_all(runs, options.jobs):
        return 1
    worlds = dict.fromkeys(run.world for run in runs)
    reports = [_judge(world, [run for run in runs if run.world == world], options) for world in worlds]
    first = [run.folder for run in runs if run.seed == 0]
    writing.write(writing.Request(out=options.out / "report", reports=reports, workdirs=first))
    return 0


# ---------------------------------------------------------------- reading the request


def _runs(options: argparse.Namespace) -> list[Run]:
    """The runs asked for; everything that can be wrong with the request is found here."""
    config = _config(options.config)
    judged = [name for name in config.WORLDS if WORLDS[name].layout == "cells"]
    worlds = [known("world", name, judged) for name in dict.fromkeys(options.worlds)]
    changed = [f"hrm,{name}" for name in config.ABLATIONS]
    allowed = (*config.MODELS, *changed, *(f"{name},wide" for name in config.MODELS))
    asked = options.models + changed * options.ablations
    models = [known("model", name, allowed) for name in dict.fromkeys(asked)]
    most = {"seeds": (1, 1000), "jobs": (1, JOBS), "record": (0, MOST_RECORDED)}
    at_least(options, episodes=1, first=0, **most)
    _check_fields(config.get_config(f"{worlds[0]},{models[0]}").to_dict(), options.set)
    runs = [
        Run(options.config, world, model, seed, tuple(options.set), options.out / world / model / str(seed))
        for world in worlds
        for seed in range(options.seeds)
        for model in models
    ]
    for run in runs:
        run.check_settings()
    return runs


def _config(name: str) -> ModuleType:
    """The module configs/NAME.py, which lists WORLDS, MODELS and ABLATIONS."""
    module = configs.module(name)
    if not all(hasattr(module, table) for table in ("WORLDS", "MODELS", "ABLATIONS")):
        raise RequestError(f"--config {name}: it lists no WORLDS, MODELS and ABLATIONS, as benchmark does")
    return module


def _check_fields(config: dict[str, Any], assignments: Sequence[str]) -> None:
    """Refuse a --set that no run would accept, before the first run."""
    for assignment in assignments:
        field, separator, _ = assignment.partition("=")
        group = config
        for name in field.split("."):
            if not separator or not isinstance(group, dict) or name not in group:
                known = ", ".join(group) if isinstance(group, dict) else "none"
                raise RequestError(
                    f"--set {assignment}: FIELD=VALUE, with a field of the config, of: {known}"
                )
            group = group[name]


# ---------------------------------------------------------------- judging


def _judge(world: str, runs: Sequence[Run], options: argparse.Namespace) -> Path:
    """Evaluate the runs of a world with the built-in predictors; the report.json."""
    suffix = f".{options.first}" if options.first else ""
    out = options.out / f"{world}{suffix}.report.json"
    trained = [f"{run.model}/{run.seed}={run.parameters}" for run in runs]
    seeds = f"{options.first}:{options.first + options.episodes}"
    models = [*trained, *PREDICTORS]
    evaluate(Request(models, out, world=world, seeds=seeds, record=options.record))
    return out


if __name__ == "__main__":
    sys.exit(run_command(main))
