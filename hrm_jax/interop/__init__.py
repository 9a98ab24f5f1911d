"""PyTorch checkpoints of the originals become our parameters; golden files prove the functions equal.

A module a family of originals, all with the same names: `recognises` a state_dict, `convert` it, `build` the
flax model, `describe` it in a model.npz, and compare it with a `golden` file.
"""

import json
import pathlib
from types import ModuleType
from typing import Any

import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.interop import denoiser, predictors, puzzles
from hrm_jax.interop.checks import FAMILIES
from hrm_jax.interop.states import State, read_npz, read_state

MODULES = (predictors, denoiser, puzzles)
GOLDEN = {family: module for module in MODULES for family in module.GOLDEN}


def convert(
    state: State, heads: int | None = None, k_step: int | None = None, **given: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `state_dict` of one of the originals as (model config fields, our parameter tree).

    A pure rearrangement, so a dict of gradients converts the same way. What is `given` is not to be read off
    the shapes; None is the family's default.
    """
    module = _module_of(state)
    return module.convert(state, _options(module, {"heads": heads, "k_step": k_step, **given}, {}))


def _module_of(state: State) -> ModuleType:
    for module in MODULES:
        if module.recognises(state):
            return module
    raise RequestError(f"unknown state_dict ({', '.join(list(state)[:3])}, …); known layouts are {FAMILIES}")


def _options(module: ModuleType, given: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """A family's options: what its file records, else what is given, else its defaults."""
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in module.OPTIONS:
            allowed = ", ".join(f"--{option}" for option in module.OPTIONS)
            raise RequestError(f"--{name} says nothing of {module.TITLE}; its options are {allowed}")
    recorded = {name: config[key] for key, name in module.RECORDED.items() if key in config}
    return {**module.OPTIONS, **given, **recorded}


def golden(path: pathlib.Path) -> int:
    """Print the largest relative error of every output and gradient of a golden file; 1 above tolerance."""
    arrays = _read_golden(path)
    state, config = read_state(path)
    module = GOLDEN[config["family"]]
    report, failed = module.golden(arrays, state, _options(module, {}, config))
    print("\n".join(report))
    return int(failed)


def _read_golden(path: pathlib.Path) -> dict[str, np.ndarray]:
    if path.suffix != ".npz" or not path.exists():
        raise RequestError(f"{path}: golden takes an existing .npz file (see shared/golden)")
    arrays = read_npz(path)
    family = str(arrays.get("config/family", ""))
    if "config/family" in arrays and family not in GOLDEN:
        raise RequestError(f'{path}: family "{family}"; allowed are {", ".join(GOLDEN)}')
    required = GOLDEN[family].GOLDEN[family] if family else ()
    for key in ("config/family", *required):
        if key not in arrays:
            raise RequestError(f'{path}: no golden {family or "file"}: "{key}" is missing')
    return arrays


def import_checkpoint(path: pathlib.Path, out: pathlib.Path, **given: Any) -> None:
    """Write the original's checkpoint `path` as our `model.npz`."""
    state, config = read_state(path)
    module = _module_of(state)
    options = _options(module, given, config)
    fields, params = module.convert(state, options)
    description = module.describe(module.build(fields, params), options)
    model_file.write(out, params, {**description, "source": path.name})
    count, fields = sum(a.size for a in model_file.flatten(params).values()), description["model"]
    print(f"{out}: {fields['name']}, {count:,} parameters, {json.dumps(fields)}")
