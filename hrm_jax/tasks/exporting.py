"""Files of a run for the planning side, which never imports jax: `model.npz` and `scenarios.npz`."""

import contextlib
import pathlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hrm_jax.artefacts import health, model_file, networks, report_file
from hrm_jax.artefacts.errors import RequestError, known, naming
from hrm_jax.artefacts.json_file import nullable
from hrm_jax.artefacts.scenarios import Scenarios, obstacle_arrays
from hrm_jax.gridworld import drawing, rollout
from hrm_jax.referee.paths.denoising import check_plan
from hrm_jax.tasks import TASKS
from hrm_jax.training import checkpoint, experiment
from hrm_jax.training.task import Task
from hrm_jax.training.workdir import read_config
from hrm_jax.worlds.world import of_config

SCENARIO_STREAM = 200  # a fold_in number that no training or held-out episode uses


def export_model(
    workdir: pathlib.Path, which: str, out: pathlib.Path, settings: Sequence[str] = (), averaged: bool = True
) -> str:
    """Write the parameters of a checkpoint of `workdir` as `model.npz`; a line that says what was written.

    `averaged`: the moving average, where the run kept one; False: the parameters as they are.
    `settings`: "plan.FIELD=VALUE", for a denoiser that is to plan otherwise than its config says.
    """
    config, task = recorded(workdir)
    _apply(config, settings)
    step, params = checkpoint.restore_params(workdir, which, averaged)
    description = task.describe(config)
    if "plan" in description:
        check_plan(description)
    description |= measured(workdir, step, config)
    model_file.write(out, params, {**description, "step": step, "config": config})
    name, count = description["model"]["name"], networks.count(model_file.flatten(params))
    return f"{out}: {name}, {count:,} parameters, step {step:,} of {workdir}"


def measured(workdir: pathlib.Path, step: int, config: dict[str, Any]) -> dict[str, Any]:
    """What the last evaluation up to `step` measured, and the "health" of a predictor; {} without records."""
    records: list[Any] = []
    with contextlib.suppress(RequestError):  # a model is worth its file without them
        records = report_file.load_records(workdir / "metrics.jsonl")
    records = [record for record in records if record["step"] <= step]
    evaluated = [record for record in records if checkpoint.METRIC in record]
    figures = [found for record in records if (found := health.measured(record))]
    found: dict[str, Any] = {"health": figures[-1]} if figures else {}
    if report_file.lost(records, config):
        found["health"] = health.lost(figures[-1] if figures else None)
    if evaluated:
        found["held_out"] = {
            name: nullable(value)
            for name, value in evaluated[-1].items()
            if name == "step" or name.startswith("eval/")
        }
    return found


def recorded(workdir: pathlib.Path) -> tuple[dict[str, Any], type[Task]]:
    """The config of a workdir, of this version or an older one, checked, and its task."""
    config = read_config(workdir)
    with naming(workdir / "config.json"):
        try:
            task = TASKS[known("task", config["task"], TASKS)]
            experiment.check_recorded(config, task.data_fields)
            task.describe(config)
        except KeyError as error:
            raise RequestError(f"incomplete, {error.args[0]} is missing") from None
    return config, task


def _apply(config: dict[str, Any], settings: Sequence[str]) -> None:
    """Change fields of the group `plan`, which training does not read."""
    plan = config.get("plan", {})
    for setting in settings:
        field, separator, text = setting.partition("=")
        name = field.removeprefix("plan.")
        if not (separator and field.startswith("plan.") and name in plan):
            allowed = ", ".join(f"plan.{key}" for key in plan) or "nothing in this run"
            raise RequestError(f"--set {setting}: FIELD=VALUE is needed, of {allowed}")
        try:
            plan[name] = type(plan[name])(text)
        except ValueError:
            kind = type(plan[name]).__name__
            raise RequestError(f"--set {setting}: plan.{name} is {plan[name]!r}, of type {kind}") from None


def draw_scenarios(workdir: pathlib.Path, episodes: int) -> Scenarios:
    """`episodes` held-out worlds, drawn by the simulator of the run."""
    config, _ = recorded(workdir)
    if "world" not in config["data"]:
        raise RequestError(
            f"{workdir} trains on a file of paths, not in a world: it has no scenarios to draw"
        )
    world = of_config(config["data"]["world"])
    world = replace(world, name=f"{workdir.resolve().name}, seed {config['seed']}")
    key = jax.random.fold_in(jax.random.key(config["seed"]), SCENARIO_STREAM)

    def draw(key):
        static, obstacles = drawing.reset(world, key)
        return static, obstacles, drawing.ends(world, static, key)

    static, obstacles, (start, goal) = jax.jit(lambda key: rollout.episodes(key, episodes, draw))(key)
    return Scenarios(
        world=world,
        ids=np.arange(episodes),
        static=np.asarray(static),
        **obstacle_arrays(obstacles),
        start=np.asarray(start, np.int64),
        goal=np.asarray(goal, np.int64),
    )
