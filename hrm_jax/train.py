"""Train what a config describes. The same command resumes a run; SIGTERM and Ctrl-C save it and exit.

python -m hrm_jax.train --config quickstart --workdir runs/quickstart
python -m hrm_jax.train --config configs/hrm_full.py --workdir runs/hrm_full --config.batch_size=4096
python -m hrm_jax.train --config configs/hrm_full.py --dry_run
"""

import argparse
import functools
import math
import os
import pathlib
import signal
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console import memory as allocator
from hrm_jax.console.parser import Parser, program, run_command
from hrm_jax.tasks import TASKS
from hrm_jax.tasks.base import Batch, Task, split
from hrm_jax.training import checkpoint, command_line, configs, cost, metrics, optimizer, sharding

FIELDS = """
--config.FIELD=VALUE sets any field of the config, such as --config.steps=2000 or --config.model.width=128.
configs/base.py ({folder}) has all of them with their meanings and defaults. The experiments there:
{names}.
""".format(folder=configs.CONFIGS, names=textwrap.fill(", ".join(configs.names()), 110))

INIT_STREAM, LOSS_STREAM = 100, 101  # fold_in numbers; a task's own streams are small
PROFILE_AFTER = 10  # steps; compilation and warm-up stay out of the trace


class TrainState(struct.PyTreeNode):
    """All that a run is, as data: a checkpoint is this tree."""

    step: jax.Array  # int32: updates done
    params: Any
    opt_state: Any  # of the trained parameters
    ema_params: Any  # of the trained parameters; () without averaging
    carry: Any  # () except for ACT

    @property
    def averaged(self) -> Any:
        """The parameters to evaluate and export."""
        return {**self.params, **self.ema_params} if self.ema_params else self.params


class NonFinite(RuntimeError):
    """So many updates in a row were not finite that the run is lost."""


def train(config: ConfigDict, workdir: pathlib.Path) -> TrainState:
    """Train `config` in `workdir` to its end, from wherever the workdir stands."""
    mesh = sharding.make_mesh(config.mesh.fsdp)
    task, steps, tx, schedule = build(config, mesh)
    first = jax.process_index() == 0
    if first:
        checkpoint.claim(workdir, config.to_dict())
    checkpoints = checkpoint.Checkpoints(workdir, config.checkpoint.keep, config.to_dict())
    start = checkpoints.latest() or 0
    init, layout = state_maker(config, task, tx, mesh)
    state = checkpoints.restore(start, layout) if start else init()
    train_step = make_step(config, task, tx, layout, mesh)
    writer = metrics.Writer(workdir, start, steps, enabled=first)
    writer.say(
        f"{workdir}: {cost.count(split(task, state.params)[0]):,} parameters, {steps:,} steps"
        + (f", resumed at step {start:,}" if start else "")
    )
    pace = metrics.Pace(config.batch_size)
    patience = metrics.Patience(config.early_stopping, *from_first(metrics.best_so_far(writer.history)))
    stop, trace = StopSignal(), Trace(config.profile_steps, start, workdir)
    pending, step = None, start

    while step < steps and not stop.agreed(step, config.log_every) and not patience.exhausted:
        state, scalars = train_step(state, task.batch(step))
        step += 1
        trace.after(step, scalars)
        if step == start + 1:
            jax.block_until_ready(scalars)  # compilation is not part of the pace
            pace.restart(step)
        if pending:
            report(writer, config, *pending)
            pending = None
        if step % config.log_every == 0 or step == steps:
            # Read one step late, so that the device never waits for the host.
            pending = (step, {**scalars, "learning_rate": schedule(step - 1)}, pace.rate(step))
        evaluated = None
        if step % config.eval_every == 0 or step == steps:
            evaluated = {name: float(value) for name, value in task.evaluate(state.averaged).items()}
            writer.write(step, evaluated)
            writer.say(f"step {step:,}: {metrics.summary(evaluated)}")
            patience.see(evaluated["eval/loss"])
        if step % config.checkpoint.every == 0 or step == steps:
            checkpoints.save(step, state, evaluated)
            evaluated = {}
        if evaluated is not None:
            pace.restart(step)
    if pending:
        report(writer, config, *pending)
    checkpoints.save(step, state, None)
    checkpoints.close()
    writer.say(closing(step, steps, stop, patience))
    writer.close()
    return state


