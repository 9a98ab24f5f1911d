"""What a computation costs, counted before it is run: nothing is computed, allocated or written."""

import collections
import math
from collections.abc import Iterator
from typing import Any

import jax

from hrm_jax.compiled.chips import GIB, Chip
from hrm_jax.training import compiling
from hrm_jax.training.compiling import Needs
from hrm_jax.training.experiment import Experiment


def describe(experiment: Experiment, chip: Chip | None = None) -> str:
    """Of a run: devices, mesh, parameters, FLOPs and bytes of a step, samples, steps, memory; a line each.

    With the `chip` that the mesh is of, also whether it fits, its collectives, its kernels, and the least
    time that a step takes.
    """
    task, mesh, batch_size = experiment.task, experiment.mesh, experiment.config.batch_size
    laid = compiling.laid(experiment)
    flops, moved = matmul_cost(jax.make_jaxpr(laid.update)(laid.state, laid.batch).jaxpr)
    dense, apart = task.groups.split(laid.state.params)
    device, samples = mesh.devices.flat[0], task.samples_per_epoch
    lines = [
        f"devices            {mesh.size} x {device.device_kind} ({device.platform}), "
        f"{jax.process_count()} process(es)",
        f"mesh               {dict(mesh.shape)}",
        f"parameters         {count(dense):,}",
        *(f"  {name:<17}{count(group):,}" for name, group in dense.items()),
        *(f"counted apart      {count(group):,} ({name})" for name, group in apart.items()),
        f"step               {flops:,} matmul FLOPs ({flops / batch_size:,.0f} a sample), "
        f"{moved:,} bytes through matmuls",
        f"batch              {batch_size:,} samples, {batch_size // mesh.size:,} a device",
        f"samples per epoch  {f'{samples:,.0f}' if samples else 'stream'}",
        f"steps              {experiment.steps:,}",
    ]
    found = compiling.needs(laid, chip)
    lines.append(f"device memory      {_memory(found, chip, experiment)}")
    return "\n".join([*lines, *(_on_chip(found, chip, batch_size) if chip else ())])


def _memory(found: Needs, chip: Chip | None, experiment: Experiment) -> str:
    parts = f"(state and batch {found.arguments / GIB:.2f}, activations {found.scratch / GIB:.2f})"
    if chip is None:
        return f"{found.memory / GIB:.2f} GiB estimated {parts}"
    line = f"{found.memory / GIB:.2f} of {chip.memory / GIB:.2f} GiB {parts}"
    if found.floor and found.memory <= chip.memory:
        return f"{line}: fits"
    config, tries = experiment.config, []
    if config.model.get("remat") is False:  # with it, auto is a scan
        tries = ["--config.model.recurrence=scan"] * (config.model.get("recurrence") == "auto")
        tries.append("--config.model.remat=true")
    tries.append(f"--config.optimizer.accumulate={2 * config.optimizer.accumulate}")
    return f"{line}: does not fit, try {' or '.join(tries)}"


def _on_chip(found: Needs, chip: Chip, batch_size: int) -> Iterator[str]:
    """What the compiled program tells of a chip that it was compiled for."""
    yield f"compiled           in {found.seconds:.0f} s"
    if found.floor is None:
        return
    for place, looped in (("outside loops", False), ("inside loops", True)):
        kinds = collections.Counter()
        for one in found.sent:
            kinds[one.kind] += one.times * (one.looped == looped)
        named = ", ".join(f"{times:,} {kind}" for kind, times in sorted(kinds.items()) if times)
        size = f"{found.megabytes(looped):,.1f} MB a step ({named})" if named else "none"
        yield f"collectives        {place} {size}"
    floor = found.floor
    yield f"kernels            {floor.kernels:,} a step"
    yield (
        f"floor of a step    {1e3 * floor.seconds:,.1f} ms, {floor.share:.0%} of it products at "
        f"{chip.flops / 1e12:.0f} TFLOP/s; at most {batch_size / floor.seconds:,.0f} samples/s"
    )


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
        rounds = times
        if equation.primitive.name == "scan":
            rounds *= equation.params["length"]
        elif equation.primitive.name == "shard_map":  # the shapes in it are those of one device
            rounds *= equation.params["mesh"].size
        inside = [list(matmuls(inner, rounds)) for inner in _inner(equation.params)]
        if equation.primitive.name == "cond":  # one branch is run, or compiled at all: the largest, at most
            inside = [max(inside, key=lambda branch: sum(times * _dot_flops(dot) for dot, times in branch))]
        for found in inside:
            yield from found


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
