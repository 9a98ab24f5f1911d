"""Networks by name: the fields that describe one, what they may be, and the parameters that follow from them.

What trains a network, what writes its file and what reads it share these; nothing here needs jax.
"""

import dataclasses
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple

from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.artefacts.networks.denoisers import DenoiserConfig, PathConvNetConfig
from hrm_jax.artefacts.networks.poh import PoHConfig
from hrm_jax.artefacts.networks.predictors import (
    HRM8GPUV2Config,
    HRMConfig,
    RecurrentConfig,
    TransformerConfig,
)
from hrm_jax.artefacts.networks.puzzles import HRMACTConfig
from hrm_jax.artefacts.networks.shapes import Shapes


class Network(NamedTuple):
    """A network's config, and what shapes its parameters have by a config."""

    config: type
    shapes: Callable[[Any], Shapes]


PREDICTORS = {
    "hrm": Network(HRMConfig, HRMConfig.shapes),
    "hrm_8gpu_v2": Network(HRM8GPUV2Config, HRM8GPUV2Config.shapes),
    "lstm": Network(RecurrentConfig, lambda config: config.shapes(gates=4)),
    "gru": Network(RecurrentConfig, lambda config: config.shapes(gates=3)),
    "transformer": Network(TransformerConfig, TransformerConfig.shapes),
}
DENOISERS = {
    "path_unet": Network(DenoiserConfig, DenoiserConfig.shapes),
    "path_convnet": Network(PathConvNetConfig, PathConvNetConfig.shapes),
}
PUZZLES = {
    "hrm_act": Network(HRMACTConfig, HRMACTConfig.shapes),
    "poh": Network(PoHConfig, PoHConfig.shapes),
}
NETWORKS: dict[str, Network] = PREDICTORS | DENOISERS | PUZZLES
TASKS = (  # networks, and what may have trained them
    (PREDICTORS, ("prediction", "forecast")),
    (DENOISERS, ("diffusion",)),
    (("hrm_act",), ("puzzle",)),
    (("poh",), ("lattice",)),
)
# Of a puzzle network what no gradient trains: a row a puzzle, and the state before the first segment.
APART = ("puzzles", "initial/high", "initial/low")
# Fields that a model file may lack: files of before they were added, or of what only training reads.
OPTIONAL = {
    "features", "patch", "neighbours", "agent", "rollout", "horizon", "attention", "h_stream",
    "context_norm", "h_gain", "dtype", "state_dtype", "detach", "initial_state", "init_std", "remat",
    "unroll", "recurrence", "dropout", "grad", "grad_mode", "last_k",
}  # fmt: skip


def config(
    fields: Mapping[str, Any], known: Iterable[str] = NETWORKS, optional: Container[str] | None = None
) -> Any:
    """The config that a group `model` describes: `name`, of `known`, and fields; others are refused.

    With `optional`, only those fields may be left to their defaults.
    """
    fields, known = dict(fields), tuple(known)
    name = fields.pop("name", "")
    if not isinstance(name, str) or name not in known:
        raise RequestError(f'model.name = "{name}": one of {", ".join(known)}{nearest(str(name), known)}')
    kind = NETWORKS[name].config
    allowed = [field.name for field in dataclasses.fields(kind)]
    for field in fields:
        if field not in allowed:
            raise RequestError(
                f"model.{field} is no field of {name}{nearest(field, allowed)} ({', '.join(allowed)})"
            )
    for field in dataclasses.fields(kind):
        needed = field.default is dataclasses.MISSING or (optional is not None and field.name not in optional)
        if needed and field.name not in fields:
            raise RequestError(f"model.{field.name} is missing")
    return kind(**fields)


def count(params: Mapping[str, Any]) -> int:
    """How many parameters {"group/leaf": array} a network has, those that stand APART left out."""
    return sum(int(array.size) for name, array in params.items() if name not in APART)
