"""The state of a run, which is data only (a checkpoint is this tree), and one update of it.

An update: gradients, over micro-batches where the config asks, optimizer, moving average.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from hrm_jax.training import sharding
from hrm_jax.training.experiment import Experiment
from hrm_jax.training.task import Batch, Carry, Metrics, Params, SparseGradient, Task

INIT_STREAM, LOSS_STREAM = 100, 101  # fold_in numbers of the config's seed; a task's own are small


class TrainState(struct.PyTreeNode):
    """What changes from update to update."""

    step: jax.Array  # int32: updates done
    params: Any
    opt_state: Any  # of the densely trained parameters
    ema_params: Any  # of the densely trained parameters; () without averaging
    carry: Any  # () except for ACT

    @property
    def averaged(self) -> Any:
        """The parameters to evaluate and export."""
        return {**self.params, **self.ema_params} if self.ema_params else self.params


def initializer(experiment: Experiment) -> tuple[Callable[[], TrainState], TrainState]:
    """A function that makes the first state on the devices, and the shapes and shardings that it has."""
    config, mesh, task, *_ = experiment
    batch = jax.eval_shape(lambda: task.batch(0))

    def init() -> TrainState:
        key = jax.random.fold_in(jax.random.key(config.seed), INIT_STREAM)
        # Zeros: only the shapes matter, and to draw a batch here would compile the data into the program.
        params, carry = task.init(key, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), batch))
        # Of the types that an update gives back, else the second update would compile the program again.
        params, carry = jax.tree.map(lambda a: jax.lax.convert_element_type(a, a.dtype), (params, carry))
        dense, _ = task.groups.split(params)
        # A copy: the step donates its input, and one buffer cannot be given away twice.
        average = jax.tree.map(jnp.copy, dense) if config.ema_decay else ()
        opt_state = experiment.optimizer.dense.init(dense)
        return TrainState(jnp.zeros((), jnp.int32), params, opt_state, average, carry)

    shapes = jax.eval_shape(init)
    carried = jax.tree.map(lambda _: sharding.over_batch(mesh), shapes.carry)
    shardings = sharding.of_state(mesh, shapes).replace(carry=carried)
    return jax.jit(init, out_shardings=shardings), sharding.laid_out(shapes, shardings)


Update = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class Means(NamedTuple):
    """What the micro-batches of a batch are averaged over."""

    loss: jax.Array
    metrics: Metrics
    gradients: Params  # of the densely trained groups


class Rows(NamedTuple):
    """What has the batch as its leading axis: micro-batches of it are put together again."""

    carry: Carry
    gradients: dict[str, SparseGradient]


def make_update(experiment: Experiment, layout: TrainState) -> Update:
    """The jitted update: (state, batch) -> (state, scalars). The old state's buffers are reused."""
    config, mesh, task, _, optimizer = experiment

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), LOSS_STREAM)
        key = jax.random.fold_in(key, state.step)
        gradient = functools.partial(loss_gradient, task, state.params)
        means, rows = accumulate(gradient, state.carry, batch, key, config.optimizer.accumulate)
        dense, apart = task.groups.split(state.params)
        updates, opt_state = optimizer.dense.update(means.gradients, state.opt_state, dense)
        dense = optax.apply_updates(dense, updates)
        for name, sparse in rows.gradients.items():
            accepted = optax.tree.get(opt_state, "last_finite")
            apart[name] = optimizer.sparse(apart[name], sparse, state.step, accepted)
        average = state.ema_params
        if config.ema_decay:
            done = state.step + 1 if config.ema_correction else None
            average = moved_average(average, dense, config.ema_decay, done)
        scalars = means.metrics | {
            "loss": means.loss,
            "grad_norm": optax.tree.norm(means.gradients),
            "bad_steps": optax.tree.get(opt_state, "notfinite_count"),
        }
        return TrainState(state.step + 1, {**dense, **apart}, opt_state, average, rows.carry), scalars

    shardings = jax.tree.map(lambda leaf: leaf.sharding, layout)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, sharding.replicated(mesh)))


def loss_gradient(
    task: Task, params: Params, carry: Carry, batch: Batch, key: jax.Array
) -> tuple[Means, Rows]:
    """The task's loss on a batch, and its gradients; of a sparse embedding, those of the rows it read."""
    dense, apart = task.groups.split(params)
    read = task.groups.rows(params, carry, batch)
    trained = dense | {name: apart.pop(name)[rows] for name, rows in read.items()}

    def loss(trained):
        return task.loss({**trained, **apart}, carry, batch, key)

    (value, (carry, metrics)), gradients = jax.value_and_grad(loss, has_aux=True)(trained)
    sparse = {name: SparseGradient(rows, gradients.pop(name)) for name, rows in read.items()}
    return Means(value, metrics, gradients), Rows(carry, sparse)


def accumulate(
    gradient: Callable[[Carry, Batch, jax.Array], tuple[Means, Rows]],
    carry: Carry,
    batch: Batch,
    key: jax.Array,
    parts: int,
) -> tuple[Means, Rows]:
    """`gradient` over `batch` in `parts` micro-batches, one after another."""
    if parts == 1:
        return gradient(carry, batch, key)
    # Micro-batch i takes every parts-th example: each device then keeps the examples it has.
    cut = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(-1, parts, *a.shape[1:]), 1, 0), (carry, batch))

    def body(total, part):
        index, examples = part
        means, rows = gradient(*examples, jax.random.fold_in(key, index))
        return jax.tree.map(lambda t, a: t + a / parts, total, means), rows

    like, _ = jax.eval_shape(gradient, *jax.tree.map(lambda a: a[0], cut), key)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    means, rows = jax.lax.scan(body, zeros, (jnp.arange(parts), cut))
    return means, jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1).reshape(-1, *a.shape[2:]), rows)


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
