"""A plain causal transformer over time, without recurrence: pre-norm, GELU, learned positions.

It runs free on a cache of keys and values, which is its state.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.fields import Positive
from hrm_jax.models import layers
from hrm_jax.models.predictors import scene
from hrm_jax.models.predictors.base import Core, Network, Predictor, Weights

EPS = 1e-6
State = tuple[tuple[tuple[jax.Array, jax.Array], ...], jax.Array]  # keys, values a layer; steps taken


@dataclasses.dataclass(frozen=True)
class TransformerConfig(scene.InputsConfig):
    """Causal attention over the steps of one obstacle, and a linear head on the last step."""

    width: Positive = 64
    heads: Positive = 4
    layers: Positive = 2
    positions: Positive = 64  # steps that it can tell apart, predicted ones included

    def __post_init__(self):
        super().__post_init__()
        layers.check_heads(self.width, self.heads)


class Transformer(Predictor):
    """The transformer as a predictor; see `base.Predictor`."""

    config: TransformerConfig

    @nn.compact
    def _network(self) -> Network:
        c = self.config
        fan_in, embed_in = layers.uniform_fan_in(c.width), layers.uniform_fan_in(c.inputs)
        embed = self._declare_embed(embed_in, embed_in)
        normal = nn.initializers.normal(0.02)
        weights = {"time": layers.declare(self, "time", kernel=(normal, (c.positions, c.width)))}
        weights["stack"] = [self._layer(i) for i in range(c.layers)]
        weights["final"] = layers.declare(self, "final", norm=(nn.initializers.ones, (c.width,)))
        head = self._declare_head(fan_in, fan_in)
        core = Core(functools.partial(read, c, weights), functools.partial(advance, c, weights))
        return Network(c, {"embed": embed, **self._declare_neighbours()}, core, head)

    def _layer(self, index: int) -> Weights:
        d, zeros, ones = self.config.width, nn.initializers.zeros, nn.initializers.ones
        narrow, wide = layers.uniform_fan_in(d), layers.uniform_fan_in(4 * d)
        return layers.declare(
            self,
            f"layer{index}",
            norm1=(ones, (d,)),
            qkv_kernel=(layers.packed_xavier(d), (d, 3 * d)),
            qkv_bias=(zeros, (3 * d,)),
            out_kernel=(narrow, (d, d)),
            out_bias=(zeros, (d,)),
            norm2=(ones, (d,)),
            up_kernel=(narrow, (d, 4 * d)),
            up_bias=(zeros, (4 * d,)),
            down_kernel=(wide, (4 * d, d)),
            down_bias=(zeros, (d,)),
        )


def read(
    config: TransformerConfig, weights: Weights, x: jax.Array, key: jax.Array | None, further: int = 0
) -> tuple[State, jax.Array]:
    """Inputs [T, rows, D]: caches with room for `further` steps, and the last step's top [rows, D]."""
    steps = len(x)
    if steps + further > config.positions:
        raise RequestError(
            f"{steps} steps of history and {further} predicted ones: the transformer has "
            f"model.positions = {config.positions}"
        )
    x = x + weights["time"]["kernel"][:steps, None, :]
    causal = jnp.tril(jnp.ones((steps, steps), bool))
    caches = []
    for w in weights["stack"]:
        x, cache = _checkpointed(config, w, x, None, None, causal)
        caches.append(tuple(jnp.pad(a, ((0, 0), (0, 0), (0, further), (0, 0))) for a in cache))
    return (tuple(caches), jnp.int32(steps)), _normal(x[-1], weights["final"]["norm"])


def advance(
    config: TransformerConfig, weights: Weights, state: State, x: jax.Array, key: jax.Array | None
) -> tuple[State, jax.Array]:
    """One step more, with input [rows, D], on the caches [rows, heads, T + further, D / heads]."""
    caches, step = state
    x = x[None] + jax.lax.dynamic_slice_in_dim(weights["time"]["kernel"], step, 1)[:, None]
    past = jnp.arange(caches[0][0].shape[2])[None] <= step
    following = []
    for w, cache in zip(weights["stack"], caches, strict=True):
        x, cache = _checkpointed(config, w, x, cache, step, past)
        following.append(cache)
    return (tuple(following), step + 1), _normal(x[0], weights["final"]["norm"])


def apply_layer(
    config: TransformerConfig,
    w: Weights,
    x: jax.Array,
    cache: tuple[jax.Array, jax.Array] | None,
    step: jax.Array | None,
    mask: jax.Array,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Queries x [Q, rows, D] on the keys that `mask` [Q, S] shows: the output, and all keys and values.

    Keys and values are those of x itself, or the cache [rows, heads, S, D_head] with those of x at `step`.
    """
    dtype = jnp.dtype(config.dtype)
    qkv = layers.linear(_normal(x, w["norm1"]), w["qkv_kernel"], w["qkv_bias"], dtype)
    q, k, v = (jnp.moveaxis(a, 0, 2) for a in layers.split_heads(qkv, 3, config.heads))
    if cache is not None:
        k, v = (
            jax.lax.dynamic_update_slice_in_dim(a, b, step, 2) for a, b in zip(cache, (k, v), strict=True)
        )
    scores = jnp.einsum("rhqd,rhkd->rhqk", q, k) / q.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))
    mixed = jnp.einsum("rhqk,rhkd->rhqd", weights, v)
    mixed = jnp.moveaxis(mixed, 2, 0).reshape(x.shape)
    x = x + layers.linear(mixed, w["out_kernel"], w["out_bias"], dtype)
    up = jax.nn.gelu(layers.linear(_normal(x, w["norm2"]), w["up_kernel"], w["up_bias"], dtype))
    return x + layers.linear(up, w["down_kernel"], w["down_bias"], dtype), (k, v)


# Matmul results are kept for the backward pass, all between them is computed again.
_checkpointed = jax.checkpoint(
    apply_layer, static_argnums=0, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable
)


def _normal(x: jax.Array, gain: jax.Array) -> jax.Array:
    return layers.normalize(x, gain, "rms", EPS)