def build(
    config: ConfigDict, mesh: Mesh, dry: bool = False
) -> tuple[Task, int, optax.GradientTransformation, optax.Schedule]:
    """Task, number of steps, optimizer and learning rate of a config; a wrong field is a `RequestError`.

    `dry`: data that are not there may be left out, for nothing will be computed.
    """
    for name in ("batch_size", "log_every", "eval_every"):
        if config[name] < 1:
            raise RequestError(f"{name} = {config[name]}: at least 1")
    if not 0 <= config.ema_decay < 1:
        raise RequestError(f"ema_decay = {config.ema_decay}: 0 (no average) to under 1")
    if config.checkpoint.every < 1 or config.checkpoint.keep < 1:
        raise RequestError("checkpoint.every and checkpoint.keep: at least 1")
    if config.task not in TASKS:
        raise RequestError(f'task = "{config.task}": one of {", ".join(TASKS)}')
    task = TASKS[config.task](config.to_dict() | {"dry": dry}, mesh)
    steps = count_steps(config, task)
    tx, schedule = optimizer.make(optimizer.OptimizerConfig(**config.optimizer), steps, config.batch_size)
    return task, steps, tx, schedule


def count_steps(config: ConfigDict, task: Task) -> int:
    """Updates of the whole run: `steps`, or `epochs` of fixed data.

    The last short batch of an epoch counts, unless the task's epochs run into each other.
    """
    if (config.steps > 0) == (config.epochs > 0):
        raise RequestError(f"steps = {config.steps}, epochs = {config.epochs}: exactly one must be above 0")
    if config.steps:
        return config.steps
    if not task.samples_per_epoch:
        raise RequestError(f"epochs = {config.epochs} needs fixed data: data.source=fixed, or set steps")
    if task.endless:
        return int(config.epochs * task.samples_per_epoch // config.batch_size)
    return config.epochs * -(-task.samples_per_epoch // config.batch_size)


def state_maker(config: ConfigDict, task: Task, tx: optax.GradientTransformation, mesh: Mesh):
    """A function that makes the first state on the devices, and the shapes and shardings it has."""
    like = jax.eval_shape(lambda: task.batch(0))

    def init() -> TrainState:
        key = jax.random.fold_in(jax.random.key(config.seed), INIT_STREAM)
        # Zeros: only the shapes matter, and to draw a batch here would compile the data into the program.
        params, carry = task.init(key, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like))
        trained, _ = split(task, params)
        # A copy: the step donates its input, and one buffer cannot be given away twice.
        average = jax.tree.map(jnp.copy, trained) if config.ema_decay else ()
        return TrainState(jnp.zeros((), jnp.int32), params, tx.init(trained), average, carry)

    shapes = jax.eval_shape(init)
    of_slots = jax.tree.map(lambda _: sharding.over_batch(mesh), shapes.carry)
    shardings = sharding.of_state(mesh, shapes).replace(carry=of_slots)
    return jax.jit(init, out_shardings=shardings), cost.shapes(shapes, shardings)


def make_step(
    config: ConfigDict, task: Task, tx: optax.GradientTransformation, layout: TrainState, mesh: Mesh
):
    """The jitted update: (state, batch) -> (state, scalars). The old state's buffers are reused."""
    move_rows = optimizer.make_table(
        optimizer.OptimizerConfig(**config.optimizer), count_steps(config, task), config.batch_size
    )

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(config.seed), LOSS_STREAM)
        key = jax.random.fold_in(key, state.step)
        gradient = functools.partial(trained_gradient, task)
        (loss, ((carry, touched), scalars)), gradients = accumulate(
            gradient, state, batch, key, config.optimizer.accumulate
        )
        trained, apart = split(task, state.params)
        updates, opt_state = tx.update(gradients, state.opt_state, trained)
        params = optax.apply_updates(trained, updates)
        if touched:
            apart[task.table] = move_rows(apart[task.table], *touched, state.step)
        average = state.ema_params
        if config.ema_decay:
            done = state.step + 1 if config.ema_correction else None
            average = moved_average(average, params, config.ema_decay, done)
        scalars |= {
            "loss": loss,
            "grad_norm": optax.tree.norm(gradients),
            "bad_steps": optax.tree.get(opt_state, "notfinite_count"),
        }
        return TrainState(state.step + 1, {**params, **apart}, opt_state, average, carry), scalars

    shardings = jax.tree.map(lambda leaf: leaf.sharding, layout)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, sharding.replicated(mesh)))


