"""The grid world of the closed loop in NumPy: scenarios, how they are drawn, how obstacles move.

Positions are (row, column) in cells; static cells are points at integer coordinates, obstacles
points with continuous ones. E episodes, N obstacles. Obstacles pass through static cells, each
other and the agent, so their whole future is known once a scenario is drawn (`tracks`).
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from hrm_jax.errors import RequestError
from hrm_jax.files import written_whole
from hrm_jax.planning.geometry import swept_distance

WALL_GAP = 0.01  # an obstacle that would leave is put this far inside the upper wall
SAFE_START = 2.0  # cells kept clear around the start when the agent begins to move
MAX_MAP_DRAWS = 1000


@dataclass(frozen=True)
class World:
    """What scenarios are drawn from."""

    name: str
    size: int = 20  # rows and columns
    n_static: int = 12  # static cells; under the mt19937 draw the number of tries, repeats allowed
    n_obstacles: int = 6
    speed: float = 0.7  # cells per step
    history: int = 20  # steps the world runs before the agent may move
    generator: str = "philox"  # how scenarios are drawn: a key of DRAWS


@dataclass(frozen=True)
class Scenarios:
    """E scenarios of one world, as drawn: before the history steps."""

    world: World
    ids: np.ndarray  # int64 [E]
    static: np.ndarray  # bool [E, R, C]
    positions: np.ndarray  # float64 [E, N, 2], cells
    velocities: np.ndarray  # float64 [E, N, 2], cells per step
    start: np.ndarray  # int64 [E, 2]
    goal: np.ndarray  # int64 [E, 2]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, index: slice) -> "Scenarios":
        """The scenarios at `index`."""
        return replace(self, **{name: getattr(self, name)[index] for name in ARRAYS})


ARRAYS = tuple(field.name for field in fields(Scenarios) if field.name != "world")

WORLDS = {
    "standard": World("standard"),
    # The published environment: 20 tries at placing a static cell whatever its n_static says.
    "hrm-cloud": World("hrm-cloud", n_static=20, generator="mt19937"),
    "hrm-cloud/small": World("hrm-cloud/small", n_static=20, history=10, generator="mt19937"),
}


# ---------------------------------------------------------------- dynamics


def bounce(positions: np.ndarray, velocities: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One step of motion [..., 2]; per axis, who leaves is clipped to the wall and turned back.

    The step is cut short at the wall; the first step after it is a full one.
    """
    moved = positions + velocities
    outside = (moved < 0) | (moved >= size)
    return np.clip(moved, 0, size - WALL_GAP), np.where(outside, -velocities, velocities)


def tracks(scenarios: Scenarios, steps: int) -> np.ndarray:
    """Obstacle positions from time 0, as drawn, to time `steps`: float64 [E, steps + 1, N, 2]."""
    positions, velocities = scenarios.positions, scenarios.velocities
    out = np.empty((len(positions), steps + 1, *positions.shape[1:]))
    out[:, 0] = positions
    for step in range(1, steps + 1):
        positions, velocities = bounce(positions, velocities, scenarios.world.size)
        out[:, step] = positions
    return out


# ---------------------------------------------------------------- drawing


def draw(world: World, ids: Sequence[int]) -> Scenarios:
    """The scenarios of `world` with these ids (for the published worlds: seeds)."""
    _check_size(world)
    static, positions, velocities = DRAWS[world.generator](world, ids)
    return Scenarios(
        world=world,
        ids=np.asarray(ids, np.int64),
        static=static,
        positions=positions,
        velocities=velocities,
        start=np.zeros((len(ids), 2), np.int64),
        goal=np.full((len(ids), 2), world.size - 1),
    )


def _check_size(world: World) -> None:
    if not 2 <= world.size <= 64:
        raise RequestError(f'world "{world.name}": size {world.size}; the planner handles 2 to 64')


