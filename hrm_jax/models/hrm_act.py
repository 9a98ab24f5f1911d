"""HRM with ACT, and TRM: a recurrent network that works on a puzzle in segments, and says when it is done.

Formulas: docs/models.md#hrm-act; Wang et al. 2025, "Hierarchical Reasoning Model" (2506.21734), §2;
Jolicoeur-Martineau 2025, "Less is More: Recursive Reasoning with Tiny Networks" (2510.04871).

Axes: B puzzles, S cells, P prefix positions before them, T = P + S, D width, V vocabulary, L blocks of a
module (stacked), E width of the puzzle embedding. Here a segment is computed; what to learn from it, and
when a puzzle is done, is the task's (tasks/puzzle.py).
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrm_jax.artefacts import networks
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks.puzzles import HRMACTConfig
from hrm_jax.models import layers
from hrm_jax.models.attention import softmax_attention

Weights = dict[str, jax.Array]
# Parameter groups that are not trained densely: a row a puzzle, and the state before the first segment.
PUZZLE_EMBEDDING, INITIAL_STATE = "puzzles", "initial"
MULTIPLES = {"cudnn": 8}  # positions are padded to a multiple of: cuDNN's backward pass refuses odd lengths
Q_BIAS = -5.0  # both Q values at the start: the puzzle is said to be unsolved


class State(NamedTuple):
    """What the network hands from segment to segment, gradients stopped. [B, T, D] in the config's dtype."""

    high: jax.Array  # z_H; TRM's answer y
    low: jax.Array  # z_L; TRM's latent z


class Output(NamedTuple):
    """One segment's result."""

    state: State
    logits: jax.Array  # [B, S, V] float32
    q_halt: jax.Array  # [B] float32: logit of "the answer is right"
    q_continue: jax.Array  # [B] float32: logit of "it will be"


class HRMACT(nn.Module):
    """The network of one segment."""

    config: HRMACTConfig

    @nn.compact
    def __call__(self, inputs: jax.Array, puzzle: jax.Array | None, state: State | None) -> Output:
        """Tokens [B, S], the puzzles' embeddings [B, E] (None without), the last segment's state.

        Without a state (`initialize` makes the first one), parameters are declared and nothing is computed.
        """
        c = self.config
        embed = self._declare_embed()
        names = ("low",) if c.shared else ("low", "high")
        modules = {name: self._declare_module(name) for name in names}
        lecun = nn.initializers.lecun_normal()
        head = layers.declare(self, "head", kernel=(lecun, (c.width, c.vocabulary)))
        zeros, low = nn.initializers.zeros, nn.initializers.constant(Q_BIAS)
        q = layers.declare(self, "q", kernel=(zeros, (c.width, 2)), bias=(low, (2,)))
        one = truncated_normal(1.0)
        layers.declare(self, INITIAL_STATE, high=(one, (c.width,)), low=(one, (c.width,)))
        if state is None:
            return None
        chex.assert_shape([state.high, state.low], (len(inputs), c.length, c.width))
        state = run_segment(c, modules, encode(c, embed, inputs, puzzle), state)
        logits = matmul(state.high[:, c.prefix :], head["kernel"], jnp.float32)
        values = state.high[:, 0].astype(jnp.float32) @ q["kernel"] + q["bias"]
        return Output(jax.lax.stop_gradient(state), logits, values[:, 0], values[:, 1])

    def _declare_embed(self) -> Weights:
        c, normal = self.config, truncated_normal(1 / math.sqrt(self.config.width))
        shapes = {"tokens": (normal, (c.vocabulary, c.width))}
        if c.positions == "learned":
            shapes["positions"] = (normal, (c.length, c.width))
        return layers.declare(self, "embed", **shapes)

    def _declare_module(self, name: str) -> Weights:
        c, d = self.config, self.config.width
        n = c.high_layers if name == "high" else c.low_layers
        lecun = nn.initializers.lecun_normal(batch_axis=(0,))  # its truncation is compensated, as theirs is

        def swiglu(prefix: str, width: int):
            inner = c.inner(width)
            return {
                f"{prefix}up_kernel": (lecun, (n, width, 2 * inner)),
                f"{prefix}down_kernel": (lecun, (n, inner, width)),
            }

        if c.columns:
            square = (lecun, (n, d, d))
            first = {
                "near_kernel": (lecun, (n, 4 * d, d)),
                "tell_kernel": square,
                "hear_kernel": square,
            }
        elif c.mixer:
            first = swiglu("mix_", c.length)
        else:
            first = {"qkv_kernel": (lecun, (n, d, 3 * d)), "out_kernel": (lecun, (n, d, d))}
        return layers.declare(self, name, **first, **swiglu("", d))


