"""The HRM obstacle predictor: a fast L stream over every time step, a slow H stream over every k-th.

Formulas: docs/models.md#hrm; the two-timescale idea: Wang et al. 2025, "Hierarchical Reasoning Model"
(2506.21734), §2.
The published networks attend over a sequence of one token, so softmax is 1 and queries and keys are dead:
they are counted (28,969,474 holds to the unit) and never computed. `attention="obstacles"` uses them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.networks.predictors import HRMConfig
from hrm_jax.models import draws, layers
from hrm_jax.models.draws import Keys
from hrm_jax.models.predictors.base import Network, Predictor, Weights, root_mean_square

State = tuple[tuple[jax.Array, jax.Array | None], jax.Array]  # of the L and the H stream; steps taken
MIX = 0.7071  # the gated block's scale of message + state, as published
CONTEXT_FLOOR = 0.01  # mean square that context_norm adds, so that its gradient at zero is at most 10
SHUT = 0.05  # a gate this close to 0 or 1 counts as saturated: its slope is a fifth of the steepest or less
NOISE = 0.01  # standard deviation of the noisy initial state


class HRM(Predictor):
    """The two streams as a predictor; see `base.Predictor`."""

    config: HRMConfig

    @nn.compact
    def _network(self) -> Network:
        c = self.config
        embed = self._declare_embed(*layers.normal_or_torch(c.init_std, c.inputs))
        streams = {name: self._stream(name) for name in ("low", "high")[: 1 + c.h_stream]}
        head = self._declare_head(*layers.normal_or_torch(c.init_std, c.width))
        inputs = {"embed": embed, **self._declare_neighbours()}
        return Network(c, inputs, Streams(c, {name: prepare(c, w) for name, w in streams.items()}), head)

    def _stream(self, name: str) -> Weights:
        """Parameters of one stream, its blocks stacked on the leading axis."""
        c, d, f = self.config, self.config.width, self.config.hidden
        zeros, ones, packed = nn.initializers.zeros, nn.initializers.ones, layers.packed_xavier(d)
        narrow, wide, both = (layers.normal_or_torch(c.init_std, fan_in) for fan_in in (d, f, 2 * d))
        leaves = {
            "norm1": (ones, (d,)),
            **layers.affine(d, 2 * d, "qk_", packed, zeros),
            **layers.affine(d, d, "v_", packed, zeros),
            **layers.affine(d, d, "out_", narrow[0], zeros),
            "norm2": (ones, (d,)),
            "up_kernel": (narrow[0], (d, 2 * f)),
            "down_kernel": (wide[0], (f, d)),
        }
        if c.block == "gated":
            leaves |= layers.affine(2 * d, d, "gate_", *both)
        return layers.declare(self, name, c.blocks, **leaves)


class Streams(NamedTuple):
    """The recurrence, a `base.Core`: prepared weights "low", and "high" where there is an H stream."""

    config: HRMConfig
    weights: Weights

    def read(self, x: jax.Array, keys: Keys | None, further: int = 0) -> tuple[State, jax.Array]:
        """Both streams through inputs [T, ..., D]: their state, and the L stream's last output [..., D].

        Time is cut into cycles of k steps (H once, then L k times) and the rest, so no step asks whether its
        turn has come: a `lax.scan` over whole cycles, then one shorter cycle.
        """
        c = self.config
        states = initial_state(c, x.shape[1:], keys)
        x = x.astype(c.state_dtype)

        def cycle(states, inputs):  # inputs [≤ k, ..., D]
            low_state, high_state = states
            if c.slow:
                high_state = self._step_high(low_state, high_state)

            def body(low_state, x):
                return self._step_low(low_state, high_state, x), None

            low_state, _ = jax.lax.scan(body, low_state, inputs, unroll=min(len(inputs), c.unroll))
            return (low_state, high_state), None

        k = c.k_step if c.slow else len(x)
        whole = len(x) // k
        if whole > 1:
            states, _ = jax.lax.scan(cycle, states, x[: whole * k].reshape(whole, k, *x.shape[1:]))
        elif whole:
            states, _ = cycle(states, x[:k])
        if len(x) % k:
            states, _ = cycle(states, x[whole * k :])
        return (states, jnp.int32(len(x))), states[0][-1]

    def advance(self, state: State, x: jax.Array, keys: Keys | None) -> tuple[State, jax.Array]:
        """The recurrence one step further with input [..., D]; the count of k goes on."""
        (low, high), step = state
        if self.config.slow:
            turn = step % self.config.k_step == 0
            high = jax.lax.cond(turn, self._step_high, lambda _, high: high, low, high)
        low = self._step_low(low, high, x)
        return ((low, high), step + 1), low[-1]

    def watch(self, before: State, after: State, x: jax.Array) -> dict[str, jax.Array]:
        """Of the step between two states with input x; see `base.Core`."""
        c, ((low, high), step), ((new_low, new_high), _) = self.config, before, after
        seen = {"rms": root_mean_square((new_low, new_high))}
        if c.block == "recurrent":
            return seen
        shut = saturated(gates(c, self.weights["low"], self._to_low(new_high, x), low, new_low))
        if c.slow:
            of_high = saturated(gates(c, self.weights["high"], send(c, low), high, new_high))
            shut = jnp.where(step % c.k_step == 0, (shut + of_high) / 2, shut)
        return seen | {"saturated": shut}

    def _step_high(self, low: jax.Array, high: jax.Array) -> jax.Array:
        """The H stream's next state [blocks, ..., D]."""
        message = send(self.config, low).astype(low.dtype)
        message = jax.lax.stop_gradient(message) if self.config.detach else message
        return run_stream(self.config, self.weights["high"], message, high)

    def _step_low(self, low: jax.Array, high: jax.Array | None, x: jax.Array) -> jax.Array:
        """The L stream's next state [blocks, ..., D]."""
        return run_stream(self.config, self.weights["low"], self._to_low(high, x), low)

    def _to_low(self, high: jax.Array | None, x: jax.Array) -> jax.Array:
        return (x if high is None else x + send(self.config, high)).astype(self.config.state_dtype)


