"""How scenarios are drawn: a pure function of (world, id). docs/worlds.md describes the worlds."""

import functools
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.scenarios import Scenarios, obstacle_arrays
from hrm_jax.referee.geometry import connected
from hrm_jax.worlds import motion, raster, shapes
from hrm_jax.worlds.geometry import swept_distance
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import DISC_RADII, SAFE_STEPS, World

MAX_MAP_DRAWS = 1000
MAX_START_DRAWS = 1000  # of the obstacles that come near the start
MOST = 1_000_000  # scenarios at a time: all are drawn before the first is played
NEAREST, FURTHEST = 16, 56  # cells between start and goal along the longer axis, among discs
OFF_START = 4.0  # cells between the waiting agent and an obstacle's centre, among discs


def draw(world: World, ids: Sequence[int]) -> Scenarios:
    """The scenarios of `world` with these ids (for the published worlds: seeds), at most `MOST`."""
    if len(ids) > MOST:
        raise RequestError(f"{len(ids):,} scenarios: at most {MOST:,} at a time")
    return DRAWS[world.generator](world, ids)


def resting(world: World, ids: Sequence[int], static: np.ndarray) -> Scenarios:
    """Obstacles yet to be drawn, at rest in the first cell; start and goal in opposite corners."""
    nowhere = np.zeros((2, len(ids), world.n_obstacles, 2))
    start = np.zeros((len(ids), 2), np.int64)
    goal = start + world.size - 1
    ids = np.asarray(ids, np.int64)
    return Scenarios(world, ids, static, **obstacle_arrays(Obstacles(*nowhere)), start=start, goal=goal)


# ---------------------------------------------------------------- our draw


def _draw_philox(world: World, ids: Sequence[int]) -> Scenarios:
    """Connected maps, and obstacles that keep away from the start while the agent leaves it.

    Every scenario has a generator of its own, keyed by (world name, id), so it does not depend on
    which others are asked for.
    """
    generators = [_generator(world.name, i) for i in ids]
    maps = [_connected_map(world, generator) for generator in generators]
    scenarios = resting(world, ids, np.array(maps).reshape(-1, world.size, world.size))
    pending = np.ones((len(ids), world.n_obstacles), bool)
    unsafe = np.arange(len(ids))
    for _ in range(MAX_START_DRAWS):
        for e in unsafe:
            drawn = _obstacles(world, generators[e], scenarios.static[e], int(pending[e].sum()))
            for name, array in drawn.items():
                getattr(scenarios, name)[e, pending[e]] = array
        redrawn = scenarios.select(unsafe)
        pending[unsafe] = motion.threatens_start(world, redrawn.obstacles, redrawn.static)
        unsafe = unsafe[pending[unsafe].any(axis=1)]
        if not unsafe.size:
            return scenarios
    raise _never_safe(world)


def _never_safe(world: World) -> RequestError:
    return RequestError(
        f'world "{world.name}": obstacles come near the start in each of {MAX_START_DRAWS:,} draws; fewer or '
        "slower ones, a larger world, or a shorter history is needed"
    )


def _generator(name: str, scenario: int) -> np.random.Generator:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    key = [int.from_bytes(digest, "little"), scenario]
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))


def _connected_map(world: World, generator: np.random.Generator) -> np.ndarray:
    """`n_static` distinct static cells [R, C], start and goal spared, start and goal connected."""
    n_cells = world.size**2
    for _ in range(MAX_MAP_DRAWS):
        cells = np.zeros(n_cells, bool)
        cells[1 + generator.permutation(n_cells - 2)[: world.n_static]] = True
        static = cells.reshape(world.size, world.size)
        if connected(static, (0, 0), (-1, -1)):
            return static
    raise RequestError(
        f'world "{world.name}": no static path in {MAX_MAP_DRAWS} maps of {world.n_static} static '
        f"cells among {n_cells}; fewer are needed"
    )


def _obstacles(
    world: World, generator: np.random.Generator, static: np.ndarray, n: int
) -> dict[str, np.ndarray]:
    """`n` obstacles: on free cells with a uniform direction, or as their motion requires."""
    free = np.flatnonzero(~static)
    if world.kinds == ("bounce",):
        cells = free[generator.integers(len(free), size=n)]
        angle = generator.uniform(0, 2 * np.pi, size=n)
        drawn = {
            "positions": _centre(cells, world.size),
            "velocities": world.speed * motion.direction(angle),
        }
        return drawn | ({"seed": _seeds(generator, n)} if world.noise or world.drop else {})
    u = generator.random((n, shapes.UNIFORMS))
    cells = free[(u[:, 1] * len(free)).astype(np.int64)]
    return obstacle_arrays(shapes.draw(world, u, _centre(cells, world.size), _seeds(generator, n)))


def _seeds(generator: np.random.Generator, n: int) -> np.ndarray:
    return generator.integers(2**32, size=n, dtype=np.uint32)


def _centre(cells: np.ndarray, size: int) -> np.ndarray:
    return np.stack(np.divmod(cells, size), axis=-1).astype(np.float64)


# ---------------------------------------------------------------- the published draw


