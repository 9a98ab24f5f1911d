"""What a run writes: `metrics.jsonl`, a line on the terminal, a profile; and what it tells its loggers."""

import contextlib
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import msgspec
from tqdm import tqdm

from hrm_jax.artefacts import files, json_file, report_file
from hrm_jax.artefacts.errors import RequestError, one_line
from hrm_jax.training import loggers
from hrm_jax.training.loggers import Logger

WARM_UP = 10  # steps: compilation and the first steps stay out of the profiler's trace


def summary(evaluated: dict[str, float]) -> str:
    """The held-out metrics of the model itself, in one line."""
    own = {name.removeprefix("eval/"): v for name, v in evaluated.items() if name.count("/") == 1}
    ordered = sorted(own, key=lambda name: (len(name), name))  # error_5 before error_10
    return "held-out " + "  ".join(f"{name} {own[name]:.3g}" for name in ordered)


class Pace:
    """Samples per second since the last restart, so that evaluation and saving do not count."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self.restart(0)

    def restart(self, step: int) -> None:
        """Count from `step` and from now."""
        self._step, self._time = step, time.monotonic()

    def rate(self, step: int) -> float:
        """Samples per second up to `step`; 0 before the first one is done."""
        return (step - self._step) * self._batch_size / max(time.monotonic() - self._time, 1e-9)


class Patience:
    """Early stopping: counts the evaluations since the best held-out loss."""

    def __init__(self, limit: int, history: list[dict[str, Any]]):
        """`history`: the records of the run so far."""
        self.limit, self.best, self.since = limit, math.inf, 0.0
        for record in history:
            if "eval/loss" in record:
                self.see(json_file.number(record["eval/loss"]))

    def see(self, loss: float) -> None:
        """Take note of the held-out loss of an evaluation."""
        self.since = 0 if loss < self.best else self.since + 1
        self.best = min(self.best, loss)

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached; a limit of 0 never is."""
        return 0 < self.limit <= self.since


class Writer:
    """Appends to <workdir>/metrics.jsonl. `enabled` False (all processes but the first) writes nothing."""

    def __init__(self, workdir: pathlib.Path, start: int, total: int, enabled: bool = True):
        self._total, self._begin, self._start = total, time.monotonic(), start
        path = workdir / "metrics.jsonl" if enabled else pathlib.Path(os.devnull)
        self.history, damaged = _truncate(path, start) if enabled else ([], 0)
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 - open as long as the run
        self._terminal = sys.stdout if enabled else self._file
        self._workdir, self._enabled = workdir, enabled
        self._loggers: list[Logger] = []
        if damaged:
            self.say(f"{path}: {damaged:,} lines that were no records are left out")

    def begin(self, given: Sequence[Logger], config: dict[str, Any]) -> None:
        """Begin with TensorBoard, if it is installed, and the loggers that are given; say where they log.

        One that fails here is a `RequestError`: it was asked for, and nothing is trained yet.
        """
        for logger in [*loggers.tensorboard(), *given] if self._enabled else []:
            try:
                line = logger.begin(self._workdir, config)
            except Exception as error:
                raise RequestError(f"{_called(logger)} does not begin: {_short(error)}") from error
            self._loggers.append(logger)
            if line:
                self.say(line)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """One line: `step` and `values`; a non-finite number becomes null, which JSON can hold."""
        plain = {name: float(value) for name, value in values.items()}
        held = {name: json_file.nullable(value) for name, value in plain.items()}
        self._file.write(json.dumps({"step": step, **held}) + "\n")
        finite = {name: value for name, value in plain.items() if math.isfinite(value)}
        for logger in tuple(self._loggers):
            with self._leaving_out(logger):
                logger.log(step, finite)

    def progress(self, step: int, values: dict[str, Any]) -> None:
        """A line for a person: on a terminal it overwrites itself."""
        left = (time.monotonic() - self._begin) / max(1, step - self._start) * (self._total - step)
        text = (
            f"step {step:,}/{self._total:,}  loss {float(values['loss']):.3e}  "
            f"{float(values['samples_per_second']):,.0f} samples/s  {tqdm.format_interval(left)} left"
        )
        live = self._terminal.isatty()
        line = f"\r{text}\x1b[K" if live else f"{text}\n"
        print(line, end="", file=self._terminal, flush=True)

    def say(self, text: str) -> None:
        """A line of its own, below a live progress line."""
        print(f"\n{text}" if self._terminal.isatty() else text, file=self._terminal, flush=True)

    def close(self) -> None:
        """Flush and close."""
        for logger in tuple(self._loggers):
            with self._leaving_out(logger):
                logger.close()
        self._loggers.clear()
        self._file.close()

    @contextlib.contextmanager
    def _leaving_out(self, logger: Logger) -> Iterator[None]:
        """A logger that fails, because of the network most of all, is named once and told no more."""
        try:
            yield
        except Exception as error:
            self._loggers.remove(logger)
            self.say(f"warning: {_called(logger)} fails and is left out from now on: {_short(error)}")


def _called(logger: Logger) -> str:
    return f"logger {type(logger).__name__}"


def _short(error: Exception) -> str:
    return one_line(error)[:200]


def _truncate(path: pathlib.Path, start: int) -> tuple[list[dict[str, Any]], int]:
    """Drop what a killed run wrote after the step it is resumed from; the rest, how many lines are damaged.

    The last one, which the kill may have cut, is not counted.
    """
    if not files.exists(path):
        return [], 0
    if not path.is_file():  # a pipe would be waited for
        raise RequestError(f"{path}: not a file")
    kept, damaged = [], 0
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            msgspec.convert(record, report_file.Record)
            msgspec.convert(record, report_file.Metrics)
        except (ValueError, RecursionError):
            damaged += number < len(lines)
            continue
        if record["step"] <= start:
            kept.append(record)
    with files.atomic_write(path) as file:
        file.writelines(json.dumps(record) + "\n" for record in kept)
    return kept, damaged


class Trace:
    """The profiler's trace of `length` steps for Perfetto, in <workdir>/profile; 0: none.

    It begins `WARM_UP` steps after `start`.
    """

    def __init__(self, length: int, start: int, workdir: pathlib.Path):
        self._begin = start + WARM_UP if length else None
        self._end = start + WARM_UP + length
        self._folder = str(workdir / "profile")

    def after(self, step: int, scalars: dict) -> None:
        """To be called after every step."""
        if self._begin is None or step not in (self._begin, self._end):
            return
        jax.block_until_ready(scalars)
        if step == self._begin:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
        else:
            jax.profiler.stop_trace()
