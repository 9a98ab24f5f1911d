"""The LSTM obstacle predictor, the rival of the published comparison (specs/cloud.md §1.4 item 6)."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.errors import RequestError
from hrm_jax.models import layers


@dataclasses.dataclass(frozen=True)
class LSTMConfig:
    """Stacked LSTM and a linear head on the last output."""

    width: int = 256
    layers: int = 2
    dropout: float = 0.0  # between layers, in training
    features: str = "positions"  # positions | motion
    size: int = 20  # cells; the world that the positions are scaled by
    dtype: str = "float32"  # of matmuls: float32 | bfloat16
    unroll: int = 1  # time steps unrolled in the scan

    def __post_init__(self):
        layers.check_choice("model.features", self.features, tuple(layers.FEATURES))
        layers.check_choice("model.dtype", self.dtype, ("float32", "bfloat16"))
        layers.check_positive(width=self.width, layers=self.layers, unroll=self.unroll)
        if not 0 <= self.dropout < 1:
            raise RequestError(f"model.dropout = {self.dropout}: from 0 to under 1")


class LSTM(nn.Module):
    """history [..., N, T, 2] (positions over size) -> next displacement [..., N, 2] (over size)."""

    config: LSTMConfig

    @nn.compact
    def __call__(self, history: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """With `key` (training) dropout is active; without it the call is deterministic."""
        c = self.config
        features = layers.embed_features(history, c.features, c.size)
        outputs = jnp.moveaxis(features.reshape(-1, *features.shape[-2:]), 1, 0)  # [T, rows, F]
        for i in range(c.layers):
            if i and key is not None and c.dropout:
                outputs = _drop(jax.random.fold_in(key, i), outputs, c.dropout)
            outputs = self._layer(i, outputs)
        zeros = nn.initializers.zeros
        init = zeros if c.features == "motion" else layers.uniform_fan_in(c.width)
        head = layers.declare(self, "head", kernel=(init, (c.width, 2)), bias=(init, (2,)))
        output = layers.linear(outputs[-1], head["kernel"], head["bias"], jnp.float32)
        output = output.reshape(*history.shape[:-2], 2)
        return layers.displacement(output, history, c.features, c.size)

    def _layer(self, index: int, inputs: jax.Array) -> jax.Array:
        """One LSTM layer over time: [T, rows, D_in] to [T, rows, D]; gates in torch's order i, f, g, o."""
        c, init = self.config, layers.uniform_fan_in(self.config.width)
        dtype = jnp.dtype(c.dtype)
        w = layers.declare(
            self,
            f"layer{index}",
            ih_kernel=(init, (inputs.shape[-1], 4 * c.width)),
            hh_kernel=(init, (c.width, 4 * c.width)),
            ih_bias=(init, (4 * c.width,)),
            hh_bias=(init, (4 * c.width,)),  # redundant beside ih_bias, but torch has it and counts it
        )
        # One matmul a step on [input, state]: a matmul over all steps beforehand would write and read a
        # [T, ..., 4 D] array, and cost more than it saves.
        kernel = jnp.concatenate([w["ih_kernel"], w["hh_kernel"]])
        bias = w["ih_bias"] + w["hh_bias"]

        def step(state, x):
            cell, hidden = state
            both = jnp.concatenate([x, hidden], axis=-1)
            i, f, g, o = jnp.split(layers.linear(both, kernel, bias, dtype), 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (cell, hidden), hidden

        # The matmul's result is kept for the backward pass; the gates are computed from it again.
        step = jax.checkpoint(step, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable)
        zero = jnp.zeros((*inputs.shape[1:-1], c.width))
        return jax.lax.scan(step, (zero, zero), inputs, unroll=min(len(inputs), c.unroll))[1]


def _drop(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)
