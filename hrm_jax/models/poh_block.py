"""A block of Pointer over Heads: mixing with neighbours, attention whose heads are weighed, feed-forward.

Formulas: docs/models.md#pointer-over-heads.

Axes: B puzzles, N cells, D width, H heads, E width of a head.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts.networks.poh import PoHConfig
from hrm_jax.models import draws, dropout, layers, poh_controller
from hrm_jax.models.attention import softmax_attention
from hrm_jax.models.draws import Keys
from hrm_jax.models.poh_controller import Memory, Weights, linear, norm

THETA = 100.0  # of rope: rows and columns are tens, not thousands


def block(
    config: PoHConfig,
    w: Weights,
    controller: Weights | None,
    h: jax.Array,
    memory: Memory | None,
    time: jax.Array,
    temperature: jax.Array | float,
    keys: Keys | None,
) -> tuple[jax.Array, Memory | None, tuple[jax.Array, jax.Array]]:
    """Mixing, routed attention and the feed-forward of h [B, N, D], each with its residual."""
    c = config
    of_parts = [None] * 4 if keys is None else draws.split(keys, 4)
    drop = functools.partial(dropout.dropout, c.dropout)
    if c.mixing != "none":
        h = h + mix(c, w, h)
    pre = c.norm == "pre"
    y = norm(w, h, "attend_") if pre else h
    weights, facts, memory = route(c, controller, y, memory, time, temperature)
    if weights is not None:
        weights = w["head_gain"] * weights * (c.heads if c.scaled else 1)
    h = h + drop(attend(c, w, y, weights, of_parts[0]), of_parts[1])
    h = h if pre else norm(w, h, "attend_")
    y = norm(w, h, "ffn_") if pre else h
    inner = drop(jax.nn.relu(linear(w, y, "up_")), of_parts[2])
    h = h + drop(linear(w, inner, "down_"), of_parts[3])
    return (h if pre else norm(w, h, "ffn_")), memory, facts


def route(
    config: PoHConfig,
    controller: Weights | None,
    y: jax.Array,
    memory: Memory | None,
    time: jax.Array,
    temperature: jax.Array | float,
) -> tuple[jax.Array | None, tuple[jax.Array, jax.Array], Memory | None]:
    """Weights [B, 1 or N, H] of the heads, which sum to 1 (None: plain); entropy, update [B] or [B, N]."""
    zeros = jnp.zeros(len(y), y.dtype)
    if config.routing == "none":
        return None, (zeros, zeros), None
    if config.routing == "uniform":
        weights = jnp.full((len(y), 1, config.heads), 1 / config.heads, y.dtype)
        return weights, (zeros + math.log(config.heads), zeros), None
    heard = jnp.mean(y, axis=1) if config.pooled else y
    if config.standardised:
        heard = poh_controller.standardise(heard)
    routing, memory = poh_controller.step(config, controller, heard, memory, time, temperature)
    weights = routing.weights[:, None] if config.pooled else routing.weights
    return weights, (routing.entropy, routing.update), memory


def attend(
    config: PoHConfig, w: Weights, y: jax.Array, weights: jax.Array | None, keys: Keys | None
) -> jax.Array:
    """Attention of y [B, N, D], its heads (or slices of what it puts out) times `weights` [B, 1 or N, H]."""
    count, length, heads = *y.shape[:2], config.heads
    packed = linear(w, y, "qkv_").reshape(count, length, 3, heads, -1)
    # Heads join the batch: with one batch axis XLA's CPU backend takes half the time.
    q, k, v = packed.transpose(2, 0, 3, 1, 4).reshape(3, count * heads, length, -1)
    if config.positions == "rope":
        q, k = (rotate(config, a) for a in (q, k))
    rate = 0.0 if keys is None else config.dropout
    out = softmax_attention(rate, length, q, k, v, draws.words(keys, heads) if rate else None)
    out = out.reshape(count, heads, length, -1).swapaxes(1, 2)
    if config.routed == "slices":
        out = linear(w, out.reshape(y.shape), "out_").reshape(out.shape)
    if weights is not None:
        out = out * weights[..., None]
    out = out.reshape(y.shape)
    return out if config.routed == "slices" else linear(w, out, "out_")


def rotate(config: PoHConfig, x: jax.Array) -> jax.Array:
    """RoPE of x [..., N, E]: half of its pairs by the cell's row, half by its column."""
    pairs = x.shape[-1] // 2
    power = THETA ** -(np.arange(pairs // 2) / (pairs // 2))
    row, column = np.divmod(np.arange(config.sequence), config.columns)
    angle = np.concatenate([row[:, None] * power, column[:, None] * power], axis=1)  # [N, pairs]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def mix(config: PoHConfig, w: Weights, h: jax.Array) -> jax.Array:
    """What cells [B, N, D] of the grid hear of those around them; beyond the edge is 0."""
    n, kernel = config.columns, w["mix_kernel"]
    if config.mixing == "depthwise":
        return sum(kernel[3 * i + j] * layers.seen(h, n, i - 1, j - 1) for i in range(3) for j in range(3))
    # What cells tell, then who sees it: the shift after the product needs nothing for its gradient.
    told = jnp.split(linear(w, h, "mix_"), 4, axis=-1)
    return sum(layers.seen(x, n, *move) for x, move in zip(told, layers.NEIGHBOURS, strict=True))
