"""Cross entropies over a vocabulary: of a softmax, and of a stablemax, its gentler relative.

Formulas: docs/models.md; stablemax: Prieto et al. 2025, "Grokking at the Edge of Numerical Stability"
(2501.04697). Axes: ... any, V vocabulary.
"""

import jax
import jax.numpy as jnp


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log softmax(logits)[label] in nats: logits [..., V], labels [...] int -> [...] float32.

    A label outside 0..V-1 (-100: not graded) costs 0 and has no gradient.
    """
    return _negative_log(logits.astype(jnp.float32), labels)


def stablemax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log(s(x_label) / Σ s(x)) in nats, with s(x) = 1 + x from 0 up and 1 / (1 - x) below it.

    logits [..., V], labels [...] int -> [...] float32. A label outside 0..V-1 (-100: not graded) costs 0 and
    has no gradient.
    """
    return _negative_log(log_stable(logits.astype(jnp.float32)), labels)


def log_stable(x: jax.Array) -> jax.Array:
    """log s(x); its gradient is 1 / (1 + |x|) on both sides.

    As a sum, not a choice: each term is finite everywhere, so that neither gradient is ever nan, and at 0
    the two, which maximum halves there, add up to the 1 of either side.
    """
    return jnp.log1p(jnp.maximum(x, 0)) - jnp.log1p(jnp.maximum(-x, 0))


def _negative_log(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross entropy of log probabilities up to a constant [..., V]; a mask, not a gather, finds the label."""
    chosen = labels[..., None] == jnp.arange(scores.shape[-1])
    return -jnp.sum(jnp.where(chosen, jax.nn.log_softmax(scores, axis=-1), 0), axis=-1)