def _draw_philox(world: World, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connected maps, and obstacles that leave the start alone while the agent sets off.

    Every scenario has a generator of its own, keyed by (world name, id), so it does not depend on
    which others are asked for.
    """
    generators = [_generator(world.name, i) for i in ids]
    maps = [_connected_map(world, generator) for generator in generators]
    static = np.array(maps).reshape(-1, world.size, world.size)
    positions = np.zeros((len(static), world.n_obstacles, 2))
    velocities = np.zeros_like(positions)
    pending = np.ones(positions.shape[:2], bool)
    while pending.any():
        for e in np.flatnonzero(pending.any(axis=1)):
            positions[e, pending[e]], velocities[e, pending[e]] = _obstacles(
                world, generators[e], static[e], int(pending[e].sum())
            )
        pending = _threatens_start(world, positions, velocities)
    return static, positions, velocities


def _generator(name: str, scenario: int) -> np.random.Generator:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    key = [int.from_bytes(digest, "little"), scenario]
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))


def _connected_map(world: World, generator: np.random.Generator) -> np.ndarray:
    """`n_static` distinct static cells [R, C], start and goal spared, start and goal connected."""
    n_cells = world.size**2
    if not 0 <= world.n_static <= n_cells - 2:
        raise RequestError(
            f'world "{world.name}": {world.n_static} static cells; it has room for {n_cells - 2}'
        )
    for _ in range(MAX_MAP_DRAWS):
        static = np.zeros(n_cells, bool)
        static[1 + generator.permutation(n_cells - 2)[: world.n_static]] = True
        static = static.reshape(world.size, world.size)
        if connected(static):
            return static
    raise RequestError(
        f'world "{world.name}": no static path in {MAX_MAP_DRAWS} maps of {world.n_static} static '
        f"cells among {n_cells}; fewer are needed"
    )


def connected(static: np.ndarray) -> bool:
    """Whether a 4-connected path of free cells joins the first and the last cell of [R, C]."""
    rows, cols = static.shape
    # The whole map as one integer, a spare zero column at the right of each row to stop wrapping.
    width = cols + 1
    free = sum(1 << (r * width + c) for r, c in np.argwhere(~static).tolist())
    goal = 1 << ((rows - 1) * width + cols - 1)
    seen, grown = 0, 1
    while grown != seen:
        seen = grown
        grown |= (seen << 1 | seen >> 1 | seen << width | seen >> width) & free
    return bool(seen & goal)


def _obstacles(
    world: World, generator: np.random.Generator, static: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """`n` obstacles on free cells, direction uniform: positions and velocities [n, 2]."""
    free = np.flatnonzero(~static)
    cells = free[generator.integers(len(free), size=n)]
    angle = generator.uniform(0, 2 * np.pi, size=n)
    positions = np.stack(np.divmod(cells, world.size), axis=-1).astype(np.float64)
    return positions, world.speed * np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def _threatens_start(world: World, positions: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Obstacles [E, N] that come too near (0, 0) in the last history step or the two after it."""
    first = max(world.history - 1, 0)
    for _ in range(first):
        positions, velocities = bounce(positions, velocities, world.size)
    near = np.zeros(positions.shape[:-1], bool)
    for _ in range(first, world.history + 2):
        moved, velocities = bounce(positions, velocities, world.size)
        near |= swept_distance(positions, moved) < SAFE_START
        positions = moved
    return near


def _draw_mt19937(world: World, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The published reset, draw by draw, from NumPy's legacy generator seeded with the id.

    Static cells may repeat and may cut the goal off; obstacles may begin anywhere free of static
    cells, the agent's start included.
    """
    static = np.zeros((len(ids), world.size, world.size), bool)
    positions = np.zeros((len(ids), world.n_obstacles, 2))
    velocities = np.zeros_like(positions)
    for e, seed in enumerate(ids):
        generator = np.random.RandomState(seed)
        static[e][tuple(generator.randint(0, world.size, (world.n_static, 2)).T)] = True
        static[e, 0, 0] = static[e, -1, -1] = False
        for n in range(world.n_obstacles):
            cell = generator.randint(0, world.size, 2)
            while static[e, cell[0], cell[1]]:
                cell = generator.randint(0, world.size, 2)
            direction = generator.randn(2)
            positions[e, n] = cell
            velocities[e, n] = direction / np.linalg.norm(direction) * world.speed
    return static, positions, velocities


Draw = Callable[[World, Sequence[int]], tuple[np.ndarray, np.ndarray, np.ndarray]]
DRAWS: dict[str, Draw] = {"philox": _draw_philox, "mt19937": _draw_mt19937}


# ---------------------------------------------------------------- scenarios.npz


def save(path: str | Path, scenarios: Scenarios) -> None:
    """Write `scenarios.npz`: the arrays of `Scenarios`, and its world as JSON."""
    arrays = {name: getattr(scenarios, name) for name in ARRAYS}
    with written_whole(path, "wb") as file:
        np.savez_compressed(file, world=json.dumps(asdict(scenarios.world)), **arrays)


def load(path: str | Path) -> Scenarios:
    """Read what `save` wrote; a file that is anything else is a `RequestError`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            world = World(**json.loads(str(file["world"])))
            scenarios = Scenarios(world, **{name: file[name] for name in ARRAYS})
    except FileNotFoundError:
        raise RequestError(f"{path}: no such scenario file") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path}: not a complete scenarios.npz ({error})") from None
    _check(scenarios, path)
    return scenarios


def _check(scenarios: Scenarios, path: str | Path) -> None:
    """Refuse arrays that do not fit each other or the world they claim to be of."""
    world, n = scenarios.world, len(scenarios.ids)
    _check_size(world)
    shapes = {
        "ids": (n,),
        "static": (n, world.size, world.size),
        "positions": (n, world.n_obstacles, 2),
        "velocities": (n, world.n_obstacles, 2),
        "start": (n, 2),
        "goal": (n, 2),
    }
    for name, shape in shapes.items():
        found = getattr(scenarios, name).shape
        if found != shape:
            raise RequestError(f"{path}: {name} has shape {list(found)}; its world wants {list(shape)}")
    for name in ("start", "goal"):
        cells = getattr(scenarios, name)
        inside = (cells >= 0).all() and (cells < world.size).all()
        if not inside or scenarios.static[np.arange(n), *cells.T].any():
            raise RequestError(f"{path}: every {name} must be a free cell of the grid")
    if n == 0 or (np.diff(scenarios.ids) != 1).any():
        raise RequestError(f"{path}: scenario ids must be consecutive, and at least one")
