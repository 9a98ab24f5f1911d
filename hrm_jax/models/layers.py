"""Pieces that the predictors share. Parameters are plain arrays; every function keeps leading axes.

Axes: G groups (a batch of worlds or single obstacles), N obstacles of a group, T time, D width, F features.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.initializers import Initializer

from hrm_jax.artefacts import networks
from hrm_jax.artefacts.networks.predictors import Norm

Weights = dict[str, jax.Array]
NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # rows, columns: north, south, west, east
Kinds = Mapping[str, type[Any]]  # by the name of the network, whose config is their field


def build_named(kinds: Kinds, fields: Mapping[str, Any]) -> Any:
    """The module of `kinds` that a config's `model` group describes: `name`, and fields of its config."""
    config = networks.config(fields, kinds)
    return kinds[fields["name"]](config)


def describe_named(kinds: Kinds, model: nn.Module) -> dict[str, Any]:
    """The inverse of `build_named`: the `model` group as plain JSON data."""
    name = next(n for n, module in kinds.items() if type(model) is module)
    values = dataclasses.asdict(model.config)
    return {"name": name, **{k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}}


def normalize(x: jax.Array, gain: jax.Array, kind: Norm, eps: float) -> jax.Array:
    """RMS norm of the last axis with gain [D], in float32: gain * scale * x / max(|x|, eps).

    `rms` scales by sqrt(D). `published` divides by sqrt(D) instead (docs/faults.md#f6): its output
    has RMS 1/D.
    """
    return gain * direction(x, kind, eps)


def direction(x: jax.Array, kind: Norm, eps: float) -> jax.Array:
    """`normalize` without its gain, which a caller may multiply into the matrix that follows."""
    x = x.astype(jnp.float32)
    return _scale(x, kind) * x * _inverse(jnp.sum(x * x, axis=-1, keepdims=True), eps)


def _scale(x: jax.Array, kind: Norm) -> float:
    return float(x.shape[-1] ** (0.5 if kind == "rms" else -0.5))


def _inverse(square: jax.Array, eps: float) -> jax.Array:
    """1 / max(|x|, eps) of |x|². The maximum stands in the root: at zero, too, the gradient is finite."""
    return jax.lax.rsqrt(jnp.maximum(square, eps * eps))


def direction_in_rows(x: jax.Array, kind: Norm, eps: float) -> jax.Array:
    """`direction` for accelerators: fewer kernels, and fewer bytes that its gradient moves.

    A sum stands in every place of its row, or XLA has kernels for the few numbers that follow from it.
    """
    return _direction_in_rows(x.astype(jnp.float32), kind, eps)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _direction_in_rows(x: jax.Array, kind: Norm, eps: float) -> jax.Array:
    return _scale(x, kind) * x * _inverse(_in_row(x * x), eps)


def _in_row(x: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.sum(x, axis=-1, keepdims=True), x.shape)


def _direction_backward(kind: Norm, eps: float, x: jax.Array, slope: jax.Array) -> tuple[jax.Array]:
    square, along = _in_row(x * x), _in_row(slope * x)
    inverse = _inverse(square, eps)
    turned = jnp.where(square > eps * eps, along * inverse * inverse, 0)
    return (_scale(x, kind) * inverse * (slope - turned * x),)


_direction_in_rows.defvjp(lambda x, kind, eps: (_direction_in_rows(x, kind, eps), x), _direction_backward)


def linear(w: Weights, x: jax.Array, prefix: str = "", dtype: Any = jnp.float32) -> jax.Array:
    """x [..., D_in] @ w["kernel"] [D_in, D_out] in `dtype`, plus w["bias"], if any; float32.

    `prefix` stands before both names.

    The casts stand around the matmul so that the backward matmuls run in `dtype` too, while a scan still
    accumulates the kernel's gradient in float32.
    """
    y = matmul(x.astype(dtype), w[f"{prefix}kernel"].astype(dtype)).astype(jnp.float32)
    return y + w[f"{prefix}bias"] if f"{prefix}bias" in w else y


