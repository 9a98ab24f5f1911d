"""What training needs to know of an objective: data x model x loss x evaluation."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, Self

import jax
from jax.sharding import Mesh

from hrm_jax.artefacts.errors import RequestError

Params = dict[str, Any]  # the name of a group -> its arrays
Carry = Any
Batch = Any


class Mean(NamedTuple):
    """A mean over some of a batch, of which a part may have none: both are means over all of it."""

    total: jax.Array  # of what the others count as 0
    share: jax.Array  # how many it is taken over


Metrics = dict[str, jax.Array | Mean]  # means over a batch


class SparseGradient(NamedTuple):
    """The gradient of an embedding [N, E] whose other rows were not read; a row may be read repeatedly."""

    rows: jax.Array  # [B] int32
    values: jax.Array  # [B, E]


@dataclasses.dataclass(frozen=True)
class Groups:
    """How a task's parameters are updated: densely, by gradient descent, but for the groups named here."""

    fixed: tuple[str, ...] = ()  # never updated
    # Embeddings [N, E]: (carry, batch) -> the rows [B] that an update reads, and which alone it moves.
    sparse: Mapping[str, Callable[[Any, Any], jax.Array]] = dataclasses.field(default_factory=dict)

    def split(self, params: Params) -> tuple[Params, Params]:
        """The densely trained groups of `params`, and the others."""
        apart = {name: params[name] for name in (*self.fixed, *self.sparse) if name in params}
        return {name: group for name, group in params.items() if name not in apart}, apart

    def rows(self, params: Params, carry: Any, batch: Any) -> dict[str, jax.Array]:
        """{embedding: rows [B] that an update reads} of the embeddings that a model has."""
        return {name: rows(carry, batch) for name, rows in self.sparse.items() if name in params}


class Task(Protocol):
    """Four methods, and a few defaults for a task to inherit or replace.

    The leading axis of a batch and of a carry is split over the devices. `loss` sees one device's share of
    both, or a micro-batch of it; everywhere else arrays are global.
    """

    data_fields: type  # the dataclass of the config's group `data`
    samples_per_epoch: float = 0  # 0: the data are a stream
    groups: Groups = Groups()  # how parameters are updated: all of them densely
    recorded: Mapping[str, Any] = {}  # of the data, what config.json keeps besides the config, for `describe`

    def __init__(self, config: Mapping[str, Any], mesh: Mesh): ...

    @classmethod
    def for_dry_run(cls, config: Mapping[str, Any], mesh: Mesh) -> Self:
        """A task of which shapes alone will be asked: data that do not exist yet may be left out."""
        return cls(config, mesh)

    @staticmethod
    def describe(config: Mapping[str, Any]) -> dict[str, Any]:
        """What `model.npz` says of a model trained under `config`: model, world, history."""

    def updates(self, epochs: int, batch_size: int) -> int:
        """Updates that `epochs` passes over fixed data take; the last short batch of each counts."""
        return int(epochs * -(-self.samples_per_epoch // batch_size))

    def batch(self, step: int) -> Batch:
        """The batch of `step`: a function of (seed, step), so that a resumed run sees the same data."""

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, Carry]:
        """Parameters, and the state that outlives a step: () except for ACT's unfinished puzzles."""

    def loss(
        self, params: Params, carry: Carry, batch: Batch, keys: jax.Array
    ) -> tuple[jax.Array, tuple[Carry, Metrics]]:
        """Scalar loss, a mean over the batch; the next carry, gradients stopped; scalar metrics.

        What is random of an example is drawn with its own of the `keys` [B]: the loss of a batch is the mean
        of those of its parts. What must know of the whole batch asks `sharding.over_shards`.

        In place of a sparse embedding, `params` holds the rows [B, E] that `groups` names for the batch.
        """

    def evaluate(self, params: Params) -> Metrics:
        """Metrics on held-out data; "eval/loss" decides which checkpoint is best."""


def data_of(config: Mapping[str, Any], kind: type, example: str, *groups: str) -> Any:
    """The `data` group as a `kind`; without just its fields and `groups`, the config is another task's."""
    fields = {field.name for field in dataclasses.fields(kind)}
    if set(config["data"]) != fields or not set(groups) <= set(config):
        begin = f"begin with configs/{example}.py; this config has another's data"
        raise RequestError(f"task = {config['task']}: {begin}")
    return kind(**config["data"])
