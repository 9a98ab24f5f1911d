"""Files for the planning side, which never imports jax: `model.npz` and `scenarios.npz`.

python -m hrm_jax.export --workdir runs/x --out model.npz              (a checkpoint)
python -m hrm_jax.export --workdir runs/x --scenarios scenarios.npz    (worlds like those it trains in)
"""

import pathlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from absl import logging

from hrm_jax.artefacts import files, model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import Parser, program, run_command

SCENARIO_STREAM = 200  # a fold_in number that no training or held-out episode uses


def export_model(
    workdir: pathlib.Path, which: str, out: pathlib.Path, settings: Sequence[str] = (), averaged: bool = True
) -> str:
    """Write the parameters of a checkpoint of `workdir` as `model.npz`; a line that says what was written.

    `averaged`: the moving average, where the run kept one; False: the parameters as they are.
    `settings`: "plan.FIELD=VALUE", for a denoiser that is to plan otherwise than its config says.
    """
    from hrm_jax.tasks import TASKS
    from hrm_jax.tasks.base import split
    from hrm_jax.training import checkpoint

    config = checkpoint.read_config(workdir)
    _apply(config, settings)
    step, params = checkpoint.restore_params(workdir, which, averaged)
    task = TASKS[config["task"]]
    description = task.describe(config)
    if "plan" in description:
        from hrm_jax.referee.paths.denoising import check_plan

        check_plan(description)
    model_file.write(out, params, {**description, "step": step, "config": config})
    trained, _ = split(task, params)
    count = sum(leaf.size for leaf in model_file.flatten(trained).values())
    return f"{out}: {description['model']['name']}, {count:,} parameters, step {step:,} of {workdir}"


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


def export_scenarios(workdir: pathlib.Path, episodes: int, out: pathlib.Path) -> str:
    """Write `episodes` held-out worlds, drawn by the simulator of the run, as `scenarios.npz`."""
    import jax

    from hrm_jax.artefacts.scenarios import Scenarios, obstacle_arrays, save
    from hrm_jax.gridworld import maps, rollout
    from hrm_jax.training import checkpoint
    from hrm_jax.worlds.world import of_config

    if episodes < 1:
        raise RequestError(f"--episodes {episodes}: at least 1")
    config = checkpoint.read_config(workdir)
    if "world" not in config["data"]:
        raise RequestError(
            f"{workdir} trains on a file of paths, not in a world: it has no scenarios to draw"
        )
    name = f"{workdir.resolve().name}, seed {config['seed']}"
    world = replace(of_config(config["data"]["world"]), name=name)
    key = jax.random.fold_in(jax.random.key(config["seed"]), SCENARIO_STREAM)

    @jax.jit
    @jax.vmap
    def draw(index):
        of_episode = rollout.episode_key(key, index)
        static, obstacles = rollout.reset(world, of_episode)
        cells = maps.occupancy(world, static)
        return cells, obstacles, rollout.ends(world, cells, of_episode)

    static, obstacles, (start, goal) = draw(np.arange(episodes))
    scenarios = Scenarios(
        world=world,
        ids=np.arange(episodes),
        static=np.asarray(static),
        **obstacle_arrays(obstacles),
        start=np.asarray(start, np.int64),
        goal=np.asarray(goal, np.int64),
    )
    save(out, scenarios)
    return f"{out}: {episodes:,} scenarios"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring."""
    parser = Parser(program("export"), __doc__)
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="a run of hrm_jax.train")
    parser.add_argument("--out", type=pathlib.Path, help="the model.npz to write")
    parser.add_argument("--step", default="latest", help="for --out: latest, best, or a step number")
    parser.add_argument("--weights", choices=("averaged", "raw"), default="averaged",
                        help="for --out of a run that kept a moving average: it, or not")  # fmt: skip
    parser.add_argument("--set", nargs="*", action="extend", default=[], metavar="plan.FIELD=VALUE",
                        help="for --out of a denoiser: how it plans, if not as its config says")  # fmt: skip
    parser.add_argument("--scenarios", type=pathlib.Path, help="the scenarios.npz to write")
    parser.add_argument("--episodes", type=int, default=1000, help="for --scenarios: how many")
    args = parser.parse_args(arguments)
    if not (args.out or args.scenarios):
        raise RequestError("nothing to write: give --out model.npz, --scenarios scenarios.npz, or both")
    logging.set_verbosity(logging.ERROR)  # orbax warns that a read-only folder is read-only
    for path in filter(None, (args.out, args.scenarios)):
        files.check_writable(path)
    if args.out:
        print(export_model(args.workdir, args.step, args.out, args.set, args.weights == "averaged"))
    if args.scenarios:
        print(export_scenarios(args.workdir, args.episodes, args.scenarios))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