def send(config: HRMConfig, state: jax.Array) -> jax.Array:
    """What a stream in state [blocks, ..., D] tells the other one [..., D]."""
    return normed(config, "messages", state[-1])


def normed(config: HRMConfig, place: str, x: jax.Array) -> jax.Array:
    """x [..., D], of an RMS below 1 where `context_norm` is of this place."""
    if config.context_norm != place:
        return x
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + CONTEXT_FLOOR)


def initial_state(
    config: HRMConfig, shape: tuple[int, ...], keys: Keys | None
) -> tuple[jax.Array, jax.Array | None]:
    """States of the L and H streams, [blocks, *shape] each, in `state_dtype`; None without an H stream.

    The first axis of `shape` is that of the groups, or of their obstacles.
    """
    if config.initial_state == "zeros" or keys is None:
        low = high = jnp.zeros((config.blocks, *shape))
    else:
        keys, of_one = draws.of_rows(keys, shape[0]), (config.blocks, *shape[1:])
        low, high = (NOISE * jnp.moveaxis(draws.normal(k, of_one), 0, 1) for k in draws.split(keys, 2))
    low, high = (state.astype(config.state_dtype) for state in (low, high))
    return low, high if config.h_stream else None


def run_stream(config: HRMConfig, stream: Weights, message: jax.Array, state: jax.Array) -> jax.Array:
    """Send `message` [..., D] up the blocks; each block's output is its new state: [blocks, ..., D]."""
    # Matmul results are kept for the backward pass, all between them is computed again: a third of the
    # memory and of its traffic for a few per cent of the arithmetic. `remat` keeps the inputs alone.
    policy = None if config.remat else jax.checkpoint_policies.dots_saveable
    apply = jax.checkpoint(apply_block, static_argnums=0, policy=policy, prevent_cse=False)

    def body(message, block):
        weights, state = block
        out = apply(config, weights, message, state)
        return out, out

    return jax.lax.scan(body, message, (stream, state), unroll=min(config.blocks, config.unroll))[1]


def apply_block(config: HRMConfig, w: Weights, message: jax.Array, state: jax.Array) -> jax.Array:
    """One block: message and state [..., N, D] to its output; between them all but matmuls is float32."""
    dtype, message, state = state.dtype, message.astype(jnp.float32), state.astype(jnp.float32)
    candidate = propose(config, w, message, state)
    if config.block == "recurrent":
        return candidate.astype(dtype)
    return (state + gate(config, w, candidate, state) * (candidate - state)).astype(dtype)


def propose(config: HRMConfig, w: Weights, message: jax.Array, state: jax.Array) -> jax.Array:
    """The candidate of a block for its next state [..., N, D]."""
    dtype = jnp.dtype(config.dtype)
    h = message + state if config.block == "recurrent" else MIX * (message + state)
    n = layers.direction(h, config.norm, config.norm_eps)
    if config.attention == "single":
        h = h + layers.linear(w, n, "mix_", dtype)
    else:
        h = h + attend(config, w, n)
    n = layers.direction(h, config.norm, config.norm_eps)
    gated, linear = jnp.split(layers.linear(w, n, "up_", dtype).astype(dtype), 2, axis=-1)
    h = h + layers.linear(w, jax.nn.silu(gated) * linear, "down_", dtype)
    return normed(config, "candidate", h)


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
