"""What the training loop needs to know of an objective: four methods, no base class to inherit from."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax

Params = Any
Carry = Any
Batch = Any
Metrics = dict[str, jax.Array]


class Task(Protocol):
    """Data x model x loss x open-loop evaluation.

    Arrays are global; the leading axis of a batch and of a carry is split over the devices.
    """

    samples_per_epoch: float  # 0: the data are a stream
    endless: bool  # whether a batch may end one epoch and begin the next: no short batches
    fixed: tuple[str, ...]  # groups of parameters that are never trained
    table: str | None  # a group [N, E] of which a step reads few rows: SignSGD trains those alone

    @staticmethod
    def describe(config: Mapping[str, Any]) -> dict[str, Any]:
        """What `model.npz` says of a model trained under `config`: model, world, history."""

    def batch(self, step: int) -> Batch:
        """The batch of `step`: a function of (seed, step), so that a resumed run sees the same data."""

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, Carry]:
        """Parameters, and the state that outlives a step: () except for ACT's unfinished puzzles."""

    def rows(self, carry: Carry, batch: Batch) -> jax.Array:
        """Rows of the table that `loss` reads [B]; only with a table."""

    def loss(
        self, params: Params, carry: Carry, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, tuple[Carry, Metrics]]:
        """Scalar loss, a mean over the batch; the next carry, gradients stopped; scalar metrics.

        In place of the table, `params` holds the rows [B, E] that `rows` named.
        """

    def evaluate(self, params: Params) -> dict[str, jax.Array]:
        """Open-loop metrics on held-out data; "eval/loss" decides which checkpoint is best."""


def split(task: Task | type[Task], params: Params) -> tuple[Params, Params]:
    """Parameters that gradient descent trains, and the others: what is fixed, and a table."""
    apart = {name: params[name] for name in (*task.fixed, *filter(None, [task.table])) if name in params}
    return {name: group for name, group in params.items() if name not in apart}, apart
