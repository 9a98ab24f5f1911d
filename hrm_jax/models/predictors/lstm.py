"""The LSTM obstacle predictor that the published comparison has (docs/models.md#lstm-gru)."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.models import layers
from hrm_jax.models.predictors import recurrent
from hrm_jax.models.predictors.base import Network, Weights


@dataclasses.dataclass(frozen=True)
class LSTMConfig(recurrent.RecurrentConfig):
    """Stacked LSTM and a linear head on the last output."""


class LSTM(recurrent.Recurrent):
    """Stacked LSTM as a predictor; see `base.Predictor`."""

    config: LSTMConfig

    @nn.compact
    def _network(self) -> Network:
        return self._declare(prepare, cell, gates=4, states=2)


def prepare(w: Weights) -> Weights:
    """One matrix for [input, state] and one bias, put together once a call.

    One matmul a step: one over all steps beforehand would write and read a [T, ..., 4 D] array, and cost
    more than it saves.
    """
    kernel = jnp.concatenate([w["ih_kernel"], w["hh_kernel"]])
    return {"kernel": kernel, "bias": w["ih_bias"] + w["hh_bias"]}


def cell(w: Weights, dtype: jnp.dtype, state: recurrent.State, x: jax.Array) -> recurrent.State:
    """One step of one layer: (memory, output) [rows, D] with input [rows, D_in]; torch's order i, f, g, o."""
    memory, hidden = state
    both = jnp.concatenate([x, hidden], axis=-1)
    i, f, g, o = jnp.split(layers.linear(both, w["kernel"], w["bias"], dtype), 4, axis=-1)
    memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
    return memory, jax.nn.sigmoid(o) * jnp.tanh(memory)
