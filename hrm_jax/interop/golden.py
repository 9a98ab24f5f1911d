"""Golden files: inputs, weights, outputs and gradients of an original, and whether our model has the same."""

import pathlib
from types import ModuleType
from typing import Any

import jax
import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError, naming
from hrm_jax.interop import checkpoints, poh_controller, states
from hrm_jax.interop.states import State

OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
FAMILIES = {name: family for family in (*checkpoints.FAMILIES, poh_controller) for name in family.GOLDEN}
# Buffers, as their names end: files of gradients lack them.
UNTRAINED = ("H_init", "L_init", "puzzle_emb.weights", "log_temperature")


def check(path: pathlib.Path) -> int:
    """Print the largest relative error of every output and gradient of a golden file; 1 above tolerance."""
    arrays = _read(path)
    state, config = states.read_state(path)
    with naming(path):
        family = FAMILIES[config["family"]]
        options = checkpoints.options_of(family, {}, config)
        fields, params = checkpoints.convert_as(family, state, options)
        fields |= family.EXACT
        report, failed = _compare_model(family, fields, params, arrays, state, options)
        if failed and fields["name"] == "hrm":
            # Shapes do not show whether the original stopped the gradient from H into L; its gradients do.
            fields["detach"] = False
            other, still = _compare_model(family, fields, params, arrays, state, options)
            if not still:
                report, failed = other + ["(the H input is not detached)"], False
    print("\n".join(report))
    return int(failed)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    if path.suffix != ".npz" or not path.exists():
        raise RequestError(f"{path}: golden takes an existing .npz file (see shared/golden)")
    arrays = states.read_npz(path)
    name = str(arrays.get("config/family", ""))
    if "config/family" in arrays and name not in FAMILIES:
        raise RequestError(f'{path}: family "{name}"; allowed are {", ".join(FAMILIES)}')
    for key in ("config/family", *(FAMILIES[name].GOLDEN[name] if name else ())):
        if key not in arrays:
            raise RequestError(f'{path}: no golden {name or "file"}: "{key}" is missing')
    for key, array in arrays.items():
        if key.startswith(("in/", "out/", "grad")) and (array.dtype.kind not in "biuf" or not array.size):
            raise RequestError(f"{path}: {key} is {array.dtype} {list(array.shape)}; numbers are needed")
    return arrays


def _compare_model(
    family: ModuleType,
    fields: dict[str, Any],
    params: dict[str, Any],
    arrays: dict[str, np.ndarray],
    state: State,
    options: dict[str, Any],
) -> tuple[list[str], bool]:
    """Outputs, and gradients where the family's files have them: a report, and whether any fails."""
    with jax.default_matmul_precision("highest"):
        model = checkpoints.build(family, fields, params)
        outputs, gradients = family.compute(model, params, arrays, options)
    ours = {name: np.asarray(value) for name, value in outputs.items()}
    expected = {name: arrays[name] for name in ours if name in arrays}
    for prefix, tree in gradients.items():
        ours |= model_file.flatten(tree, f"{prefix}/")
        recorded = {states.unwrapped(key): a for key, a in states.under(arrays, f"{prefix}/").items()}
        zeros = {name: np.zeros_like(value) for name, value in state.items() if name.endswith(UNTRAINED)}
        _, converted = checkpoints.convert_as(family, {**zeros, **recorded}, options)
        converted.pop("puzzles", None)  # the table's, which has an optimiser of its own, are not recorded
        expected |= model_file.flatten(converted, f"{prefix}/")
    return compare(ours, expected)


def compare(ours: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> tuple[list[str], bool]:
    """A line for every name, and whether any error, relative to the largest magnitude, exceeds tolerance.

    Where exact zeros are expected (dead queries and keys) nothing but zeros will do. Another shape is a
    `RequestError`.
    """
    lines, failed = [], False
    for name, value in expected.items():
        if value.shape != ours[name].shape:
            made = list(ours[name].shape)
            raise RequestError(f"{name} is {list(value.shape)}; its inputs and weights make {made}")
        tolerance = GRADIENT_TOLERANCE if name.startswith("grad") else OUTPUT_TOLERANCE
        scale = np.abs(value.astype(np.float64)).max()
        tolerance = tolerance if scale else 0.0
        error = np.abs(ours[name].astype(np.float64) - value).max() / (scale or 1.0)
        bad = not error <= tolerance
        lines.append(f"{name:<24} {error:.2e}  (tolerance {tolerance:g}){'  FAILED' if bad else ''}")
        failed |= bad
    return lines, failed
