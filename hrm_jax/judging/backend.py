"""What model files compute, by jax: `hrm_jax.evaluate --backend jax`.

The NumPy passes of `referee` stay the authority; these are for long runs and large models.
"""

import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.models import predictors as models
from hrm_jax.models.denoisers import networks as denoisers
from hrm_jax.referee.inference import networks
from hrm_jax.referee.paths import denoising
from hrm_jax.worlds.features import Context

SMALLEST_BATCH = 256  # obstacles; fewer are padded, so that few sizes are ever compiled


class JaxPredictor(networks.Predictor):
    """A `networks.Predictor` whose free run is one jitted function, float32 matmuls included.

    It runs on jax's default device. `model` and `tree` are the flax module and its parameters.
    """

    def __init__(self, config: dict[str, Any], params: networks.Weights):
        super().__init__(config, params)
        exact = {name: "float32" for name in config["model"] if name.endswith("dtype")}
        model = self.model = models.build({**config["model"], **exact})
        tree = self.tree = model_file.unflatten(params)

        @functools.partial(jax.jit, static_argnums=2)
        def forecast(history: jax.Array, context: Context | None, horizon: int) -> jax.Array:
            with jax.default_matmul_precision("highest"):
                return models.forecast(model, tree, history, horizon, context=context)

        self._jitted = forecast

    def _tracks(self, groups: np.ndarray, context: Context | None, horizon: int) -> np.ndarray:
        """[G, N, T, 2] to [G, N, horizon, 2]; the number of groups is padded to a power of two."""
        rows = _padding(len(groups), least=-(-SMALLEST_BATCH // groups.shape[1]))
        seen = _padded(context, rows)
        tracks = np.asarray(self._jitted(_padded(groups, rows), seen, horizon))[:, : len(groups)]
        return np.moveaxis(tracks, 0, 2)


class JaxSampler(denoising.Sampler):
    """A `Sampler` that is one jitted scan over all samples of all episodes at once."""

    def __init__(self, config: dict[str, Any], params: networks.Weights):
        super().__init__(config, params)
        self._tree, model = model_file.unflatten(params), denoisers.build(config["model"])

        @functools.partial(jax.jit, static_argnames=("level", "speed"))
        def draw(tree: Any, request: denoising.Request, level: float, speed: float) -> jax.Array:
            apply = functools.partial(model.apply, {"params": tree})
            network = types.SimpleNamespace(encode=functools.partial(apply, method="encode"), denoise=apply)
            with jax.default_matmul_precision("highest"):
                request = request._replace(level=level)
                return denoising.draw_paths(config, request, speed, network, jax.lax.scan)

        self._jitted = draw

    def __call__(self, request: denoising.Request, speed: float) -> np.ndarray:
        """See `denoising.Sampler`; the number of episodes is padded, so that few sizes are ever compiled."""
        count = len(request.map)
        arrays = _padded(request._replace(level=None), _padding(count))  # type: ignore[arg-type]
        return np.asarray(self._jitted(self._tree, arrays, level=request.level, speed=speed))[:count]


def _padding(count: int, least: int = 1) -> int:
    """Rows to add to `count` for a power of two, at least `least`."""
    return max(least, 1 << (count - 1).bit_length()) - count


def _padded(arrays: Any, rows: int) -> Any:
    """A tree of arrays with `rows` more rows, which repeat the last one, on the device."""
    return jax.tree.map(
        lambda a: jnp.asarray(np.pad(a, ((0, rows), *[(0, 0)] * (a.ndim - 1)), mode="edge")), arrays
    )
