"""What a config describes, made: a task, a number of updates, an optimizer."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.training import optimizer
from hrm_jax.training.task import Task


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The fields outside the groups; meanings and defaults in configs/base.py."""

    task: str
    seed: int
    steps: fields.NotNegative
    epochs: fields.NotNegative
    batch_size: fields.Positive
    init_from: str
    ema_decay: fields.Fraction
    ema_correction: bool
    log_every: fields.Positive
    eval_every: fields.Positive
    early_stopping: fields.NotNegative
    profile_steps: fields.NotNegative
    compile_cache: str


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """The `checkpoint` group."""

    every: fields.Positive
    keep: fields.Positive


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """The `mesh` group."""

    fsdp: fields.Positive


OF_TASKS = ("data", "model", "act", "plan", "objective")  # groups that a task checks
GROUPS = {"checkpoint": CheckpointConfig, "mesh": MeshConfig, "optimizer": optimizer.OptimizerConfig}


class Experiment(NamedTuple):
    """All that a run is made of but its state."""

    config: ConfigDict
    mesh: Mesh
    task: Task
    steps: int  # updates of the whole run
    optimizer: optimizer.Optimizer


def check(config: Mapping[str, Any]) -> None:
    """Refuse a config in which a field that every task has is missing, unknown, or not what it may be."""
    groups = (*GROUPS, *OF_TASKS)
    for name, value in config.items():
        if isinstance(value, Mapping):
            known("group of the config", name, groups)
    fields.build("", RunConfig, {name: value for name, value in config.items() if name not in groups})
    for name, kind in GROUPS.items():
        fields.build(name, kind, config.get(name))
    for name in ("data", "model"):
        if not isinstance(config.get(name), Mapping):
            raise RequestError(f"the group {name} is missing; begin with a config of configs/")


def check_recorded(config: Mapping[str, Any], data: type) -> None:
    """Refuse a config of a workdir, of any version, by its first field that has not what it may be.

    `data`: the dataclass of the group `data`. The groups `model` and `plan` have checks of their own.
    """
    fields.check_given("", RunConfig, config)
    for name, kind in {**GROUPS, "data": data}.items():
        fields.check_given(name, kind, config.get(name, {}))


def make(config: ConfigDict, mesh: Mesh, make_task: Callable[[dict[str, Any], Mesh], Task]) -> Experiment:
    """The experiment of a config, with the task that `make_task` makes; a wrong field is a `RequestError`."""
    check(config.to_dict())
    task = make_task(config.to_dict(), mesh)
    steps = count_steps(config, task)
    of_updates = optimizer.make(optimizer.OptimizerConfig(**config.optimizer), steps, config.batch_size)
    return Experiment(config, mesh, task, steps, of_updates)


def count_steps(config: ConfigDict, task: Task) -> int:
    """Updates of the whole run: `steps`, or those of `epochs` passes over fixed data."""
    if (config.steps > 0) == (config.epochs > 0):
        raise RequestError(f"steps = {config.steps}, epochs = {config.epochs}: exactly one must be above 0")
    if config.steps:
        return config.steps
    if not task.samples_per_epoch:
        fixed = "data.source=fixed, of mazes data.mazes or data.path"
        raise RequestError(f"epochs = {config.epochs} needs fixed data ({fixed}), or set steps")
    steps = task.updates(config.epochs, config.batch_size)
    if not 0 < steps <= fields.LARGEST:
        raise RequestError(f"epochs = {config.epochs}: {steps:,} updates; 1 to {fields.LARGEST:,}")
    return steps
