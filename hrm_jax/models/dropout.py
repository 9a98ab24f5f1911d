"""Dropout by a hash: whether an element is kept follows from its example's key and its number in it.

On a CPU the random bits of jax.random cost more than a network whose values they drop, and have to be kept
for its gradient. This hash is a handful of integer operations an element, which XLA computes where the
elements are multiplied, forwards and backwards.
"""

import math

import jax
import jax.numpy as jnp

from hrm_jax.models import draws


def kept(rate: float, words: jax.Array, shape: tuple[int, ...], order: tuple[int, ...] = ()) -> jax.Array:
    """bool `shape`: whether each element is kept, with probability 1 - rate.

    `words` uint32 [n, 2] are of the n examples on the leading axis (`draws.words`). The elements of one are
    numbered row by row; with an `order` of its axes as those of an array transposed by it.
    """
    number = jnp.uint32(0)
    for place, axis in enumerate(order := order or tuple(range(1, len(shape)))):
        stride = math.prod(shape[later] for later in order[place + 1 :])
        number += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
    return _hash(number, words.reshape(-1, 2, *[1] * (len(shape) - 1))) >= jnp.uint32(_least(rate))


def scale(rate: float) -> float:
    """What is kept grows by so much: the mean stays."""
    return 1 / (1 - _least(rate) / 2**32)


def dropout(rate: float, x: jax.Array, keys: draws.Keys | None, axis: int = 0) -> jax.Array:
    """x with its examples on `axis`, or with their keys some of it 0 and the rest as much larger."""
    if keys is None or not rate:
        return x
    examples = jnp.moveaxis(x, axis, 0)
    mask = kept(rate, draws.words(keys), examples.shape)
    return jnp.where(jnp.moveaxis(mask, 0, axis), x * scale(rate), 0)


def _least(rate: float) -> int:
    """The smallest hash that is kept."""
    return min(round(rate * 2**32), 2**32 - 1)


def _hash(number: jax.Array, words: jax.Array) -> jax.Array:
    """Uniform uint32 of numbers. The words go in one after the other, with a mixing between them.

    Else the masks of two keys could be one mask in another order. The multipliers and shifts are those of
    `triple32` of Chris Wellons (hash-prospector), found by search for the least bias.
    """
    x = number ^ words[:, 0]
    x = (x ^ (x >> 17)) * jnp.uint32(0xED5AD4BB) + words[:, 1]
    x = (x ^ (x >> 11)) * jnp.uint32(0xAC4C1B51)
    x = (x ^ (x >> 15)) * jnp.uint32(0x31848BAB)
    return x ^ (x >> 14)
