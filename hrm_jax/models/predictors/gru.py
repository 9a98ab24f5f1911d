"""The GRU obstacle predictor: torch's equations."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.models import layers
from hrm_jax.models.predictors import recurrent
from hrm_jax.models.predictors.base import Network, Weights


@dataclasses.dataclass(frozen=True)
class GRUConfig(recurrent.RecurrentConfig):
    """Stacked GRU and a linear head on the last output."""


class GRU(recurrent.Recurrent):
    """Stacked GRU as a predictor; see `base.Predictor`."""

    config: GRUConfig

    @nn.compact
    def _network(self) -> Network:
        return self._declare(lambda w: w, cell, gates=3, states=1)


def cell(w: Weights, dtype: jnp.dtype, state: recurrent.State, x: jax.Array) -> recurrent.State:
    """One step of one layer: (output,) [rows, D] with input [rows, D_in]; torch's order r, z, n."""
    (hidden,) = state
    r_in, z_in, n_in = jnp.split(layers.linear(x, w["ih_kernel"], w["ih_bias"], dtype), 3, axis=-1)
    r, z, n = jnp.split(layers.linear(hidden, w["hh_kernel"], w["hh_bias"], dtype), 3, axis=-1)
    n = jnp.tanh(n_in + jax.nn.sigmoid(r_in + r) * n)
    z = jax.nn.sigmoid(z_in + z)
    return (n + z * (hidden - n),)
