"""A plain causal transformer over time, without recurrence: pre-norm, GELU, learned positions.

It runs free on a cache of keys and values, which is its state.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks.predictors import TransformerConfig
from hrm_jax.models import layers
from hrm_jax.models.draws import Keys
from hrm_jax.models.predictors.base import Network, Predictor, Weights

EPS = 1e-6
State = tuple[tuple[tuple[jax.Array, jax.Array], ...], jax.Array]  # keys, values a layer; steps taken


class Transformer(Predictor):
    """The transformer as a predictor; see `base.Predictor`."""

    config: TransformerConfig

    @nn.compact
    def _network(self) -> Network:
        c = self.config
        embed = self._declare_embed()
        normal = nn.initializers.normal(0.02)
        weights = {"time": layers.declare(self, "time", kernel=(normal, (c.positions, c.width)))}
        weights["stack"] = [self._layer(i) for i in range(c.layers)]
        weights["final"] = layers.declare(self, "final", norm=(nn.initializers.ones, (c.width,)))
        head = self._declare_head()
        return Network(c, {"embed": embed, **self._declare_neighbours()}, Cached(c, weights), head)

    def _layer(self, index: int) -> Weights:
        d, zeros, ones = self.config.width, nn.initializers.zeros, nn.initializers.ones
        return layers.declare(
            self,
            f"layer{index}",
            norm1=(ones, (d,)),
            **layers.affine(d, 3 * d, "qkv_", layers.packed_xavier(d), zeros),
            **layers.affine(d, d, "out_", bias=zeros),
            norm2=(ones, (d,)),
            **layers.affine(d, 4 * d, "up_", bias=zeros),
            **layers.affine(4 * d, d, "down_", bias=zeros),
        )


class Cached(NamedTuple):
    """Layers that cache keys and values, a `base.Core`: weights "time", "stack" and "final"."""

    config: TransformerConfig
    weights: Weights

    def read(self, x: jax.Array, keys: Keys | None, further: int = 0) -> tuple[State, jax.Array]:
        """Inputs [T, rows, D]: caches with room for `further` steps, and the last step's top [rows, D]."""
        steps, w = len(x), self.weights
        if steps + further > self.config.positions:
            raise RequestError(
                f"{steps} steps of history and {further} predicted ones: the transformer has "
                f"model.positions = {self.config.positions}"
            )
        x = x + w["time"]["kernel"][:steps, None, :]
        causal = jnp.tril(jnp.ones((steps, steps), bool))
        caches = []
        for i, layer in enumerate(w["stack"]):
            # What follows reads the last step only, so the last layer has one query.
            mask = causal[-1:] if i == len(w["stack"]) - 1 else causal
            x, cache = _checkpointed(self.config, layer, x, None, None, mask)
            caches.append(tuple(jnp.pad(a, ((0, 0), (0, 0), (0, further), (0, 0))) for a in cache))
        return (tuple(caches), jnp.int32(steps)), _normal(x[-1], w["final"]["norm"])

    def advance(self, state: State, x: jax.Array, keys: Keys | None) -> tuple[State, jax.Array]:
        """One step more, with input [rows, D], on the caches [rows, heads, T + further, D / heads]."""
        (caches, step), w = state, self.weights
        x = x[None] + jax.lax.dynamic_slice_in_dim(w["time"]["kernel"], step, 1)[:, None]
        past = jnp.arange(caches[0][0].shape[2])[None] <= step
        following = []
        for layer, cache in zip(w["stack"], caches, strict=True):
            x, cache = _checkpointed(self.config, layer, x, cache, step, past)
            following.append(cache)
        return (tuple(following), step + 1), _normal(x[0], w["final"]["norm"])

    def watch(self, before: State, after: State, x: jax.Array) -> dict[str, jax.Array]:
        """Nothing: its caches hold what it read, and no state grows (see `base.Core`)."""
        return {}


def apply_layer(
    config: TransformerConfig,
    w: Weights,
    x: jax.Array,
    cache: tuple[jax.Array, jax.Array] | None,
    step: jax.Array | None,
    mask: jax.Array,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The last Q steps of x [T, rows, D], on the keys that `mask` [Q, S] shows: their outputs [Q, rows, D],
    and all keys and values.

    Keys and values are those of x itself, or the cache [rows, heads, S, D_head] with those of x at `step`.
    """
    dtype = jnp.dtype(config.dtype)
    qkv = layers.linear(w, _normal(x, w["norm1"]), "qkv_", dtype)
    q, k, v = (jnp.moveaxis(a, 0, 2) for a in layers.split_heads(qkv, 3, config.heads))
    if cache is not None:
        k, v = (
            jax.lax.dynamic_update_slice_in_dim(a, b, step, 2) for a, b in zip(cache, (k, v), strict=True)
        )
    x, q = x[-len(mask) :], q[:, :, -len(mask) :]
    scores = jnp.einsum("rhqd,rhkd->rhqk", q, k) / q.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))
    mixed = jnp.einsum("rhqk,rhkd->rhqd", weights, v)
    mixed = jnp.moveaxis(mixed, 2, 0).reshape(x.shape)
    x = x + layers.linear(w, mixed, "out_", dtype)
    up = jax.nn.gelu(layers.linear(w, _normal(x, w["norm2"]), "up_", dtype))
    return x + layers.linear(w, up, "down_", dtype), (k, v)


# Matmul results are kept for the backward pass, all between them is computed again.
_checkpointed = jax.checkpoint(
    apply_layer, static_argnums=0, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable
)


def _normal(x: jax.Array, gain: jax.Array) -> jax.Array:
    return layers.normalize(x, gain, "rms", EPS)
