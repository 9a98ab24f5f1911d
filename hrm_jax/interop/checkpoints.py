"""PyTorch checkpoints of the originals become our parameters.

A module a family of originals, all with the same names: they `convert` a state_dict whose names begin with
`MARKS`, `describe` in a model.npz what `models` builds of it, and `compute` what a golden file holds.
"""

import functools
import json
import pathlib
from types import ModuleType
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from hrm_jax.artefacts import model_file, networks
from hrm_jax.artefacts.errors import RequestError, naming
from hrm_jax.interop import denoiser, poh, predictors, puzzles
from hrm_jax.interop.states import State, read_state

FAMILIES = (predictors, denoiser, puzzles, poh)
LAYOUTS = (
    "known layouts are HRM-cloud's gated or recurrent (embed.*, L_block*.*, H_block*.*, head.*), lstm "
    "(lstm.*, fc.*), path denoiser v2 (map_enc.*, coord_enc.*, time_mlp.*, down1.*, …), HRM-ACT and TRM "
    "(embed_tokens.*, L_level.*, H_level.*, lm_head.*, …), PoH's maze networks "
    "(cell.*, out.*, ref.stack.* or tr.layers.*, …)"
)
RECORDED = {  # what golden files call our options
    **{name: name for name in ("heads", "k_step", "prefix", "sequence")},
    "H_cycles": "h_cycles",
    "L_cycles": "l_cycles",
    "halt_max_steps": "segments",
    "R": "passes",
    "T": "period",
}


def convert(state: State, **given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `state_dict` of one of the originals as (model config fields, our parameter tree).

    A pure rearrangement, so a dict of gradients converts the same way. What is `given` is not to be read off
    the shapes; None is the family's default.
    """
    family = _family_of(state)
    return convert_as(family, state, options_of(family, given))


def _family_of(state: State) -> ModuleType:
    for family in FAMILIES:
        if any(name.startswith(family.MARKS) for name in state):
            return family
    raise RequestError(f"unknown state_dict ({', '.join(list(state)[:3])}, …); {LAYOUTS}")


def options_of(
    family: ModuleType, given: dict[str, Any], config: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A family's options: what its file's `config` records, else what is given, else its defaults."""
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in family.OPTIONS:
            allowed = ", ".join(f"--{option}" for option in family.OPTIONS)
            raise RequestError(f"--{name} says nothing of {family.TITLE}; its options are {allowed}")
    recorded = {RECORDED[key]: value for key, value in (config or {}).items() if key in RECORDED}
    for name, value in recorded.items():
        if type(value) is not int:
            raise RequestError(f"its config says {name} = {value!r:.60}; a whole number is needed")
    return {
        **family.OPTIONS,
        **given,
        **{name: recorded[name] for name in family.OPTIONS if name in recorded},
    }


def convert_as(
    family: ModuleType, state: State, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`convert` a state_dict of `family`; names and shapes that are not the family's are a `RequestError`.

    So is a name of which nothing is made.
    """
    read = _Read(state)
    try:
        converted = family.convert(read, options)
    except KeyError as error:
        raise RequestError(f"the state_dict lacks {error}; {LAYOUTS}") from None
    except (ValueError, IndexError, TypeError) as error:  # a scalar has no length, an array is no number
        raise RequestError(f"shapes of the state_dict do not fit ({error}); {LAYOUTS}") from None
    if left := [name for name in state if name not in read.names]:
        raise RequestError(
            f"the state_dict has, in addition to what is known, {', '.join(left[:3])}; {LAYOUTS}"
        )
    return converted


class _Read(dict):
    """A state_dict that knows which of its weights were read."""

    def __init__(self, state: State):
        super().__init__(state)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        found = super().__getitem__(name)
        self.names.add(name)
        return found


def build(family: ModuleType, fields: dict[str, Any], params: dict[str, Any]) -> Any:
    """The flax model; a one-line `RequestError` unless `params` have the names and shapes that it expects."""
    model = family.models.build(fields)
    rows = {"identifiers": len(params["puzzles"])} if "puzzles" in params else {}
    initial = functools.partial(family.models.initial_params, model, **rows)
    expected = flatten_dict(jax.eval_shape(initial, jax.random.key(0)), sep="/")
    leaves = model_file.flatten(params)
    for leaf in sorted(expected.keys() ^ leaves.keys()):
        problem = "lacks" if leaf in expected else "has, in addition to what is known,"
        raise RequestError(f"the state_dict {problem} {leaf}; {LAYOUTS}")
    for leaf, wanted in expected.items():
        if leaves[leaf].shape != wanted.shape:
            found = f"{leaf} has shape {list(leaves[leaf].shape)}"
            raise RequestError(f"{found}, {fields['name']} wants {list(wanted.shape)}")
    return model


def import_checkpoint(path: pathlib.Path, out: pathlib.Path, **given: Any) -> None:
    """Write the original's checkpoint `path` as our `model.npz`."""
    model_file.check_writable(out, [path])
    state, config = read_state(path)
    with naming(path):
        family = _family_of(state)
        options = options_of(family, given, config)
        fields, params = convert_as(family, state, options)
        for name, value in given.items():
            if value is not None and fields.get(name, value) != value:
                raise RequestError(f"--{name} {value}: the file says {fields[name]}")
        description = family.describe(build(family, fields, params), options)
        model_file.write(out, params, {**description, "source": path.name})
    count, fields = networks.count(model_file.flatten(params)), description["model"]
    print(f"{out}: {fields['name']}, {count:,} parameters, {json.dumps(fields)}")
