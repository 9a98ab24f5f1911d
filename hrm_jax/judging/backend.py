"""What model files compute, by jax: `hrm_jax.evaluate --backend jax`.

The NumPy passes of `planning` stay the authority; these are for long runs and large models.
"""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from hrm_jax.artefacts import model_file
from hrm_jax.models import predictors as models
from hrm_jax.models.denoisers import networks as denoisers
from hrm_jax.models.denoisers import sampling
from hrm_jax.referee.inference import networks, scene
from hrm_jax.referee.paths import denoising as diffusion

SMALLEST_BATCH = 256  # obstacles; fewer are padded, so that few sizes are ever compiled


def load(path: str | os.PathLike) -> "JaxPredictor":
    """The predictor in a `model.npz`, computed by jax on its default device."""
    return JaxPredictor(*model_file.read(path, networks.NETWORKS))


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


class JaxSampler:
    """A `diffusion.Sampler` that is one jitted scan over all samples of all episodes at once."""

    def __init__(self, config: dict[str, Any], params: networks.Weights):
        diffusion.NumpySampler(config, params)  # refuses what does not fit
        self.config = config
        self.parameters = sum(array.size for array in params.values())
        self._tree = unflatten_dict(params, sep="/")
        self._jitted = jax.jit(functools.partial(_draw_paths, denoisers.build(config["model"]), config),
                               static_argnames=("level", "speed"))  # fmt: skip

    def __call__(self, request: diffusion.Request, speed: float) -> np.ndarray:
        """See `diffusion.Sampler`; the number of episodes is padded, so that few sizes are ever compiled."""
        count = len(request.map)
        padding = (1 << (count - 1).bit_length()) - count

        def padded(a: np.ndarray) -> jax.Array:
            return jnp.asarray(np.pad(a, ((0, padding), *[(0, 0)] * (a.ndim - 1)), mode="edge"))

        arrays = jax.tree.map(padded, request._replace(level=None))
        return np.asarray(self._jitted(self._tree, arrays, level=request.level, speed=speed))[:count]


def _draw_paths(model, config, tree, request: diffusion.Request, *, level: float, speed: float):
    """Paths [A, S, P, 2] in the model's coordinates."""
    fields, plan = config["model"], config["plan"]
    apply = functools.partial(model.apply, {"params": tree})
    samples = request.noise.shape[1]
    with jax.default_matmul_precision("highest"):
        codes = jnp.repeat(apply(request.map, request.ends, method="encode"), samples, axis=0)
        sight = jnp.repeat(request.sight, samples, axis=0)

        def network(x: jax.Array, t: jax.Array, code: jax.Array) -> jax.Array:
            seen = jnp.tile(sight, (len(x) // len(sight), 1, 1))
            return apply(jnp.concatenate([x, seen], axis=-1), t, code)

        denoise = sampling.guided(network, codes, plan["map_guidance"])
        start, goal = diffusion.clean_ends(fields, jnp.repeat(request.ends, samples, axis=0))
        noises, initial = diffusion.flat(request)
        if plan["sampler"] == "published":
            drawn = sampling.sample_published(denoise, noises, start, goal, plan["steps"])
        else:
            drawn = sampling.sample(
                denoise, initial, noises[0], start, goal,
                schedule=fields["schedule"], predict=fields["predict"],
                steps=diffusion.steps_from(plan, level), level=level,
                guide=diffusion.guide(fields, plan, request, speed),
            )  # fmt: skip
        return drawn.reshape(request.initial.shape)
