"""What a config describes, made: a task, a number of updates, an optimizer."""

from typing import NamedTuple

from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.training import optimizer
from hrm_jax.training.task import Task


class Experiment(NamedTuple):
    """All that a run is made of but its state."""

    config: ConfigDict
    mesh: Mesh
    task: Task
    steps: int  # updates of the whole run
    optimizer: optimizer.Optimizer


def make(config: ConfigDict, mesh: Mesh, task: Task) -> Experiment:
    """The experiment of a task that was made for `config` on `mesh`; a wrong field is a `RequestError`."""
    steps = count_steps(config, task)
    fields = optimizer.OptimizerConfig(**config.optimizer)
    return Experiment(config, mesh, task, steps, optimizer.make(fields, steps, config.batch_size))


def check(config: ConfigDict) -> None:
    """Raise a `RequestError` that names the wrong field where the loop cannot run as `config` says."""
    counts = {name: config[name] for name in ("batch_size", "log_every", "eval_every")}
    counts |= {f"checkpoint.{name}": config.checkpoint[name] for name in ("every", "keep")}
    for name, value in counts.items():
        if value < 1:
            raise RequestError(f"{name} = {value}: at least 1")
    if not 0 <= config.ema_decay < 1:
        raise RequestError(f"ema_decay = {config.ema_decay}: 0 (no average) to under 1")


def count_steps(config: ConfigDict, task: Task) -> int:
    """Updates of the whole run: `steps`, or those of `epochs` passes over fixed data."""
    if (config.steps > 0) == (config.epochs > 0):
        raise RequestError(f"steps = {config.steps}, epochs = {config.epochs}: exactly one must be above 0")
    if config.steps:
        return config.steps
    if not task.samples_per_epoch:
        raise RequestError(f"epochs = {config.epochs} needs fixed data: data.source=fixed, or set steps")
    return task.updates(config.epochs, config.batch_size)
