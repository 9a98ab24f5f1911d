"""The loop over time of code that runs on NumPy arrays, by `scan`, and under jit, by `jax.lax.scan`."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

Scan = Callable[..., tuple[Any, Any]]  # `scan` or `jax.lax.scan`


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
    steps = itertools.repeat(None, length or 0) if inputs is None else zip(*inputs, strict=True)
    outputs = []
    for now in steps:
        state, output = body(state, now)
        outputs.append(output)
    return state, np.stack(outputs) if outputs and outputs[0] is not None else None