def truncated_normal(std: float) -> nn.initializers.Initializer:
    """N cut at two sigma whose standard deviation after the cut is `std`."""
    return nn.initializers.truncated_normal(std / 0.87962566)


MODELS = {"hrm_act": HRMACT}
build = functools.partial(layers.build_named, MODELS)
describe = functools.partial(layers.describe_named, MODELS)


def for_device(fields: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """The fields of a network with the attention that is the fastest on a device, where they leave it open.

    cuDNN's keeps no matrix of T x T weights; it takes bfloat16, and GPUs from Ampere (8.0) on.
    """
    config = networks.config(fields, MODELS)
    able = device.platform == "gpu" and float(getattr(device, "compute_capability", "8.0")) >= 8
    if config.attention == "auto":
        cudnn = able and config.dtype == "bfloat16"
        return {**fields, "attention": "cudnn" if cudnn else "matmul"}
    if config.attention == "cudnn" and not able:
        raise RequestError('model.attention = "cudnn" needs an NVIDIA GPU; auto, matmul and xla run anywhere')
    return dict(fields)


def initial_params(model: HRMACT, key: jax.Array, identifiers: int = 1) -> dict[str, Any]:
    """Parameters; with a puzzle embedding of `identifiers` rows, all zero."""
    c = model.config
    params = model.init(key, jnp.zeros((1, c.sequence), jnp.int32), None, None)["params"]
    if c.puzzle_width:
        params[PUZZLE_EMBEDDING] = jnp.zeros((identifiers, c.puzzle_width))
    return params


def initialize(model: HRMACT, params: dict[str, Any], count: int) -> State:
    """The state [count, T, D] before the first segment: fixed vectors, the same at every position."""
    c, vectors = model.config, params[INITIAL_STATE]
    shape = (count, c.length, c.width)
    return State(*(jnp.broadcast_to(vectors[name].astype(c.dtype), shape) for name in State._fields))


def run_segments(
    model: HRMACT, params: dict[str, Any], inputs: jax.Array, puzzle: jax.Array, segments: int
) -> tuple[jax.Array, jax.Array]:
    """Answers to tokens [B, S] of puzzles with ids [B] after each of `segments` segments, from a fresh state.

    Tokens [segments, B, S] uint8, and Q values [segments, B, 2] float32: halt, continue; NaN where logits
    are not finite, for the tokens are worth nothing then.
    """
    rows = params[PUZZLE_EMBEDDING][puzzle] if PUZZLE_EMBEDDING in params else None

    def segment(state, _):
        out = model.apply({"params": params}, inputs, rows, state)
        answer = jnp.argmax(out.logits, axis=-1).astype(jnp.uint8)
        worth = jnp.isfinite(out.logits).all(axis=(1, 2))[:, None]
        q = jnp.where(worth, jnp.stack([out.q_halt, out.q_continue], axis=-1), jnp.nan)
        return out.state, (answer, q)

    return jax.lax.scan(segment, initialize(model, params, len(inputs)), length=segments)[1]


# ---------------------------------------------------------------- one segment


def encode(config: HRMACTConfig, embed: Weights, inputs: jax.Array, puzzle: jax.Array | None) -> jax.Array:
    """Tokens [B, S] and the puzzles' rows [B, E] to embeddings [B, T, D] of unit variance."""
    c, dtype = config, jnp.dtype(config.dtype)
    # A product with one-hot rows in float32, not a gather: the gradient of thousands of cells is then summed
    # in float32, by a matmul, where a scatter would add them up in `dtype`, one after another.
    x = matmul(jax.nn.one_hot(inputs, c.vocabulary), embed["tokens"]).astype(dtype)
    if c.prefix:
        rows = jnp.zeros((len(inputs), 0)) if puzzle is None else puzzle
        rows = jnp.pad(rows, ((0, 0), (0, c.prefix * c.width - rows.shape[1])))
        x = jnp.concatenate([rows.reshape(-1, c.prefix, c.width).astype(dtype), x], axis=1)
    if c.positions == "learned":
        x = math.sqrt(0.5) * (x + embed["positions"].astype(dtype))
    return (math.sqrt(c.width) * x).astype(dtype)


def run_segment(config: HRMACTConfig, modules: dict[str, Weights], x: jax.Array, state: State) -> State:
    """One segment's cycles: L updates hear H and the input x [B, T, D], H updates hear L.

    Only the end of the schedule carries a gradient; before it weights and states are constants, so that
    nothing is kept for a backward pass.
    """
    c, length = config, x.shape[1]
    # Once a segment, not in every attention: what is added is masked there, and cut off in the end.
    multiple = 1 if c.mixer or c.columns else MULTIPLES.get(c.attention, 1)
    extra = ((0, 0), (0, -length % multiple), (0, 0))
    x, state = jax.tree.map(lambda a: jnp.pad(a, extra), (x, state))
    free = functools.partial(update, c, jax.lax.stop_gradient(modules), jax.lax.stop_gradient(x))
    learning = functools.partial(update, c, modules, x)

    def cycle(state, _):
        return free(free(state, "low", c.l_cycles), "high", 1), None

    state = jax.lax.stop_gradient(state)
    state, _ = jax.lax.scan(cycle, state, length=c.h_cycles - 1)
    last = c.l_cycles
    if c.grad == "one_step":
        state, last = free(state, "low", c.l_cycles - 1), 1
    state = learning(learning(jax.lax.stop_gradient(state), "low", last), "high", 1)
    return jax.tree.map(lambda a: a[:, :length], state)


def update(
    config: HRMACTConfig, modules: dict[str, Weights], x: jax.Array, state: State, name: str, times: int
) -> State:
    """The L or H state updated `times` times by its module; the other stays."""
    module = modules["low" if config.shared else name]

    def once(state, _):
        if name == "low":
            return state._replace(low=run(config, module, state.low + (state.high + x))), None
        return state._replace(high=run(config, module, state.high + state.low)), None

    if times == 1:
        return once(state, None)[0]
    return jax.lax.scan(once, state, length=times)[0]


def run(config: HRMACTConfig, module: Weights, h: jax.Array) -> jax.Array:
    """The blocks of a module, one after another: [B, T, D] to the same."""
    apply, layers_ = functools.partial(block, config), len(next(iter(module.values())))
    if config.remat:
        # Unrolled, there is no loop between what is computed and what is computed again: XLA would see that
        # they are the same, and keep it.
        apply = jax.checkpoint(apply, prevent_cse=layers_ <= config.unroll)
    body = lambda h, w: (apply(w, h), None)  # noqa: E731 - a scan wants a pair
    return jax.lax.scan(body, h, module, unroll=min(layers_, config.unroll))[0]


def block(config: HRMACTConfig, w: Weights, h: jax.Array) -> jax.Array:
    """Attention, mixing or hearing neighbours, then SwiGLU, each with its residual and the norm after it."""
    if config.columns:
        h = norm(config, h + hear(config, w, h))
    elif config.mixer:
        # Residual and norm of this half, too, run along the positions.
        t = jnp.swapaxes(h, 1, 2)
        h = jnp.swapaxes(norm(config, t + swiglu(t, w["mix_up_kernel"], w["mix_down_kernel"])), 1, 2)
    else:
        h = norm(config, h + attend(config, w, h))
    return norm(config, h + swiglu(h, w["up_kernel"], w["down_kernel"]))


def norm(config: HRMACTConfig, x: jax.Array) -> jax.Array:
    """x / sqrt(mean(x²) + eps) over the last axis, in float32, without a gain."""
    y = x.astype(jnp.float32)
    return (y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + config.norm_eps)).astype(x.dtype)


