"""Train, judge and report models in many worlds, over several training seeds: the benchmark in one command.

python -m hrm_jax.sweep --worlds swarm mixed --models hrm lstm --seeds 3 --out runs/benchmark
python -m hrm_jax.sweep --worlds swarm --models hrm --ablations --seeds 3 --out runs/ablations
python -m hrm_jax.sweep --worlds large --tune optimizer.learning_rate=3e-3,1e-2 --seeds 6 --out runs/tuned
python -m hrm_jax.sweep --config poh --data data --worlds 6 --models soft looped --seeds 5 --out runs/poh

Every run is one that `hrm_jax.train` would make by itself, in OUT/world/model/seed; what is done is not done
again, and a killed sweep goes on where it was. Models of puzzles are judged by the test half of DATA/world.
With --tune every model of every world is first tried with each combination of the values, and each of its
VARIANTS in the config, by trainings with the seeds 100, 101, …; the least mean held-out loss chooses. The
choice and every trial are in the report.
Leaves OUT/world.report.json and OUT/report/index.html.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hrm_jax.artefacts import networks
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.artefacts.report_file import Tried
from hrm_jax.console.parser import JOBS, Parser, at_least, interruptible, program, run_command
from hrm_jax.judging import solvers, solving
from hrm_jax.judging.entrants import PREDICTORS
from hrm_jax.judging.evaluation import evaluate
from hrm_jax.judging.keeping import MOST_RECORDED
from hrm_jax.judging.request import Request
from hrm_jax.puzzles import kinds
from hrm_jax.reporting import writing
from hrm_jax.training import configs, tuning
from hrm_jax.training import runs as training
from hrm_jax.training.runs import Run
from hrm_jax.training.tuning import Trial
from hrm_jax.worlds.world import WORLDS

if TYPE_CHECKING:
    from ml_collections import ConfigDict

EPISODES = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring."""
    parser = Parser(program("sweep"), __doc__)
    add = parser.add_argument
    add("--config", default="benchmark", help="a file of configs/ whose choice is world,model[,ablation]")
    add("--data", type=Path, help="of puzzles: a folder with a data set for every world")
    add("--worlds", nargs="+", required=True, help="of the config")
    add(
        "--models",
        "--rivals",
        nargs="+",
        default=["hrm", "lstm"],
        help="of the config: hrm lstm gru transformer hrm,k1 …",
    )
    add("--ablations", action="store_true", help="add every ablation of the config to the models")
    add("--seeds", type=int, default=3, help="training seeds 0, 1, …")
    add("--episodes", type=int, default=EPISODES, help="scenarios that judge each world")
    add("--first", type=int, default=0, help="id of the first of them")
    add("--jobs", type=int, default=1, help="runs at a time, each on its share of the CPU cores")
    add("--record", type=int, default=6, help="episodes for the report's player")
    add("--set", nargs="*", action="extend", default=[], metavar="FIELD=VALUE",
        help="config fields, the same in every run")  # fmt: skip
    add("--tune", nargs="*", action="extend", default=[], metavar="FIELD=VALUE,VALUE,…",
        help="config fields of which each model of each world gets its own best values")  # fmt: skip
    add("--trials", type=int, default=2, help="with --tune: trainings of each combination")
    add("--out", type=Path, required=True, help="a folder")
    with interruptible("the same command goes on"):
        return _sweep(parser.parse_args(arguments))


def _sweep(options: argparse.Namespace) -> int:
    worlds, rivals = _asked(options)
    entries = itertools.product(worlds, rivals) if options.tune else ()
    trials = {entry: _trials(*entry, options) for entry in entries}
    tried = [run for each in trials.values() for trial in each for run in trial.runs]
    if not _train(tried, options.jobs):
        return 1
    tuned = {entry: tuning.tried(entry[1], each) for entry, each in trials.items()}
    runs = [
        _run(world, rival, seed, options, tuned.get((world, rival)))
        for world in worlds
        for seed in range(options.seeds)
        for rival in rivals
    ]
    if not _train(runs, options.jobs):
        return 1
    reports = []
    for world in worlds:
        rows = [row for entry, each in tuned.items() for row in each if entry[0] == world]
        reports.append(_judge(world, [run for run in runs if run.world == world], rows, options))
    first = [run.folder for run in runs if run.seed == 0]
    writing.write(writing.Request(out=options.out / "report", reports=reports, workdirs=first))
    return 0


def _train(runs: Sequence[Run], jobs: int) -> bool:
    """Train what is missing of these, if they are what was trained before; whether all is there."""
    for run in runs:
        run.check_settings()
    return not runs or training.train_all(runs, jobs)


