"""Train, judge and report rivals in many worlds, over several training seeds: the benchmark in one command.

python -m hrm_jax.sweep --worlds swarm mixed --rivals hrm lstm --seeds 3 --out runs/benchmark
python -m hrm_jax.sweep --worlds swarm --rivals hrm --ablations --seeds 3 --out runs/ablations

Every run is one that `hrm_jax.train` would make by itself, in OUT/world/rival/seed; what is done is not done
again, and a killed sweep goes on where it was. Leaves OUT/world.report.json and OUT/report/index.html.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.console.parser import Parser, interruptible, program, run_command
from hrm_jax.training import configs

BASELINES = ("kalman", "reflection", "constant_velocity", "frozen", "blind", "oracle")


class Run(NamedTuple):
    """One training run of the sweep."""

    world: str
    rival: str  # as in the config's choice: "hrm", "hrm,k1"
    seed: int
    folder: Path

    @property
    def model(self) -> Path:
        """The exported parameters; where they are, the run is done."""
        return self.folder / "model.npz"

    @property
    def settings(self) -> Path:
        """What the sweep set in its config, as JSON."""
        return self.folder / "sweep.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring."""
    with interruptible("the same command goes on"):
        return _sweep(_parser().parse_args(arguments))


def _sweep(options: argparse.Namespace) -> int:
    config = _config(options.config)
    judged = [name for name, world in config.WORLDS.items() if world.get("layout") != "discs"]
    worlds = _known("--worlds", options.worlds, judged)
    rivals = _rivals(options, config)
    for name in ("seeds", "episodes", "jobs"):
        if getattr(options, name) < 1:
            raise RequestError(f"--{name} {getattr(options, name)}: at least 1")
    for name in ("first", "record"):
        if getattr(options, name) < 0:
            raise RequestError(f"--{name} {getattr(options, name)}: 0 or more")
    _check_fields(config.get_config(f"{worlds[0]},{rivals[0]}").to_dict(), options.set)
    runs = [
        Run(world, rival, seed, options.out / world / rival / str(seed))
        for world in worlds
        for seed in range(options.seeds)
        for rival in rivals
    ]
    _check_settings(runs, options)
    if not _train_all(runs, options):
        return 1
    reports = [_judge(world, runs, options) for world in worlds]
    _report(reports, runs, options.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(program("sweep"), __doc__)
    add = parser.add_argument
    add("--config", default="benchmark", help="a file of configs/ whose choice is world,rival[,ablation]")
    add("--worlds", nargs="+", required=True)
    add("--rivals", nargs="+", default=["hrm", "lstm"], help="hrm lstm gru transformer hrm,k1 …")
    add("--ablations", action="store_true", help="add every ablation of the config to the rivals")
    add("--seeds", type=int, default=3, help="training seeds 0, 1, …")
    add("--episodes", type=int, default=1000, help="scenarios that judge each world")
    add("--first", type=int, default=0, help="id of the first of them")
    add("--jobs", type=int, default=1, help="runs at a time, each on its share of the CPU cores")
    add("--record", type=int, default=6, help="episodes for the report's player")
    add(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="FIELD=VALUE",
        help="config fields, the same in every run",
    )
    add("--out", type=Path, required=True, help="a folder")
    return parser


def _config(name: str) -> ModuleType:
    """The module configs/NAME.py, which lists WORLDS, RIVALS and ABLATIONS."""
    module = configs.module(name)
    if not all(hasattr(module, table) for table in ("WORLDS", "RIVALS", "ABLATIONS")):
        raise RequestError(f"--config {name}: it lists no WORLDS, RIVALS and ABLATIONS, as benchmark does")
    return module


def _known(flag: str, names: Sequence[str], allowed: Sequence[str]) -> list[str]:
    for name in names:
        if name not in allowed:
            raise RequestError(f"{flag} {name}{nearest(name, allowed)}; allowed: {', '.join(allowed)}")
    return list(dict.fromkeys(names))


def _rivals(options: argparse.Namespace, config: ModuleType) -> list[str]:
    changed = [f"hrm,{name}" for name in config.ABLATIONS]
    wide = [f"{name},wide" for name in config.RIVALS]
    return _known("--rivals", options.rivals + changed * options.ablations, (*config.RIVALS, *changed, *wide))


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


def _check_settings(runs: Sequence[Run], options: argparse.Namespace) -> None:
    """Refuse to take a run for done, or to resume it, that was trained with another --set."""
    for run in runs:
        if run.settings.exists() and json.loads(run.settings.read_text()) != sorted(options.set):
            there = " ".join(json.loads(run.settings.read_text())) or "nothing"
            raise RequestError(f"{run.folder} was trained with --set {there}; give another --out")


# ---------------------------------------------------------------- training


def _train_all(runs: Sequence[Run], options: argparse.Namespace) -> bool:
    """Train and export what is missing; whether all of it is there in the end."""
    missing = [run for run in runs if not run.model.exists()]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} of them done", flush=True)
    shares = _shares(options.jobs)
    free, began = list(shares), time.monotonic()
    done, lock = [], threading.Lock()

    def train(run: Run) -> bool:
        with lock:
            cores = free.pop()
        try:
            good = _train(run, options, cores)
        finally:
            with lock:
                free.append(cores)
                done.append(run)
        minutes = (time.monotonic() - began) / 60
        left = minutes / len(done) * (len(missing) - len(done))
        state = "done" if good else f"not finished, see {run.folder / 'log.txt'}"
        print(f"[{len(done)}/{len(missing)}] {run.world} {run.rival} seed {run.seed}: {state}; "
              f"{minutes:.0f} min so far, {left:.0f} left", flush=True)  # fmt: skip
        return good

    with concurrent.futures.ThreadPoolExecutor(len(shares)) as pool:
        try:
            return all(list(pool.map(train, missing)))
        except KeyboardInterrupt:  # the run at work saves itself; the others are not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _shares(jobs: int) -> list[set[int]]:
    """The CPU cores of this process in `jobs` equal shares; all of them to each where it cannot be told."""
    if not hasattr(os, "sched_getaffinity"):
        return [set() for _ in range(jobs)]
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[i::jobs]) or set(cores) for i in range(jobs)]


