"""Predictors by name, the modules of `artefacts.networks`: read by the prediction task and by `interop`."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.models import layers
from hrm_jax.models.draws import Keys
from hrm_jax.models.predictors import hrm
from hrm_jax.models.predictors.base import roll_out as roll_out
from hrm_jax.models.predictors.hrm import HRM
from hrm_jax.models.predictors.hrm_8gpu_v2 import HRM8GPUV2
from hrm_jax.models.predictors.recurrent import GRU, LSTM
from hrm_jax.models.predictors.transformer import Transformer
from hrm_jax.worlds.features import Context

PREDICTORS: dict[str, type[nn.Module]] = {
    "hrm": HRM,
    "hrm_8gpu_v2": HRM8GPUV2,
    "lstm": LSTM,
    "gru": GRU,
    "transformer": Transformer,
}
build = functools.partial(layers.build_named, PREDICTORS)
describe = functools.partial(layers.describe_named, PREDICTORS)


def for_device(fields: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """The fields of a network, with what they leave to the device."""
    return hrm.for_device(fields, device) if fields["name"] == "hrm" else dict(fields)


def initial_params(model: nn.Module, key: jax.Array) -> dict[str, Any]:
    """Fresh parameters of a model that needs no context."""
    return model.init(key, jnp.zeros((1, 1, 2, 2)))["params"]


def forecast(
    model: nn.Module,
    params: Any,
    history: jax.Array,
    horizon: int,
    keys: Keys | None = None,
    context: Context | None = None,
) -> jax.Array:
    """Free-running positions [horizon, ..., N, 2] over size, the way the model's config says."""
    return model.apply({"params": params}, history, horizon, keys, context, method="forecast")
