"""What a training step costs, before it is run: `--dry_run`."""

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.sharding import Mesh


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


def describe(
    mesh: Mesh, states: tuple, step: Any, batch: Any, samples: int, steps: int, batch_size: int
) -> str:
    """The report of a dry run; `step` is the jitted training step; the others are shapes.

    `states`: the train state, its parameters that are trained, and those that are counted apart.
    """
    state, trained, apart = states
    flops, moved = matmul_cost(jax.make_jaxpr(step)(state, batch).jaxpr)
    memory = step.lower(state, batch).compile().memory_analysis()
    arguments, scratch = (getattr(memory, f"{name}_size_in_bytes", 0) for name in ("argument", "temp"))
    devices = jax.devices()
    lines = [
        f"devices            {len(devices)} x {devices[0].device_kind} ({devices[0].platform}), "
        f"{jax.process_count()} process(es)",
        f"mesh               {dict(mesh.shape)}",
        f"parameters         {count(trained):,}",
        *(f"  {name:<17}{count(tree):,}" for name, tree in trained.items()),
        *(f"beside them        {count(tree):,} ({name})" for name, tree in apart.items()),
        f"step               {flops:,} matmul FLOPs ({flops / batch_size:,.0f} a sample), "
        f"{moved:,} bytes through matmuls",
        f"batch              {batch_size:,} samples, {batch_size // len(devices):,} a device",
        f"samples per epoch  {f'{samples:,.0f}' if samples else 'stream'}",
        f"steps              {steps:,}",
        f"device memory      {(arguments + scratch) / 2**30:.2f} GiB estimated "
        f"(state and batch {arguments / 2**30:.2f}, activations {scratch / 2**30:.2f})",
    ]
    return "\n".join(lines)


def shapes(tree: Any, shardings: Any) -> Any:
    """`jax.eval_shape` results with their shardings attached."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )
