"""Distances between points that move in straight lines, rounded as NumPy rounds them."""

import jax
import jax.numpy as jnp


def rounded(product: jax.Array) -> jax.Array:
    """`product`, kept from being fused, unrounded, into the sum that it is a term of.

    Compilers turn a * b + c into one instruction that rounds once, which NumPy does not: what touches
    exactly there would here be off by a rounding, and worlds whose obstacles meet are chaotic. They cannot
    know that this minimum does nothing.
    """
    return jnp.minimum(product, jnp.finfo(product.dtype).max)


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Inner product of [..., 2] and [..., 2]: [...]."""
    return rounded(a[..., 0] * b[..., 0]) + rounded(a[..., 1] * b[..., 1])


def swept_distance(start: jax.Array, end: jax.Array) -> jax.Array:
    """Smallest distance, in cells, of the origin from the segments `start` to `end` [..., 2]."""
    travel = end - start
    along = dot(travel, travel)
    toward = -dot(start, travel)
    fraction = jnp.clip(toward / jnp.where(along > 0, along, 1), 0, 1)
    nearest = start + rounded(fraction[..., None] * travel)
    return jnp.sqrt(dot(nearest, nearest))
