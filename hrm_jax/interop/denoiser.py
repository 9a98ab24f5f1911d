"""The path denoiser v2 of HRM-cloud."""

import functools
import math
from typing import Any

import jax
import numpy as np

from hrm_jax.interop.predictors import linear
from hrm_jax.interop.states import State
from hrm_jax.models.denoisers import networks as models
from hrm_jax.tasks.diffusion import Diffusion

TITLE = "path denoiser v2"
MARKS = "map_enc.0.weight"
GOLDEN = {"diffusion/v2": ("in/x", "out/y", "in/t", "in/grid", "in/sg", "names", "shapes", "seed")}
OPTIONS = {"heads": 4}
EXACT: dict[str, Any] = {}
PLAN = {  # how the original plans with its denoiser: `plan` of the written model.npz
    "sampler": "published",
    "steps": 100,
    "samples": 10,
    "map_guidance": 1.0,
    "forecast": "none",
    "cost_guidance": 0,
    "refine": 40,
    "replan": 0,
    "warm": 1.0,
    "seed": 0,
}


def convert(state: State, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `state_dict` as (model config fields, our parameter tree)."""
    width = state["down1.conv1.weight"].shape[0]
    reduced = math.isqrt(state["map_enc.7.weight"].shape[1] // (2 * width))  # cells that the encoder leaves
    fields = {
        "name": "path_unet",
        "size": 8 * reduced,
        "width": width,
        "heads": options["heads"],
        **models.PUBLISHED,
    }
    params = {
        "map": _convert_map_encoder(state, reduced),
        "ends": linear(state, {"": "coord_enc"}),
        "time": linear(state, {f"linear{i}_": f"time_mlp.{2 * i}" for i in range(3)}),
        "out": linear(state, {"": "out"}),
    }
    blocks = {"down1": "down1", "down2": "down2", "middle2": "mid2", "up1": "up1", "up2": "up2"}
    params |= {ours: _convert_residual(state, theirs) for ours, theirs in blocks.items()}
    params["middle1"] = _convert_residual(state, "mid1", path=2 * width)
    attentions = {"attention1": "attn1", "attention2": "mid_attn", "attention3": "attn2"}
    return fields, params | {ours: _convert_attention(state, theirs) for ours, theirs in attentions.items()}


def _convert_map_encoder(state: State, reduced: int) -> dict[str, np.ndarray]:
    """The convolutions, and the linear layer behind them, which reads what they leave channels last."""
    last = state["map_enc.7.weight"]
    last = last.reshape(len(last), -1, reduced, reduced).transpose(2, 3, 1, 0).reshape(-1, len(last))
    convolutions = linear(state, {f"conv{i}_": f"map_enc.{2 * i}" for i in range(3)})
    return {"kernel": last, "bias": state["map_enc.7.bias"], **convolutions}


def _norm(state: State, ours: str, theirs: str) -> dict[str, np.ndarray]:
    return {ours: state[f"{theirs}.weight"], f"{ours}_bias": state[f"{theirs}.bias"]}


def _convert_residual(state: State, name: str, path: int | None = None) -> dict[str, np.ndarray]:
    """A residual block; input channels from `path` on are constant along the path."""
    ours = {"conv1_": "conv1", "conv2_": "conv2", "time_": "time_proj"}
    if any(key.startswith(f"{name}.skip.") for key in state):
        ours["skip_"] = "skip"
    block = linear(state, {prefix: f"{name}.{theirs}" for prefix, theirs in ours.items()})
    for norm in ("norm1", "norm2"):
        block |= _norm(state, norm, f"{name}.{norm}")
    if path is not None:
        first = state[f"{name}.conv1.weight"].transpose(2, 1, 0)  # taps, in, out
        block["conv1_kernel"] = first[:, :path].reshape(-1, first.shape[2])
        block["code_kernel"] = first[:, path:]
    return block


def _convert_attention(state: State, name: str) -> dict[str, np.ndarray]:
    maps = linear(state, {"qkv_": f"{name}.qkv", "out_": f"{name}.proj"})
    return {**_norm(state, "norm", f"{name}.norm"), **maps}


def describe(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What a model.npz says of `model`, how the original planned with it, and in what world."""
    return Diffusion.describe({"model": models.describe(model), "plan": PLAN})


def compute(
    model: Any, params: dict[str, Any], arrays: dict[str, np.ndarray], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The output alone: no gradients are recorded of the denoiser."""
    x, t, grid, ends = (arrays[f"in/{name}"] for name in ("x", "t", "grid", "sg"))
    y = _denoise(model, params, np.moveaxis(x, 1, -1), t[:, 0], np.moveaxis(grid, 1, -1), ends)
    return {"out/y": np.moveaxis(np.asarray(y), -1, 1)}, {}


@functools.partial(jax.jit, static_argnums=0)
def _denoise(
    model: Any, params: dict[str, Any], x: jax.Array, t: jax.Array, maps: jax.Array, ends: jax.Array
) -> jax.Array:
    """Paths x [B, P, 2] at levels t [B] with maps [B, R, R, 1] and ends [B, 4]: [B, P, 2]."""
    code = model.apply({"params": params}, maps, ends, method="encode")
    return model.apply({"params": params}, x, t, code)
