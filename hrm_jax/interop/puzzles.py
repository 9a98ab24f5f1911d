"""HRM-ACT and TRM (attention and mixer): the puzzle networks; names as in their released checkpoints."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.interop.states import State
from hrm_jax.models import hrm_act as models
from hrm_jax.models import losses
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.kinds import KINDS

TITLE = "HRM-ACT and TRM"
MARKS = ("lm_head.", "L_level.")
INPUTS = ("in/inputs", "in/labels", "in/puzzle_identifiers")
_REQUIRED = (*INPUTS, "out/logits_0", "out/q_halt_0", "out/lm_loss_sum")
GOLDEN = {"hrm-act": (*_REQUIRED, "out/q_continue_0", "out/halted_0"), "trm": _REQUIRED}
_DEDUCED = ("h_cycles", "l_cycles", "sequence", "prefix", "positions")  # unless given, by the rules below
OPTIONS = {
    "heads": 8,
    **dict.fromkeys(_DEDUCED),
    "segments": 16,
    "dtype": "bfloat16",
    "identifiers": None,
}
EXACT = {"dtype": "float32"}
SUDOKU = 11
TRM_PREFIX = 16


def convert(state: State, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `state_dict` as (model config fields, our parameter tree)."""
    if options["segments"] < 1:
        raise RequestError(f"--segments {options['segments']}: at least 1")
    modules = {"low": _convert_module(state, "L_level")}
    shared = not any(key.startswith("H_level.") for key in state)
    if not shared:
        modules["high"] = _convert_module(state, "H_level")
    params = {
        "embed": {"tokens": state["embed_tokens.embedding_weight"]},
        **modules,
        "head": {"kernel": state["lm_head.weight"].T},
        "q": {"kernel": state["q_head.weight"].T, "bias": state["q_head.bias"]},
        "initial": {"high": state["H_init"], "low": state["L_init"]},
    }
    if "embed_pos.embedding_weight" in state:
        params["embed"]["positions"] = state["embed_pos.embedding_weight"]
    if "puzzle_emb.weights" in state:
        params["puzzles"] = state["puzzle_emb.weights"]
    if path := options["identifiers"]:
        dataset.names(path, len(params.get("puzzles", ())))
    return _fields(params, options), params


def _convert_module(state: State, name: str) -> dict[str, np.ndarray]:
    """The blocks of a module, stacked."""
    numbers = {int(m[1]) for key in state if (m := re.match(rf"{name}\.layers\.(\d+)\.", key))}
    parts = {"up_kernel": "mlp.gate_up_proj", "down_kernel": "mlp.down_proj"}
    if f"{name}.layers.0.mlp_t.gate_up_proj.weight" in state:
        parts |= {"mix_up_kernel": "mlp_t.gate_up_proj", "mix_down_kernel": "mlp_t.down_proj"}
    else:
        parts |= {"qkv_kernel": "self_attn.qkv_proj", "out_kernel": "self_attn.o_proj"}
    blocks = range(max(numbers, default=0) + 1)
    return {
        ours: np.stack([state[f"{name}.layers.{i}.{theirs}.weight"].T for i in blocks])
        for ours, theirs in parts.items()
    }


