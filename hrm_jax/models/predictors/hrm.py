"""The HRM obstacle predictor: a fast L stream over every time step, a slow H stream over every k-th.

Formulas: docs/models.md#hrm; the two-timescale idea: Wang et al. 2025, "Hierarchical Reasoning Model"
(2506.21734), §2.
The published networks attend over a sequence of one token, so softmax is 1 and queries and keys are dead:
they are counted (28,969,474 holds to the unit) and never computed. `attention="obstacles"` uses them.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts import networks
from hrm_jax.artefacts.networks.predictors import HRMConfig
from hrm_jax.models import draws, layers
from hrm_jax.models.draws import Keys
from hrm_jax.models.predictors import hrm_block as block
from hrm_jax.models.predictors.base import Network, Predictor, Weights, root_mean_square

Pair = tuple[jax.Array, jax.Array | None]  # states of the L and the H stream
State = tuple[Pair, jax.Array]  # and steps taken
Blocks = tuple[jax.Array, ...]  # states of a stream, one of each block
Apply = Callable[[Weights, jax.Array, jax.Array], jax.Array]
# Recurrence, by the floors of compiled programs (RESULTS.md); no card has timed it yet.
FASTEST = {"gpu": "unrolled", "tpu": "wavefront"}
UNROLLED = 128  # applications of blocks in waves that stand in no loop: they compile in about a minute
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
        weights = {name: block.prepare(c, w) for name, w in streams.items()}
        if c.gained:  # LayerScale (Touvron et al. 2021, 2103.17239), where the slow stream joins the fast one
            start = nn.initializers.constant(c.h_gain)
            weights["message"] = layers.declare(self, "message", gain=(start, (c.width,)))
        return Network(c, inputs, Streams(c, weights), head)

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
    """The recurrence, a `base.Core`.

    Prepared weights "low", "high" where there is an H stream, and "message" where what it tells L has a gain.
    """

    config: HRMConfig
    weights: Weights

    def read(self, x: jax.Array, keys: Keys | None, further: int = 0) -> tuple[State, jax.Array]:
        """Both streams through inputs [T, ..., D]: their state, and the L stream's last output [..., D].

        Time is cut into cycles of k steps (H once, then L k times) and the rest, so no step asks whether its
        turn has come: a `lax.scan` over whole cycles, then one shorter cycle.
        """
        c, waves = self.config, self.config.waves
        states = initial_state(c, x.shape[1:], keys)
        x = x.astype(c.state_dtype)
        cycle = self._in_waves(x.shape[1:-1]) if waves else self._in_scans
        if waves:
            states = jax.tree.map(tuple, states)
        longest = max(1, UNROLLED // c.blocks) if waves else len(x)
        k = c.k_step if c.slow else min(longest, len(x))
        whole = len(x) // k
        if whole > 1:
            at_once = max(1, UNROLLED // (c.blocks * (k + 1))) if c.recurrence == "unrolled" else 1
            cycles = x[: whole * k].reshape(whole, k, *x.shape[1:])
            states, _ = jax.lax.scan(cycle, states, cycles, unroll=min(whole, at_once))
        elif whole:
            states, _ = cycle(states, x[:k])
        if len(x) % k:
            states, _ = cycle(states, x[whole * k :])
        if waves:
            low, high = states
            states = jnp.stack(low), jnp.stack(high) if c.h_stream else None
        return (states, jnp.int32(len(x))), states[0][-1]

    def _in_scans(self, states: Pair, inputs: jax.Array) -> tuple[Pair, None]:
        """A cycle with inputs [≤ k, ..., D], block after block."""
        low, high = states
        if self.config.slow:
            high = self._step_high(low, high)

        def body(low, x):
            return self._step_low(low, high, x), None

        low, _ = jax.lax.scan(body, low, inputs, unroll=min(len(inputs), self.config.unroll))
        return (low, high), None

    def _in_waves(self, rows: tuple[int, ...]) -> Callable[[Any, jax.Array], tuple[Any, None]]:
        """The same cycle with states as tuples of blocks, each [*rows, D]; see `run_waves`."""
        c, weights = self.config, {name: repeated(w, rows) for name, w in self.weights.items()}

        def cycle(states, inputs):
            low, high = states
            if c.slow:
                high = run_waves(c, weights["high"], self._to_high(low)[None], high)
            return (run_waves(c, weights["low"], self._to_low(high, inputs), low), high), None

        return cycle

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
        if c.slow:
            seen["h_heard"] = share_heard(self._told(new_high), x)
        if c.block == "recurrent":
            return seen
        shut = self.saturated("low", self._to_low(new_high, x), low, new_low)
        if c.slow:
            of_high = self.saturated("high", send(c, low), high, new_high)
            shut = jnp.where(step % c.k_step == 0, (shut + of_high) / 2, shut)
        return seen | {"saturated": shut}

    def saturated(self, name: str, message: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
        """The share of saturated gates as `message` took the stream `name` from one state to the next."""
        return block.saturated(block.gates(self.config, self.weights[name], message, before, after))

    def _step_high(self, low: jax.Array, high: jax.Array) -> jax.Array:
        """The H stream's next state [blocks, ..., D]."""
        return run_stream(self.config, self.weights["high"], self._to_high(low), high)

    def _step_low(self, low: jax.Array, high: jax.Array | None, x: jax.Array) -> jax.Array:
        """The L stream's next state [blocks, ..., D]."""
        return run_stream(self.config, self.weights["low"], self._to_low(high, x), low)

    def _to_high(self, low: jax.Array) -> jax.Array:
        message = send(self.config, low).astype(self.config.state_dtype)
        return jax.lax.stop_gradient(message) if self.config.detach else message

    def _to_low(self, high: jax.Array | None, x: jax.Array) -> jax.Array:
        return (x if high is None else x + self._told(high)).astype(self.config.state_dtype)

    def _told(self, high: jax.Array) -> jax.Array:
        """What the H stream in state [blocks, ..., D] tells L [..., D]."""
        message = send(self.config, high)
        return message * self.weights["message"]["gain"] if self.config.gained else message


