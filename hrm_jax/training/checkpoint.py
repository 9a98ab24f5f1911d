"""Orbax, behind the few verbs that the loop and the exporter use.

A workdir holds `config.json` (what is trained) and `checkpoints/` (orbax's own layout). A checkpoint is the
train state, which is data only. Saving is asynchronous; a kill at any moment leaves the last whole one.
"""

import json
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict
from orbax.checkpoint.checkpoint_managers import preservation_policy as preserve

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError

NONE_YET = "{workdir} holds no checkpoint yet: run python -m hrm_jax.train --workdir {workdir}"
METRIC = "eval/loss"
BEST = {"best_fn": lambda metrics: metrics[METRIC], "best_mode": "min"}
# Fields that may change between two starts: they alter neither the data nor the parameters.
FREE = (
    "log_every",
    "eval_every",
    "checkpoint.",
    "mesh.",
    "profile_steps",
    "compile_cache",
    "model.unroll",
    "plan.",
    "model.remat",
    "model.attention",
    "data.device_gib",
)


def claim(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Write `config.json`, or refuse a workdir that another config has begun, naming what differs."""
    path = workdir / "config.json"
    if path.exists():
        _refuse_other(path, config)
    elif (workdir / "checkpoints").exists():
        raise RequestError(f"{workdir} holds checkpoints but no config.json: give another --workdir")
    with files.atomic_write(path) as file:
        file.write(json.dumps(config, indent=2) + "\n")


def _refuse_other(path: pathlib.Path, config: dict[str, Any]) -> None:
    here = json.loads(json.dumps(config))  # a tuple is a list in a file
    old, new = (flatten_dict(config, sep=".") for config in (read_config(path.parent), here))
    # A field that the file lacks is newer than the run, and its default is what was done before.
    names = [n for n in sorted(old) if old[n] != new.get(n)]
    differing = [f"{n} ({old.get(n)} there, {new.get(n)} here)" for n in names if not n.startswith(FREE)]
    if differing:
        raise RequestError(
            f"{path.parent} was begun with another config: {'; '.join(differing)}; give another --workdir"
        )


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
    """The config of a workdir, as JSON data."""
    try:
        return json.loads((workdir / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise RequestError(f"{workdir} is no workdir of hrm_jax.train (config.json: {error})") from None


class Checkpoints:
    """The checkpoints of one workdir: the latest `keep`, and the best by held-out loss."""

    def __init__(self, workdir: pathlib.Path, keep: int, config: dict[str, Any]):
        loss = BEST["best_fn"]
        best = preserve.BestN(get_metric_fn=loss, reverse=True, n=1, keep_checkpoints_without_metrics=False)
        policy = preserve.AnyPreservationPolicy([preserve.LatestN(keep), best])
        # Without best_fn orbax writes no metrics at all, whatever the policy says.
        options = ocp.CheckpointManagerOptions(**BEST, preservation_policy=policy)
        # A relative folder makes orbax fail in its background thread.
        folder = (workdir / "checkpoints").resolve()
        self._manager = ocp.CheckpointManager(folder, options=options, metadata={"config": config})

    def latest(self) -> int | None:
        """The newest whole step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, metrics: dict[str, float] | None) -> None:
        """Begin saving `state`; `metrics` of this very step, if it was evaluated. A step is saved once."""
        if step == self.latest():
            return
        known = None if metrics is None else {METRIC: float(metrics[METRIC])}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state))
        if not self._manager.save(step, args=args, metrics=known, force=True):
            raise RuntimeError(f"step {step} was not saved (the latest is {self.latest()})")

    def restore(self, step: int, like: Any) -> Any:
        """The state of `step`, laid out on the devices as `like` (arrays or shapes with shardings) says."""
        abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), like)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        return self._manager.restore(step, args=args)["state"]

    def close(self) -> None:
        """Wait for the save under way; an error of a background save is raised here at the latest."""
        self._manager.wait_until_finished()
        self._manager.close()


def restore_params(
    workdir: pathlib.Path, which: str = "latest", averaged: bool = True
) -> tuple[int, dict[str, Any]]:
    """Step and parameters alone, as NumPy: of the "latest" or "best" step, or of a step number.

    The averaged parameters where the run kept them and `averaged` asks for them; what has no average (sparse
    embeddings, fixed vectors) as it is. Neither the optimizer state nor model code is needed.
    """
    folder = (workdir / "checkpoints").resolve()
    if not folder.is_dir():
        raise RequestError(NONE_YET.format(workdir=workdir))
    options = ocp.CheckpointManagerOptions(**BEST, read_only=True)
    handlers = {"state": ocp.PyTreeCheckpointHandler()}
    with ocp.CheckpointManager(folder, options=options, item_handlers=handlers) as manager:
        step = _pick(manager, workdir, which)
        tree = manager.item_metadata(step)["state"].tree
        average = tree.get("ema_params") if averaged and jax.tree.leaves(tree.get("ema_params")) else {}
        rest = {name: group for name, group in tree["params"].items() if name not in average}
        wanted = {name: tree for name, tree in (("params", rest), ("ema_params", average)) if tree}
        args = ocp.args.PyTreeRestore(
            item=jax.tree.map(lambda m: np.zeros((), m.dtype), wanted),
            restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted),
            partial_restore=True,
        )
        restored = manager.restore(step, args=ocp.args.Composite(state=args))["state"]
        return step, restored.get("params", {}) | restored.get("ema_params", {})


def _pick(manager: ocp.CheckpointManager, workdir: pathlib.Path, which: str) -> int:
    steps = sorted(manager.all_steps())
    if not steps:
        raise RequestError(NONE_YET.format(workdir=workdir))
    if which == "latest":
        return steps[-1]
    if which == "best":
        best = manager.best_step()
        return steps[-1] if best is None else best
    if which.isdigit() and int(which) in steps:
        return int(which)
    raise RequestError(f"--step {which}: latest, best, or one of {', '.join(map(str, steps))}")
