"""HRM-cloud's predictors of motion: gated and recurrent HRM, and the LSTM."""

import functools
import re
from typing import Any

import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.interop import checks
from hrm_jax.interop.states import State, under
from hrm_jax.worlds import features

TITLE = "HRM-cloud's predictors"
GOLDEN = {
    name: ("in/x", "out/y", "out/loss")
    for name in ("hrm-cloud/gated", "hrm-cloud/recurrent", "hrm-cloud/lstm")
}
OPTIONS = {"heads": 4, "k_step": 2, "history": 20}  # what the shapes do not show
RECORDED = {"heads": "heads", "k_step": "k_step"}  # a golden file's names of them


def recognises(state: State) -> bool:
    """Whether these are a predictor's names."""
    return "lstm.weight_ih_l0" in state or "embed.weight" in state


@checks.one_line_errors
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
    return [f"{stream}_blocks.{i}" for i in sorted(numbers)] or [f"{stream}_block"]


def _convert_block(state: State, name: str) -> dict[str, np.ndarray]:
    w = {key.removeprefix(name + "."): a for key, a in state.items() if key.startswith(name + ".")}
    d = w["norm1.g"].shape[0]
    qkv, qkv_bias = w["attn.in_proj_weight"], w["attn.in_proj_bias"]
    block = {
        "norm1": w["norm1.g"],
        "qk_kernel": qkv[: 2 * d].T,
        "qk_bias": qkv_bias[: 2 * d],
        "v_kernel": qkv[2 * d :].T,
        "v_bias": qkv_bias[2 * d :],
        **linear(w, {"out_": "attn.out_proj"}),
        "norm2": w["norm2.g"],
        "up_kernel": np.concatenate([w["ffn.w1.weight"], w["ffn.w2.weight"]]).T,
        "down_kernel": w["ffn.w3.weight"].T,
    }
    if "gate.weight" in w:
        block |= linear(w, {"gate_": "gate"})
    return block


def _convert_lstm(state: State) -> tuple[dict[str, Any], dict[str, Any]]:
    count = sum(key.startswith("lstm.weight_ih_l") for key in state)
    params: dict[str, Any] = {"head": linear(state, {"": "fc"})}
    for i in range(count):
        params[f"layer{i}"] = {
            "ih_kernel": state[f"lstm.weight_ih_l{i}"].T,
            "hh_kernel": state[f"lstm.weight_hh_l{i}"].T,
            "ih_bias": state[f"lstm.bias_ih_l{i}"],
            "hh_bias": state[f"lstm.bias_hh_l{i}"],
        }
    return {"name": "lstm", "width": state["fc.weight"].shape[1], "layers": count}, params


def build(fields: dict[str, Any], params: dict[str, Any]) -> Any:
    """The flax model; parameters that do not fit it are a `RequestError`."""
    import jax
    import jax.numpy as jnp

    from hrm_jax.models import predictors as models

    model = models.build(fields)
    expected = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1, 2, 2)))["params"]
    checks.check_parameters(expected, params, fields["name"])
    return model


def describe(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What a model.npz says of `model`, and of the world that the original trained it in."""
    from hrm_jax.models import predictors as models

    return {
        "model": models.describe(model),
        "world": {"size": 20},
        "history": options["history"],
        "constants": features.CONSTANTS,
    }


def golden(arrays: dict[str, np.ndarray], state: State, options: dict[str, Any]) -> tuple[list[str], bool]:
    """Compare the output, the loss and every gradient; a report, and whether any fails."""
    fields, params = convert(state, options)
    fields["unroll"] = 1  # almost all the time here is compilation
    expected = {"out/y": arrays["out/y"], "out/loss": arrays["out/loss"]}
    gradients = model_file.flatten(convert(under(arrays, "grad/"), options)[1])
    expected |= {f"grad/{name}": leaf for name, leaf in gradients.items()}
    report, failed = checks.compare(_compute(fields, params, arrays["in/x"]), expected)
    if failed and fields["name"] == "hrm":
        # Shapes do not show whether the original stopped the gradient from H into L; its gradients do.
        other, still = checks.compare(_compute({**fields, "detach": False}, params, arrays["in/x"]), expected)
        if not still:
            report, failed = other + ["(the H input is not detached)"], False
    return report, failed


def _compute(fields: dict[str, Any], params: dict[str, Any], x: np.ndarray) -> dict[str, np.ndarray]:
    """Output, loss = mean(y²) and its gradients, by the names they have in the report."""
    import jax

    with jax.default_matmul_precision("highest"):
        (value, y), gradients = _differentiated(build(fields, params))(params, x[:, None])
    gradients = {f"grad/{name}": leaf for name, leaf in model_file.flatten(gradients).items()}
    return {"out/y": np.asarray(y), "out/loss": np.asarray(value), **gradients}


@functools.cache
def _differentiated(model: Any) -> Any:
    """(params, history [B, 1, T, 2]) -> ((loss, output [B, 2]), gradients), compiled once a model."""
    import jax
    import jax.numpy as jnp

    def loss(params, history):
        y = model.apply({"params": params}, history)[:, 0]
        return jnp.mean(y * y), y

    return jax.jit(jax.value_and_grad(loss, has_aux=True))
