"""Predictors and their frozen configs: one table, read by the prediction task and by `interop`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.errors import RequestError, nearest
from hrm_jax.models.hrm import HRM, HRMConfig
from hrm_jax.models.hrm_8gpu_v2 import HRM8GPUV2, HRM8GPUV2Config
from hrm_jax.models.lstm import LSTM, LSTMConfig

PREDICTORS: dict[str, tuple[type[nn.Module], type]] = {
    "hrm": (HRM, HRMConfig),
    "hrm_8gpu_v2": (HRM8GPUV2, HRM8GPUV2Config),
    "lstm": (LSTM, LSTMConfig),
}


def build(fields: Mapping[str, Any]) -> nn.Module:
    """The predictor that a config's `model` group describes: `name`, and fields of that model's config."""
    fields = dict(fields)
    name = fields.pop("name", "")
    if name not in PREDICTORS:
        raise RequestError(
            f'model.name = "{name}": one of {", ".join(PREDICTORS)}{nearest(name, PREDICTORS)}'
        )
    module, config = PREDICTORS[name]
    allowed = [f.name for f in dataclasses.fields(config)]
    for field in fields:
        if field not in allowed:
            raise RequestError(
                f"model.{field} is no field of {name}{nearest(field, allowed)} ({', '.join(allowed)})"
            )
    return module(config(**fields))


def describe(model: nn.Module) -> dict[str, Any]:
    """The inverse of `build`: the `model` group as plain JSON data."""
    name = next(n for n, (module, _) in PREDICTORS.items() if type(model) is module)
    return {"name": name, **dataclasses.asdict(model.config)}


def roll_out(predict: Callable[[jax.Array], jax.Array], history: jax.Array, horizon: int) -> jax.Array:
    """Free-running prediction: positions over size [..., N, T, 2] to the next ones [horizon, ..., N, 2].

    The published sliding window: every prediction enters the history and the oldest position leaves.
    Positions stay float32 whatever the matmuls use (fault F12).
    """

    chex.assert_axis_dimension(history, -1, 2)

    def step(history, _):
        following = history[..., -1, :] + predict(history)
        return jnp.concatenate([history[..., 1:, :], following[..., None, :]], axis=-2), following

    return jax.lax.scan(step, history, None, length=horizon)[1]
