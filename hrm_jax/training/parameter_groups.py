"""Groups of parameters that the optimizer does not train as a whole: fixed ones, and sparse embeddings."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

Params = dict[str, Any]  # the name of a group -> its arrays


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
