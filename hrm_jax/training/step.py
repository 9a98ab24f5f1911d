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
from hrm_jax.training.task import Batch, Carry, Mean, Metrics, Params, SparseGradient, Task

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


class Share(NamedTuple):
    """What has the examples of a batch as its leading axis: devices and micro-batches cut it."""

    carry: Carry
    batch: Batch
    keys: jax.Array  # for what is random of an example
    rows: Params  # of sparse embeddings, those that the examples read


class Graded(NamedTuple):
    """What the gradient of a share, or of a part of it, gives."""

    gradients: Params  # of the densely trained groups; a mean over the examples, as is the next
    scalars: tuple[jax.Array, Metrics]  # the loss, metrics
    outputs: tuple[Carry, Params]  # by example: the next carry, gradients of `Share.rows`


def make_update(experiment: Experiment, layout: TrainState) -> Update:
    """The jitted update: (state, batch) -> (state, scalars). The old state's buffers are reused."""
    config, mesh, task, _, optimizer = experiment

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), LOSS_STREAM)
        key = jax.random.fold_in(key, state.step)
        dense, apart = task.groups.split(state.params)
        read = task.groups.rows(state.params, state.carry, batch)
        values = {name: apart[name][rows] for name, rows in read.items()}
        fixed = {name: group for name, group in apart.items() if name not in read}
        share = Share(state.carry, batch, keys_of(key, batch), values)
        gradient = functools.partial(accumulated, task, config.optimizer.accumulate)
        graded = Graded(*sharding.shard_wise(mesh, gradient, dense)((dense, fixed), share))
        (loss, metrics), (carry, slopes) = graded.scalars, graded.outputs
        updates, opt_state = optimizer.dense.update(graded.gradients, state.opt_state, dense)
        dense = optax.apply_updates(dense, updates)
        for name, rows in read.items():
            sparse, accepted = SparseGradient(rows, slopes[name]), optax.tree.get(opt_state, "last_finite")
            apart[name] = optimizer.sparse(apart[name], sparse, state.step, accepted)
        average = state.ema_params
        if config.ema_decay:
            done = state.step + 1 if config.ema_correction else None
            average = moved_average(average, dense, config.ema_decay, done)
        scalars = {name: scalar(metric) for name, metric in metrics.items()} | {
            "loss": loss,
            "grad_norm": optax.tree.norm(graded.gradients),
            "bad_steps": optax.tree.get(opt_state, "notfinite_count"),
        }
        return TrainState(state.step + 1, {**dense, **apart}, opt_state, average, carry), scalars

    shardings = jax.tree.map(lambda leaf: leaf.sharding, layout)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, sharding.replicated(mesh)))


def keys_of(key: jax.Array, batch: Batch) -> jax.Array:
    """A key [B] for each example of a batch."""
    count = len(jax.tree.leaves(batch)[0])
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def scalar(metric: jax.Array | Mean) -> jax.Array:
    """What is logged. Infinite where a mean is over nothing: a record then has null."""
    if not isinstance(metric, Mean):
        return metric
    return jnp.where(metric.share > 0, metric.total / jnp.where(metric.share > 0, metric.share, 1), jnp.inf)


def loss_gradient(task: Task, params: tuple[Params, Params], share: Share) -> Graded:
    """The task's loss on its examples, and its gradients.

    `params` are those that are trained densely, and those that are fixed.
    """
    dense, fixed = params

    def loss(trained, rows):
        return task.loss({**trained, **fixed, **rows}, share.carry, share.batch, share.keys)

    (value, (carry, metrics)), slopes = jax.value_and_grad(loss, (0, 1), has_aux=True)(dense, share.rows)
    return Graded(slopes[0], (value, metrics), (carry, slopes[1]))


def accumulated(task: Task, parts: int, params: tuple[Params, Params], share: Share) -> Graded:
    """`loss_gradient` of `share` in `parts` micro-batches, one after another."""
    if parts == 1:
        return loss_gradient(task, params, share)
    cut = jax.tree.map(lambda a: a.reshape(parts, -1, *a.shape[1:]), share)

    def body(total, part):
        *means, outputs = loss_gradient(task, params, part)
        return jax.tree.map(lambda t, a: t + a / parts, total, tuple(means)), outputs

    first = jax.tree.map(lambda a: a[0], cut)
    *like, _ = jax.eval_shape(functools.partial(loss_gradient, task, params), first)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), tuple(like))
    means, outputs = jax.lax.scan(body, zeros, cut)
    return Graded(*means, jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), outputs))


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
