"""Random numbers of a batch: a key an example.

What is drawn for an example is then the same in whatever batch it is, and on whatever device.
"""

import jax
import jax.numpy as jnp

Keys = jax.Array  # [B] keys of jax.random


def split(keys: Keys, count: int) -> Keys:
    """So many new keys of each example, [count, B]."""
    return jax.vmap(lambda key: jax.random.split(key, count), out_axes=1)(keys)


def fold_in(keys: Keys, number: jax.Array | int) -> Keys:
    """A new key of each example."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def of_rows(keys: Keys, rows: int) -> Keys:
    """Keys [rows] of examples that each have as many rows, one after another."""
    each = rows // len(keys)
    return keys if each == 1 else split(keys, each).T.reshape(rows)


def normal(keys: Keys, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal numbers [B, *shape]."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def uniform(keys: Keys) -> jax.Array:
    """Numbers [B] from 0 to 1."""
    return jax.vmap(jax.random.uniform)(keys)


def integers(keys: Keys, least: int, below: int) -> jax.Array:
    """Whole numbers [B], int32."""
    return jax.vmap(lambda key: jax.random.randint(key, (), least, below))(keys)


def words(keys: Keys, each: int = 1) -> jax.Array:
    """Words uint32 [B * each, 2] for the masks of `models.dropout`."""
    return jax.vmap(lambda key: jax.random.bits(key, (each, 2), jnp.uint32))(keys).reshape(-1, 2)
