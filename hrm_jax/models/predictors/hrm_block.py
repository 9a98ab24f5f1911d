"""One block of the HRM predictor, and its weights as the recurrence uses them (docs/models.md#hrm)."""

import jax
import jax.numpy as jnp

from hrm_jax.artefacts.networks.predictors import HRMConfig
from hrm_jax.models import layers
from hrm_jax.models.layers import Weights

MIX = 0.7071  # the gated block's scale of message + state, as published
CONTEXT_FLOOR = 0.01  # mean square that context_norm adds, so that its gradient at zero is at most 10
SHUT = 0.05  # a gate this close to 0 or 1 counts as saturated: its slope is a fifth of the steepest or less


def apply(config: HRMConfig, w: Weights, message: jax.Array, state: jax.Array) -> jax.Array:
    """One block: message and state [..., N, D] to its output; between them all but matmuls is float32."""
    dtype, message, state = state.dtype, message.astype(jnp.float32), state.astype(jnp.float32)
    candidate = propose(config, w, message, state)
    if config.block == "recurrent":
        return candidate.astype(dtype)
    return (state + gate(config, w, candidate, state) * (candidate - state)).astype(dtype)


def propose(config: HRMConfig, w: Weights, message: jax.Array, state: jax.Array) -> jax.Array:
    """The candidate of a block for its next state [..., N, D]."""
    dtype = jnp.dtype(config.dtype)
    direction = layers.direction_in_rows if config.waves else layers.direction
    h = message + state if config.block == "recurrent" else MIX * (message + state)
    n = direction(h, config.norm, config.norm_eps)
    if config.attention == "single":
        h = h + layers.linear(w, n, "mix_", dtype)
    else:
        h = h + attend(config, w, n)
    n = direction(h, config.norm, config.norm_eps)
    gated, linear = jnp.split(layers.linear(w, n, "up_", dtype).astype(dtype), 2, axis=-1)
    h = h + layers.linear(w, jax.nn.silu(gated) * linear, "down_", dtype)
    return normed(config, "candidate", h)


def normed(config: HRMConfig, place: str, x: jax.Array) -> jax.Array:
    """x [..., D], of an RMS below 1 where `context_norm` is of this place."""
    if config.context_norm != place:
        return x
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + CONTEXT_FLOOR)


def gate(config: HRMConfig, w: Weights, candidate: jax.Array, state: jax.Array) -> jax.Array:
    """How much of its candidate a block takes, [..., N, D] from 0 to 1."""
    dtype = jnp.dtype(config.dtype)
    # One matmul on [candidate, state], as published: two would write and add two results.
    both = jnp.concatenate([candidate.astype(dtype), state.astype(dtype)], axis=-1)
    return jax.nn.sigmoid(layers.linear(w, both, "gate_", dtype))


def gates(
    config: HRMConfig, stream: Weights, message: jax.Array, before: jax.Array, after: jax.Array
) -> jax.Array:
    """A stream's gates [blocks, ..., D] when `message` [..., D] took it from one state to the next."""
    messages = jnp.concatenate([message[None], after[:-1]]).astype(jnp.float32)
    before = before.astype(jnp.float32)

    def of_block(w, message, state):
        return gate(config, w, propose(config, w, message, state), state)

    return jax.vmap(of_block)(stream, messages, before)


def saturated(gates: jax.Array) -> jax.Array:
    """The share of gates that are within `SHUT` of 0 or 1."""
    return jnp.mean(jnp.abs(gates - 0.5) > 0.5 - SHUT)


def attend(config: HRMConfig, w: Weights, n: jax.Array) -> jax.Array:
    """Self-attention across the obstacles of one world: [..., N, D] to [..., N, D]."""
    dtype = jnp.dtype(config.dtype)
    q, k = layers.split_heads(layers.linear(w, n, "qk_", dtype), 2, config.heads)
    (v,) = layers.split_heads(layers.linear(w, n, "v_", dtype), 1, config.heads)
    return layers.linear(w, layers.attention(q, k, v).reshape(n.shape), "out_", dtype)


def prepare(config: HRMConfig, stream: Weights) -> Weights:
    """Weights as the recurrence uses them, computed once a call instead of once an application.

    A norm's gain is multiplied into the matrix that reads it: its gradient then is one small sum a call,
    not a sum over the batch an application. Attention over one token is the linear map V then out: one
    matrix, folded in float32. The SwiGLU is padded with zeros to a multiple of 128 where accelerators want
    it (1331 is odd: unaligned rows).
    """
    used = {k: v for k, v in stream.items() if not k.startswith(("norm", "qk_", "v_", "out_"))}
    gain1, gain2 = stream["norm1"][:, :, None], stream["norm2"][:, :, None]
    if config.attention == "single":
        used["mix_kernel"] = gain1 * (stream["v_kernel"] @ stream["out_kernel"])
        folded = jnp.einsum("nd,nde->ne", stream["v_bias"], stream["out_kernel"])
        used["mix_bias"] = folded + stream["out_bias"]
    else:
        used |= {k: v for k, v in stream.items() if k.startswith(("qk_", "v_", "out_"))}
        used |= {k: gain1 * stream[k] for k in ("qk_kernel", "v_kernel")}
    used["up_kernel"] = gain2 * stream["up_kernel"]
    if config.dtype == "bfloat16":
        used |= _aligned(config, used)
    return used


def _aligned(config: HRMConfig, stream: Weights) -> Weights:
    f = config.hidden
    extra = -f % 128
    up = stream["up_kernel"].reshape(config.blocks, config.width, 2, f)
    up = jnp.pad(up, ((0, 0), (0, 0), (0, 0), (0, extra)))
    down = jnp.pad(stream["down_kernel"], ((0, 0), (0, extra), (0, 0)))
    return {"up_kernel": up.reshape(config.blocks, config.width, -1), "down_kernel": down}
