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
from hrm_jax.planning import networks, scene

SMALLEST_BATCH = 256  # obstacles; fewer are padded, so that few sizes are ever compiled


def load(path: str | os.PathLike) -> "JaxPredictor":
    """The predictor in a `model.npz`, computed by jax on its default device."""
    return JaxPredictor(*networks.read_model(path))


class JaxPredictor(networks.Predictor):
    """A `networks.Predictor` whose free run is one jitted function, float32 matmuls included.

    `model` and `tree` are the flax module and its parameters.
    """

    def __init__(self, config: dict[str, Any], params: networks.Weights):
        super().__init__(config, params)
        model = self.model = models.build({**config["model"], "dtype": "float32"})
        tree = self.tree = unflatten_dict(params, sep="/")

        @functools.partial(jax.jit, static_argnums=2)
        def forecast(history: jax.Array, context: models.Context | None, horizon: int) -> jax.Array:
            with jax.default_matmul_precision("highest"):
                return models.forecast(model, tree, history, horizon, context=context)

        self._jitted = forecast

    def _tracks(self, groups: np.ndarray, context: scene.Context | None, horizon: int) -> np.ndarray:
        """[G, N, T, 2] to [G, N, horizon, 2]; the number of groups is padded to a power of two."""
        smallest = -(-SMALLEST_BATCH // groups.shape[1])
        padding = max(smallest, 1 << (len(groups) - 1).bit_length()) - len(groups)

        def padded(a: np.ndarray) -> jax.Array:
            return jnp.asarray(np.pad(a, ((0, padding), *[(0, 0)] * (a.ndim - 1)), mode="edge"))

        seen = None if context is None else models.Context(*map(padded, context))
        tracks = np.asarray(self._jitted(padded(groups), seen, horizon))[:, : len(groups)]
        return np.moveaxis(tracks, 0, 2)
