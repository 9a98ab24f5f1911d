"""Pieces that the predictors share. Parameters are plain arrays; every function keeps leading axes.

Axes: G groups (a batch of worlds or single obstacles), N obstacles of a group, T time, D width, F features.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.errors import RequestError, nearest

Norm = Literal["published", "rms"]
Kinds = Mapping[str, tuple[type[nn.Module], type]]  # modules and their frozen configs, by name


def build_named(kinds: Kinds, fields: Mapping[str, Any]) -> Any:
    """The module of `kinds` that a config's `model` group describes: `name`, and fields of its config."""
    fields = dict(fields)
    name = fields.pop("name", "")
    if name not in kinds:
        raise RequestError(f'model.name = "{name}": one of {", ".join(kinds)}{nearest(name, kinds)}')
    module, config = kinds[name]
    allowed = [f.name for f in dataclasses.fields(config)]
    for field in fields:
        if field not in allowed:
            raise RequestError(
                f"model.{field} is no field of {name}{nearest(field, allowed)} ({', '.join(allowed)})"
            )
    return module(config(**fields))


def describe_named(kinds: Kinds, model: nn.Module) -> dict[str, Any]:
    """The inverse of `build_named`: the `model` group as plain data."""
    name = next(n for n, (module, _) in kinds.items() if type(model) is module)
    return {"name": name, **dataclasses.asdict(model.config)}


def normalize(x: jax.Array, gain: jax.Array, kind: Norm, eps: float) -> jax.Array:
    """RMS norm of the last axis with gain [D], in float32: gain * scale * x / max(|x|, eps).

    `rms` scales by sqrt(D). `published` divides by sqrt(D) instead (docs/faults.md#f6): its output
    has RMS 1/D.
    """
    return gain * direction(x, kind, eps)


def direction(x: jax.Array, kind: Norm, eps: float) -> jax.Array:
    """`normalize` without its gain, which a caller may multiply into the matrix that follows."""
    x = x.astype(jnp.float32)
    dim = x.shape[-1]
    scale = dim**0.5 if kind == "rms" else dim**-0.5
    # The maximum stands inside the root so that the gradient at exactly zero is finite.
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return scale * x * jax.lax.rsqrt(jnp.maximum(square, eps * eps))


def linear(x: jax.Array, kernel: jax.Array, bias: jax.Array | None, dtype: jnp.dtype) -> jax.Array:
    """x [..., D_in] @ kernel [D_in, D_out] in `dtype`, plus bias; float32.

    The casts stand around the matmul so that the backward matmuls run in `dtype` too, while a scan still
    accumulates the kernel's gradient in float32.
    """
    y = jnp.matmul(x.astype(dtype), kernel.astype(dtype)).astype(jnp.float32)
    return y if bias is None else y + bias


def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Softmax attention over the S axis of q, k, v [..., S, heads, D_head]; softmax in float32."""
    scores = jnp.einsum("...qhd,...khd->...hqk", q, k).astype(jnp.float32) / q.shape[-1] ** 0.5
    return jnp.einsum("...hqk,...khd->...qhd", jax.nn.softmax(scores).astype(v.dtype), v)


def split_heads(x: jax.Array, parts: int, heads: int) -> list[jax.Array]:
    """[..., parts * D] to `parts` arrays [..., heads, D / heads]."""
    return [a.reshape(*a.shape[:-1], heads, -1) for a in jnp.split(x, parts, axis=-1)]


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """Torch's default for `Linear` and `LSTM`: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too."""
    bound = 1 / math.sqrt(fan_in)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def weight_init(std: float, fan_in: int) -> nn.initializers.Initializer:
    """N(0, std²), or torch's default where std is 0."""
    return nn.initializers.normal(std) if std else uniform_fan_in(fan_in)


def bias_init(std: float, fan_in: int) -> nn.initializers.Initializer:
    """Zeros with N(0, std²) weights, torch's default otherwise."""
    return nn.initializers.zeros if std else uniform_fan_in(fan_in)


def packed_xavier(dim: int) -> nn.initializers.Initializer:
    """Torch's init of an attention's packed (3D, D) query-key-value matrix: Xavier uniform over all of it."""
    bound = math.sqrt(6 / (4 * dim))
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def declare(module: nn.Module, name: str, **leaves: tuple) -> dict[str, jax.Array]:
    """Declare parameters {leaf: (initializer, shape)} of `module` under `name`, as a dict of arrays."""

    def init(key: jax.Array) -> dict[str, jax.Array]:
        keys = jax.random.split(key, len(leaves))
        return {leaf: f(k, shape) for k, (leaf, (f, shape)) in zip(keys, leaves.items(), strict=True)}

    return module.param(name, init)


def check_heads(width: int, heads: int, name: str = "heads") -> None:
    """Raise a one-line `RequestError` unless the heads divide the width."""
    if width % heads:
        raise RequestError(f"model.width = {width} is not divisible by model.{name} = {heads}")
