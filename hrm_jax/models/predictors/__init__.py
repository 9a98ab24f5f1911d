"""Predictors and their frozen configs: one table, read by the prediction task and by `interop`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.models import layers
from hrm_jax.models.predictors.base import roll_out as roll_out
from hrm_jax.models.predictors.hrm import HRM, HRMConfig
from hrm_jax.models.predictors.hrm_8gpu_v2 import HRM8GPUV2, HRM8GPUV2Config
from hrm_jax.models.predictors.recurrent import GRU, LSTM, RecurrentConfig
from hrm_jax.models.predictors.transformer import Transformer, TransformerConfig
from hrm_jax.worlds.features import Context

PREDICTORS: dict[str, tuple[type[nn.Module], type]] = {
    "hrm": (HRM, HRMConfig),
    "hrm_8gpu_v2": (HRM8GPUV2, HRM8GPUV2Config),
    "lstm": (LSTM, RecurrentConfig),
    "gru": (GRU, RecurrentConfig),
    "transformer": (Transformer, TransformerConfig),
}


build = functools.partial(layers.build_named, PREDICTORS)
describe = functools.partial(layers.describe_named, PREDICTORS)


def initial_params(model: nn.Module, key: jax.Array) -> dict[str, Any]:
    """Fresh parameters of a model that needs no context."""
    return model.init(key, jnp.zeros((1, 1, 2, 2)))["params"]


def forecast(
    model: nn.Module,
    params: Any,
    history: jax.Array,
    horizon: int,
    key: jax.Array | None = None,
    context: Context | None = None,
) -> jax.Array:
    """Free-running positions [horizon, ..., N, 2] over size, the way the model's config says."""
    return model.apply({"params": params}, history, horizon, key, context, method="forecast")
