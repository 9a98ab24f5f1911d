"""Pointer over Heads and its baseline transformers: the maze networks, in both published versions."""

import dataclasses
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.interop.states import State
from hrm_jax.models import poh as models

TITLE = "Pointer over Heads"
MARKS = ("cell.", "ref.stack.", "tr.layers.")
_INPUTS = ("in/maze", "in/start", "in/goal")
_BASELINE = (*_INPUTS, "out/logits", "out/loss")
_ROUTED = (*_INPUTS, *(f"out/{name}_{mode}" for mode in ("full", "last") for name in ("logits", "loss")))
GOLDEN = {
    "poh/maze-orig": _ROUTED,
    "poh/maze-head": _ROUTED,
    "poh/baseline-orig": _BASELINE,
    "poh/baseline-head": _BASELINE,
}
OPTIONS = {"heads": 6, "passes": 4, "period": 4}
EXACT = {"unroll": 1}  # compiled sooner
LEAST_TEMPERATURE = 0.7
ONCE = {"xla_backend_optimization_level": 0}  # what runs once takes longer to compile than to run


def convert(state: State, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `state_dict` as (model config fields, our parameter tree)."""
    baseline = not any(name.startswith("ref.") for name in state)
    newest = "ref.stack.blocks.0.self_attn.q.weight" in state
    params, routing = _shared(state), {}
    if baseline:
        params["blocks"] = _blocks(state, "tr.layers", {"up": "linear1", "down": "linear2"})
    else:
        params["blocks"] = _blocks(state, "ref.stack.blocks", {"up": "ff.0", "down": "ff.3"})
        controllers = [
            f"ref.stack.blocks.{i}.router.hrm." for i in range(len(params["blocks"]["out_kernel"]))
        ]
        params["controller"] = stack([convert_controller(state, prefix) for prefix in controllers])
        positions = state["ref.stack.pos_encoder.pos_emb.weight"]
        params["refine"] = {"positions": positions, "alpha": state["ref.alpha"]}
        routing = {
            "temperature": temperature(state, controllers),
            "controller": params["controller"]["in_kernel"].shape[-1],
            "position_rows": len(positions),
            "routed": "heads" if newest else "slices",
            "injection": newest,
            "stop_grad_slow": not newest,
        }
    return _fields(params, options, newest) | routing, params


def _shared(state: State) -> dict[str, Any]:
    """Embeddings and head."""
    rows = [state["cell.weight"].T, state["cell.bias"][None], state["se.weight"], state["ge.weight"]]
    embed = {"tokens": np.concatenate(rows), "cells": state["pos.weight"]}
    if "input_ln.weight" in state:
        embed |= {"norm_gain": state["input_ln.weight"], "norm_bias": state["input_ln.bias"]}
    return {"embed": embed, "head": {"kernel": state["out.weight"].T, "bias": state["out.bias"]}}


def _blocks(state: State, group: str, ffn: dict[str, str]) -> dict[str, np.ndarray]:
    numbers = {int(m[1]) for name in state if (m := re.match(rf"{re.escape(group)}\.(\d+)\.", name))}
    return stack([_block(state, f"{group}.{i}.", ffn) for i in range(max(numbers, default=0) + 1)])


def _block(state: State, prefix: str, ffn: dict[str, str]) -> dict[str, np.ndarray]:
    names = {"out_": "self_attn.out", **{f"{ours}_": theirs for ours, theirs in ffn.items()}}
    if f"{prefix}self_attn.q.weight" in state:
        parts = [affine(state, f"{prefix}self_attn.{name}", "qkv_") for name in "qkv"]
        block = {leaf: np.concatenate([part[leaf] for part in parts], axis=-1) for leaf in parts[0]}
    else:
        names["out_"] += "_proj"
        attention = f"{prefix}self_attn.in_proj_"
        block = {"qkv_kernel": state[f"{attention}weight"].T, "qkv_bias": state[f"{attention}bias"]}
    for ours, theirs in names.items():
        block |= affine(state, prefix + theirs, ours)
    for ours, theirs in (("attend_", "norm1"), ("ffn_", "norm2")):
        block |= norm(state, prefix + theirs, ours)
    gain = f"{prefix}head_gain"
    return block | ({"head_gain": state[gain]} if gain in state else {})


def convert_controller(state: State, prefix: str) -> dict[str, np.ndarray]:
    """The controller whose names begin with `prefix`; its temperature is a field of the config."""
    found = affine(state, f"{prefix}inp_proj", "in_") | affine(state, f"{prefix}router", "out_")
    found["mix_kernel"] = state[f"{prefix}mix_gate.weight"].T
    for ours, theirs in (("fast", "L"), ("slow", "H")):
        found |= norm(state, f"{prefix}ln_{theirs}", f"{ours}_norm_")
        for part, suffix in (("input", "ih"), ("state", "hh")):
            found[f"{ours}_{part}_kernel"] = state[f"{prefix}f_{theirs}.weight_{suffix}"].T
            found[f"{ours}_{part}_bias"] = state[f"{prefix}f_{theirs}.bias_{suffix}"]
    return found


def temperature(state: State, prefixes: list[str]) -> float:
    """That of the controllers' softmax, which no training moves."""
    found = {float(state[f"{prefix}log_temperature"]) for prefix in prefixes}
    if len(found) > 1:
        raise RequestError(f"log_temperature differs between blocks ({', '.join(map(str, sorted(found)))})")
    with np.errstate(over="ignore"):  # what becomes infinite is refused as a field
        return max(float(np.exp(np.float32(found.pop()))), LEAST_TEMPERATURE)


def affine(state: State, name: str, prefix: str) -> dict[str, np.ndarray]:
    """A `Linear`, with its bias if it has one."""
    bias = {f"{prefix}bias": state[f"{name}.bias"]} if f"{name}.bias" in state else {}
    return {f"{prefix}kernel": state[f"{name}.weight"].T, **bias}


def norm(state: State, name: str, prefix: str) -> dict[str, np.ndarray]:
    """A `LayerNorm`."""
    return {f"{prefix}gain": state[f"{name}.weight"], f"{prefix}bias": state[f"{name}.bias"]}


def stack(blocks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Blocks with the same leaves, one above the other."""
    return {leaf: np.stack([block[leaf] for block in blocks]) for leaf in blocks[0]}


def _fields(params: dict[str, Any], options: dict[str, Any], newest: bool) -> dict[str, Any]:
    """The `model` group of both families but for what only the routed one has."""
    blocks, (sequence, width) = params["blocks"], params["embed"]["cells"].shape
    routed, later = "controller" in params, "norm_gain" in params["embed"]
    pre = later if not routed else not newest
    return {
        "name": "poh",
        "sequence": sequence,
        "tokens": "centred" if later else "scalar",
        "head": "cells",
        "width": width,
        "heads": blocks["head_gain"].shape[-1] if routed else options["heads"],
        "hidden": blocks["up_kernel"].shape[-1],
        "depth": len(blocks["up_kernel"]),
        "passes": options["passes"] if routed else 1,
        "routing": "soft" if routed else "none",
        "standardised": later,
        "scaled": False,
        "period": options["period"],
        "stateless": True,
        "update": "rezero" if routed else "plain",
        "update_norm": False,
        "injection": False,
        "norm": "pre" if pre else "post",
        "input_norm": later,
        "ffn_bias": "up_bias" in blocks,
        "positions": ("first" if newest else "each") if routed else "none",
        "mixing": "none",
        "dropout": 0.1,
    }


def describe(model: models.PoH, options: dict[str, Any]) -> dict[str, Any]:
    """What a model.npz says of `model`."""
    return {"task": "lattice", "model": models.describe(model)}


def expect(arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse inputs of other shapes."""
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise RequestError(f"{name} is {list(arrays[name].shape)}; its weights want {list(shape)}")


def compute(
    model: models.PoH, params: dict[str, Any], arrays: dict[str, np.ndarray], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Outputs and losses by their names in a golden file, and the losses' gradients by theirs.

    The first version trains its last pass through another function, without the gain of its refinement (P8).
    """
    maze, start, goal = (arrays[name] for name in _INPUTS)
    count, n = len(np.atleast_1d(maze)), model.config.columns
    expect(arrays, {"in/maze": (count, n, n), "in/start": (count, 2), "in/goal": (count, 2)})
    cells = np.arange(n * n)
    marks = [cells == (place[:, :1] * n + place[:, 1:]) for place in (start, goal)]
    shown = models.scalar_features(model.config, maze.reshape(count, -1), *map(jnp.asarray, marks))
    modes = {"": {}} if model.config.routing == "none" else {"_full": {"grad_mode": "full"}, "_last": {}}
    if "_last" in modes:
        first = {"update": "plain"} if model.config.routed == "slices" else {}
        modes["_last"] = {"grad_mode": "last", **first}
    outputs, gradients = {}, {}
    for mode, fields in modes.items():
        run = models.PoH(dataclasses.replace(model.config, **fields))
        (loss, logits), gradients[f"grad{mode}"] = _differentiate(run, params, shown)
        outputs |= {f"out/logits{mode}": logits, f"out/loss{mode}": loss}
    return outputs, gradients


@functools.partial(jax.jit, static_argnums=0, compiler_options=ONCE)
def _differentiate(model: models.PoH, params: dict[str, Any], shown: jax.Array) -> Any:
    """Features [B, N, F] to ((loss = mean(logits²), logits [B, N, N]), gradients)."""

    def loss(params):
        logits = models.refine(model, params, shown, model.config.passes).logits[-1]
        return jnp.mean(logits * logits), logits

    return jax.value_and_grad(loss, has_aux=True)(params)
