"""Predictions of a `model.npz` by jax: `hrm_jax.evaluate --backend jax`.

The NumPy pass of `planning.networks` stays the authority; this one is for long runs and large models.
"""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from hrm_jax import models
from hrm_jax.planning import networks

SMALLEST_BATCH = 256  # groups; fewer are padded, so that few sizes are ever compiled


def load(path: str | os.PathLike) -> "JaxPredictor":
    """The predictor in a `model.npz`, computed by jax on its default device."""
    return JaxPredictor(*networks.read_model(path))


class JaxPredictor(networks.Predictor):
    """A `networks.Predictor` whose roll-out is one jitted function, float32 matmuls included."""

    def __init__(self, config: dict[str, Any], params: networks.Weights):
        super().__init__(config, params)
        model = models.build({**config["model"], "dtype": "float32"})
        tree = unflatten_dict(params, sep="/")

        @functools.partial(jax.jit, static_argnums=1)
        def roll_out(window: jax.Array, horizon: int) -> jax.Array:
            with jax.default_matmul_precision("highest"):
                return models.roll_out(functools.partial(model.apply, {"params": tree}), window, horizon)

        self._jitted = roll_out

    def _tracks(self, groups: np.ndarray, horizon: int) -> np.ndarray:
        """[G, N, T, 2] to [G, N, horizon, 2]; the number of groups is padded to a power of two."""
        padding = max(SMALLEST_BATCH, 1 << (len(groups) - 1).bit_length()) - len(groups)
        window = jnp.asarray(np.pad(groups, ((0, padding), (0, 0), (0, 0), (0, 0)), mode="edge"))
        tracks = np.asarray(self._jitted(window, horizon))[:, : len(groups)]
        return np.moveaxis(tracks, 0, 2)
