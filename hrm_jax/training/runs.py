"""Many training runs, each a process on its share of the CPU cores; what is done is not done again."""

import concurrent.futures
import json
import math
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
    rival: str = ""  # what reports call the model, where that is not its choice in the config
    trial: bool = False  # its held-out loss is all that is wanted: nothing is exported

    @property
    def parameters(self) -> Path:
        """The exported parameters; where they are, the run is done."""
        return self.folder / "model.npz"

    @property
    def name(self) -> str:
        """What reports call the model."""
        return self.rival or self.model

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return held_out(self) is not None if self.trial else self.parameters.exists()

    @property
    def settings(self) -> list[str]:
        """What was set in its config, and the choice in it where its name does not say so."""
        return sorted([*self.fields, *[f"as {self.model}"] * (self.model != self.name)])

    @property
    def kept_settings(self) -> Path:
        """These, as JSON."""
        return self.folder / "sweep.json"

    def check_settings(self) -> None:
        """Refuse to take it for done, or to resume it, where it was trained with other settings."""
        if self.kept_settings.exists():
            found = json_file.load(self.kept_settings, list[str], "sweep.json")
            if found != self.settings:
                there, here = (" ".join(settings) or "nothing" for settings in (found, self.settings))
                raise RequestError(
                    f"{self.folder} was trained with {there}, not with {here}; give another --out"
                )


def train_all(kind: str, runs: Sequence[Run], jobs: int) -> bool:
    """Train and export what is missing, `jobs` at a time; whether all of it is there in the end."""
    missing = [run for run in runs if not run.done]
    print(f"{kind}: {len(runs)} runs, {len(runs) - len(missing)} of them done", flush=True)
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
                tried = f" ({' '.join(run.fields)})" if run.trial else ""
                print(f"[{done}/{len(missing)}] {run.world} {run.model}{tried} seed {run.seed}: {state}; "
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
    with files.atomic_write(run.kept_settings) as file:
        file.write(json.dumps(run.settings) + "\n")
    choice = f"configs/{run.config}.py:{run.world},{run.model}"
    training = ("train", f"--config={choice}", f"--config.seed={run.seed}", f"--workdir={run.folder}",
                *(f"--config.{field}" for field in run.fields))  # fmt: skip
    export = ("export", "--workdir", str(run.folder), "--out", str(run.parameters))
    with open(run.folder / "log.txt", "a") as log:
        trained = call(training, log, cores)
        if run.trial:  # one whose rate was too high for it has told what it should
            return run.done
        return trained and _complete(run, _records(run)) and call(export, log, cores)


def held_out(run: Run) -> float | None:
    """The held-out loss at the end of a training, infinite of one that diverged; None: not ended yet."""
    records = _records(run)
    if records and "loss" in records[-1] and records[-1]["loss"] is None:
        return math.inf
    if not _complete(run, records):
        return None
    losses = [record["eval/loss"] for record in records if "eval/loss" in record]
    return json_file.number(losses[-1]) if losses else math.inf


def _records(run: Run) -> list[Any]:
    metrics = run.folder / "metrics.jsonl"
    return list(report_file.load_records(metrics)) if metrics.exists() else []


def _complete(run: Run, records: Sequence[Any]) -> bool:
    """Whether a training that ended well came to its end: one that is interrupted ends well too."""
    from hrm_jax.training.metrics import Patience  # which needs jax

    if not records:
        return False
    config = json_file.load(run.folder / "config.json", Length, "config.json")
    done = max(record["step"] for record in records)
    return done >= config["steps"] or Patience(config["early_stopping"], list(records)).exhausted


def call(command: Sequence[str], log: IO[str], cores: set[int]) -> bool:
    """Run `python -m hrm_jax.COMMAND` on these cores; whether it went well."""
    arguments = [sys.executable, "-m", f"hrm_jax.{command[0]}", *command[1:]]
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    return subprocess.run(arguments, stdout=log, stderr=subprocess.STDOUT, preexec_fn=pin).returncode == 0
