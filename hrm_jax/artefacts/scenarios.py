"""scenarios.npz: scenarios of one world as drawn. Its schema, its reader and its writer; NumPy only."""

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from hrm_jax.artefacts import archive
from hrm_jax.artefacts.archive import Arrays
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.worlds.motion import Motion, Obstacles
from hrm_jax.worlds.world import KINDS, LARGEST, WAYPOINTS, World, from_json

OF_OBSTACLES = ("positions", "velocities", "kind", "anchors", "turn", "seed")


def _array(dtype: type, axes: str) -> Any:
    """E scenarios, R = C cells a side, N obstacles, W way-points."""
    return field(metadata={"schema": (dtype, axes)})


@dataclass(frozen=True)
class Scenarios:
    """E scenarios of one world, as drawn: before the history steps. Lengths in cells, velocities a step."""

    world: World
    ids: np.ndarray = _array(np.int64, "E")  # consecutive
    static: np.ndarray = _array(np.bool_, "ERC")
    positions: np.ndarray = _array(np.float64, "EN2")
    velocities: np.ndarray = _array(np.float64, "EN2")
    kind: np.ndarray = _array(np.int8, "EN")  # this and the next three: see `motion.Motion`
    anchors: np.ndarray = _array(np.float64, "ENW2")
    turn: np.ndarray = _array(np.float64, "EN2")
    seed: np.ndarray = _array(np.uint32, "EN")
    start: np.ndarray = _array(np.int64, "E2")
    goal: np.ndarray = _array(np.int64, "E2")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def obstacles(self) -> Obstacles:
        """The obstacles at time 0; in a simple world a position and a velocity are all of them."""
        if self.world.simple:
            return Obstacles(self.positions, self.velocities)
        waypoint = np.ones(self.kind.shape, np.int32)
        motion = Motion(self.kind, self.anchors, self.turn, self.seed, waypoint)
        return Obstacles(self.positions, self.velocities, motion)

    def select(self, index: slice | np.ndarray) -> "Scenarios":
        """The scenarios at `index`."""
        return replace(self, **{name: getattr(self, name)[index] for name in SCHEMA})


# The data type and the axes of every array.
SCHEMA: dict[str, tuple[type, str]] = {
    part.name: part.metadata["schema"] for part in fields(Scenarios) if part.metadata
}


def obstacle_arrays(obstacles: Obstacles) -> dict[str, np.ndarray]:
    """`obstacles`, of NumPy or of jax, as the arrays OF_OBSTACLES; in a simple world the motion is zeros."""
    shape = obstacles.position.shape[:-1]
    sizes = {"2": 2, "W": WAYPOINTS}
    found: dict[str, Any] = {"positions": obstacles.position, "velocities": obstacles.velocity}
    if obstacles.motion is not None:
        found |= obstacles.motion._asdict()
    arrays: dict[str, np.ndarray] = {}
    for name in OF_OBSTACLES:
        dtype, axes = SCHEMA[name]
        zeros = np.zeros((*shape, *(sizes[axis] for axis in axes.removeprefix("EN"))), dtype)
        arrays[name] = np.asarray(found.get(name, zeros), dtype)
    return arrays


def save(path: str | os.PathLike, scenarios: Scenarios) -> None:
    """Write the arrays of SCHEMA, and the world as JSON."""
    arrays = {name: getattr(scenarios, name) for name in SCHEMA}
    archive.write(path, {"world": json.dumps(asdict(scenarios.world)), **arrays})


def load(path: str | os.PathLike) -> Scenarios:
    """Read what `save` wrote; a file that is anything else is a `RequestError`."""
    with archive.reading(path, "no such scenario file", "not a complete scenarios.npz") as found:
        world = from_json(json.loads(str(found["world"])))
        arrays = {name: found[name] for name in SCHEMA}
        _check_arrays(world, arrays)
        _check_values(world, arrays)
    return Scenarios(world, **{name: array.astype(SCHEMA[name][0]) for name, array in arrays.items()})


def _check_arrays(world: World, arrays: Arrays) -> None:
    """Refuse an array whose dtype or shape is not what the schema says of this world."""
    if world.size > LARGEST:
        raise RequestError(f"{world.size}x{world.size} cells; the planner handles up to {LARGEST}x{LARGEST}")
    sizes = {"E": arrays["ids"].size, "N": world.n_obstacles, "W": WAYPOINTS, "2": 2}
    sizes |= {"R": world.size, "C": world.size}
    for name, (dtype, axes) in SCHEMA.items():
        found, shape = arrays[name], tuple(sizes[axis] for axis in axes)
        if not np.can_cast(found.dtype, dtype, "same_kind"):
            raise RequestError(f"{name} is of {found.dtype}; {np.dtype(dtype)} is needed")
        if found.shape != shape:
            raise RequestError(f"{name} has shape {list(found.shape)}; its world wants {list(shape)}")


def _check_values(world: World, arrays: Arrays) -> None:
    """Refuse values that no scenario of this world has."""
    ids, static, kind = (arrays[name] for name in ("ids", "static", "kind"))
    if not len(ids) or (np.diff(ids) != 1).any():
        raise RequestError("scenario ids must be consecutive, and at least one")
    for name in ("start", "goal"):
        cells = arrays[name]
        inside = (cells >= 0).all() and (cells < world.size).all()
        if not inside or static[np.arange(len(ids)), *cells.T].any():
            raise RequestError(f"every {name} must be a free cell of the grid")
    if not ((kind >= 0) & (kind < len(KINDS))).all():
        raise RequestError(f"kind holds codes outside 0 to {len(KINDS) - 1}")
    for name in ("positions", "velocities", "anchors", "turn"):
        if not np.isfinite(arrays[name]).all():
            raise RequestError(f"{name} holds values that are not finite")
    if not ((arrays["positions"] >= 0) & (arrays["positions"] <= world.size)).all():
        raise RequestError(f"positions must lie in the world, from 0 to {world.size}")
