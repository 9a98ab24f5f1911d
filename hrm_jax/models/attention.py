"""Softmax attention that keeps no N x N matrix: its gradient computes it again from queries and keys."""

import functools
import math

import jax
import jax.numpy as jnp

from hrm_jax.models import dropout


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def softmax_attention(
    rate: float, real: int, q: jax.Array, k: jax.Array, v: jax.Array, words: jax.Array | None = None
) -> jax.Array:
    """softmax(q kᵀ / sqrt(E)) v of [n, N, E] in the dtype of v, the softmax in float32.

    Its shares after dropout of `rate` by `words` [n, 2]; keys from the position `real` on are not seen.
    """
    return _forward(rate, real, q, k, v, words)[0]


def _forward(
    rate: float, real: int, q: jax.Array, k: jax.Array, v: jax.Array, words: jax.Array | None
) -> tuple[jax.Array, tuple]:
    scores = _product("nqe,nke->nqk", q, k) / math.sqrt(q.shape[-1])
    if k.shape[1] > real:
        scores = jnp.where(jnp.arange(k.shape[1]) < real, scores, -jnp.inf)
    most = jnp.max(scores, axis=-1, keepdims=True)
    shares = jnp.exp(scores - most)
    total = jnp.sum(shares, axis=-1, keepdims=True)
    if rate:
        shares = jnp.where(dropout.kept(rate, words, shares.shape), shares, 0)
    out = _product("nqk,nke->nqe", shares.astype(v.dtype), v) / total
    out = (out * dropout.scale(rate) if rate else out).astype(v.dtype)
    return out, (q, k, v, words, out, (most + jnp.log(total))[..., 0])


def _backward(rate: float, real: int, kept: tuple, d_out: jax.Array) -> tuple[jax.Array | None, ...]:
    q, k, v, words, out, total = kept
    scale = 1 / math.sqrt(q.shape[-1])
    # Keys first: two of the three products below then are of matrices as they lie in memory.
    shares = jnp.exp(_product("nke,nqe->nkq", k, q) * scale - total[:, None])
    if k.shape[1] > real:
        shares = jnp.where(jnp.arange(k.shape[1])[:, None] < real, shares, 0)
    d_shares, used = _product("nke,nqe->nkq", v, d_out), shares
    own = jnp.sum(out.astype(jnp.float32) * d_out.astype(jnp.float32), axis=-1)
    if rate:
        mask = dropout.kept(rate, words, shares.shape, order=(2, 1)) * jnp.float32(dropout.scale(rate))
        d_shares, used = mask * d_shares, mask * shares
    d_scores = (shares * (d_shares - own[:, None]) * scale).astype(q.dtype)
    d_q, d_k = jnp.einsum("nkq,nke->nqe", d_scores, k), jnp.einsum("nkq,nqe->nke", d_scores, q)
    return d_q, d_k, jnp.einsum("nkq,nqe->nke", used.astype(v.dtype), d_out), None


def _product(axes: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """In float32, whatever is multiplied."""
    return jnp.einsum(axes, a, b, preferred_element_type=jnp.float32)


softmax_attention.defvjp(_forward, _backward)
