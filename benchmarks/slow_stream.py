"""What the slow stream tells the fast one: in runs that exist, or as one thing is changed (RESULTS.md).

    python benchmarks/slow_stream.py runs/benchmark/swarm/hrm/0 runs/benchmark/swarm/hrm-stable/0
    python benchmarks/slow_stream.py --train [--world rounds] [--rate 5e-3] [--seeds 0 1] [--only NAME ...]

The free run of held-out windows of each: the loss; of what H tells L the share that differs between obstacles
(of its mean square), and its RMS beside that of L's input; the share of saturated gates, of H when it runs
and of L. --train makes such runs first; in "H must differ" the mean over the obstacles of a batch
is taken from H's message before its norm, so that nothing but differences is left of it.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from hrm_jax.models.predictors import hrm  # noqa: E402
from hrm_jax.models.predictors import hrm_block as block  # noqa: E402
from hrm_jax.models.predictors.base import root_mean_square  # noqa: E402
from hrm_jax.tasks.forecast import EVAL_STREAM, Forecast  # noqa: E402
from hrm_jax.train import train  # noqa: E402
from hrm_jax.training import checkpoint, sharding  # noqa: E402

WINDOWS = 16  # held-out episodes
CHANGES = {  # choices of configs/benchmark.py after the world
    "H normed": "hrm,messages",
    "H must differ": "hrm,messages",
    "H quiet": "hrm,quiet",
    "H quiet, every fourth step": "hrm-quiet,k4",
    "H never": "hrm,never",
}
COLUMNS = f"{'loss':>8}{'error 10':>10}{'H differs':>11}{'H RMS':>10}{'input':>8}{'gates H':>9}{'gates L':>9}"
told = hrm.Streams._told


def main() -> None:
    """Print a line a run."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("runs", nargs="*", type=Path, help="workdirs of HRMs of configs/benchmark.py")
    parser.add_argument("--train", action="store_true", help="make runs and measure them, too")
    parser.add_argument("--world", default="rounds")
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--out", type=Path, default=Path("runs/slow_stream"))
    options = parser.parse_args()
    print(f"{'':40}{COLUMNS}", flush=True)
    for run in options.runs:
        show(str(run), measured(run))
    for name in options.only if options.train else ():
        message = differing if name == "H must differ" else told
        for seed in options.seeds:
            with mock.patch.object(hrm.Streams, "_told", message):
                show(f"{name}, seed {seed}", measured(made(name, seed, options)))


def show(name: str, found: dict[str, float]) -> None:
    """A line of the table; H's cells are empty where it never runs."""
    slow = "differs" in found
    differs, loud, high = (found.get(key, 0.0) for key in ("differs", "told", "high"))
    of_high = f"{differs:11.2%}{loud:10.3g}", f"{high:9.0%}"
    said, shut = of_high if slow else (" " * 21, " " * 9)
    line = f"{found['loss']:8.4f}{found['error']:10.2f}{said}{found['input']:8.2f}{shut}{found['low']:9.0%}"
    print(f"{name[-39:]:40}{line}", flush=True)


def differing(streams: hrm.Streams, high: jax.Array) -> jax.Array:
    """What H tells L, without what it tells all obstacles of the batch."""
    message = high[-1].astype(jnp.float32)
    message -= jnp.mean(message, tuple(range(message.ndim - 1)), keepdims=True)
    return block.normed(streams.config, "messages", message)


def made(name: str, seed: int, options: argparse.Namespace) -> Path:
    """The workdir of a run that this trains or has trained."""
    workdir = options.out / name.replace(", ", "-").replace(" ", "_") / str(seed)
    fields = dict.fromkeys(("steps", "checkpoint.every", "eval_every"), options.updates)
    fields |= {"data.closed_loop_episodes": 0, "seed": seed, "optimizer.learning_rate": options.rate}
    train(f"configs/benchmark.py:{options.world},{CHANGES[name]}", workdir, fields)
    return workdir


def measured(workdir: Path) -> dict[str, float]:
    """The figures of a run's last step, on held-out windows of its own seed."""
    config = json.loads((workdir / "config.json").read_text())
    task = Forecast(config, sharding.make_mesh(1))
    _, params = checkpoint.restore_params(workdir)
    scenes = task._scenes(jax.random.fold_in(jax.random.key(config["seed"]), EVAL_STREAM), WINDOWS)

    @jax.jit
    def run(params, scenes):
        tracks = task.forecast(params, scenes)
        future = jnp.moveaxis(scenes.future, 2, 0)
        error = task.world.size * jnp.mean(jnp.linalg.norm(tracks[9] - future[9], axis=-1))
        seen = task.model.apply({"params": params}, scenes.history, tracks, scenes.context, method="watch")
        return {"loss": task.loss(params, (), scenes, None)[0], "error": error} | seen

    with mock.patch.object(hrm.Streams, "watch", watch):
        return {name: float(jnp.nanmean(values)) for name, values in run(params, scenes).items()}


def watch(streams: hrm.Streams, before: Any, after: Any, x: jax.Array) -> dict[str, jax.Array]:
    """As `hrm.Streams.watch`, each stream by itself; nan where H does not run."""
    c, ((low, high), step), ((new_low, new_high), _) = streams.config, before, after

    def saturated(stream: str, message: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
        return block.saturated(block.gates(c, streams.weights[stream], message, before, after))

    seen = {
        "input": root_mean_square(x),
        "low": saturated("low", streams._to_low(new_high, x), low, new_low),
    }
    if not c.slow:
        return seen
    of_high = saturated("high", streams._to_high(low), high, new_high)
    message = streams._told(new_high)
    return seen | {
        "high": jnp.where(step % c.k_step == 0, of_high, jnp.nan),
        "differs": hrm.varying(message),
        "told": root_mean_square(message),
    }


if __name__ == "__main__":
    main()