def swiglu(x: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
    """(silu(gate) * value) @ down, with gate and value the halves of x @ up."""
    gate, value = jnp.split(matmul(x, up), 2, axis=-1)
    return matmul(jax.nn.silu(gate) * value, down)


def matmul(x: jax.Array, kernel: jax.Array, result: Any = None) -> jax.Array:
    """x [B, T, D_in] @ kernel [D_in, D_out] in the dtype of x; the result in that or in `result`."""
    kernel = kernel.astype(x.dtype)
    if result in (None, x.dtype):
        return layers.matmul(x, kernel)
    y = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel, preferred_element_type=result)
    return y.reshape(*x.shape[:-1], -1)


def hear(config: HRMACTConfig, w: Weights, h: jax.Array) -> jax.Array:
    """Cells of the grid [B, P + S, D] hear those above, below, left and right of them, and the prefix.

    A matrix a neighbour; beyond the edge is 0. The prefix's mean reaches all cells, theirs it.
    """
    prefix, cells = jnp.split(h, [config.prefix], axis=1)
    around = [layers.seen(cells, config.columns, *move) for move in layers.NEIGHBOURS]
    near = matmul(jnp.concatenate(around, axis=-1), w["near_kernel"])
    told = matmul(prefix.mean(axis=1, keepdims=True), w["tell_kernel"])
    heard = matmul(cells.mean(axis=1, keepdims=True), w["hear_kernel"])
    return jnp.concatenate([jnp.broadcast_to(heard, prefix.shape), near + told], axis=1)


