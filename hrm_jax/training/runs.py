"""Many training runs, each a process on its share of the CPU cores; what is done is not done again."""

import concurrent.futures
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypedDict

from hrm_jax.artefacts import files, json_file, report_file
from hrm_jax.artefacts.errors import RequestError


class Length(TypedDict):
    """What a run's config.json says of its end."""

    steps: int
    early_stopping: int


class Run(NamedTuple):
    """One training run."""

    config: str  # a file of configs/, without its ending
    world: str
    model: str  # as in the config's choice: "hrm", "hrm,k1"
    seed: int
    fields: tuple[str, ...]  # FIELD=VALUE, set in its config
    folder: Path

    @property
    def parameters(self) -> Path:
        """The exported parameters; where they are, the run is done."""
        return self.folder / "model.npz"

    @property
    def settings(self) -> Path:
        """What was set in its config, as JSON."""
        return self.folder / "sweep.json"

    def check_settings(self) -> None:
        """Refuse to take it for done, or to resume it, where it was trained with other `fields`."""
        if self.settings.exists():
            found = json_file.load(self.settings, list[str], "sweep.json")
            if found != sorted(self.fields):
                there = " ".join(found) or "nothing"
                raise RequestError(f"{self.folder} was trained with --set {there}; give another --out")


def train_all(runs: Sequence[Run], jobs: int) -> bool:
    """Train and export what is missing, `jobs` at a time; whether all of it is there in the end."""
    missing = [run for run in runs if not run.parameters.exists()]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} of them done", flush=True)
    free, began = shares_of_cores(jobs), time.monotonic()

    def train(run: Run) -> bool:
        cores = free.pop()
        try:
            return _train(run, cores)
        finally:
            free.append(cores)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        started = {pool.submit(train, run): run for run in missing}
        try:
            for done, future in enumerate(concurrent.futures.as_completed(started), 1):
                run, minutes = started[future], (time.monotonic() - began) / 60
                left = minutes / done * (len(missing) - done)
                state = "done" if future.result() else f"not finished, see {run.folder / 'log.txt'}"
                print(f"[{done}/{len(missing)}] {run.world} {run.model} seed {run.seed}: {state}; "
                      f"{minutes:.0f} min so far, {left:.0f} left", flush=True)  # fmt: skip
        except KeyboardInterrupt:  # the run at work saves itself; the others are not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return all(future.result() for future in started)


def shares_of_cores(jobs: int) -> list[set[int]]:
    """The CPU cores of this process in `jobs` equal shares; empty ones where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return [set() for _ in range(jobs)]
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[i::jobs]) or set(cores) for i in range(jobs)]


def _train(run: Run, cores: set[int]) -> bool:
    with files.atomic_write(run.settings) as file:
        file.write(json.dumps(sorted(run.fields)) + "\n")
    choice = f"configs/{run.config}.py:{run.world},{run.model}"
    training = ("train", f"--config={choice}", f"--config.seed={run.seed}", f"--workdir={run.folder}",
                *(f"--config.{field}" for field in run.fields))  # fmt: skip
    export = ("export", "--workdir", str(run.folder), "--out", str(run.parameters))
    with open(run.folder / "log.txt", "a") as log:
        return call(training, log, cores) and _complete(run) and call(export, log, cores)


def _complete(run: Run) -> bool:
    """Whether a training that ended well came to its end: one that is interrupted ends well too."""
    from hrm_jax.training.metrics import Patience  # which needs jax

    config = json_file.load(run.folder / "config.json", Length, "config.json")
    records: list[Any] = report_file.load_records(run.folder / "metrics.jsonl")
    done = max((record["step"] for record in records), default=-1)
    return done >= config["steps"] or Patience(config["early_stopping"], records).exhausted


def call(command: Sequence[str], log: IO[str], cores: set[int]) -> bool:
    """Run `python -m hrm_jax.COMMAND` on these cores; whether it went well."""
    arguments = [sys.executable, "-m", f"hrm_jax.{command[0]}", *command[1:]]
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    return subprocess.run(arguments, stdout=log, stderr=subprocess.STDOUT, preexec_fn=pin).returncode == 0
