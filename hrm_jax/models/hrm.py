"""The HRM obstacle predictor: a fast L stream over every time step, a slow H stream over every k-th.

Formulas: specs/cloud.md §1.4; the two-timescale idea: Wang et al. 2025, "Hierarchical Reasoning Model".
The published networks attend over a sequence of one token, so softmax is 1 and queries and keys are dead:
they are counted (28,969,474 holds to the unit) and never computed. `attention="obstacles"` uses them.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.models import layers

Weights = dict[str, Any]
MIX = 0.7071  # the gated block's scale of message + state, as published
NOISE = 0.01  # standard deviation of the noisy initial state


@dataclasses.dataclass(frozen=True)
class HRMConfig:
    """Every switch that distinguishes the published scripts, and two options of ours."""

    width: int = 512  # D
    heads: int = 8  # used by attention="obstacles" only
    blocks: int = 4  # in each of the two streams
    k_step: int = 2  # the H stream runs at t = 0, k, 2k, …
    block: str = "gated"  # gated | recurrent (ungated: its state grows without bound, fault F8)
    detach: bool = True  # stop the gradient from H into L
    norm: str = "published"  # published (fault F6) | rms
    norm_eps: float = 1e-6
    initial_state: str = "zeros"  # zeros | noise: N(0, 0.01²) in training, its mean in evaluation
    init_std: float = 0.01  # of Linear weights, biases zero; 0: torch's default
    features: str = "positions"  # positions | motion
    attention: str = "single"  # single token, as published | obstacles of one world
    size: int = 20  # cells; the world that the positions are scaled by
    dtype: str = "float32"  # of matmuls: float32 | bfloat16
    remat: bool = False  # recompute each block in the backward pass instead of keeping its activations
    unroll: int = 4  # blocks (and L steps) unrolled in their scans

    def __post_init__(self):
        layers.check_choice("model.block", self.block, ("gated", "recurrent"))
        layers.check_choice("model.norm", self.norm, ("published", "rms"))
        layers.check_choice("model.initial_state", self.initial_state, ("zeros", "noise"))
        layers.check_choice("model.features", self.features, tuple(layers.FEATURES))
        layers.check_choice("model.attention", self.attention, ("single", "obstacles"))
        layers.check_choice("model.dtype", self.dtype, ("float32", "bfloat16"))
        layers.check_positive(
            width=self.width, heads=self.heads, blocks=self.blocks, k_step=self.k_step, unroll=self.unroll
        )
        layers.check_heads(self.width, self.heads)

    @property
    def hidden(self) -> int:
        """Width of the SwiGLU, int(2.6 D) as published."""
        return int(2.6 * self.width)


class HRM(nn.Module):
    """history [..., N, T, 2] (positions over size) -> next displacement [..., N, 2] (over size)."""

    config: HRMConfig

    @nn.compact
    def __call__(self, history: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """With `key` (training) the initial state may be noisy; without it the call is deterministic."""
        c = self.config
        weights = {"embed": self._embed(), "low": self._stream("low"), "high": self._stream("high")}
        features = layers.embed_features(history, c.features, c.size)
        top = recurrence(c, weights, features, key)
        head = self._head()
        output = layers.linear(top, head["kernel"], head["bias"], jnp.float32)
        return layers.displacement(output, history, c.features, c.size)

    def _embed(self) -> Weights:
        c, inputs = self.config, layers.FEATURES[self.config.features]
        return layers.declare(
            self,
            "embed",
            kernel=(layers.weight_init(c.init_std, inputs), (inputs, c.width)),
            bias=(layers.bias_init(c.init_std, inputs), (c.width,)),
        )

    def _head(self) -> Weights:
        # A correction starts at zero: the motion predictor is born as constant velocity.
        c, d, zeros = self.config, self.config.width, nn.initializers.zeros
        born = c.features == "motion"
        return layers.declare(
            self,
            "head",
            kernel=(zeros if born else layers.weight_init(c.init_std, d), (d, 2)),
            bias=(zeros if born else layers.bias_init(c.init_std, d), (2,)),
        )

    def _stream(self, name: str) -> Weights:
        """Parameters of one stream, its blocks stacked on the leading axis."""
        c, d, n, f = self.config, self.config.width, self.config.blocks, self.config.hidden
        weight, bias, ones = layers.weight_init, layers.bias_init, nn.initializers.ones
        zeros, packed = nn.initializers.zeros, layers.packed_xavier(d)
        shapes = {
            "norm1": (ones, (n, d)),
            "qk_kernel": (packed, (n, d, 2 * d)),
            "qk_bias": (zeros, (n, 2 * d)),
            "v_kernel": (packed, (n, d, d)),
            "v_bias": (zeros, (n, d)),
            "out_kernel": (weight(c.init_std, d), (n, d, d)),
            "out_bias": (zeros, (n, d)),
            "norm2": (ones, (n, d)),
            "up_kernel": (weight(c.init_std, d), (n, d, 2 * f)),
            "down_kernel": (weight(c.init_std, f), (n, f, d)),
        }
        if c.block == "gated":
            shapes["gate_kernel"] = (weight(c.init_std, 2 * d), (n, 2 * d, d))
            shapes["gate_bias"] = (bias(c.init_std, 2 * d), (n, d))
        return layers.declare(self, name, **shapes)


def recurrence(config: HRMConfig, weights: Weights, features: jax.Array, key: jax.Array | None) -> jax.Array:
    """The L stream's last state after features [..., N, T, F]: [..., N, D] float32.

    Time is cut into cycles of k steps (H once, then L k times) and the rest, so no step asks whether its
    turn has come: a `lax.scan` over whole cycles, then one shorter cycle.
    """
    members = features.shape[:-2]
    if config.attention == "single":  # obstacles are rows: XLA is slow with an axis of size 1 between
        features = features.reshape(-1, *features.shape[-2:])
    embedded = layers.linear(features, weights["embed"]["kernel"], weights["embed"]["bias"], jnp.float32)
    embedded = jnp.moveaxis(embedded, -2, 0)  # [T, ..., N, D], or [T, rows, D]
    low, high = prepare(config, weights["low"]), prepare(config, weights["high"])

    def h_step(low_state, high_state):
        message = jax.lax.stop_gradient(low_state[-1]) if config.detach else low_state[-1]
        return run_stream(config, high, message, high_state)

    def cycle(state, inputs):  # inputs [≤ k, ..., D]
        low_state, high_state = state
        high_state = h_step(low_state, high_state)

        def l_step(low_state, x):
            return run_stream(config, low, x + high_state[-1], low_state), None

        low_state, _ = jax.lax.scan(l_step, low_state, inputs, unroll=min(len(inputs), config.unroll))
        return (low_state, high_state), None

    state = initial_state(config, embedded.shape[1:], key)
    k = config.k_step
    whole = len(embedded) // k
    if whole:
        state, _ = jax.lax.scan(cycle, state, embedded[: whole * k].reshape(whole, k, *embedded.shape[1:]))
    if len(embedded) % k:
        state, _ = cycle(state, embedded[whole * k :])
    return state[0][-1].reshape(*members, config.width)


def initial_state(
    config: HRMConfig, shape: tuple[int, ...], key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """States of the L and H streams, [blocks, *shape] each, float32."""
    shape = (config.blocks, *shape)
    if config.initial_state == "zeros" or key is None:
        return jnp.zeros(shape), jnp.zeros(shape)
    low_key, high_key = jax.random.split(key)
    return NOISE * jax.random.normal(low_key, shape), NOISE * jax.random.normal(high_key, shape)


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
    """One block (§1.4 items 3 and 4): message and state [..., N, D] float32 to its output."""
    dtype = jnp.dtype(config.dtype)
    h = message + state if config.block == "recurrent" else MIX * (message + state)
    n = layers.direction(h, config.norm, config.norm_eps)
    if config.attention == "single":
        h = h + layers.linear(n, w["mix_kernel"], w["mix_bias"], dtype)
    else:
        h = h + attend(config, w, n)
    n = layers.direction(h, config.norm, config.norm_eps)
    gated, linear = jnp.split(layers.linear(n, w["up_kernel"], None, dtype).astype(dtype), 2, axis=-1)
    candidate = h + layers.linear(jax.nn.silu(gated) * linear, w["down_kernel"], None, dtype)
    if config.block == "recurrent":
        return candidate
    # One matmul on [candidate, state], as published: two would write and add two results.
    both = jnp.concatenate([candidate.astype(dtype), state.astype(dtype)], axis=-1)
    logit = layers.linear(both, w["gate_kernel"], w["gate_bias"], dtype)
    return state + jax.nn.sigmoid(logit) * (candidate - state)


def attend(config: HRMConfig, w: Weights, n: jax.Array) -> jax.Array:
    """Self-attention across the obstacles of one world: [..., N, D] to [..., N, D]."""
    dtype = jnp.dtype(config.dtype)
    q, k = layers.split_heads(layers.linear(n, w["qk_kernel"], w["qk_bias"], dtype), 2, config.heads)
    (v,) = layers.split_heads(layers.linear(n, w["v_kernel"], w["v_bias"], dtype), 1, config.heads)
    return layers.linear(layers.attention(q, k, v).reshape(n.shape), w["out_kernel"], w["out_bias"], dtype)


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