def _draw_mt19937(world: World, ids: Sequence[int]) -> Scenarios:
    """The published reset, draw by draw, from NumPy's legacy generator seeded with the id.

    Static cells may repeat and may cut the goal off; obstacles may begin anywhere free of static
    cells, the agent's start included.
    """
    scenarios = resting(world, ids, np.zeros((len(ids), world.size, world.size), bool))
    for static, positions, velocities, seed in zip(
        scenarios.static, scenarios.positions, scenarios.velocities, ids, strict=True
    ):
        generator = np.random.RandomState(seed)
        static[tuple(generator.randint(0, world.size, (world.n_static, 2)).T)] = True
        static[0, 0] = static[-1, -1] = False
        for n in range(world.n_obstacles):
            positions[n] = _free_cell(static, generator)
            direction = generator.randn(2)
            velocities[n] = direction / np.linalg.norm(direction) * world.speed
    return scenarios


def _free_cell(static: np.ndarray, generator: np.random.RandomState) -> np.ndarray:
    while True:
        cell = generator.randint(0, len(static), 2)
        if not static[tuple(cell)]:
            return cell


# ---------------------------------------------------------------- discs


def _one_by_one(
    draw: Callable[[World, int], tuple[np.ndarray, ...]], world: World, ids: Sequence[int]
) -> Scenarios:
    """Scenarios, each drawn as static cells, positions and velocities, start and goal."""
    parts = zip(*(draw(world, i) for i in ids), strict=True)
    static, positions, velocities, start, goal = (np.array(part) for part in parts)
    obstacles = obstacle_arrays(Obstacles(positions, velocities))
    return Scenarios(world, np.asarray(ids, np.int64), static, **obstacles, start=start, goal=goal)


def _draw_discs(world: World, scenario: int) -> tuple[np.ndarray, ...]:
    """Start and goal apart and connected, and obstacles that keep away from the start for a while.

    Obstacles pass through static cells and one another.
    """
    generator, (low, high) = _generator(world.name, scenario), DISC_RADII
    for _ in range(MAX_MAP_DRAWS):
        centres = generator.integers(world.size, size=(world.n_static, 2))
        static = _discs(world, centres, generator.integers(low, high + 1, size=world.n_static))
        free = np.argwhere(~static)
        if len(free) < 2:
            continue
        start, goal = free[generator.integers(len(free), size=2)]
        far = np.abs(start - goal).max()
        if NEAREST <= far <= FURTHEST and connected(static, start, goal):
            return static, *_passing_obstacles(world, generator, start), start, goal
    raise RequestError(
        f'world "{world.name}": no start and goal {NEAREST} to {FURTHEST} cells apart with a way between '
        f"them in {MAX_MAP_DRAWS} maps of {world.n_static} discs on {world.size}x{world.size} cells"
    )


def _draw_published_discs(world: World, seed: int) -> tuple[np.ndarray, ...]:
    """The published reset, draw by draw, as above. Nothing is checked: docs/faults.md, F31 and F33."""
    generator, (low, high) = np.random.RandomState(seed), DISC_RADII
    discs = [
        (*generator.randint(0, world.size, 2), generator.randint(low, high + 1))
        for _ in range(world.n_static)
    ]
    *centre, radii = np.array(discs).reshape(-1, 3).T
    static = _discs(world, np.stack(centre, axis=-1), radii)
    size, speed = world.size, world.speed
    obstacles = generator.uniform((0, 0, -speed, -speed), (size, size, speed, speed), (world.n_obstacles, 4))
    start, goal = (_free_cell(static, generator) for _ in range(2))
    return static, obstacles[:, :2], obstacles[:, 2:], start, goal


def _discs(world: World, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The cells [R, C] bool within `radii` [K] of `centres` [K, 2]."""
    return raster.discs(centres[None], world.size, radii[:, None, None])[0]


def _passing_obstacles(
    world: World, generator: np.random.Generator, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities [N, 2]; an obstacle that threatens the start is drawn again.

    It threatens the start if it comes near in the last history step or the SAFE_STEPS after it.
    """
    positions, velocities = np.empty((2, world.n_obstacles, 2))
    pending = np.ones(world.n_obstacles, bool)
    for _ in range(MAX_START_DRAWS):
        count = int(pending.sum())
        positions[pending] = generator.uniform(0, world.size, (count, 2))
        velocities[pending] = generator.uniform(-world.speed, world.speed, (count, 2))
        _, path = motion.roll(world, Obstacles(positions, velocities), world.history + SAFE_STEPS)
        path = np.concatenate([positions[None], path])[max(world.history - 1, 0) :] - start
        pending = (swept_distance(path[:-1], path[1:]) < OFF_START).any(axis=0)
        if not pending.any():
            return positions, velocities
    raise _never_safe(world)


DRAWS: dict[str, Callable[[World, Sequence[int]], Scenarios]] = {
    "philox": _draw_philox,
    "mt19937": _draw_mt19937,
    "discs": functools.partial(_one_by_one, _draw_discs),
    "discs/mt19937": functools.partial(_one_by_one, _draw_published_discs),
}
