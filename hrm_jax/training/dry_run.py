"""`--dry_run`: what a run would cost, with nothing computed, allocated or written."""

import jax

from hrm_jax.training import cost, sharding, state, step
from hrm_jax.training.experiment import Experiment


def describe(experiment: Experiment) -> str:
    """Devices, mesh, parameters, FLOPs and bytes of a step, samples, steps and memory; a line each."""
    task, batch_size = experiment.task, experiment.config.batch_size
    _, layout = state.initializer(experiment)
    batch = jax.eval_shape(lambda: task.batch(0))
    batch = sharding.laid_out(batch, jax.tree.map(lambda _: sharding.over_batch(experiment.mesh), batch))
    update = step.make_update(experiment, layout)
    flops, moved = cost.matmul_cost(jax.make_jaxpr(update)(layout, batch).jaxpr)
    memory = update.lower(layout, batch).compile().memory_analysis()
    arguments, scratch = (getattr(memory, f"{name}_size_in_bytes", 0) for name in ("argument", "temp"))
    dense, apart = task.groups.split(layout.params)
    devices, samples = jax.devices(), task.samples_per_epoch
    lines = [
        f"devices            {len(devices)} x {devices[0].device_kind} ({devices[0].platform}), "
        f"{jax.process_count()} process(es)",
        f"mesh               {dict(experiment.mesh.shape)}",
        f"parameters         {cost.count(dense):,}",
        *(f"  {name:<17}{cost.count(group):,}" for name, group in dense.items()),
        *(f"counted apart      {cost.count(group):,} ({name})" for name, group in apart.items()),
        f"step               {flops:,} matmul FLOPs ({flops / batch_size:,.0f} a sample), "
        f"{moved:,} bytes through matmuls",
        f"batch              {batch_size:,} samples, {batch_size // len(devices):,} a device",
        f"samples per epoch  {f'{samples:,.0f}' if samples else 'stream'}",
        f"steps              {experiment.steps:,}",
        f"device memory      {(arguments + scratch) / 2**30:.2f} GiB estimated "
        f"(state and batch {arguments / 2**30:.2f}, activations {scratch / 2**30:.2f})",
    ]
    return "\n".join(lines)
