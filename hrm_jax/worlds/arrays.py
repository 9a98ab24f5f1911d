"""What code needs that is written once for the arrays of NumPy and, under jit, of jax."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any  # of NumPy or of jax
Scan = Callable[..., tuple[Any, Any]]  # the loop over time: `scan` or `jax.lax.scan`


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    inputs: tuple[np.ndarray, ...] | None = None,
    length: int = 0,
) -> tuple[Any, Any]:
    """As `jax.lax.scan`: `body(state, input) -> (state, output)`; the last state and the outputs, stacked.

    `inputs` are arrays whose first axis is time: `body` gets a tuple a step. Without them, `length` steps.
    An output is an array or None.
    """
    steps = itertools.repeat(None, length) if inputs is None else zip(*inputs, strict=True)
    outputs = []
    for now in steps:
        state, output = body(state, now)
        outputs.append(output)
    return state, np.stack(outputs) if outputs and outputs[0] is not None else None


def rounded(value: Array) -> Array:
    """`value`, a product mostly, rounded before it becomes a term of a sum.

    Compilers turn a * b + c into one instruction that rounds once, and a + 1 + 2 into a + 3, which NumPy does
    not: a contact that is exact there would here be missed by a rounding, and worlds whose obstacles interact
    are chaotic. A compiler cannot know that this minimum changes nothing.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value
    xp = value.__array_namespace__()
    return xp.minimum(value, xp.finfo(value.dtype).max)