def trained_gradient(task: Task, params: Any, carry: Any, batch: Batch, key: jax.Array):
    """((loss, ((carry, touched), scalars)), gradients of what is trained).

    `touched`, () without a table: rows of the table that the batch read [B], and their gradients [B, E].
    """
    trained, apart = split(task, params)
    index = task.rows(carry, batch) if task.table in apart else None
    if index is not None:
        trained[task.table] = apart.pop(task.table)[index]

    def loss(trained):
        return task.loss({**trained, **apart}, carry, batch, key)

    (value, (carry, scalars)), gradients = jax.value_and_grad(loss, has_aux=True)(trained)
    touched = () if index is None else (index, gradients.pop(task.table))
    return (value, ((carry, touched), scalars)), gradients


def moved_average(average: Any, params: Any, decay: float, updates: jax.Array | None) -> Any:
    """The exponential moving average after `updates` updates, given the one before the last of them.

    What is stored is corrected for its bias: the weights (1 - decay) * decay^age of the parameters so far,
    divided by their sum. Without `updates` nothing is corrected, and the initial parameters, which the
    average began with, stay part of it: decay^updates (docs/faults.md#f26).
    """
    share = 1 - decay
    if updates is not None:
        # 1 - decay^updates without the cancellation that float32 suffers in the first updates.
        share = share / -jnp.expm1(updates * math.log(decay))
    return optax.incremental_update(params, average, share)


def accumulate(gradient, state: TrainState, batch: Batch, key: jax.Array, parts: int):
    """`gradient` over `batch` in `parts` micro-batches, one after another; losses and gradients are means."""
    if parts == 1:
        return gradient(state.params, state.carry, batch, key)
    # Micro-batch i takes every parts-th example: each device then keeps the examples it has.
    cut = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(-1, parts, *a.shape[1:]), 1, 0), (state.carry, batch))

    def body(total, part):
        index, (carry, examples) = part
        (loss, (carry, scalars)), gradients = gradient(
            state.params, carry, examples, jax.random.fold_in(key, index)
        )
        mean = jax.tree.map(lambda a: a / parts, (loss, scalars, gradients))
        return jax.tree.map(jnp.add, total, mean), carry

    like = jax.eval_shape(gradient, state.params, *jax.tree.map(lambda a: a[0], cut), key)
    (loss, (_, scalars)), gradients = like
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), (loss, scalars, gradients))
    (loss, scalars, gradients), carry = jax.lax.scan(body, zeros, (jnp.arange(parts), cut))
    carry = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1).reshape(-1, *a.shape[2:]), carry)
    return (loss, (carry, scalars)), gradients


def report(writer: metrics.Writer, config: ConfigDict, step: int, scalars: dict, rate: float) -> None:
    """Write a logged step, and stop a run whose updates have long been non-finite."""
    values = {**{name: float(value) for name, value in scalars.items()}, "samples_per_second": rate}
    bad = int(values.pop("bad_steps"))
    writer.write(step, values)
    writer.progress(step, values)
    if bad >= config.optimizer.max_bad_steps:
        raise NonFinite(
            f"step {step}: the last {bad} updates were not finite and were skipped "
            f"(optimizer.max_bad_steps = {config.optimizer.max_bad_steps}); the parameters are as before them"
        )


