"""HRM-cloud's predictors of motion: gated and recurrent HRM, and the LSTM."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.interop.states import State
from hrm_jax.models import predictors as models
from hrm_jax.worlds import features

TITLE = "HRM-cloud's predictors"
MARKS = ("lstm.weight_ih_l0", "embed.weight")
GOLDEN = dict.fromkeys(
    ("hrm-cloud/gated", "hrm-cloud/recurrent", "hrm-cloud/lstm"), ("in/x", "out/y", "out/loss")
)
OPTIONS = {"heads": 4, "k_step": 2, "history": 20}  # what the shapes do not show
EXACT = {"unroll": 1}  # almost all the time of a comparison is compilation


def convert(state: State, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `state_dict` as (model config fields, our parameter tree)."""
    if "lstm.weight_ih_l0" in state:
        return _convert_lstm(state)
    return _convert_hrm(state, options["heads"], options["k_step"])


def linear(state: State, layers: dict[str, str]) -> dict[str, np.ndarray]:
    """Weights and biases of linear layers and convolutions, {our prefix: their name}, as ours.

    (out, in, ...) becomes channels last; of a convolution along a path one matrix (tap and in, out).
    """
    leaves = {}
    for prefix, name in layers.items():
        weight = state[f"{name}.weight"]
        kernel = np.moveaxis(weight, (0, 1), (-1, -2))
        leaves[f"{prefix}kernel"] = kernel.reshape(-1, len(weight)) if weight.ndim == 3 else kernel
        leaves[f"{prefix}bias"] = state[f"{name}.bias"]
    return leaves


def _convert_hrm(state: State, heads: int, k_step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    names = {s: _block_names(state, s) for s in ("L", "H")}
    low, high = ([_convert_block(state, name) for name in names[s]] for s in ("L", "H"))
    stacked = [{leaf: np.stack([b[leaf] for b in blocks]) for leaf in blocks[0]} for blocks in (low, high)]
    gated = "gate_kernel" in low[0]
    fields = {
        "name": "hrm",
        "width": state["embed.weight"].shape[0],
        "heads": heads,
        "blocks": len(low),
        "k_step": k_step,
        "block": "gated" if gated else "recurrent",
        "norm_eps": 1e-6 if gated else 1e-12,
    }
    if len(low) != len(high):
        raise RequestError(f"{len(low)} L blocks but {len(high)} H blocks: both streams must be equally deep")
    params = {
        "embed": linear(state, {"": "embed"}),
        "low": stacked[0],
        "high": stacked[1],
        "head": linear(state, {"": "head"}),
    }
    return fields, params


def _block_names(state: State, stream: str) -> list[str]:
    """`L_block` (one block) or `L_blocks.0`, `L_blocks.1`, …"""
    numbers = {int(m[1]) for key in state if (m := re.match(rf"{stream}_blocks\.(\d+)\.", key))}
    return [f"{stream}_blocks.{i}" for i in range(max(numbers) + 1)] if numbers else [f"{stream}_block"]


def _convert_block(state: State, name: str) -> dict[str, np.ndarray]:
    def weight(theirs: str) -> np.ndarray:
        return state[f"{name}.{theirs}"]

    d = weight("norm1.g").shape[0]
    qkv, qkv_bias = weight("attn.in_proj_weight"), weight("attn.in_proj_bias")
    block = {
        "norm1": weight("norm1.g"),
        "qk_kernel": qkv[: 2 * d].T,
        "qk_bias": qkv_bias[: 2 * d],
        "v_kernel": qkv[2 * d :].T,
        "v_bias": qkv_bias[2 * d :],
        **linear(state, {"out_": f"{name}.attn.out_proj"}),
        "norm2": weight("norm2.g"),
        "up_kernel": np.concatenate([weight("ffn.w1.weight"), weight("ffn.w2.weight")]).T,
        "down_kernel": weight("ffn.w3.weight").T,
    }
    if f"{name}.gate.weight" in state:
        block |= linear(state, {"gate_": f"{name}.gate"})
    return block


def _convert_lstm(state: State) -> tuple[dict[str, Any], dict[str, Any]]:
    count = 1 + max(int(key.rpartition("_l")[2]) for key in state if re.fullmatch(r"lstm\..*_l\d+", key))
    params: dict[str, Any] = {"head": linear(state, {"": "fc"})}
    for i in range(count):
        params[f"layer{i}"] = {
            "ih_kernel": state[f"lstm.weight_ih_l{i}"].T,
            "hh_kernel": state[f"lstm.weight_hh_l{i}"].T,
            "ih_bias": state[f"lstm.bias_ih_l{i}"],
            "hh_bias": state[f"lstm.bias_hh_l{i}"],
        }
    return {"name": "lstm", "width": state["fc.weight"].shape[1], "layers": count}, params


def describe(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What a model.npz says of `model`, and of the world that the original trained it in."""
    return {
        "model": models.describe(model),
        "world": {"size": 20},
        "history": options["history"],
        "constants": features.CONSTANTS,
    }


def compute(
    model: Any, params: dict[str, Any], arrays: dict[str, np.ndarray], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Output and loss by their names in a golden file, and the loss's gradients by theirs."""
    (value, y), gradients = _differentiate(model, params, arrays["in/x"][:, None])
    return {"out/y": y, "out/loss": value}, {"grad": gradients}


@functools.partial(jax.jit, static_argnums=0)
def _differentiate(model: Any, params: dict[str, Any], history: jax.Array) -> Any:
    """History [B, 1, T, 2] to ((loss = mean(y²), output y [B, 2]), gradients)."""

    def loss(params):
        y = model.apply({"params": params}, history)[:, 0]
        return jnp.mean(y * y), y

    return jax.value_and_grad(loss, has_aux=True)(params)
