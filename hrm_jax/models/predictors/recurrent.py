"""Stacked LSTM and GRU over time, with torch's equations (docs/models.md#lstm-gru)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.networks.predictors import RecurrentConfig
from hrm_jax.models import draws, dropout, layers
from hrm_jax.models.draws import Keys
from hrm_jax.models.predictors.base import Network, Predictor, Weights, root_mean_square

State = tuple[jax.Array, ...]  # of one layer, [rows, D] each; the last one is its output
Cell = Callable[[Weights, jnp.dtype, State, jax.Array], State]
Prepare = Callable[[Weights], Weights]


class Recurrent(Predictor):
    """A stack of cells as a predictor; with attention to neighbours a linear embedding stands before it."""

    config: RecurrentConfig

    def _declare(self, prepare: Prepare, cell: Cell, gates: int, states: int) -> Network:
        """A cell of so many gates and arrays of state; `prepare` gives a layer's weights as it uses them."""
        c, inputs = self.config, {}
        stack = Stack(c, cell, states, [prepare(self._layer(i, gates)) for i in range(c.layers)])
        head = self._declare_head()
        if c.neighbours:
            inputs = {"embed": self._declare_embed(), **self._declare_neighbours()}
        return Network(c, inputs, stack, head)

    def _layer(self, index: int, gates: int) -> Weights:
        c, init = self.config, layers.uniform_fan_in(self.config.width)
        inputs = c.width if index or c.neighbours else c.inputs
        return layers.declare(
            self,
            f"layer{index}",
            ih_kernel=(init, (inputs, gates * c.width)),
            hh_kernel=(init, (c.width, gates * c.width)),
            ih_bias=(init, (gates * c.width,)),
            hh_bias=(init, (gates * c.width,)),  # (mostly) redundant with ih_bias, but torch counts it
        )


class LSTM(Recurrent):
    """The LSTM of the published comparison."""

    @nn.compact
    def _network(self) -> Network:
        return self._declare(prepare_lstm, lstm_cell, gates=4, states=2)


class GRU(Recurrent):
    """The GRU."""

    @nn.compact
    def _network(self) -> Network:
        return self._declare(lambda w: w, gru_cell, gates=3, states=1)


def prepare_lstm(w: Weights) -> Weights:
    """One matrix for [input, state] and one bias, put together once a call.

    One matmul a step: one over all steps beforehand would write and read a [T, ..., 4 D] array, and cost
    more than it saves.
    """
    kernel = jnp.concatenate([w["ih_kernel"], w["hh_kernel"]])
    return {"kernel": kernel, "bias": w["ih_bias"] + w["hh_bias"]}


def lstm_cell(w: Weights, dtype: jnp.dtype, state: State, x: jax.Array) -> State:
    """One step of one layer: (memory, output) [rows, D] with input [rows, D_in]; torch's order i, f, g, o."""
    memory, hidden = state
    both = jnp.concatenate([x, hidden], axis=-1)
    i, f, g, o = jnp.split(layers.linear(w, both, "", dtype), 4, axis=-1)
    memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
    return memory, jax.nn.sigmoid(o) * jnp.tanh(memory)


def gru_cell(w: Weights, dtype: jnp.dtype, state: State, x: jax.Array) -> State:
    """One step of one layer: (output,) [rows, D] with input [rows, D_in]; torch's order r, z, n."""
    (hidden,) = state
    r_in, z_in, n_in = jnp.split(layers.linear(w, x, "ih_", dtype), 3, axis=-1)
    r, z, n = jnp.split(layers.linear(w, hidden, "hh_", dtype), 3, axis=-1)
    n = jnp.tanh(n_in + jax.nn.sigmoid(r_in + r) * n)
    z = jax.nn.sigmoid(z_in + z)
    return (n + z * (hidden - n),)


class Stack(NamedTuple):
    """Layers of cells, a `base.Core`; the states of a layer are so many arrays."""

    config: RecurrentConfig
    cell: Cell
    states: int
    layers: list[Weights]

    def read(self, x: jax.Array, keys: Keys | None, further: int = 0) -> tuple[list[State], jax.Array]:
        """Inputs [T, rows, D_in] through all layers: the layers' states, and the last output [rows, D]."""
        start, ends = (jnp.zeros((x.shape[1], self.config.width)),) * self.states, []
        for i, w in enumerate(self.layers):

            def step(state, x, w=w):
                state = self._apply(w, state, x)
                return state, state[-1]

            unroll = min(len(x), self.config.unroll)
            end, x = jax.lax.scan(step, start, self._between(i, x, keys), unroll=unroll)
            ends.append(end)
        return ends, x[-1]

    def advance(self, state: list[State], x: jax.Array, keys: Keys | None) -> tuple[list[State], jax.Array]:
        """All layers one step further with input [rows, D_in]."""
        following = []
        for i, (w, before) in enumerate(zip(self.layers, state, strict=True)):
            following.append(self._apply(w, before, self._between(i, x, keys)))
            x = following[-1][-1]
        return following, x

    def watch(self, before: list[State], after: list[State], x: jax.Array) -> dict[str, jax.Array]:
        """Of the step between two states; see `base.Core`."""
        return {"rms": root_mean_square(after)}

    def _apply(self, w: Weights, state: State, x: jax.Array) -> State:
        # The matmuls' results are kept for the backward pass; the gates are computed from them again.
        policy = jax.checkpoint_policies.dots_saveable
        cell = jax.checkpoint(self.cell, static_argnums=1, prevent_cse=False, policy=policy)
        return cell(w, jnp.dtype(self.config.dtype), state, x)

    def _between(self, index: int, x: jax.Array, keys: Keys | None) -> jax.Array:
        """The input [..., rows, D] of a layer, in training with dropout but for the first."""
        if not index or keys is None or not self.config.dropout:
            return x
        keys = draws.of_rows(draws.fold_in(keys, index), x.shape[-2])
        return dropout.dropout(self.config.dropout, x, keys, axis=x.ndim - 2)