def from_first(values: tuple[float, ...]) -> tuple[float, ...]:
    """What process 0 has, on every process: only it reads the run's past, and all must act on it alike."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    return tuple(float(v) for v in multihost_utils.broadcast_one_to_all(np.array(values, np.float32)))


class StopSignal:
    """SIGTERM or Ctrl-C ask the loop to save and end; a second Ctrl-C kills."""

    def __init__(self):
        self.name = ""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: Any) -> None:
        self.name = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def agreed(self, step: int, every: int) -> bool:
        """Whether to stop now. Several processes stop together, at a multiple of `every` steps."""
        if jax.process_count() == 1:
            return bool(self.name)
        if step % every:
            return False
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.array(bool(self.name))).any())


class Trace:
    """A profiler trace of `length` steps, begun `PROFILE_AFTER` steps after the start; 0: none."""

    def __init__(self, length: int, start: int, workdir: pathlib.Path):
        self._begin = start + PROFILE_AFTER if length else None
        self._end = start + PROFILE_AFTER + length
        self._folder = str(workdir / "profile")

    def after(self, step: int, scalars: dict) -> None:
        """To be called after every step."""
        if self._begin is None or step not in (self._begin, self._end):
            return
        jax.block_until_ready(scalars)
        if step == self._begin:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
        else:
            jax.profiler.stop_trace()


def closing(step: int, steps: int, stop: StopSignal, patience: metrics.Patience) -> str:
    """The last line of a run: why it ended."""
    if step == steps:
        return f"done: {steps:,} steps"
    if patience.exhausted:
        return f"stopped early at step {step:,}: no better held-out loss in {patience.limit} evaluations"
    return f"{stop.name or 'another process'}: saved at step {step:,}; the same command resumes"


def enable_compile_cache(folder: str) -> None:
    """Keep compiled programs between runs; the user's JAX_COMPILATION_CACHE_DIR wins."""
    if folder and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def join_processes(options: argparse.Namespace) -> None:
    """Make this process one of several, when the options ask for it."""
    if options.coordinator:
        if options.num_processes is None or options.process_id is None:
            raise RequestError("--coordinator needs --num_processes and --process_id")
        jax.distributed.initialize(options.coordinator, options.num_processes, options.process_id)
    elif options.distributed:
        jax.distributed.initialize()


def dry_run(config: ConfigDict) -> str:
    """What a run would cost; nothing is allocated."""
    mesh = sharding.make_mesh(config.mesh.fsdp)
    task, steps, tx, _ = build(config, mesh, dry=True)
    _, layout = state_maker(config, task, tx, mesh)
    batch = jax.eval_shape(lambda: task.batch(0))
    batch = cost.shapes(batch, jax.tree.map(lambda _: sharding.over_batch(mesh), batch))
    step = make_step(config, task, tx, layout, mesh)
    trained, apart = split(task, layout.params)
    return cost.describe(
        mesh, (layout, trained, apart), step, batch, task.samples_per_epoch, steps, config.batch_size
    )


def parse(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, ConfigDict]:
    """The options of a command line, and its config with the fields that are set there."""
    parser = Parser(program("train"), __doc__, epilog=FIELDS)
    add = parser.add_argument
    add("--config", metavar="NAME|FILE[:VARIANT]", help="the experiment; --config.FIELD=VALUE sets a field")
    add("--workdir", type=pathlib.Path, help="where the run lives; the same folder resumes it")
    add("--dry_run", action="store_true", help="print what the run costs, and exit")
    add("--distributed", action="store_true", help="several processes, found by Slurm, MPI or the TPU pod")
    add("--coordinator", metavar="HOST:PORT", help="of process 0, to name the processes by hand")
    add("--num_processes", type=int, metavar="N", help="with --coordinator: how many")
    add("--process_id", type=int, metavar="I", help="with --coordinator: which one this is")
    options, fields = parser.parse_known_args(arguments)
    config = command_line.read_config(options.config, fields) if options.config else None
    if config is None or not (options.workdir or options.dry_run):
        raise RequestError("--config FILE and --workdir FOLDER are needed (or --config FILE --dry_run)")
    return options, config


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module docstring."""
    options, config = parse(arguments)
    allocator.keep_freed_memory()
    enable_compile_cache(config.compile_cache)
    join_processes(options)
    if options.dry_run:
        print(dry_run(config))
        return 0
    try:
        train(config, options.workdir)
    except NonFinite as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