def _fields(params: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The `model` group: what the shapes show, what the options say, and the originals' defaults."""
    low, shared = params["low"], "high" not in params
    vocabulary, width = params["embed"]["tokens"].shape
    puzzle_width = params["puzzles"].shape[1] if "puzzles" in params else 0
    mixer, learned = "mix_up_kernel" in low, "positions" in params["embed"]
    length = (
        params["embed"]["positions"].shape[0] if learned else low["mix_up_kernel"].shape[1] if mixer else None
    )
    usual_prefix = TRM_PREFIX if shared and puzzle_width else -(-puzzle_width // width)
    prefix, sequence = _lengths(length, options, usual_prefix, vocabulary)
    said = {name: options[name] for name in ("heads", "dtype")}
    cycles = {"h_cycles": 3 if shared else 2, "l_cycles": (6 if vocabulary == SUDOKU else 4) if shared else 2}
    return {
        "name": "hrm_act",
        "vocabulary": vocabulary,
        "sequence": sequence,
        "width": width,
        **said,
        "low_layers": len(low["up_kernel"]),
        "high_layers": len(params.get("high", low)["up_kernel"]),
        **{name: usual if options[name] is None else options[name] for name, usual in cycles.items()},
        **_inner(low, width),
        "puzzle_width": puzzle_width,
        "prefix": prefix,
        "positions": options["positions"] or ("learned" if learned else "none" if mixer else "rope"),
        "mixer": mixer,
        "shared": shared,
        "grad": "full_last" if shared else "one_step",
        "q_continue": not shared,
    }


def _lengths(
    length: int | None, options: dict[str, Any], usual_prefix: int, vocabulary: int
) -> tuple[int, int]:
    """Positions before the cells, and cells; `length` is their sum where shapes show it."""
    prefix, sequence = options["prefix"], options["sequence"]
    published = {k.published.vocabulary: k.published.length for k in KINDS.values() if k.published}
    if prefix is None:
        prefix = length - sequence if length and sequence else usual_prefix
    if sequence is None:
        sequence = length - prefix if length else published.get(vocabulary)
    if sequence is None:
        known = ", ".join(f"{v}: {s}" for v, s in published.items())
        raise RequestError(
            f"weights do not show the cells of a puzzle: give --sequence (known by vocabulary are {known}; "
            f"this one is {vocabulary})"
        )
    if prefix < 0 or sequence < 1 or (length and prefix + sequence != length):
        total = f"which the weights say are {length}" if length else "at least 0 and 1"
        raise RequestError(f"--prefix {prefix} and --sequence {sequence}: positions and cells, {total}")
    return prefix, sequence


def _inner(low: dict[str, np.ndarray], width: int) -> dict[str, Any]:
    """How the SwiGLU's inner width is named: the originals' rule where it gives what the file has."""
    inner = low["down_kernel"].shape[1]
    if models.HRMACTConfig(1, 1, width=width, heads=1, puzzle_width=0).inner(width) == inner:
        return {}
    return {"expansion": 1.5 * inner / width, "inner_multiple": 1}


def describe(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What a model.npz says of `model`."""
    about = {"task": "puzzle", "model": models.describe(model), "segments": options["segments"]}
    path = options["identifiers"]
    return about | ({"identifiers": dataset.digest(dataset.names(path))} if path else {})


def compute(
    model: Any, params: dict[str, Any], arrays: dict[str, np.ndarray], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Outputs of segments from a fresh state by their names in a golden file, and gradients of the first.

    In evaluation only the last segment of training halts.
    """
    inputs, labels, puzzle = (np.asarray(arrays[name], np.int32) for name in INPUTS)
    state, outputs = models.initialize(model, params, len(inputs)), {}
    for s in range(sum(name.startswith("out/logits_") for name in arrays)):
        out = _segment(model, params, inputs, puzzle, state)
        state = out.state
        outputs |= {
            f"out/logits_{s}": out.logits,
            f"out/q_halt_{s}": out.q_halt,
            f"out/q_continue_{s}": out.q_continue,
            f"out/halted_{s}": np.full(len(inputs), s + 1 >= options["segments"]),
        }
    loss, gradients = _differentiate(model, params, inputs, puzzle, labels)
    return {**outputs, "out/lm_loss_sum": loss * len(inputs)}, {"grad": gradients}


@functools.partial(jax.jit, static_argnums=0)
def _segment(
    model: Any, params: dict[str, Any], inputs: jax.Array, puzzle: jax.Array, state: models.State
) -> models.Output:
    """Tokens [B, S] of puzzles with ids [B], and the last segment's state."""
    rows = params["puzzles"][puzzle] if "puzzles" in params else None
    return model.apply({"params": params}, inputs, rows, state)


@functools.partial(jax.jit, static_argnums=0)
def _differentiate(
    model: Any, params: dict[str, Any], inputs: jax.Array, puzzle: jax.Array, labels: jax.Array
) -> Any:
    """Loss and gradients of a first segment: tokens and labels [B, S] of puzzles with ids [B].

    The loss is the mean over puzzles of their mean stablemax cross entropy, over the cells that have a label.
    """

    def loss(params):
        out = _segment(model, params, inputs, puzzle, models.initialize(model, params, len(inputs)))
        costs = jnp.sum(losses.stablemax_cross_entropy(out.logits, labels), axis=1)
        return jnp.mean(costs / jnp.maximum(jnp.sum(labels >= 0, axis=1), 1))

    return jax.value_and_grad(loss)(params)
