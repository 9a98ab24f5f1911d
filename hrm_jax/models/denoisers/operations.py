"""The layers of the path denoisers, over parameters that are plain dicts of arrays.

Axes: B paths, P points of a path, R cells a side, C and D channels; channels are last.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.models import layers
from hrm_jax.models.layers import Weights

EPS = 1e-5  # of the group norms


def norm(width: int, name: str) -> dict[str, tuple]:
    """Leaves for `layers.declare`: the gain and the bias of a group norm."""
    return {name: (nn.initializers.ones, (width,)), f"{name}_bias": (nn.initializers.zeros, (width,))}


def declare_map(module: nn.Module, stages: tuple, inputs: int, outputs: int) -> Weights:
    """Parameters of `encode_map`; `stages` are (kernel size, channels in, channels out)."""
    leaves = {}
    for i, (size, channels, wider) in enumerate(stages):
        draw = layers.uniform_fan_in(size * size * channels)
        leaves[f"conv{i}_kernel"] = (draw, (size, size, channels, wider))
        leaves[f"conv{i}_bias"] = (draw, (wider,))
    return layers.declare(module, "map", **leaves, **layers.affine(inputs, outputs))


def declare_time(module: nn.Module, widths: tuple[int, ...]) -> Weights:
    """Parameters of `embed_time`: linear layers between successive `widths`."""
    leaves = {}
    for i, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        leaves |= layers.affine(inputs, outputs, f"linear{i}_")
    return layers.declare(module, "time", **leaves)


def encode_map(w: Weights, x: jax.Array) -> jax.Array:
    """Maps [B, R, R, C] through the halving convolutions, SiLU after each, and a linear layer: [B, D]."""
    i = 0
    while f"conv{i}_kernel" in w:
        x = jax.nn.silu(halve(x, w[f"conv{i}_kernel"]) + w[f"conv{i}_bias"])
        i += 1
    return layers.linear(w, x.reshape(len(x), -1))


def halve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution of stride 2: x [B, R, R, C], kernel [K, K, C, D] (K odd) to [B, R/2, R/2, D].

    As one matmul for each row of the kernel, over its K columns side by side. XLA's own convolution is
    slightly faster on a CPU, but 50 times slower inside a scan (gradient accumulation).
    """
    k, half = kernel.shape[0], x.shape[1] // 2
    pad = (k // 2, k // 2)
    x = jnp.pad(x, ((0, 0), pad, pad, (0, 0)))
    x = jnp.concatenate([x[:, :, j : j + 2 * half - 1 : 2] for j in range(k)], axis=-1)
    x = x.reshape(len(x), -1, 2, half, x.shape[-1])  # rows in pairs: even ones and odd ones
    rows = kernel.reshape(k, -1, kernel.shape[-1])
    return sum(x[:, i // 2 : i // 2 + half, i % 2] @ rows[i] for i in range(k))


def embed_time(w: Weights, t: jax.Array) -> jax.Array:
    """t [B] to [B, D]: linear layers with SiLU between them."""
    x, i = layers.linear(w, t[:, None], "linear0_"), 1
    while f"linear{i}_kernel" in w:
        x = layers.linear(w, jax.nn.silu(x), f"linear{i}_")
        i += 1
    return x


def taps(x: jax.Array) -> jax.Array:
    """x [B, P, C] to [B, P, 3 C]: the point before (zero before the first), the point, the point after.

    A convolution of three taps is then one matmul, which XLA runs faster on a CPU than a convolution.
    """
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
    return jnp.concatenate([padded[:, :-2], x, padded[:, 2:]], axis=-1)


def along_path(kernel: jax.Array, code: jax.Array, points: int) -> jax.Array:
    """What kernel [3, C, D] makes of channels that are code [B, C] at every point: [B, P, D].

    The same at every point but the first and the last, where one tap sees the padding.
    """
    before, here, after = (code @ tap for tap in kernel)
    index = jnp.arange(points)[:, None]
    padding = jnp.where(index == 0, before[:, None], 0) + jnp.where(index == points - 1, after[:, None], 0)
    return (before + here + after)[:, None] - padding


def group_norm(w: Weights, name: str, groups: int, x: jax.Array) -> jax.Array:
    """Normalise x [B, P, C] over the points and the channels of each of `groups` groups."""
    split = x.reshape(*x.shape[:2], groups, -1)
    centred = split - jnp.mean(split, axis=(1, 3), keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(centred * centred, axis=(1, 3), keepdims=True) + EPS)
    return (centred * scale).reshape(x.shape) * w[name] + w[f"{name}_bias"]


def residual(
    w: Weights, groups: int, x: jax.Array, time: jax.Array, code: jax.Array | None = None
) -> jax.Array:
    """A residual block: x [B, P, C_in] and perhaps code [B, C] at every point to [B, P, C_out]."""
    h = layers.linear(w, taps(x), "conv1_")
    if code is not None:
        h = h + along_path(w["code_kernel"], code, x.shape[1])
    h = jax.nn.silu(group_norm(w, "norm1", groups, h)) + layers.linear(w, time, "time_")[:, None]
    h = jax.nn.silu(group_norm(w, "norm2", groups, layers.linear(w, taps(h), "conv2_")))
    if "skip_kernel" in w:
        skip = layers.linear(w, x, "skip_")
        return h + skip + (code @ w["code_skip"])[:, None] if "code_skip" in w else h + skip
    if code is not None:
        code = jnp.broadcast_to(code[:, None], (*x.shape[:2], code.shape[-1]))
        x = jnp.concatenate([x, code], axis=-1)
    return h + x


def attend(w: Weights, groups: int, heads: int, x: jax.Array) -> jax.Array:
    """x [B, P, C] plus attention over its points, which have no position code."""
    return x + layers.self_attention(w, group_norm(w, "norm", groups, x), heads)
