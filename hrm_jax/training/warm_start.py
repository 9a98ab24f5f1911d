"""A run that begins with the parameters of another: of a model file, imported or not, or of a workdir."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts import files, model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.training import checkpoint, workdir
from hrm_jax.training.experiment import Experiment
from hrm_jax.training.step import TrainState

# Of a model, what a run may change without a word.
FREE = ("dtype", "remat", "unroll", "recurrence")


def started(experiment: Experiment, state: TrainState, say: Callable[[str], None]) -> TrainState:
    """`state`, of step 0, with the parameters that `init_from` of the config names.

    Where they do not fit the model, `RequestError` names the array. A sparse embedding of another number of
    rows, or of rows that stand for other things, has the mean row of theirs in all of its rows. `say` is told
    of that, and of fields of the model that differ.
    """
    config = experiment.config.to_dict()
    source = files.expanded(config["init_from"])
    described, given = _read(source, config["model"]["name"])
    for name, value in described.get("model", {}).items():
        ours = _plain(config["model"].get(name, value))
        if name not in FREE and not workdir.alike(f"model.{name}", _plain(value), ours):
            say(f"{source} had model.{name} = {value}; this run has {config['model'][name]}")
    params, sparse = model_file.flatten(_shapes(state.params)), experiment.task.groups.sparse
    same_rows = described.get("identifiers") in (None, experiment.task.recorded.get("identifiers"))
    for name in sparse:
        there, here = given.get(name, np.empty(())), params.get(name, np.empty(()))
        if there.ndim and here.ndim and not (same_rows and len(there) == len(here)):
            given[name] = np.broadcast_to(there.mean(axis=0), (len(here), *there.shape[1:]))
            say(f"{source}: {name} has {len(there):,} rows of its own; all {len(here):,} begin as their mean")
    _check(source, given, params)
    placed = jax.tree.map(
        lambda new, old: jax.device_put(new.astype(old.dtype), old.sharding),
        model_file.unflatten(given),
        state.params,
    )
    say(f"begun with the parameters of {source}")
    dense, _ = experiment.task.groups.split(placed)
    return state.replace(
        params=placed, ema_params=jax.tree.map(jnp.copy, dense) if state.ema_params else state.ema_params
    )


def _read(source: pathlib.Path, name: str) -> tuple[dict[str, Any], model_file.Weights]:
    """What a model file or a workdir says of its model, and its parameters {"group/leaf": array}."""
    if (source / "checkpoints").is_dir() or (source.is_dir() and not model_file.within(source)):
        config = workdir.read_config(source)
        _, params = checkpoint.restore_params(source)
        return config, model_file.flatten(params)
    return model_file.read(source, (name,))


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, np.int8), tree)


def _check(source: pathlib.Path, given: model_file.Weights, params: model_file.Weights) -> None:
    where = f"init_from = {source}"
    for name in (*params, *given):
        if name not in given or name not in params:
            raise RequestError(f"{where}: {name} is {'there' if name in given else 'here'} alone")
        there, here = list(given[name].shape), list(params[name].shape)
        if there != here:
            raise RequestError(f"{where}: {name} is {there} there, {here} here")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