def _train(run: Run, options: argparse.Namespace, cores: set[int]) -> bool:
    run.folder.mkdir(parents=True, exist_ok=True)
    with files.written_whole(run.settings) as file:
        file.write(json.dumps(sorted(options.set)) + "\n")
    choice = f"configs/{options.config}.py:{run.world},{run.rival}"
    training = ("train", f"--config={choice}", f"--config.seed={run.seed}", f"--workdir={run.folder}",
                *(f"--config.{field}" for field in options.set))  # fmt: skip
    export = ("export", "--workdir", str(run.folder), "--out", str(run.model))
    with open(run.folder / "log.txt", "a") as log:
        return _call(training, log, cores) and _complete(run) and _call(export, log, cores)


def _complete(run: Run) -> bool:
    """Whether a training that ended well came to its end: one that is interrupted ends well too."""
    config = json.loads((run.folder / "config.json").read_text())
    last = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])
    return last["step"] >= config["steps"] or config["early_stopping"] > 0


def _call(command: Sequence[str], log, cores: set[int]) -> bool:
    """Run `python -m hrm_jax.COMMAND` on these cores; whether it went well."""
    arguments = [sys.executable, "-m", f"hrm_jax.{command[0]}", *command[1:]]
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    return subprocess.run(arguments, stdout=log, stderr=subprocess.STDOUT, preexec_fn=pin).returncode == 0


# ---------------------------------------------------------------- judging


def _judge(world: str, runs: Sequence[Run], options: argparse.Namespace) -> Path:
    """Evaluate the runs of a world beside the baselines; its report.json."""
    from hrm_jax import evaluate

    mine = [run for run in runs if run.world == world]
    seeds = f"{options.first}:{options.first + options.episodes}"
    suffix = "" if options.first == 0 else f".{options.first}"
    out = options.out / f"{world}{suffix}.report.json"
    named = [f"{run.rival}/{run.seed}={run.model}" for run in mine]
    models = [word for name in (*named, *BASELINES) for word in ("--model", name)]
    words = [*models, "--world", world, "--seeds", seeds, "--record", str(options.record)]
    evaluate.main([*words, "--out", str(out)])
    return out


def _report(reports: Sequence[Path], runs: Sequence[Run], out: Path) -> None:
    """One page of all worlds."""
    from hrm_jax import report

    first = [run.folder for run in runs if run.seed == 0]
    arguments = [word for path in reports for word in ("--report", str(path))]
    arguments += [word for path in first for word in ("--workdir", str(path))]
    report.main([*arguments, "--out", str(out / "report")])


if __name__ == "__main__":
    sys.exit(run_command(main))
