"""Shapes of parameters by name, and what the configs of networks check alike."""

import math
from collections.abc import Mapping
from typing import Any

from hrm_jax.artefacts.errors import RequestError

Shapes = dict[str, Any]  # tuples of sizes; None: any size


def affine(inputs: int, outputs: int, prefix: str = "") -> Shapes:
    """Of a linear layer: a matrix (inputs, outputs) and a bias."""
    return {f"{prefix}kernel": (inputs, outputs), f"{prefix}bias": (outputs,)}


def grouped(groups: Mapping[str, Shapes], lead: tuple[int, ...] = ()) -> Shapes:
    """{"group/leaf": shape}; `lead` axes precede all."""
    named = ((f"{group}/{leaf}", shape) for group, leaves in groups.items() for leaf, shape in leaves.items())
    return {name: (*lead, *shape) for name, shape in named}


def fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether an array of this shape is one that is wanted; no axis may be empty."""
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and math.prod(shape) > 0 and all(w in (None, s) for s, w in pairs)


def check_heads(width: int, heads: int, name: str = "heads") -> None:
    """Raise a one-line `RequestError` unless the heads divide the width."""
    if width % heads:
        raise RequestError(f"model.width = {width} is not divisible by model.{name} = {heads}")