def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., D_in] @ kernel [D_in, D_out].

    As a product of two matrices: with two leading axes XLA's CPU backend takes twice as long for the kernel's
    gradient.
    """
    return _product(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], kernel.shape[-1])


@jax.custom_vjp
def _product(rows: jax.Array, kernel: jax.Array) -> jax.Array:
    return rows @ kernel


def _product_backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows, kernel = kept
    return slope @ kernel.T, jax.lax.platform_dependent(rows, slope, cpu=_by_copy, default=_by_columns)


def _by_copy(rows: jax.Array, slope: jax.Array) -> jax.Array:
    """rowsᵀ @ slope. XLA's CPU backend is a quarter slower than with a copy in the order that it reads."""
    return jax.lax.optimization_barrier(rows.T) @ slope


def _by_columns(rows: jax.Array, slope: jax.Array) -> jax.Array:
    return rows.T @ slope


_product.defvjp(lambda rows, kernel: (rows @ kernel, (rows, kernel)), _product_backward)


def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Softmax attention over the S axis of q, k, v [..., S, heads, D_head]; softmax in float32."""
    scores = jnp.einsum("...qhd,...khd->...hqk", q, k).astype(jnp.float32) / q.shape[-1] ** 0.5
    return jnp.einsum("...hqk,...khd->...qhd", jax.nn.softmax(scores).astype(v.dtype), v)


def self_attention(w: Weights, x: jax.Array, heads: int, dtype: Any = jnp.float32) -> jax.Array:
    """x [..., S, D] attends to itself over the S axis, between the maps "qkv_" and "out_" of w."""
    mixed = attention(*split_heads(linear(w, x, "qkv_", dtype), 3, heads))
    return linear(w, mixed.reshape(x.shape), "out_", dtype)


def seen(x: jax.Array, columns: int, row: int, column: int) -> jax.Array:
    """Of cells [B, S, D] of a grid: what each sees so many rows and columns away, one at most; 0 beyond."""
    grid = jnp.pad(x.reshape(len(x), -1, columns, x.shape[-1]), ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = grid.shape[1] - 2
    return grid[:, 1 + row : 1 + row + rows, 1 + column : 1 + column + columns].reshape(x.shape)


def split_heads(x: jax.Array, parts: int, heads: int) -> list[jax.Array]:
    """[..., parts * D] to `parts` arrays [..., heads, D / heads]."""
    return [a.reshape(*a.shape[:-1], heads, -1) for a in jnp.split(x, parts, axis=-1)]


def uniform_fan_in(fan_in: int) -> Initializer:
    """Torch's default for `Linear` and `LSTM`: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too."""
    bound = 1 / math.sqrt(fan_in)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def normal_or_torch(std: float, fan_in: int) -> tuple[Initializer, Initializer]:
    """Of weights and biases: N(0, std²) and zeros, or torch's default where std is 0."""
    torch = uniform_fan_in(fan_in)
    return (nn.initializers.normal(std), nn.initializers.zeros) if std else (torch, torch)


def packed_xavier(dim: int) -> Initializer:
    """Torch's init of an attention's packed (3D, D) query-key-value matrix: Xavier uniform over all of it."""
    bound = math.sqrt(6 / (4 * dim))
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def affine(
    inputs: int,
    outputs: int,
    prefix: str = "",
    kernel: Initializer | None = None,
    bias: Initializer | None = None,
) -> dict[str, tuple]:
    """The leaves of `linear` for `declare`, with torch's initial values unless others are given."""
    torch = uniform_fan_in(inputs)
    return {
        f"{prefix}kernel": (kernel or torch, (inputs, outputs)),
        f"{prefix}bias": (bias or torch, (outputs,)),
    }


def declare(module: nn.Module, name: str, *lead: int, **leaves: tuple) -> Weights:
    """Declare parameters {leaf: (initializer, shape)} of `module` under `name`; `lead` axes precede all."""

    def init(key: jax.Array) -> Weights:
        keys = jax.random.split(key, len(leaves))
        return {
            leaf: f(k, (*lead, *shape)) for k, (leaf, (f, shape)) in zip(keys, leaves.items(), strict=True)
        }

    return module.param(name, init)