def _trials(world: str, rival: str, options: argparse.Namespace) -> list[Trial]:
    """What is tried for a rival."""
    config = _config(options.config)
    fields = (*options.set, *getattr(config, "TRIAL", ()))
    seeds = range(tuning.FIRST_SEED, tuning.FIRST_SEED + options.trials)
    return [
        Trial(model, point, tuple(
            Run(options.config, world, model, seed, (*fields, *point),
                options.out / "trials" / world / model / tuning.folder(point) / str(seed), trial=True)
            for seed in seeds
        ))
        for model in _variants(config, rival)
        for point in tuning.grid(options.tune)
    ]  # fmt: skip


def _run(world: str, rival: str, seed: int, options: argparse.Namespace, rows: Sequence[Tried] | None) -> Run:
    """One of those that are judged, as the `rows` of its trials say."""
    model, fields = tuning.chosen(rows) if rows else (rival, ())
    folder = options.out / world / rival / str(seed)
    return Run(options.config, world, model, seed, (*options.set, *fields), folder, rival)


# ---------------------------------------------------------------- reading the request


def _asked(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The worlds and the models asked for; everything that can be wrong with the request is found here."""
    most = {"seeds": (1, 1000), "trials": (1, 1000), "jobs": (1, JOBS), "record": (0, MOST_RECORDED)}
    at_least(options, episodes=1, first=0, **most)
    config = _config(options.config)
    worlds = [known("world", name, config.WORLDS) for name in dict.fromkeys(options.worlds)]
    ablations = [f"hrm,{name}" for name in getattr(config, "ABLATIONS", ())]
    if options.ablations and not ablations:
        raise RequestError(f"--ablations: --config {options.config} lists none")
    rivals = list(dict.fromkeys(options.models + ablations * options.ablations))
    for rival in rivals:
        known("model", rival.partition(",")[0], config.MODELS)
    for assignment in options.set:
        if "=" not in assignment:
            raise RequestError(f"--set {assignment}: FIELD=VALUE, with a field of the config")
    for world in worlds:
        _check(world, [model for rival in rivals for model in _variants(config, rival)], options)
    return worlds, rivals


def _variants(config: ModuleType, rival: str) -> Sequence[str]:
    """The choices of the config that a rival may be tuned to."""
    return getattr(config, "VARIANTS", {}).get(rival, (rival,))


def _config(name: str) -> ModuleType:
    """The module configs/NAME.py, which lists WORLDS and MODELS."""
    module = configs.module(name)
    if not all(hasattr(module, table) for table in ("WORLDS", "MODELS")):
        raise RequestError(f"--config {name}: it lists no WORLDS and MODELS, as benchmark and poh do")
    return module


def _check(world: str, models: Sequence[str], options: argparse.Namespace) -> None:
    """Refuse configs, settings, or data that no run of a world would accept, before the first run."""
    found = [
        configs.read(f"{options.config}:{world},{model}", [f"--config.{field}" for field in fields])
        for model in models
        for fields in ((*options.set, *point) for point in tuning.grid(options.tune))
    ]
    if all(config.model.name in solvers.FAMILIES for config in found):
        _check_data(world, found, options)
    elif options.data:
        raise RequestError(f"--data {options.data}: no puzzles are judged by --config {options.config}")
    elif WORLDS[world].layout != "cells":
        raise RequestError(f"world {world}: predictors move among cells; see {program('evaluate')}")


def _check_data(world: str, found: Sequence["ConfigDict"], options: argparse.Namespace) -> None:
    """Refuse data that do not fit the models of these configs."""
    if not options.data:
        raise RequestError(f"--config {options.config}: --data FOLDER is needed, with a data set {world}")
    if options.first or options.episodes != EPISODES:
        raise RequestError(
            "--episodes and --first are of scenarios; puzzles are judged by all of a test half"
        )
    puzzles = kinds.load(options.data / world, "test")
    held = puzzles.meta.vocab_size, puzzles.meta.seq_len
    for config in found:
        model = networks.config(config.model.to_dict())
        if held != (wanted := (model.vocabulary, model.sequence)):
            raise RequestError(
                f"{puzzles.folder} has {held[0]} tokens, sequences of {held[1]}; the models of world {world} "
                f"want {wanted[0]} and {wanted[1]}"
            )


# ---------------------------------------------------------------- judging


def _judge(world: str, runs: Sequence[Run], tried: Sequence[Tried], options: argparse.Namespace) -> Path:
    """Judge the runs of a world, with the baselines; the report.json."""
    suffix = f".{options.first}" if options.first else ""
    out = options.out / f"{world}{suffix}.report.json"
    trained = [f"{run.name}/{run.seed}={run.parameters}" for run in runs]
    if options.data:
        data = options.data / world
        solving.solve(solving.Request(data, trained, out, record=options.record, tuning=tried))
        return out
    seeds = f"{options.first}:{options.first + options.episodes}"
    models = [*trained, *PREDICTORS]
    evaluate(Request(models, out, world=world, seeds=seeds, record=options.record, tuning=tried))
    return out


if __name__ == "__main__":
    sys.exit(run_command(main))
