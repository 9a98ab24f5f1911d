"""HRM-ACT and TRM (attention and mixer): the puzzle networks; names as in their released checkpoints."""

import functools
import re
from typing import Any

import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.interop import checks
from hrm_jax.interop.states import State, under, unwrapped
from hrm_jax.puzzles.kinds import KINDS

TITLE = "HRM-ACT and TRM"
_REQUIRED = (
    "in/inputs",
    "in/labels",
    "in/puzzle_identifiers",
    "out/logits_0",
    "out/q_halt_0",
    "out/lm_loss_sum",
)
GOLDEN = {"hrm-act": (*_REQUIRED, "out/q_continue_0", "out/halted_0"), "trm": _REQUIRED}
OPTIONS = {  # None: by the rules below
    "heads": 8,
    "h_cycles": None,
    "l_cycles": None,
    "sequence": None,
    "prefix": None,
    "positions": None,
    "segments": 16,
    "dtype": "bfloat16",
}
RECORDED = {
    "heads": "heads",
    "H_cycles": "h_cycles",
    "L_cycles": "l_cycles",
    "sequence": "sequence",
    "prefix": "prefix",
    "halt_max_steps": "segments",
}
SUDOKU = 11
TRM_PREFIX = 16
UNTRAINED = ("H_init", "L_init", "puzzle_emb.weights")  # buffers: files of gradients lack them


def recognises(state: State) -> bool:
    """Whether these are the names of a puzzle network."""
    return any(key.startswith(("lm_head.", "L_level.")) for key in state)


@checks.one_line_errors
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
    from hrm_jax.models.hrm_act import HRMACTConfig

    inner = low["down_kernel"].shape[1]
    if HRMACTConfig(1, 1, width=width, heads=1, puzzle_width=0).inner(width) == inner:
        return {}
    return {"expansion": 1.5 * inner / width, "inner_multiple": 1}


def build(fields: dict[str, Any], params: dict[str, Any]) -> Any:
    """The flax model; parameters that do not fit it are a `RequestError`."""
    import jax

    from hrm_jax.models import hrm_act

    model = hrm_act.build(fields)
    identifiers = len(params["puzzles"]) if "puzzles" in params else 1
    initial = functools.partial(hrm_act.initial_params, model, identifiers=identifiers)
    checks.check_parameters(jax.eval_shape(initial, jax.random.key(0)), params, fields["name"])
    return model


def describe(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What a model.npz says of `model`."""
    from hrm_jax.models import hrm_act

    return {"task": "puzzle", "model": hrm_act.describe(model), "segments": options["segments"]}


def golden(arrays: dict[str, np.ndarray], state: State, options: dict[str, Any]) -> tuple[list[str], bool]:
    """Compare segments from a fresh state, and gradients of the first: a report, and whether any fails."""
    options = {**options, "dtype": "float32"}
    fields, params = convert(state, options)
    untrained = {name: np.zeros_like(state[name]) for name in UNTRAINED if name in state}
    recorded = {unwrapped(key): a for key, a in under(arrays, "grad/").items()}
    gradients = model_file.flatten(convert({**untrained, **recorded}, options)[1])
    gradients.pop("puzzles", None)  # the table's, which has an optimiser of its own, are not recorded
    segments = sum(name.startswith("out/logits_") for name in arrays)
    given = [
        np.asarray(arrays[f"in/{name}"], np.int32) for name in ("inputs", "labels", "puzzle_identifiers")
    ]
    ours = _compute(build(fields, params), params, given, segments, options["segments"])
    expected = {name: np.asarray(arrays[name]) for name in ours if name in arrays}
    return checks.compare(ours, expected | {f"grad/{name}": a for name, a in gradients.items()})


def _compute(
    model: Any, params: dict[str, Any], given: list[np.ndarray], segments: int, last: int
) -> dict[str, np.ndarray]:
    """Outputs and gradients by the names they have in the report; in evaluation only segment `last` halts."""
    import jax

    from hrm_jax.models import hrm_act

    inputs, labels, puzzle = given
    result = {}
    with jax.default_matmul_precision("highest"):
        state = hrm_act.initialize(model, params, len(inputs))
        for s in range(segments):
            out = _segment(model)(params, inputs, puzzle, state)
            state = out.state
            result |= {
                f"out/logits_{s}": out.logits,
                f"out/q_halt_{s}": out.q_halt,
                f"out/q_continue_{s}": out.q_continue,
                f"out/halted_{s}": np.full(len(inputs), s + 1 >= last),
            }
        loss, gradients = _differentiated(model)(params, inputs, puzzle, labels)
    result["out/lm_loss_sum"] = loss * len(inputs)
    result |= {f"grad/{name}": leaf for name, leaf in model_file.flatten(gradients).items()}
    return {name: np.asarray(value) for name, value in result.items()}


@functools.cache
def _segment(model: Any) -> Any:
    """(params, inputs [B, S], ids [B], state) -> Output, compiled once a model."""
    import jax

    def segment(params, inputs, puzzle, state):
        rows = params["puzzles"][puzzle] if "puzzles" in params else None
        return model.apply({"params": params}, inputs, rows, state)

    return jax.jit(segment)


@functools.cache
def _differentiated(model: Any) -> Any:
    """(params, inputs [B, S], ids [B], labels [B, S]) -> (loss, gradients) of a first segment.

    The loss is the mean over puzzles of their mean stablemax cross entropy, over the cells that have a label.
    """
    import jax
    import jax.numpy as jnp

    from hrm_jax.models import hrm_act, losses

    def loss(params, inputs, puzzle, labels):
        out = _segment(model)(params, inputs, puzzle, hrm_act.initialize(model, params, len(inputs)))
        costs = jnp.sum(losses.stablemax_cross_entropy(out.logits, labels), axis=1)
        return jnp.mean(costs / jnp.maximum(jnp.sum(labels >= 0, axis=1), 1))

    return jax.jit(jax.value_and_grad(loss))
