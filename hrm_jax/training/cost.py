"""What a computation costs, counted before it is run: nothing is computed, allocated or written."""

import math
from collections.abc import Iterator
from typing import Any

import jax

from hrm_jax.training import sharding, step
from hrm_jax.training.experiment import Experiment


def describe(experiment: Experiment) -> str:
    """Of a run: devices, mesh, parameters, FLOPs and bytes of a step, samples, steps, memory; a line each."""
    task, batch_size = experiment.task, experiment.config.batch_size
    _, layout = step.initializer(experiment)
    batch = jax.eval_shape(lambda: task.batch(0))
    batch = sharding.laid_out(batch, jax.tree.map(lambda _: sharding.over_batch(experiment.mesh), batch))
    update = step.make_update(experiment, layout)
    flops, moved = matmul_cost(jax.make_jaxpr(update)(layout, batch).jaxpr)
    memory = update.lower(layout, batch).compile().memory_analysis()
    arguments, scratch = (getattr(memory, f"{name}_size_in_bytes", 0) for name in ("argument", "temp"))
    dense, apart = task.groups.split(layout.params)
    devices, samples = jax.devices(), task.samples_per_epoch
    lines = [
        f"devices            {len(devices)} x {devices[0].device_kind} ({devices[0].platform}), "
        f"{jax.process_count()} process(es)",
        f"mesh               {dict(experiment.mesh.shape)}",
        f"parameters         {count(dense):,}",
        *(f"  {name:<17}{count(group):,}" for name, group in dense.items()),
        *(f"counted apart      {count(group):,} ({name})" for name, group in apart.items()),
        f"step               {flops:,} matmul FLOPs ({flops / batch_size:,.0f} a sample), "
        f"{moved:,} bytes through matmuls",
        f"batch              {batch_size:,} samples, {batch_size // len(devices):,} a device",
        f"samples per epoch  {f'{samples:,.0f}' if samples else 'stream'}",
        f"steps              {experiment.steps:,}",
        f"device memory      {(arguments + scratch) / 2**30:.2f} GiB estimated "
        f"(state and batch {arguments / 2**30:.2f}, activations {scratch / 2**30:.2f})",
    ]
    return "\n".join(lines)


def matmul_cost(jaxpr: Any) -> tuple[int, int]:
    """FLOPs of all matmuls of a jaxpr, and the bytes they read and write, as often as loops run them."""
    flops = moved = 0
    for equation, times in matmuls(jaxpr):
        flops += times * _dot_flops(equation)
        moved += times * sum(_bytes(v) for v in (*equation.invars, *equation.outvars))
    return flops, moved


def matmuls(jaxpr: Any, times: int = 1) -> Iterator[tuple[Any, int]]:
    """The equations of a jaxpr that are matmuls, and how often each is run by the loops around it.

    XLA's own cost analysis counts the body of a loop once, whatever its length.
    """
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation, times
        rounds = times * equation.params["length"] if equation.primitive.name == "scan" else times
        for inner in _inner(equation.params):
            yield from matmuls(inner, rounds)


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
