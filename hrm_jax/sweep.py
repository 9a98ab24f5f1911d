"""Train, judge and report models in many worlds, over several training seeds: the benchmark in one command.

python -m hrm_jax.sweep --worlds swarm mixed --models hrm lstm --seeds 3 --out runs/benchmark
python -m hrm_jax.sweep --worlds swarm --models hrm --ablations --seeds 3 --out runs/ablations
python -m hrm_jax.sweep --worlds large --tune optimizer.learning_rate=3e-3,1e-2 --seeds 6 --out runs/tuned
python -m hrm_jax.sweep --config poh --data data --worlds 6 --models soft looped --seeds 5 --out runs/poh

Every run is one that `hrm_jax.train` would make by itself, in OUT/world/model/seed; what is done is not done
again, and a killed sweep goes on where it was. Models of puzzles are judged by the test half of DATA/world.
With --lengths the models of a world are first trained with each of these numbers of updates; all get the
first that the next hardly improves. With --tune every model is then tried with each combination of values,
and as each of its VARIANTS in the config (with --ablations, which compares such, only as itself); the least
mean held-out loss chooses. These trainings have seeds of their own, 100, 101, …, and are in the report.
Leaves OUT/world.report.json and OUT/report/index.html.

On machines that share OUT, --list prints what can be trained now as commands of a shell, a line a run, for
Slurm, GNU parallel or xargs; the same sweep without it judges when they are done (docs/scaling.md).
"""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hrm_jax.artefacts import networks
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.artefacts.report_file import EVERY, Before
from hrm_jax.console import shell
from hrm_jax.console.parser import JOBS, Parser, at_least, interruptible, program, run_command
from hrm_jax.judging import solvers, solving
from hrm_jax.judging.entrants import PREDICTORS
from hrm_jax.judging.evaluation import evaluate
from hrm_jax.judging.keeping import MOST_RECORDED
from hrm_jax.judging.request import Request
from hrm_jax.puzzles import kinds
from hrm_jax.referee import drawing
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
    add("--jobs", type=int, default=1,
        help="runs at a time, each on its share of the cores, and models judged at a time; 0: nothing is "
        "trained, what is missing is said")  # fmt: skip
    add("--list", action="store_true", help="print the runs that can be trained now as commands, a line each")
    add("--record", type=int, default=6, help="episodes for the report's player")
    add("--set", nargs="*", action="extend", default=[], metavar="FIELD=VALUE",
        help="config fields, the same in every run")  # fmt: skip
    add("--tune", nargs="*", action="extend", default=[], metavar="FIELD=VALUE,VALUE,…",
        help="config fields of which each model of each world gets its own best values")  # fmt: skip
    add("--trials", type=int, default=2, help="with --tune: trainings of each combination")
    add(
        "--finalists",
        type=int,
        metavar="N",
        help="with --tune: how many combinations of each model, its best with the first tuning seed, are "
        "trained with the other seeds; all",
    )
    add(
        "--lengths",
        default="",
        metavar="STEPS,STEPS,…",
        help="updates, of which each world's models get enough",
    )
    add("--until", type=float, default=5.0, metavar="PER_CENT",
        help="with --lengths: enough is what the next of them improves by less than so many per cent of the "
        f"best model's held-out loss per {EVERY} updates")  # fmt: skip
    add("--out", type=Path, required=True, help="a folder")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    if options.list:
        return _list(options, shlex.join(program("sweep").split() + [w for w in words if w != "--list"]))
    with interruptible("the same command goes on"):
        return _sweep(options)


def _sweep(options: argparse.Namespace) -> int:
    worlds, rivals = _asked(options)
    judged: dict[str, Path] = {}
    left = False  # whether anything is left to train
    for number, world in enumerate(worlds, 1):
        print(f"{world} ({number} of {len(worlds)})", flush=True)
        try:
            if report := _in_world(world, rivals, options):
                judged[world] = report
            else:
                left = True
        except tuning.Untrainable as error:  # the other worlds are judged all the same
            print(f"{world}: {error}", file=sys.stderr, flush=True)
    if judged and not left:
        first = [_folder(world, rival, 0, options) for world in judged for rival in rivals]
        told = list(judged.values())
        writing.write(writing.Request(out=options.out / "report", reports=told, workdirs=first))
    return int(len(judged) < len(worlds))


def _in_world(world: str, rivals: Sequence[str], options: argparse.Namespace) -> Path | None:
    """Train and judge models in a world; its report.json, None where a training came to no end."""
    before: Before = {}
    runs: Sequence[Run] = ()
    for kind, runs in _stages(world, rivals, before, options):
        if not training.train_all(kind, runs, options.jobs):
            return None
    return _judge(world, runs, before, options)


def _list(options: argparse.Namespace, command: str) -> int:
    """Print the commands of the runs that can be trained now; on stderr what they are, and what comes after.

    `command` is this sweep's own, without --list. Nothing is trained and nothing is written.
    """
    lines, told, kinds = [], [], set()
    with contextlib.redirect_stdout(sys.stderr):  # only commands go where the shell reads them
        worlds, rivals = _asked(options)
        unfinished = [(world, *_unfinished(world, rivals, options)) for world in worlds]
    for world, kind, missing in unfinished:
        free = [run for run in missing if not run.at_work]
        lines += [shell.line(*run.commands) for run in free]
        kinds.add(kind)
        if kind:
            told.append(f"{world}: {kind}: {len(free)} runs to start, {len(missing) - len(free)} at work")
    if kinds == {""}:
        told.append(f"nothing is left to train; to judge and report: {command}")
    elif kinds <= {"", "training"}:
        told.append(f"when they are done, to judge and report: {command}")
    else:
        told.append(f"they decide what is trained next; when they are done: {command} --list")
    print("\n".join(told), file=sys.stderr, flush=True)
    if lines:
        print("\n".join(lines))
    return 0


def _unfinished(world: str, rivals: Sequence[str], options: argparse.Namespace) -> tuple[str, list[Run]]:
    """What is trained next in a world: the kind, and its runs that are not done; "" and none at the end."""
    try:
        for kind, runs in _stages(world, rivals, {}, options):
            if missing := [run for run in runs if not run.done]:
                return kind, missing
    except tuning.Untrainable as error:
        print(f"{world}: {error}", flush=True)
    return "", []


def _stages(
    world: str, rivals: Sequence[str], before: Before, options: argparse.Namespace
) -> Iterator[tuple[str, list[Run]]]:
    """What is trained in a world: kinds of runs, each of which is asked for when the ones before are done.

    The last are the runs that are judged; `before` gets what the others decided.
    """
    fields, chosen = tuple(options.set), {rival: (rival, ()) for rival in rivals}
    if pilots := _pilots(world, rivals, options):
        yield "lengths", _same([run for runs in pilots.values() for run in runs])
        before["lengths"] = found = tuning.length(world, pilots, options.until)
        fields += (f"steps={found['chosen']}",)
    if options.tune:
        trials = {rival: _trials(world, rival, fields, options) for rival in rivals}
        if options.finalists:
            yield "tuning", _same([trial.runs[0] for each in trials.values() for trial in each])
            trials = {rival: tuning.final(each, options.finalists) for rival, each in trials.items()}
        yield "tuning", _same([run for each in trials.values() for trial in each for run in trial.runs])
        tried = {rival: tuning.tried(rival, each) for rival, each in trials.items()}
        chosen = {rival: tuning.chosen(rows) for rival, rows in tried.items()}
        before["tuning"] = [row for rows in tried.values() for row in rows]
    yield "training", _same([
        Run(options.config, world, model, seed, (*fields, *own), _folder(world, rival, seed, options), rival)
        for seed in range(options.seeds)
        for rival, (model, own) in chosen.items()
    ])  # fmt: skip


def _same(runs: list[Run]) -> list[Run]:
    """These, each once, if they are what was trained before."""
    each = list(dict.fromkeys(runs))
    for run in each:
        run.check_settings()
    return each


def _pilots(world: str, rivals: Sequence[str], options: argparse.Namespace) -> dict[int, list[Run]]:
    """A training of each model for each of --lengths."""
    return {
        steps: [
            Run(options.config, world, rival, tuning.FIRST_SEED, (*options.set, f"steps={steps}"),
                options.out / "lengths" / world / rival / str(steps), trial=True)
            for rival in rivals
        ]
        for steps in tuning.lengths(options.lengths)
    }  # fmt: skip


def _trials(world: str, rival: str, fields: Sequence[str], options: argparse.Namespace) -> list[Trial]:
    """What is tried for a model."""
    seeds = range(tuning.FIRST_SEED, tuning.FIRST_SEED + options.trials)
    return [
        Trial(model, point, tuple(
            Run(options.config, world, model, seed, (*fields, *point),
                options.out / "trials" / world / model / tuning.folder(point) / str(seed), trial=True)
            for seed in seeds
        ))
        for model in _variants(rival, options)
        for point in tuning.grid(options.tune)
    ]  # fmt: skip