def attend(config: HRMACTConfig, w: Weights, h: jax.Array) -> jax.Array:
    """Self-attention over all positions, PAD too but not those after the last: [B, T, D] to the same."""
    count, length, heads = *h.shape[:2], config.heads
    packed = matmul(h, w["qkv_kernel"]).reshape(count, length, 3, heads, -1)
    # Heads join the batch: with one batch axis XLA's CPU backend takes half the time.
    q, k, v = packed.transpose(2, 0, 3, 1, 4).reshape(3, count * heads, length, -1)
    if config.positions == "rope":
        q, k = (rotate(config, a) for a in (q, k))
    if config.attention in ("auto", "matmul"):
        out = softmax_attention(0.0, config.length, q, k, v)
        out = out.reshape(count, heads, length, -1).swapaxes(1, 2)
    else:
        parts = (a.reshape(count, heads, length, -1).swapaxes(1, 2) for a in (q, k, v))
        out = fused_attention(config.attention, config.length, *parts)
    return matmul(out.reshape(h.shape), w["out_kernel"])


def fused_attention(implementation: str, real: int, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Attention of q, k, v [B, T, heads, D / heads], of which the first `real` positions are there."""
    lengths = {}
    if q.shape[1] > real:
        names = ("query_seq_lengths", "key_value_seq_lengths")
        lengths = dict.fromkeys(names, jnp.full((len(q),), real, jnp.int32))
    return jax.nn.dot_product_attention(q, k, v, implementation=implementation, **lengths)


def rotate(config: HRMACTConfig, x: jax.Array) -> jax.Array:
    """RoPE of x [..., T, D / heads] by its position, first half paired with second, in float32."""
    half = x.shape[-1] // 2
    # Constants, by NumPy: XLA would compute cosines anew for every head of every puzzle. The angles are
    # float32, as the originals': at position 900 they are off by 3e-5, and weights were trained with that.
    power = config.theta ** (np.arange(half, dtype=np.float32) / np.float32(half)).astype(np.float64)
    angle = np.arange(x.shape[-2], dtype=np.float32)[:, None] * (1 / power.astype(np.float32))
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)
