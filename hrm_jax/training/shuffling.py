"""A pseudo-random order of a data set, one element at a time: nothing is stored, any step can be computed."""

import jax
import jax.numpy as jnp

from hrm_jax.worlds.motion import mix

ROUNDS = 4


def shuffled(key: jax.Array, position: jax.Array, n: int) -> jax.Array:
    """Element `position` of a pseudo-random permutation of 0..n-1 that `key` names; int32, elementwise.

    A Feistel network permutes the smallest even power of two from n on; walking its cycle until it lands
    below n restricts it to 0..n-1 (Black and Rogaway, 2002).
    """
    half = max(1, -(-max(n - 1, 1).bit_length() // 2))
    mask = jnp.uint32((1 << half) - 1)
    round_keys = jax.random.bits(key, (ROUNDS,), jnp.uint32)

    def permute(x):
        left, right = x >> half, x & mask
        for i in range(ROUNDS):
            left, right = right, left ^ (mix(right ^ round_keys[i]) & mask)
        return (left << half) | right

    def walk(x):
        return jnp.where(x >= n, permute(x), x)

    first = permute(position.astype(jnp.uint32))
    return jax.lax.while_loop(lambda x: jnp.any(x >= n), walk, first).astype(jnp.int32)


def in_epochs(key: jax.Array, position: jax.Array, n: int) -> jax.Array:
    """Element `position` of endless epochs of 0..n-1, each in an order of its own; a scalar."""
    return shuffled(jax.random.fold_in(key, position // n), position % n, n)
