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

from hrm_jax.artefacts import archive, json_file, numbers
from hrm_jax.artefacts.archive import Arrays
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.worlds.motion import Motion, Obstacles, Record
from hrm_jax.worlds.rules import FURTHEST
from hrm_jax.worlds.world import (
    CIRCULAR,
    KINDS,
    LARGEST,
    OSCILLATING,
    SWITCHING,
    WAYPOINTS,
    RecordedWorld,
    World,
    from_json,
)

OF_OBSTACLES = ("positions", "velocities", "kind", "anchors", "turn", "seed")
LAST_ID = 2**32 - 1  # ids are seeds, of which NumPy's legacy generator takes no larger one
LEAST = 3  # cells a side
ABSENT, INCOMPLETE = "no such scenario file", "not a complete scenarios.npz"
HISTORY = 20  # steps that the agent watches recorded obstacles, where nobody says otherwise
KEPT_AS = {np.bool_: "b", np.float64: "fiu"}  # kinds of data types that a file may have instead; else "iu"


class Array(NamedTuple):
    """What an array holds: E scenarios, R = C cells a side, N obstacles, W way-points, T recorded times."""

    dtype: type
    axes: str
    range: Callable[[World], tuple[float, float]]  # smallest and largest value, both included


def _array(dtype: type, axes: str, range: Callable[[World], tuple[float, float]]) -> Any:
    return field(metadata={"schema": Array(dtype, axes, range)})


def _constant(low: float, high: float) -> Callable[[World], tuple[float, float]]:
    return lambda world: (low, high)


def _place(world: World) -> tuple[float, float]:
    return 0, world.size


def _anywhere(world: World) -> tuple[float, float]:
    return -FURTHEST, FURTHEST


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

    @classmethod
    def from_tracks(
        cls,
        tracks: np.ndarray,
        static: np.ndarray | None = None,
        start: np.ndarray | None = None,
        goal: np.ndarray | None = None,
        *,
        history: int = HISTORY,
        name: str = "recorded",
    ) -> "Scenarios":
        """Scenarios of obstacles that were recorded, and move as they did whatever the agent does.

        Lengths are in cells, (row, column); cell (r, c) is the square around that point. The agent watches
        for `history` steps, and an episode ends with its record at the latest. A map of R rows and C columns
        lies in a square world; what is beyond it is static cells.

        Args:
            tracks: [E, T, N, 2] positions of N obstacles at times 0 to T - 1; NaN: not there.
            static: bool [E, R, C] or [R, C]; None: the smallest map without static cells that holds all
                positions, start and goal.
            start, goal: cells [E, 2] or [2]; None: the first and the last cell of the map.

        Raises `RequestError` where no scenarios are like that.
        """
        return _from_tracks(tracks, static, start, goal, history, name)

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
        return replace(self, **{name: getattr(self, name)[index] for name in schema(self.world)})

    def equal(self, other: "Scenarios") -> bool:
        """Whether the other ones are the same to the bit."""
        held = schema(self.world)
        return schema(other.world) == held and all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=name == "tracks")
            for name in held
        )


@dataclass(frozen=True)
class Recorded(Scenarios):
    """Scenarios of a recorded world; the other arrays of obstacles are zeros."""

    tracks: np.ndarray = _array(np.float64, "ETN2", _anywhere)  # from time 0 on; NaN: not there

    @property
    def obstacles(self) -> Obstacles:
        """The obstacles at time 0, and their record."""
        record: Any = Record(self.tracks.swapaxes(1, 2))
        return Obstacles(self.tracks[:, 0], self.velocities, record)


def _schema(kind: type[Scenarios]) -> dict[str, Array]:
    return {part.name: part.metadata["schema"] for part in fields(kind) if part.metadata}


SCHEMA, SCHEMA_RECORDED = _schema(Scenarios), _schema(Recorded)


def _from_tracks(tracks: Any, static: Any, start: Any, goal: Any, history: int, name: str) -> Scenarios:
    """See `Scenarios.from_tracks`."""
    wanted = "[E, T, N, 2] is needed: scenarios, times, obstacles, (row, column)"
    tracks = _numbers("tracks", tracks, wanted)
    if tracks.ndim != 4 or tracks.shape[3] != 2 or not tracks.size:
        raise RequestError(f"tracks have shape {list(tracks.shape)}; {wanted}, all above 0")
    if np.isinf(tracks).any():
        raise RequestError("tracks hold infinite positions; NaN is where an obstacle is not there")
    count, length, obstacles, _ = tracks.shape
    ends = {
        said: None if cell is None else _per_scenario(said, cell, (2,), count)
        for said, cell in (("start", start), ("goal", goal))
    }
    maps = _maps(tracks, static, ends)
    _, rows, columns = maps.shape
    size = max(rows, columns, LEAST)
    shape = None if rows == columns == size else (rows, columns)
    world = RecordedWorld(
        name, size, 0, obstacles, history=history, distinct_static=False, connected=False, safe_start=False,
        recorded=length, shape=shape,
    )  # fmt: skip
    corners = {"start": (0, 0), "goal": (rows - 1, columns - 1)}
    cells = {said: np.full((count, 2), corners[said]) if end is None else end for said, end in ends.items()}
    beyond = ((0, 0), (0, size - rows), (0, size - columns))
    whole = np.pad(maps, beyond, constant_values=True)
    at_rest = obstacle_arrays(Obstacles(*np.zeros((2, count, obstacles, 2))))
    ids = np.arange(count)
    return _made(world, {"ids": ids, "static": whole, **at_rest, **cells, "tracks": tracks})


