"""The controller of Pointer over Heads: a fast and a slow recurrent state that weigh the heads of a block.

Formulas: docs/models.md#pointer-over-heads. Pure functions of weights, what is heard, and the state.

Axes: [...] puzzles, or puzzles and cells; D width, C width of the controller, H heads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from hrm_jax.artefacts.networks.poh import PoHConfig
from hrm_jax.models import layers

Weights = dict[str, jax.Array]
EPS = 1e-5  # of layer norms, and of standardising
LEAST = 1e-12  # of a weight in an entropy's logarithm


class Memory(NamedTuple):
    """What the controllers keep from pass to pass; [..., C] each, zero before the first."""

    fast: jax.Array
    slow: jax.Array


class Routing(NamedTuple):
    """Weights of the heads, which sum to 1, and what they cost."""

    weights: jax.Array  # [..., H]
    entropy: jax.Array  # [...] of the weights in use, in nats
    update: jax.Array  # [...] share of the slow state that is new


def linear(w: Weights, x: jax.Array, prefix: str) -> jax.Array:
    """x [..., D_in] @ kernel + bias."""
    y = layers.matmul(x, w[f"{prefix}kernel"])
    return y + w[f"{prefix}bias"] if f"{prefix}bias" in w else y


def norm(w: Weights, x: jax.Array, prefix: str) -> jax.Array:
    """Layer norm of the last axis."""
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + EPS)
    return w[f"{prefix}gain"] * (x * scale) + w[f"{prefix}bias"]


def gru(w: Weights, name: str, x: jax.Array, state: jax.Array) -> jax.Array:
    """PyTorch's GRU cell: gates r, z, n, two biases; n = tanh(W x + b + r (U h + c))."""
    r, z, n = jnp.split(linear(w, x, f"{name}_input_"), 3, axis=-1)
    u, v, m = jnp.split(linear(w, state, f"{name}_state_"), 3, axis=-1)
    r, z = jax.nn.sigmoid(r + u), jax.nn.sigmoid(z + v)
    return (1 - z) * jnp.tanh(n + r * m) + z * state


def straight_through(hard: jax.Array, soft: jax.Array) -> jax.Array:
    """`hard` with the gradient of `soft`."""
    return hard + soft - jax.lax.stop_gradient(soft)


def standardise(x: jax.Array) -> jax.Array:
    """The last axis to mean 0 and (unbiased) deviation 1, nearly."""
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    # 1e-24 keeps the gradient finite where all are equal; it is lost in the rounding elsewhere.
    deviation = jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True) / max(x.shape[-1] - 1, 1) + 1e-24)
    return x / (deviation + EPS)


def step(
    config: PoHConfig,
    w: Weights,
    x: jax.Array,
    memory: Memory,
    time: jax.Array,
    temperature: jax.Array | float,
) -> tuple[Routing, Memory]:
    """One step at pass `time` (a scalar, from 0): hears x [..., D].

    The slow state hears u = W x; the fast one u and the slow one; both decide on the weights.
    """
    if config.stop_grad_controller:
        memory = jax.lax.stop_gradient(memory)
    if config.stateless:
        memory, time = jax.tree.map(jnp.zeros_like, memory), jnp.zeros_like(time)
    heard = linear(w, x, "in_")
    share = _share(config, w, heard, memory.slow, time)
    new = norm(w, gru(w, "slow", heard, memory.slow), "slow_norm_")
    if config.stop_grad_slow:
        new = jax.lax.stop_gradient(new)
    slow = share * new + (1 - share) * memory.slow
    fast = norm(w, gru(w, "fast", jnp.concatenate([heard, slow], axis=-1), memory.fast), "fast_norm_")
    logits = linear(w, fast + slow @ w["mix_kernel"], "out_")
    shares = jax.nn.softmax(logits / (config.temperature * temperature))
    weights, spread = choose(config, shares)
    return Routing(weights, spread, jnp.broadcast_to(share, heard[..., :1].shape)[..., 0]), Memory(fast, slow)


def _share(config: PoHConfig, w: Weights, heard: jax.Array, slow: jax.Array, time: jax.Array) -> jax.Array:
    """How much of the slow state [..., C] becomes new: [..., 1], or a scalar 0 or 1."""
    if config.slow == "fixed":
        return (time % config.period == 0).astype(heard.dtype)
    share = jax.nn.sigmoid(linear(w, jnp.concatenate([heard, slow], axis=-1), "gate_"))
    return share if config.slow == "soft" else straight_through((share > 0.5).astype(share.dtype), share)


def choose(config: PoHConfig, shares: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of the softmax's shares [..., H]: the weights in use, and their entropy [...]."""
    if config.routing == "hard":
        # The weight goes straight to the mix: a second softmax would take its gradient.
        one = jax.nn.one_hot(jnp.argmax(shares, axis=-1), shares.shape[-1], dtype=shares.dtype)
        spread = entropy(shares)
        return straight_through(one, shares), straight_through(jnp.zeros_like(spread), spread)
    if config.routing == "top_k":
        chosen = jax.lax.top_k(shares, config.top_k)[1]
        shares = shares * jnp.sum(jax.nn.one_hot(chosen, shares.shape[-1]), axis=-2)
        shares = shares / jnp.maximum(jnp.sum(shares, axis=-1, keepdims=True), 1e-9)
    return shares, entropy(shares)


def entropy(weights: jax.Array) -> jax.Array:
    """-sum w log w of weights [..., H], in nats; weights below 1e-12 add nothing."""
    return -jnp.sum(weights * jnp.log(jnp.maximum(weights, LEAST)), axis=-1)