def _folder(world: str, rival: str, seed: int, options: argparse.Namespace) -> Path:
    """Of a run that is judged."""
    folder: Path = options.out / world / rival / str(seed)
    return folder


# ---------------------------------------------------------------- reading the request


def _asked(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The worlds and the models asked for; everything that can be wrong with the request is found here."""
    own = tuning.FIRST_SEED if options.tune or options.lengths else 1000  # seeds of trials begin there
    most = {"seeds": (1, own), "trials": (1, 1000), "jobs": (0, JOBS), "record": (0, MOST_RECORDED)}
    at_least(options, episodes=(1, drawing.MOST), first=0, finalists=1, **most)
    config = _config(options.config)
    worlds = [known("world", name, config.WORLDS) for name in dict.fromkeys(options.worlds)]
    ablations = [f"hrm,{name}" for name in getattr(config, "ABLATIONS", ())]
    if options.ablations and not ablations:
        raise RequestError(f"--ablations: --config {options.config} lists none")
    rivals = list(dict.fromkeys(options.models + ablations * options.ablations))
    for rival in rivals:
        known("model", rival.partition(",")[0], config.MODELS)
    if options.finalists and not options.tune:
        raise RequestError(f"--finalists {options.finalists}: they are of --tune FIELD=VALUE,VALUE,…")
    if not 0 <= options.until <= 100:
        raise RequestError(f"--until {options.until}: 0 to 100 per cent")
    _check_assignments(options)
    for world in worlds:
        _check(world, [model for rival in rivals for model in _variants(rival, options)], options)
    tried = {rival: len(_variants(rival, options)) for rival in rivals}
    if options.tune and len(set(tried.values())) > 1:
        told = ", ".join(f"{rival} {count}" for rival, count in tried.items())
        print(f"models do not have the same chance: so many variants of each are tried: {told}", flush=True)
    return worlds, rivals


def _check_assignments(options: argparse.Namespace) -> None:
    """Refuse what sets or tunes no field, or one that the sweep itself sets."""
    own = {"seed": "--seeds says how many", "epochs": "a sweep counts in steps"}
    if tuning.lengths(options.lengths):
        own["steps"] = "--lengths says how many"
    for assignment in options.set:
        if "=" not in assignment:
            raise RequestError(f"--set {assignment}: FIELD=VALUE, with a field of the config")
    for assignment in (*options.set, *options.tune):
        if why := own.get(assignment.partition("=")[0]):
            raise RequestError(f"{assignment}: {why}")


def _variants(rival: str, options: argparse.Namespace) -> Sequence[str]:
    """The choices of the config that a rival may be tuned to; with --ablations all are only themselves."""
    variants = {} if options.ablations else getattr(_config(options.config), "VARIANTS", {})
    return variants.get(rival, (rival,))


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
    for config in found:
        _check_config(config)
    if all(config.model.name in solvers.FAMILIES for config in found):
        _check_data(world, found, options)
    elif options.data:
        raise RequestError(f"--data {options.data}: no puzzles are judged by --config {options.config}")
    elif WORLDS[world].layout != "cells":
        raise RequestError(f"world {world}: predictors move among cells; see {program('evaluate')}")


def _check_config(config: "ConfigDict") -> None:
    """Refuse values that are wrong by themselves, as its run would when it begins."""
    from hrm_jax.artefacts import fields
    from hrm_jax.tasks import TASKS
    from hrm_jax.training import experiment

    given = config.to_dict()
    experiment.check(given)
    task: Any = TASKS[known("task", given["task"], TASKS)]
    fields.build("data", task.data_fields, given["data"])
    task.describe(given)
    if not config.steps:
        raise RequestError("steps = 0: a sweep counts in steps; at least 1")


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


def _judge(world: str, runs: Sequence[Run], before: Before, options: argparse.Namespace) -> Path:
    """Judge the runs of a world, with the baselines; the report.json."""
    suffix = f".{options.first}" if options.first else ""
    out = options.out / f"{world}{suffix}.report.json"
    trained = [f"{run.name}/{run.seed}={run.parameters}" for run in runs]
    if options.data:
        data = options.data / world
        solving.solve(solving.Request(data, trained, out, record=options.record, before=before))
        return out
    seeds = f"{options.first}:{options.first + options.episodes}"
    models = [*trained, *PREDICTORS]
    jobs = max(1, options.jobs)
    evaluate(Request(
        models, out, world=world, seeds=seeds, record=options.record, jobs=jobs, before=before,
        diverging=True,  # a run that came to nothing is counted, too
    ))  # fmt: skip
    return out


if __name__ == "__main__":
    sys.exit(run_command(main))
