"""What a computation costs, counted before it is run: nothing is computed, allocated or written."""

import math
import re
import time
from collections.abc import Iterator
from typing import Any

import jax

from hrm_jax.artefacts.errors import RequestError, one_line
from hrm_jax.compiled import program, roofline
from hrm_jax.compiled.chips import Chip
from hrm_jax.training import sharding, step
from hrm_jax.training.experiment import Experiment

GIB = 2**30


def describe(experiment: Experiment, chip: Chip | None = None) -> str:
    """Of a run: devices, mesh, parameters, FLOPs and bytes of a step, samples, steps, memory; a line each.

    With the `chip` that the mesh is of, also whether it fits, its collectives, its kernels, and the least
    time that a step takes.
    """
    task, mesh, batch_size = experiment.task, experiment.mesh, experiment.config.batch_size
    update, layout, batch = lowered(experiment)
    flops, moved = matmul_cost(jax.make_jaxpr(update)(layout, batch).jaxpr)
    dense, apart = task.groups.split(layout.params)
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
    begun = time.monotonic()
    try:
        compiled = update.lower(layout, batch).compile()
    except jax.errors.JaxRuntimeError as error:
        return "\n".join([*lines, f"device memory      {_out_of_memory(error, chip, experiment)}"])
    seconds = time.monotonic() - begun
    memory = compiled.memory_analysis()
    arguments, scratch = (getattr(memory, f"{name}_size_in_bytes", 0) for name in ("argument", "temp"))
    line = f"{(arguments + scratch) / GIB:.2f} GiB estimated"
    if chip:
        line = f"{(arguments + scratch) / GIB:.2f} of {chip.memory / GIB:.2f} GiB"
    line += f" (state and batch {arguments / GIB:.2f}, activations {scratch / GIB:.2f})"
    if chip:
        line += ": fits" if arguments + scratch <= chip.memory else f": does not fit; {_smaller(experiment)}"
    lines.append(f"device memory      {line}")
    return "\n".join([*lines, *(_on_chip(compiled, chip, batch_size, seconds) if chip else ())])


def lowered(experiment: Experiment) -> tuple[step.Update, step.TrainState, Any]:
    """The update of an experiment, and the layouts of its arguments."""
    _, layout = step.initializer(experiment)
    batch = jax.eval_shape(lambda: experiment.task.batch(0))
    spread = jax.tree.map(lambda _: sharding.over_batch(experiment.mesh), batch)
    return step.make_update(experiment, layout), layout, sharding.laid_out(batch, spread)


def _on_chip(compiled: Any, chip: Chip, batch_size: int, seconds: float) -> Iterator[str]:
    """What the compiled program tells of a chip that it was compiled for."""
    found = program.read(compiled.as_text())
    yield f"compiled           in {seconds:.0f} s"
    for place, looped in (("outside loops", False), ("inside loops", True)):
        some = [one for one in roofline.collectives(found) if one.looped == looped]
        total = sum(one.times * one.bytes for one in some)
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(_counts(some).items()))
        yield f"collectives        {place} {f'{total / 1e6:,.1f} MB a step ({kinds})' if some else 'none'}"
    floor = roofline.floor(found, chip)
    yield f"kernels            {floor.kernels:,} a step"
    yield (
        f"floor of a step    {1e3 * floor.seconds:,.1f} ms, {floor.share:.0%} of it products at "
        f"{chip.flops / 1e12:.0f} TFLOP/s; at most {batch_size / floor.seconds:,.0f} samples/s"
    )


def _counts(collectives: list[roofline.Collective]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in collectives:
        counts[one.kind] = counts.get(one.kind, 0) + one.times
    return counts


def _out_of_memory(error: Exception, chip: Chip | None, experiment: Experiment) -> str:
    """What a compiler says that plans the memory and finds too little."""
    text = one_line(error)
    if "RESOURCE_EXHAUSTED" not in text:
        raise RequestError(f"the compiler gave up: {text[:300]}") from None
    used = re.search(r"Used ([\d.]+)([GM]) of ([\d.]+)([GM])", text)
    needs = f"{used.group(1)} {used.group(2)}iB of {used.group(3)} {used.group(4)}iB" if used else "too much"
    return f"{needs}: does not fit; {_smaller(experiment)}"


def _smaller(experiment: Experiment) -> str:
    """What makes a step smaller."""
    config = experiment.config
    remat = "--config.model.remat=true or " if config.model.get("remat") is False else ""
    return f"try {remat}--config.optimizer.accumulate={2 * config.optimizer.accumulate}"


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