def _maps(tracks: np.ndarray, static: Any, ends: dict[str, np.ndarray | None]) -> np.ndarray:
    """Static cells bool [E, R, C], as given once or for each, or none on the smallest map."""
    given = None if static is None else _numbers("static", static, "[R, C] or [E, R, C] is needed")
    if given is not None and given.ndim > 1:
        rows, columns = given.shape[-2:]
    else:
        rows, columns = smallest_map(tracks, *ends.values())
    check_map(rows, columns)
    if given is None:
        return np.zeros((len(tracks), rows, columns), bool)
    maps = _per_scenario("static", given, (rows, columns), len(tracks))
    if not np.isin(maps, (0, 1)).all():
        raise RequestError("static holds other numbers than 0 and 1, or True and False")
    return maps.astype(bool)


def check_map(rows: int, columns: int) -> None:
    """Refuse a map that the planner cannot hold."""
    if max(rows, columns) > LARGEST:
        raise RequestError(
            f"a map of {rows}x{columns} cells; the planner handles up to {LARGEST}x{LARGEST}: larger cells "
            "are needed (divide the positions by their side)"
        )


def smallest_map(tracks: np.ndarray, *cells: np.ndarray | None) -> tuple[int, int]:
    """Rows and columns of a map that holds all positions and cells."""
    with np.errstate(invalid="ignore"):
        places = [np.floor(tracks.reshape(-1, 2) + 0.5), *(end for end in cells if end is not None)]
    furthest = np.nanmax(np.concatenate([np.zeros((1, 2)), *places]), axis=0)
    rows, columns = (int(min(side, FURTHEST)) + 1 for side in furthest)
    return rows, columns


def _per_scenario(what: str, given: Any, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Whole numbers [E, *shape], of which those for all scenarios may be given once."""
    wanted = f"{[count, *shape]} or {list(shape)} is needed"
    array = _numbers(what, given, wanted)
    if array.shape not in (shape, (count, *shape)):
        raise RequestError(f"{what} has shape {list(array.shape)}; {wanted}")
    if not ((array == np.round(array)) & (np.abs(array) < FURTHEST)).all():
        raise RequestError(f"{what} holds other than whole numbers")
    return np.broadcast_to(array, (count, *shape)).astype(np.int64)


def _numbers(what: str, given: Any, wanted: str) -> np.ndarray:
    array = numbers.real(given, "fiub" if what == "static" else "fiu")
    if array is None:
        raise RequestError(f"{what} is no array of numbers; {wanted}")
    return array


def schema(world: World) -> dict[str, Array]:
    """The arrays that scenarios of this world have."""
    return SCHEMA_RECORDED if world.recorded else SCHEMA


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
    arrays = {name: np.asarray(getattr(scenarios, name)) for name in schema(scenarios.world)}
    archive.write(path, {"world": json.dumps(asdict(scenarios.world)), **_checked(scenarios.world, arrays)})


def load(path: str | os.PathLike) -> Scenarios:
    """Read what `save` wrote; a file that is anything else is a `RequestError`."""
    with archive.reading(path, ABSENT, INCOMPLETE) as found:
        return of_arrays(found)


def of_arrays(found: Arrays) -> Scenarios:
    """The scenarios that the arrays of a file are; for `archive.reading`."""
    world = from_json(json_file.parse(str(found["world"]), "its world"))
    archive.check_names(found, ("world", *schema(world)), "scenarios.npz")
    return _made(world, {name: found[name] for name in schema(world)})


def _made(world: World, arrays: Arrays) -> Scenarios:
    kind = Recorded if world.recorded else Scenarios
    return kind(world, **_checked(world, arrays))


def _checked(world: World, arrays: Arrays) -> Arrays:
    """The arrays in the data types of the schema; refused where no scenarios of this world have them."""
    if world.size > LARGEST:
        raise RequestError(f"{world.size}x{world.size} cells; the planner handles up to {LARGEST}x{LARGEST}")
    sizes = {"E": arrays["ids"].size, "N": world.n_obstacles, "W": WAYPOINTS, "2": 2}
    sizes |= {"R": world.size, "C": world.size, "T": world.recorded}
    known = schema(world)
    for name in known:
        dtype, axes, bounds = known[name]
        found, shape, (low, high) = arrays[name], tuple(sizes[axis] for axis in axes), bounds(world)
        if found.dtype.kind not in KEPT_AS.get(dtype, "iu"):
            raise RequestError(f"{name} is of {found.dtype}; {np.dtype(dtype)} is needed")
        if found.shape != shape:
            raise RequestError(f"{name} has shape {list(found.shape)}; its world wants {list(shape)}")
        within = (found >= low) & (found <= high)  # NaN is not
        if name == "tracks":  # an obstacle that is not there
            within |= np.isnan(found).all(axis=-1, keepdims=True)
        wrong = found[~within]
        if wrong.size:
            raise RequestError(f"{name} holds {wrong[0]}; allowed is {low} to {high}")
    checked: Arrays = {name: array.astype(known[name].dtype) for name, array in arrays.items()}
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