def for_device(fields: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """The fields of a network with the recurrence for a device, where they leave it open."""
    config = networks.config(fields, ("hrm",))
    if config.recurrence != "auto":
        return dict(fields)
    fastest = "scan" if config.remat else FASTEST.get(device.platform, "scan")  # `remat` asks for less memory
    return {**fields, "recurrence": fastest}


def send(config: HRMConfig, state: jax.Array) -> jax.Array:
    """What a stream in state [blocks, ..., D] tells the other one [..., D]."""
    return block.normed(config, "messages", state[-1])


def share_heard(told: jax.Array, x: jax.Array) -> jax.Array:
    """Of what differs between obstacles in L's input, x + told [..., D], the share of what it is told, 0 to 1."""
    of_told, of_x = differing(told), differing(x)
    return of_told / jnp.maximum(of_told + of_x, 1e-30)


def differing(message: jax.Array) -> jax.Array:
    """The mean square of what differs between the obstacles that a message [..., D] is for."""
    rows = message.reshape(-1, message.shape[-1]).astype(jnp.float32)
    return jnp.mean(jnp.var(rows, axis=0))


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
    apply = recomputing(config, functools.partial(block.apply, config))

    def body(message, inputs):
        weights, state = inputs
        out = apply(weights, message, state)
        return out, out

    return jax.lax.scan(body, message, (stream, state), unroll=min(config.blocks, config.unroll))[1]


def run_waves(config: HRMConfig, stream: Weights, messages: jax.Array, state: Sequence[jax.Array]) -> Blocks:
    """`run_stream` for messages [k, ..., D], with `repeated` weights: each block's state [..., D] after them.

    Block b of step t waits for block b - 1 of that step and for itself in the step before. All that have
    b + t in common are computed at once (Appleyard et al. 2016, 1604.01946): k + blocks - 1 waves, not
    k x blocks applications.
    """
    apply = recomputing(config, jax.vmap(functools.partial(block.apply, config)))
    outs = list(state)
    for wave in range(len(messages) + len(outs) - 1):
        first, end = max(0, wave - len(messages) + 1), min(len(outs), wave + 1)
        weights = jax.tree.map(lambda leaf, part=slice(first, end): leaf[part], stream)
        below = [outs[first - 1] if first else messages[wave], *outs[first : end - 1]]
        outs[first:end] = apply(weights, jnp.stack(below), jnp.stack(outs[first:end]))
    return tuple(outs)


def repeated(stream: Weights, rows: tuple[int, ...]) -> Weights:
    """A stream's weights with each bias once a row: one sum over rows a call is its gradient."""

    def in_rows(bias):  # [blocks, D] to [blocks, *rows, D]
        apart = jnp.expand_dims(bias, range(1, 1 + len(rows)))
        return jnp.broadcast_to(apart, (len(bias), *rows, bias.shape[-1]))

    return {name: in_rows(leaf) if name.endswith("bias") else leaf for name, leaf in stream.items()}


def recomputing(config: HRMConfig, apply: Apply) -> Apply:
    """`apply`, of which the gradient computes again what is cheap: all but matmul results; `remat`: all.

    In a loop that keeps a third of the memory and of its traffic away. In waves that are in no loop XLA sees
    that both are the same and keeps what it computed, which on a GPU takes more memory and less time; `remat`
    does not let it.
    """
    policy = None if config.remat else jax.checkpoint_policies.dots_saveable
    return jax.checkpoint(apply, policy=policy, prevent_cse=config.remat and config.waves)
