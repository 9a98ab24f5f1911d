"""The coordinates in which a denoiser sees paths: offsets from the timed straight line, or cells over size.

Written once, for the arrays of NumPy (the referee) and of jax (training, under jit). A path is P points at
successive steps; A worlds, S samples, B paths. Positions are (row, column) in cells.
"""

from typing import Any, NamedTuple

from hrm_jax.worlds.arrays import Array
from hrm_jax.worlds.geometry import dot

COORDINATES = ("line", "unit")
OFFSET = 4.0  # cells to the unit, of offsets from the line: about their spread in the expert's paths


class PathFrame(NamedTuple):
    """What turns cells into a model's coordinates.

    "line": offsets along and across the straight line from start to goal, over `OFFSET`; ends in [-1, 1].
    "unit", as published: positions over the size of the map; ends in [0, 1].
    """

    coordinates: str
    size: int  # cells a side

    @classmethod
    def of(cls, model: dict[str, Any]) -> "PathFrame":
        """The frame of a model's fields (the group `model` of its file)."""
        return cls(model["coordinates"], model["size"])

    @property
    def cells(self) -> float:
        """Cells to the unit, of a path."""
        return OFFSET if self.coordinates == "line" else self.size

    def place(self, positions: Array) -> Array:
        """Positions in the map, in cells, as the network is given the ends and the line."""
        return 2 * positions / self.size - 1 if self.coordinates == "line" else positions / self.size

    def ends(self, start: Array, goal: Array) -> Array:
        """The network's input [A, 4] for start and goal [A, 2] in cells."""
        return self.place(start.__array_namespace__().concatenate([start, goal], axis=1))

    def clean_ends(self, ends: Array) -> tuple[Array, Array]:
        """First and last points [B, 2] of paths with these ends [B, 4], in the model's coordinates.

        An offset from the straight line between the ends is zero there.
        """
        start, goal = ends[:, :2], ends[:, 2:]
        return (0 * start, 0 * goal) if self.coordinates == "line" else (start, goal)

    def to_units(self, cells: Array, line: Array) -> Array:
        """Paths [A, S, P, 2] in cells in the model's coordinates; `line` [A, P, 2] in cells."""
        if self.coordinates == "unit":
            return cells / self.size
        xp = line.__array_namespace__()
        return (cells - line[:, None]) @ xp.stack(axes(line), axis=2)[:, None] / OFFSET

    def to_cells(self, units: Array, line: Array) -> Array:
        """The inverse of `to_units`."""
        if self.coordinates == "unit":
            return units * self.size
        xp = line.__array_namespace__()
        return OFFSET * units @ xp.stack(axes(line), axis=1)[:, None] + line[:, None]


def straight(start: Array, goal: Array, points: int, arrival: Array = None) -> Array:
    """Paths [A, points, 2] in a straight line from start to goal [A, 2], there after `arrival` [A] steps.

    Without it at the pace of an expert that nothing delays: a diagonal is one step.
    """
    xp = start.__array_namespace__()
    if arrival is None:
        arrival = xp.max(xp.abs(goal - start), axis=1)
    arrival = xp.broadcast_to(xp.maximum(arrival, 1), start.shape[:1])
    share = xp.minimum(xp.arange(points) / arrival[:, None], 1)[..., None]
    return start[:, None] + share * (goal - start)[:, None]


def axes(line: Array) -> tuple[Array, Array]:
    """Unit vectors [A, 2] along and across lines [A, P, 2] from their first to their last points."""
    xp = line.__array_namespace__()
    travel = line[:, -1] - line[:, 0]
    length = xp.sqrt(dot(travel, travel))[:, None]
    along = xp.where(length > 0, travel / xp.where(length > 0, length, 1), xp.asarray((0.0, 1.0)))
    return along, xp.stack([-along[:, 1], along[:, 0]], axis=1)
