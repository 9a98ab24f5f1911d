"""scenarios.npz: scenarios of one world as drawn. Its schema, its reader and its writer; NumPy only.

Reader and writer refuse alike what no scenario can be. What generators do besides is no part of the schema:
maps, starts, goals and obstacles may be anyone's, as long as start and goal are free cells.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from hrm_jax.artefacts import archive, json_file
from hrm_jax.artefacts.archive import Arrays
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.worlds.motion import Motion, Obstacles
from hrm_jax.worlds.world import CIRCULAR, KINDS, LARGEST, OSCILLATING, SWITCHING, WAYPOINTS, World, from_json

OF_OBSTACLES = ("positions", "velocities", "kind", "anchors", "turn", "seed")
LAST_ID = 2**32 - 1  # ids are seeds, of which NumPy's legacy generator takes no larger one
KEPT_AS = {np.bool_: "b", np.float64: "fiu"}  # kinds of data types that a file may have instead; else "iu"


class Array(NamedTuple):
    """What an array holds: E scenarios, R = C cells a side, N obstacles, W way-points."""

    dtype: type
    axes: str
    range: Callable[[World], tuple[float, float]]  # smallest and largest value, both included


def _array(dtype: type, axes: str, range: Callable[[World], tuple[float, float]]) -> Any:
    return field(metadata={"schema": Array(dtype, axes, range)})


def _constant(low: float, high: float) -> Callable[[World], tuple[float, float]]:
    return lambda world: (low, high)


def _place(world: World) -> tuple[float, float]:
    return 0, world.size


def _cell(world: World) -> tuple[float, float]:
    return 0, world.size - 1


def _speed(world: World) -> tuple[float, float]:
    return -world.size / 2, world.size / 2  # along an axis, in a step: the bound of a world's speed


@dataclass(frozen=True)
class Scenarios:
    """E scenarios of one world, as drawn: before the history steps. Lengths in cells, velocities a step."""

    world: World
    ids: np.ndarray = _array(np.int64, "E", _constant(0, LAST_ID))  # consecutive
    static: np.ndarray = _array(np.bool_, "ERC", _constant(0, 1))
    positions: np.ndarray = _array(np.float64, "EN2", _place)
    velocities: np.ndarray = _array(np.float64, "EN2", _speed)
    kind: np.ndarray = _array(np.int8, "EN", _constant(0, len(KINDS) - 1))  # to seed: see `motion.Motion`
    anchors: np.ndarray = _array(np.float64, "ENW2", _place)
    turn: np.ndarray = _array(np.float64, "EN2", _constant(-1, 1))
    seed: np.ndarray = _array(np.uint32, "EN", _constant(0, 2**32 - 1))
    start: np.ndarray = _array(np.int64, "E2", _cell)
    goal: np.ndarray = _array(np.int64, "E2", _cell)

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

    def equal(self, other: "Scenarios") -> bool:
        """Whether the other ones are the same to the bit."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in SCHEMA)


SCHEMA: dict[str, Array] = {part.name: part.metadata["schema"] for part in fields(Scenarios) if part.metadata}


def obstacle_arrays(obstacles: Obstacles) -> dict[str, np.ndarray]:
    """`obstacles`, of NumPy or of jax, as the arrays OF_OBSTACLES; in a simple world the motion is zeros."""
    shape = obstacles.position.shape[:-1]
    sizes = {"2": 2, "W": WAYPOINTS}
    found: dict[str, Any] = {"positions": obstacles.position, "velocities": obstacles.velocity}
    if obstacles.motion is not None:
        found |= obstacles.motion._asdict()
    arrays: dict[str, np.ndarray] = {}
    for name in OF_OBSTACLES:
        dtype, axes, _ = SCHEMA[name]
        zeros = np.zeros((*shape, *(sizes[axis] for axis in axes.removeprefix("EN"))), dtype)
        arrays[name] = np.asarray(found.get(name, zeros), dtype)
    return arrays


def save(path: str | os.PathLike, scenarios: Scenarios) -> None:
    """Write the arrays of SCHEMA, and the world as JSON; what `load` would refuse is refused."""
    arrays = {name: np.asarray(getattr(scenarios, name)) for name in SCHEMA}
    archive.write(path, {"world": json.dumps(asdict(scenarios.world)), **_checked(scenarios.world, arrays)})


def load(path: str | os.PathLike) -> Scenarios:
    """Read what `save` wrote; a file that is anything else is a `RequestError`."""
    with archive.reading(path, "no such scenario file", "not a complete scenarios.npz") as found:
        world = from_json(json_file.parse(str(found["world"]), "its world"))
        archive.check_names(found, ("world", *SCHEMA), "scenarios.npz")
        return Scenarios(world, **_checked(world, {name: found[name] for name in SCHEMA}))


def _checked(world: World, arrays: Arrays) -> Arrays:
    """The arrays in the data types of the schema; refused where no scenarios of this world have them."""
    if world.size > LARGEST:
        raise RequestError(f"{world.size}x{world.size} cells; the planner handles up to {LARGEST}x{LARGEST}")
    sizes = {"E": arrays["ids"].size, "N": world.n_obstacles, "W": WAYPOINTS, "2": 2}
    sizes |= {"R": world.size, "C": world.size}
    for name, (dtype, axes, bounds) in SCHEMA.items():
        found, shape, (low, high) = arrays[name], tuple(sizes[axis] for axis in axes), bounds(world)
        if found.dtype.kind not in KEPT_AS.get(dtype, "iu"):
            raise RequestError(f"{name} is of {found.dtype}; {np.dtype(dtype)} is needed")
        if found.shape != shape:
            raise RequestError(f"{name} has shape {list(found.shape)}; its world wants {list(shape)}")
        wrong = found[~((found >= low) & (found <= high))]  # NaN is
        if wrong.size:
            raise RequestError(f"{name} holds {wrong[0]}; allowed is {low} to {high}")
    checked: Arrays = {name: array.astype(SCHEMA[name].dtype) for name, array in arrays.items()}
    _check_together(world, checked)
    return checked


def _check_together(world: World, arrays: Arrays) -> None:
    """Refuse arrays that do not fit one another."""
    ids, kind = arrays["ids"], arrays["kind"]
    if not len(ids) or (np.diff(ids) != 1).any():
        raise RequestError("scenario ids must be consecutive, and at least one")
    for name in ("start", "goal"):
        if arrays["static"][np.arange(len(ids)), *arrays[name].T].any():
            raise RequestError(f"every {name} must be a free cell of the grid")
    others = set(kind.ravel().tolist()) - {KINDS.index(name) for name in world.kinds}
    if others:
        raise RequestError(f"kind holds {min(others)} ({KINDS[min(others)]}), no motion of its world")
    rotating = arrays["turn"][(kind == CIRCULAR) | (kind == OSCILLATING) | (kind == SWITCHING)]
    if (np.abs(np.square(rotating).sum(axis=-1) - 1) > 1e-3).any():
        raise RequestError("turn must hold cosine and sine of an angle where an obstacle circles or swings")
