"""What the slow stream tells the fast one: in runs that exist, or as one thing is changed (RESULTS.md).

    python benchmarks/slow_stream.py runs/benchmark/swarm/hrm/0 runs/benchmark/swarm/hrm-stable/0
    python benchmarks/slow_stream.py --train [--world rounds] [--rate 5e-3] [--seeds 0 1] [--only NAME ...]

A line a run, of its free run on held-out windows: the loss; the RMS of what H tells L, and the share of its mean
square that differs between obstacles; the RMS of L's input, and of all that differs between obstacles in what L
reads the share that H tells it; the share of saturated gates, of H when it runs and of L. --train makes such
runs first. In "H must differ" the mean over the obstacles of a batch is subtracted from H's message before its
norm: nothing but differences is left of it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from hrm_jax.console.parser import Parser, run_command  # noqa: E402
from hrm_jax.models.predictors import hrm  # noqa: E402
from hrm_jax.models.predictors import hrm_block as block  # noqa: E402
from hrm_jax.models.predictors.base import root_mean_square  # noqa: E402
from hrm_jax.tasks import predictors  # noqa: E402
from hrm_jax.tasks.forecast import EVAL_STREAM, Forecast  # noqa: E402
from hrm_jax.train import train  # noqa: E402
from hrm_jax.training import checkpoint, sharding  # noqa: E402
from hrm_jax.training import workdir as workdirs  # noqa: E402

SCENES = 16  # held out, of four windows each
CHANGES = {  # choices of configs/benchmark.py after the world
    "H normed": "hrm,messages",
    "H must differ": "hrm,messages",
    "H quiet": "hrm,quiet",
    "H quiet, every fourth step": "hrm-quiet,k4",
    "H never": "hrm,never",
}
COLUMNS = {  # by what is measured; empty where the network has nothing of the kind
    "loss": ("loss", ".4f"),
    "error 10": ("error", ".2f"),
    "H, RMS": ("told", ".3g"),
    "differs": ("differs", ".2%"),
    "input, RMS": ("input", ".2f"),
    "heard of H": ("heard", ".2%"),
    "gates of H": ("high", ".0%"),
    "of L": ("low", ".0%"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a run."""
    parser = Parser("python benchmarks/slow_stream.py", __doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="workdirs of HRMs of configs/benchmark.py")
    parser.add_argument("--train", action="store_true", help="make runs and measure them, too")
    parser.add_argument("--world", default="rounds")
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--out", type=Path, default=Path("runs/slow_stream"))
    options = parser.parse_args(arguments)
    print(f"{'':40}" + "".join(f"{column:>11}" for column in COLUMNS), flush=True)
    for run in options.runs:
        show(str(run), measured(run))
    for name in options.only if options.train else ():
        message = differing if name == "H must differ" else hrm.Streams._told
        for seed in options.seeds:
            with mock.patch.object(hrm.Streams, "_told", message):
                show(f"{name}, seed {seed}", measured(made(name, seed, options)))
    return 0


def show(name: str, found: dict[str, float]) -> None:
    """A line of the table."""
    cells = (format(found[key], form) if key in found else "" for key, form in COLUMNS.values())
    print(f"{name[-39:]:40}" + "".join(f"{cell:>11}" for cell in cells), flush=True)


def differing(streams: hrm.Streams, high: jax.Array) -> jax.Array:
    """What H tells L, without what it tells all obstacles of the batch."""
    message = high[-1].astype(jnp.float32)
    message -= jnp.mean(message, tuple(range(message.ndim - 1)), keepdims=True)
    return block.normed(streams.config, "messages", message)


def made(name: str, seed: int, options: argparse.Namespace) -> Path:
    """The workdir of a run that this trains or has trained."""
    settings = f"{options.world}-{options.updates}-{options.rate:g}"
    workdir = options.out / settings / name.replace(", ", "-").replace(" ", "_") / str(seed)
    fields = dict.fromkeys(("steps", "checkpoint.every", "eval_every"), options.updates)
    fields |= {"data.closed_loop_episodes": 0, "seed": seed, "optimizer.learning_rate": options.rate}
    train(f"configs/benchmark.py:{options.world},{CHANGES[name]}", workdir, fields)
    return workdir


def measured(workdir: Path) -> dict[str, float]:
    """The figures of a run's last step, on held-out windows of its own seed."""
    _, params = checkpoint.restore_params(workdir)
    config = workdirs.read_config(workdir)
    task = Forecast(config, sharding.make_mesh(1))
    scenes = task._scenes(jax.random.fold_in(jax.random.key(config["seed"]), EVAL_STREAM), SCENES)

    @jax.jit
    def run(params, scenes):
        tracks = task.forecast(params, scenes)
        error = predictors.errors("", tracks, jnp.moveaxis(scenes.future, 2, 0), task.world.size)["error_10"]
        seen = task.model.apply({"params": params}, scenes.history, tracks, scenes.context, method="watch")
        return {"loss": task.loss(params, (), scenes, None)[0], "error": error} | seen

    with mock.patch.object(hrm.Streams, "watch", watch):
        return {name: float(jnp.nanmean(values)) for name, values in run(params, scenes).items()}


def watch(streams: hrm.Streams, before: Any, after: Any, x: jax.Array) -> dict[str, jax.Array]:
    """As `hrm.Streams.watch`, each stream by itself; nan where H does not run, or has heard nothing yet."""
    c, ((low, high), step), ((new_low, new_high), _) = streams.config, before, after
    seen = {"input": root_mean_square(x)}
    if c.block == "gated":
        seen["low"] = streams.saturated("low", streams._to_low(new_high, x), low, new_low)
    if not c.slow:
        return seen
    message = streams._told(new_high)
    loud = root_mean_square(message)
    said = {"told": loud, "differs": hrm.differing(message) / loud**2, "heard": hrm.share_heard(message, x)}
    seen |= {name: jnp.where(step < c.k_step, jnp.nan, value) for name, value in said.items()}
    if c.block == "gated":
        of_high = streams.saturated("high", streams._to_high(low), high, new_high)
        seen["high"] = jnp.where(step % c.k_step == 0, of_high, jnp.nan)
    return seen


if __name__ == "__main__":
    sys.exit(run_command(main))
