"""What the tasks share that train predictors of moving obstacles: a config's parts, and errors in cells."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh

from hrm_jax.models import predictors
from hrm_jax.worlds import features
from hrm_jax.worlds.world import World, of_config, to_config

HORIZONS = (1, 5, 10, 20)  # steps ahead at which the error of the free run is reported


def parts(config: Mapping[str, Any], mesh: Mesh | None = None) -> tuple[World, nn.Module]:
    """World and model of a config; the model in the form that is for the devices of a mesh."""
    world = of_config(config["data"]["world"])
    fields = {**config["model"], "size": world.size}
    if mesh is not None:
        fields = predictors.for_device(fields, mesh.devices.flat[0])
    return world, predictors.build(fields)


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """What `model.npz` says of a predictor trained under `config`."""
    world, model = parts(config)
    return {
        "model": predictors.describe(model),
        "world": to_config(world),
        "history": config["data"]["history"],
        "constants": features.CONSTANTS,
    }


def health(
    model: nn.Module, params: Any, history: jax.Array, tracks: jax.Array, context: Any = None
) -> dict[str, jax.Array]:
    """What states and gates do as a model makes `tracks`, for `artefacts.health`; {} of one without them."""
    seen = model.apply({"params": params}, history, tracks, context, method="watch")
    found = {}
    if "rms" in seen:
        third = (len(seen["rms"]) + 1) // 3 - 2  # "rms" begins after the second step
        # States that stay zero do not grow.
        found["eval/state_growth"] = seen["rms"][-1] / jnp.maximum(seen["rms"][max(third, 0)], 1e-30)
    if "saturated" in seen:
        found["eval/gates_saturated"] = jnp.mean(seen["saturated"])
    # At the start H has heard nothing: until its next turn it tells all obstacles the same.
    if "h_heard" in seen and len(heard := seen["h_heard"][model.config.k_step - 1 :]):
        found["eval/h_heard"] = jnp.mean(heard)
    return found


def errors(prefix: str, tracks: jax.Array, future: jax.Array, size: int) -> dict[str, jax.Array]:
    """{`prefix`error_h: cells}: mean distance h steps ahead of tracks, future [steps, ..., 2] over size."""
    ahead = (h for h in HORIZONS if h <= len(tracks))
    distances = {h: jnp.linalg.norm(tracks[h - 1] - future[h - 1], axis=-1) for h in ahead}
    return {f"{prefix}error_{h}": size * jnp.mean(distance) for h, distance in distances.items()}
