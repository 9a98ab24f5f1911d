"""Many training runs, each a process on its share of the CPU cores; what is done is not done again."""

import concurrent.futures
import functools
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from hrm_jax.artefacts import archive, files, json_file, report_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.training import configs, workdir

if TYPE_CHECKING:
    from ml_collections import ConfigDict


NAMED = 20  # runs that a line names at most


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
    def choice(self) -> str:
        """What `hrm_jax.train --config` takes."""
        return f"configs/{self.config}.py:{self.world},{self.model}"

    @property
    def words(self) -> list[str]:
        """What sets the fields of its config on a command line."""
        return [f"--config.{field}" for field in (*self.fields, f"seed={self.seed}")]

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """What makes it: its training, and what exports its last step, each a command of hrm_jax."""
        if self.trial:
            return [self.training]
        lost, config = _lost(self, _records(self)), _config(self)
        # A training that is interrupted ends well: the number keeps what it has saved from being exported.
        step = "latest" if lost or config.early_stopping else config.steps
        export = ("export", "--workdir", str(self.folder), "--out", str(self.parameters), f"--step={step}")
        return [export] if lost else [self.training, export]

    @property
    def training(self) -> tuple[str, ...]:
        """Its training, a command of hrm_jax."""
        return ("train", f"--config={self.choice}", f"--workdir={self.folder}", *self.words)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        if self.trial:  # at work, it may yet recover from a loss that is not finite
            return held_out(self) is not None and not self.at_work
        if not self.parameters.exists():
            return False
        step, records = _exported(self.parameters), _records(self)
        return step >= records[-1]["step"] if _lost(self, records) else step == _end(self, records)

    @property
    def at_work(self) -> bool:
        """Whether another process, here or on another machine, trains it now."""
        lock = self.folder / "lock"  # of `workdir.locked`
        if lock.exists():
            try:
                with files.alone(lock, ""):
                    return False
            except RequestError:
                return True
        return False

    def check_settings(self) -> None:
        """Refuse to take it for done, or to resume it, where it was trained with another config."""
        if not (self.folder / "config.json").exists():
            return
        found = workdir.flat(workdir.read_config(self.folder))
        wanted = workdir.flat(workdir.as_json(_config(self).to_dict()))
        apart = [
            f"{name} = {found[name]}, not {wanted[name]}"
            for name in sorted(wanted.keys() & found.keys())
            if not workdir.alike(name, found[name], wanted[name])
        ]
        if apart:
            raise RequestError(f"{self.folder} was trained with {'; '.join(apart)}; give another --out")


@functools.cache
def _config(run: Run) -> "ConfigDict":
    return configs.read(run.choice, run.words)


def train_all(kind: str, runs: Sequence[Run], jobs: int) -> bool:
    """Train and export what is missing, `jobs` at a time; whether all of it is there in the end.

    What another process trains is left to it, and with 0 jobs everything is: one line says what is missing.
    """
    missing = [run for run in runs if not run.done]
    print(f"{kind}: {len(runs)} runs, {len(runs) - len(missing)} of them done", flush=True)
    at_work = {run for run in missing if run.at_work}
    whole = _train_here([run for run in missing if jobs and run not in at_work], jobs)
    if left := [run for run in missing if not jobs or run in at_work]:
        names = [f"{run.folder}{' (at work)' * (run in at_work)}" for run in left]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        print(f"{kind}: not done yet, and not begun here: {', '.join(names[:NAMED])}{more}", flush=True)
    return whole and not left


def _train_here(missing: Sequence[Run], jobs: int) -> bool:
    if not missing:
        return True
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
    files.check_writable(run.folder / "log.txt")
    with open(run.folder / "log.txt", "a") as log:
        lost = _lost(run, _records(run))  # then model.npz says so, and it is judged as what it is
        if not run.trial and lost and call(run.commands[-1], log, cores) and run.done:
            return True
        trained = call(run.training, log, cores)
        if run.trial:  # one whose rate was too high for it has told what it should
            return run.done
        records = _records(run)
        ended = _lost(run, records) or (trained and _end(run, records) is not None)
        return ended and call(run.commands[-1], log, cores)


def held_out(run: Run) -> float | None:
    """The held-out loss at the end of a training, infinite of one that is lost; None: not ended yet."""
    records = _records(run)
    if _lost(run, records) or _not_finite(records):
        return math.inf
    if _end(run, records) is None:
        return None
    losses = [record["eval/loss"] for record in records if "eval/loss" in record]
    return json_file.number(losses[-1]) if losses else math.inf


def _records(run: Run) -> list[Any]:
    metrics = run.folder / "metrics.jsonl"
    return list(report_file.load_records(metrics)) if metrics.exists() else []


def _end(run: Run, records: Sequence[Any]) -> int | None:
    """The step at which a training came to its end, by its records; None: it has not, as when interrupted."""
    from hrm_jax.training.metrics import Patience  # which needs jax

    if not records:
        return None
    config = workdir.read_config(run.folder)
    done: int = max(record["step"] for record in records)
    patience = Patience(config.get("early_stopping", 0), list(records))
    ended = done >= config.get("steps", math.inf) or patience.exhausted
    return done if ended else None


def _lost(run: Run, records: Sequence[Any]) -> bool:
    """Whether a training was given up because its updates were not finite."""
    says = records and report_file.BAD_STEPS in records[-1]
    return bool(says) and report_file.lost(records, workdir.read_config(run.folder))


def _not_finite(records: Sequence[Any]) -> bool:
    """Whether records of an earlier version, which do not count skipped updates, end without a loss."""
    last = records[-1] if records else {}
    return "loss" in last and last["loss"] is None and report_file.BAD_STEPS not in last


def _exported(model: Path) -> int:
    """The step whose parameters a model.npz has."""
    with archive.reading(model, "no such file", "not a complete model.npz") as arrays:
        step: int = json_file.parse(str(arrays["config"]), "config", nan=True)["step"]
        return step


def call(command: Sequence[str], log: IO[str], cores: set[int]) -> bool:
    """Run `python -m hrm_jax.COMMAND` on these cores; whether it went well."""
    arguments = [sys.executable, "-m", f"hrm_jax.{command[0]}", *command[1:]]
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    return subprocess.run(arguments, stdout=log, stderr=subprocess.STDOUT, preexec_fn=pin).returncode == 0
