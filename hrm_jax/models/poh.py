"""Pointer over Heads: a transformer that refines its state in passes; a controller weighs its heads.

Formulas: docs/models.md#pointer-over-heads; what was wrong with the original: docs/faults.md.

Axes: B puzzles, N cells, D width, H heads, E width of a head, L blocks, R passes, G graded ones, K values of
a cell (moves, or cells).
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.networks.poh import ROUTED, PoHConfig
from hrm_jax.models import draws, layers
from hrm_jax.models.draws import Keys
from hrm_jax.models.poh_block import block
from hrm_jax.models.poh_controller import Memory, Weights, linear, norm
from hrm_jax.worlds import lattice

CLOSED = -1e9  # logit of a move through a wall
Q_BIAS, STOP_BIAS = -5.0, -3.0  # at the start: unsolved; going on


@dataclasses.dataclass(frozen=True)
class PoH:
    """The network; the functions of this module run it."""

    config: PoHConfig


class State(NamedTuple):
    """What goes from pass to pass."""

    h: jax.Array  # [B, N, D]
    memory: Memory | None  # of the controllers: [L, B, C], or [L, B, N, C] where each cell has its weights
    time: jax.Array  # passes before this one


class Output(NamedTuple):
    """Of the graded passes."""

    logits: jax.Array  # [G, B, N, K]
    halt: jax.Array  # [G, B] logit of q_halt, or of stopping; 0 without halting
    q_continue: jax.Array  # [G, B]
    entropy: jax.Array  # [G, B] of the weights in use, mean over blocks and cells
    updates: jax.Array  # [G, B] share of the slow state that was new, mean over blocks and cells


MODELS = {"poh": PoH}
build = functools.partial(layers.build_named, MODELS)
describe = functools.partial(layers.describe_named, MODELS)


def initial_params(model: PoH, key: jax.Array) -> dict[str, Any]:
    """Parameters as PyTorch would begin, halting apart, whose bias says no.

    All are cut from two draws: to compile one for each of forty leaves takes seconds.
    """
    shapes = model.config.shapes()
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    even, bell = (
        draw(k, ends[-1:]) for draw, k in zip((_even, jax.random.normal), jax.random.split(key), strict=True)
    )
    flat = {}
    for (name, shape), end in zip(shapes.items(), ends, strict=True):
        kind, scale = _initial(name, shapes)
        values = {"even": even, "bell": bell}.get(kind)
        flat[name] = (
            jnp.full(shape, scale, jnp.float32)
            if values is None
            else scale * values[end - math.prod(shape) : end].reshape(shape)
        )
    return model_file.unflatten(flat)


def _even(key: jax.Array, shape: Any) -> jax.Array:
    return jax.random.uniform(key, shape, minval=-1, maxval=1)


def _initial(name: str, shapes: dict[str, tuple[int, ...]]) -> tuple[str, float]:
    """How a leaf begins: all the same, evenly in +-, or normal with that deviation."""
    shape, (group, leaf) = shapes[name], name.split("/")
    if group == "halt":
        return "same", 0.0 if leaf == "kernel" else Q_BIAS if shape[-1] == 2 else STOP_BIAS
    if leaf.endswith("gain"):
        return "same", 1.0
    if leaf == "alpha" or leaf.endswith("norm_bias") or leaf in ("attend_bias", "ffn_bias", "gate_bias"):
        return "same", 0.0
    if group == "embed" or leaf == "positions":
        return "bell", 1.0
    if leaf.startswith(("fast_", "slow_")):  # a GRU's fan is its state's width, of both matrices and biases
        return "even", (shape[-1] // 3) ** -0.5
    if name == "blocks/mix_kernel" and shape[-2] != 9:  # a cell hears four others
        return "even", shape[-1] ** -0.5
    return "even", shapes[name.replace("bias", "kernel")][-2] ** -0.5


# ---------------------------------------------------------------- whole forwards


def forward(
    model: PoH,
    params: dict[str, Any],
    tokens: jax.Array,
    *,
    passes: int | None = None,
    graded: int | None = None,
    temperature: jax.Array | float = 1.0,
    keys: Keys | None = None,
) -> Output:
    """Tokens [B, N] of the lattice's alphabet through `passes` (default: the config's).

    Values are the same however many are `graded` (default: by the config's grad_mode); only the gradient
    stops before them, and nothing is kept for it. `temperature` multiplies the config's; dropout wants
    `keys` [B].
    """
    c = model.config
    return refine(model, params, features(c, tokens), passes or c.passes, graded, temperature, keys)


def refine(
    model: PoH,
    params: dict[str, Any],
    shown: jax.Array,
    passes: int,
    graded: int | None = None,
    temperature: jax.Array | float = 1.0,
    keys: Keys | None = None,
) -> Output:
    """`forward` of features [B, N, F]."""
    c = model.config
    graded = min(c.graded(passes) if graded is None else graded, passes)
    keys = None if keys is None or not c.dropout else draws.split(keys, passes)
    x = embed(c, params["embed"], shown)
    state = initial_state(c, x)
    if free := passes - graded:
        fixed, heard = jax.lax.stop_gradient((params, x))
        once = functools.partial(one_pass, c, fixed, heard, temperature)
        early = None if keys is None else keys[:free]
        state, _ = jax.lax.scan(lambda s, k: (once(s, k)[0], None), jax.lax.stop_gradient(state), early, free)
        state = jax.lax.stop_gradient(state)

    def learning(state: State, k: Keys | None) -> tuple[State, Output]:
        state, (entropy, update) = one_pass(c, params, x, temperature, state, k)
        halt, q_continue = halting(c, params, state.h)
        return state, Output(linear(params["head"], state.h, ""), halt, q_continue, entropy, update)

    body = jax.checkpoint(learning, prevent_cse=False) if c.remat else learning
    return jax.lax.scan(body, state, None if keys is None else keys[free:], graded)[1]


def run_passes(
    model: PoH, params: dict[str, Any], inputs: jax.Array, passes: int
) -> tuple[jax.Array, jax.Array]:
    """Answers to tokens [B, N] after each of `passes` passes.

    Tokens [passes, B, N] uint8 of open moves, 1 to 4, and 5 at the goal; and Q values [passes, B, 2]
    float32: halt, continue; NaN where logits are not finite.

    With probabilistic halting the first is the logit of having stopped by then.
    """
    c = model.config
    x = embed(c, params["embed"], features(c, inputs))
    goal = jnp.arange(c.sequence) == lattice.marked(inputs, lattice.GOALS)[:, None]

    def once(state: State, _: Any) -> tuple[State, tuple[jax.Array, ...]]:
        state, _ = one_pass(c, params, x, 1.0, state, None)
        logits = linear(params["head"], state.h, "")
        answer = 1 + jnp.argmax(move_logits(model, logits, inputs), axis=-1)
        return state, (jnp.where(goal, 5, answer).astype(jnp.uint8), *halting(c, params, state.h),
                       jnp.isfinite(logits).all(axis=(1, 2)))  # fmt: skip

    _, (answers, halt, more, worth) = jax.lax.scan(once, initial_state(c, x), length=passes)
    if c.halting == "probabilistic":
        going = jnp.cumsum(jax.nn.log_sigmoid(-halt), axis=0)  # log of the chance of having gone on so far
        halt = jnp.log(-jnp.expm1(jnp.minimum(going, -1e-7))) - going
    return answers, jnp.where(worth[..., None], jnp.stack([halt, more], axis=-1), jnp.nan)


def move_logits(model: PoH, logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """Logits [..., B, N, K] as those of the moves [..., B, N, 4], -1e9 where tokens [B, N] have a wall."""
    c = model.config
    if c.head == "cells":  # of the cells that moves lead to; beyond the edge of some other
        to = np.arange(c.sequence)[:, None] + np.array(lattice.shifts(c.columns))
        to = np.broadcast_to(to % c.sequence, (*logits.shape[:-1], 4))
        logits = jnp.take_along_axis(logits, to, axis=-1)
    return jnp.where(lattice.edges(jnp, lattice.masks_of(tokens)), logits, CLOSED)


# ---------------------------------------------------------------- what goes in, what comes out


def features(config: PoHConfig, tokens: jax.Array) -> jax.Array:
    """What tokens [B, N] show of each cell: [B, N, F], for the table `tokens` of as many rows."""
    mask = lattice.masks_of(tokens)
    start, goal = (lattice.marks_of(tokens) == mark for mark in (lattice.STARTS, lattice.GOALS))
    if config.tokens != "walls":
        return scalar_features(config, mask == 0, start, goal)
    marks = [goal[..., None]] + ([start[..., None]] if config.start else [])
    shown = jax.nn.one_hot(mask if config.walls else jnp.zeros_like(mask), lattice.MARK)
    return jnp.concatenate([shown, *marks], axis=-1)


def scalar_features(config: PoHConfig, closed: jax.Array, start: jax.Array, goal: jax.Array) -> jax.Array:
    """What the original shows of a cell: its value, 1, and of both marks whether not, and whether."""
    closed = jnp.asarray(closed, jnp.float32)
    value = 2 * closed - 1 if config.tokens == "centred" else closed
    return jnp.stack([value, jnp.ones_like(value), ~start, start, ~goal, goal], axis=-1)


def embed(config: PoHConfig, w: Weights, shown: jax.Array) -> jax.Array:
    """Features [B, N, F] to x [B, N, D]."""
    x = shown @ w["tokens"]
    if "cells" in w:
        x = x + w["cells"]
    return norm(w, x, "norm_") if config.input_norm else x


def initial_state(config: PoHConfig, x: jax.Array) -> State:
    """Before the first pass."""
    memory = None
    if config.routing in ROUTED:
        rows = x.shape[:1] if config.pooled else x.shape[:2]
        zeros = jnp.zeros((config.depth, *rows, config.controller_width), x.dtype)
        memory = Memory(zeros, zeros)
    return State(x, memory, jnp.zeros((), jnp.int32))


def halting(config: PoHConfig, params: dict[str, Any], h: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two logits [...] of states [..., N, D], read off the mean over cells."""
    if config.halting == "none":
        zeros = jnp.zeros(h.shape[:-2], h.dtype)
        return zeros, zeros
    values = linear(params["halt"], jnp.mean(h, axis=-2), "")
    return values[..., 0], values[..., -1]


# ---------------------------------------------------------------- one pass


def one_pass(
    config: PoHConfig,
    params: dict[str, Any],
    x: jax.Array,
    temperature: jax.Array | float,
    state: State,
    keys: Keys | None,
) -> tuple[State, tuple[jax.Array, jax.Array]]:
    """The state refined once by the blocks; entropy and update of the slow states, [B] both."""
    c, refinement = config, params.get("refine", {})
    h = state.h + x if c.injection else state.h
    if "positions" in refinement:
        table = refinement["positions"][: c.sequence]
        h = h + (table if c.positions == "each" else jnp.where(state.time == 0, table, 0))

    def apply(h: jax.Array, rest: tuple) -> tuple[jax.Array, tuple]:
        w, controller, memory, number = rest
        k = None if keys is None else draws.fold_in(keys, number)
        h, memory, facts = block(c, w, controller, h, memory, state.time, temperature, k)
        return h, (memory, facts)

    stacked = (params["blocks"], params.get("controller"), state.memory, jnp.arange(c.depth))
    h, (memory, facts) = jax.lax.scan(apply, h, stacked, unroll=min(c.depth, c.unroll))
    if c.update == "residual":
        h = state.h + h
    elif c.update == "rezero":
        h = state.h + refinement["alpha"] * (h - state.h)
    h = norm(refinement, h, "norm_") if c.update_norm else h
    entropy, update = (jnp.mean(a.reshape(c.depth, len(x), -1), axis=(0, 2)) for a in facts)
    return State(h, memory, state.time + 1), (entropy, update)
