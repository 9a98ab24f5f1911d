"""What the tasks share that train predictors of moving obstacles: a config's parts, and errors in cells."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.models import predictors
from hrm_jax.training import sharding
from hrm_jax.worlds import features
from hrm_jax.worlds.world import World, of_config, to_config

HORIZONS = (1, 5, 10, 20)  # steps ahead at which the error of the free run is reported


def parts(config: Mapping[str, Any], data_class: type) -> tuple[World, Any, nn.Module]:
    """World, data (a `data_class`) and model of a config."""
    data = dict(config["data"])
    world, data = of_config(data.pop("world")), data_class(**data)
    return world, data, predictors.build({**config["model"], "size": world.size})


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """What `model.npz` says of a predictor trained under `config`."""
    world = of_config(config["data"]["world"])
    model = predictors.build({**config["model"], "size": world.size})
    return {
        "model": predictors.describe(model),
        "world": to_config(world),
        "history": config["data"]["history"],
        "constants": features.CONSTANTS,
    }


def count_groups(config: Mapping[str, Any], members: int, mesh: Mesh) -> int:
    """Groups of `members` obstacles in a batch; a batch that cannot be cut into them is a `RequestError`."""
    batch_size = config["batch_size"]
    if batch_size % members:
        raise RequestError(
            f"batch_size = {batch_size} is not divisible by the {members} obstacles of a world"
        )
    name = "batch_size" if members == 1 else f"batch_size / {members} obstacles"
    sharding.check_batch(batch_size // members, name, mesh, config["optimizer"]["accumulate"])
    return batch_size // members


def errors(tracks: jax.Array, future: jax.Array, size: int) -> dict[str, jax.Array]:
    """{"error_h": cells}: mean distance h steps ahead of tracks and future, [steps, ..., 2] over size."""
    ahead = (h for h in HORIZONS if h <= len(tracks))
    distances = {h: jnp.linalg.norm(tracks[h - 1] - future[h - 1], axis=-1) for h in ahead}
    return {f"error_{h}": size * jnp.mean(distance) for h, distance in distances.items()}
