"""Which features of the scene a predictor asks for, their axes, and attention to the neighbours.

Shapes: G groups (worlds), N obstacles of a group, T time, R rows, C columns, F features, D width; positions
and displacements over size. The features themselves: `hrm_jax.worlds.features`.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.networks.predictors import InputsConfig
from hrm_jax.models import layers
from hrm_jax.worlds import features
from hrm_jax.worlds.features import Context, Seen, relative


def arrange(
    config: InputsConfig, history: jax.Array, context: Context | None
) -> tuple[jax.Array, Seen | None]:
    """History [..., N, T, 2] as [T, G, N, 2], or [T, rows, 2] where obstacles are rows; and what is seen.

    Rows, not groups of one: XLA is slow with an axis of size 1 between.
    """
    members, steps = history.shape[-3], history.shape[-2]
    lead = (-1, members) if config.together else (-1,)
    positions = jnp.moveaxis(history.reshape(*lead, steps, 2), -2, 0)
    if config.features != "scene":
        return positions, None
    if context is None:
        raise ValueError('features = "scene" needs a context with the history')
    context = Context(*map(jnp.asarray, context))
    static = context.static.reshape(-1, *context.static.shape[-2:]).astype(jnp.float32)
    observed = context.observed.reshape(-1, members, steps).astype(jnp.float32)
    return positions, features.arrange(Context(observed, context.agent.reshape(-1, steps, 2), static))


def declare_neighbours(module: nn.Module, config: InputsConfig) -> dict[str, jax.Array]:
    """Parameters of `attend_neighbours`."""
    d, heads, zeros = config.width, config.neighbours, nn.initializers.zeros
    return layers.declare(
        module,
        "neighbours",
        **layers.affine(d, 3 * d, "qkv_", layers.packed_xavier(d), zeros),
        sharpness=(nn.initializers.constant(math.log(math.e - 1)), (heads,)),  # its softplus is 1
        **layers.affine(d + 4 * heads, d, "out_", bias=zeros),
    )


def attend_neighbours(
    config: InputsConfig, w: dict[str, jax.Array], x: jax.Array, now: jax.Array, moved: jax.Array
) -> jax.Array:
    """x [..., N, D] plus what every obstacle reads from the others of its world, the near ones first.

    now, moved [..., N, 2] over size. A head falls off with the square of the distance; it reads values,
    relative positions and relative displacements (cells).
    """
    members, heads, dtype = x.shape[-2], config.neighbours, jnp.dtype(config.dtype)
    if members == 1:
        return x
    q, k, v = layers.split_heads(layers.linear(w, x, "qkv_", dtype), 3, heads)
    place, speed = (relative(a * config.size) for a in (now, moved))  # [..., 2, N, N]
    scores = jnp.einsum("...ihd,...jhd->...hij", q, k) / q.shape[-1] ** 0.5
    square = jnp.sum(place**2, axis=-3)
    scores -= jax.nn.softplus(w["sharpness"])[:, None, None] * square[..., None, :, :]
    weights = jax.nn.softmax(jnp.where(jnp.eye(members, dtype=bool), -jnp.inf, scores))
    read = [jnp.einsum("...hij,...jhd->...ihd", weights, v)]
    read += [jnp.einsum("...hij,...cij->...ihc", weights, r) for r in (place, speed)]
    read = jnp.concatenate([a.reshape(*x.shape[:-1], -1) for a in read], axis=-1)
    return x + layers.linear(w, read, "out_", dtype)
