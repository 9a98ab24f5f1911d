"""The state of a run, which is data only: a checkpoint is this tree."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from hrm_jax.training import sharding
from hrm_jax.training.experiment import Experiment

INIT_STREAM = 100  # a fold_in number of the config's seed; a task's own are small


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
        dense, _ = task.groups.split(params)
        # A copy: the step donates its input, and one buffer cannot be given away twice.
        average = jax.tree.map(jnp.copy, dense) if config.ema_decay else ()
        opt_state = experiment.optimizer.dense.init(dense)
        return TrainState(jnp.zeros((), jnp.int32), params, opt_state, average, carry)

    shapes = jax.eval_shape(init)
    carried = jax.tree.map(lambda _: sharding.over_batch(mesh), shapes.carry)
    shardings = sharding.of_state(mesh, shapes).replace(carry=carried)
    return jax.jit(init, out_shardings=shardings), sharding.laid_out(shapes, shardings)
