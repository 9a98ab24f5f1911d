"""What training needs to know of an objective: data x model x loss x evaluation."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import jax
from jax.sharding import Mesh

from hrm_jax.training.parameter_groups import Groups, Params

Carry = Any
Batch = Any
Metrics = dict[str, jax.Array]


class Task(Protocol):
    """Four methods, and a few defaults for a task to inherit or replace.

    Arrays are global; the leading axis of a batch and of a carry is split over the devices.
    """

    samples_per_epoch: float = 0  # 0: the data are a stream
    groups: Groups = Groups()  # how parameters are updated: all of them densely

    def __init__(self, config: Mapping[str, Any], mesh: Mesh): ...

    @classmethod
    def for_dry_run(cls, config: Mapping[str, Any], mesh: Mesh) -> Self:
        """A task of which shapes alone will be asked: data that do not exist yet may be left out."""
        return cls(config, mesh)

    @staticmethod
    def describe(config: Mapping[str, Any]) -> dict[str, Any]:
        """What `model.npz` says of a model trained under `config`: model, world, history."""
        ...

    def updates(self, epochs: int, batch_size: int) -> int:
        """Updates that `epochs` passes over fixed data take; the last short batch of each counts."""
        return int(epochs * -(-self.samples_per_epoch // batch_size))

    def batch(self, step: int) -> Batch:
        """The batch of `step`: a function of (seed, step), so that a resumed run sees the same data."""
        ...

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, Carry]:
        """Parameters, and the state that outlives a step: () except for ACT's unfinished puzzles."""
        ...

    def loss(
        self, params: Params, carry: Carry, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, tuple[Carry, Metrics]]:
        """Scalar loss, a mean over the batch; the next carry, gradients stopped; scalar metrics.

        In place of a sparse embedding, `params` holds the rows [B, E] that `groups` names for the batch.
        """
        ...

    def evaluate(self, params: Params) -> Metrics:
        """Metrics on held-out data; "eval/loss" decides which checkpoint is best."""
        ...
