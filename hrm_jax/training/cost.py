"""What a computation costs, counted before it is run."""

import math
from collections.abc import Iterator
from typing import Any

import jax


def matmul_cost(jaxpr: Any, times: int = 1) -> tuple[int, int]:
    """FLOPs of all matmuls of a jaxpr, and the bytes they read and write; loops counted as often as they run.

    XLA's own cost analysis counts the body of a loop once, whatever its length.
    """
    flops = moved = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            flops += times * _dot_flops(equation)
            moved += times * sum(_bytes(v) for v in (*equation.invars, *equation.outvars))
        rounds = times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        for inner in _inner(equation.params):
            more = matmul_cost(inner, rounds)
            flops, moved = flops + more[0], moved + more[1]
    return flops, moved


def _dot_flops(equation: Any) -> int:
    (contracting, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracting)


def _bytes(variable: Any) -> int:
    return math.prod(variable.aval.shape) * variable.aval.dtype.itemsize


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs among the parameters of an equation."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if hasattr(item, "eqns"):
                yield item
            elif hasattr(item, "jaxpr"):
                yield item.jaxpr


def count(tree: Any) -> int:
    """Number of parameters."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
