"""What a config describes, made: a task, a number of updates, an optimizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

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


def make(config: ConfigDict, mesh: Mesh, make_task: Callable[[dict[str, Any], Mesh], Task]) -> Experiment:
    """The experiment of a config, with the task that `make_task` makes; a wrong field is a `RequestError`."""
    _check(config)
    fields = optimizer.OptimizerConfig(**config.optimizer)
    task = make_task(config.to_dict(), mesh)
    steps = count_steps(config, task)
    return Experiment(config, mesh, task, steps, optimizer.make(fields, steps, config.batch_size))


def _check(config: ConfigDict) -> None:
    """Refuse a field outside the groups with which the loop cannot run."""
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
