"""How scenarios are drawn: a pure function of (world, id)."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.scenarios import Scenarios, obstacle_arrays
from hrm_jax.referee import discs
from hrm_jax.referee.geometry import connected
from hrm_jax.worlds import motion, shapes
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import World

MAX_MAP_DRAWS = 1000

Arrays = dict[str, np.ndarray]  # of obstacles, by their names in `Scenarios`, over any leading axes


def draw(world: World, ids: Sequence[int]) -> Scenarios:
    """The scenarios of `world` with these ids (for the published worlds: seeds)."""
    static, obstacles, *ends = DRAWS[world.generator](world, ids)
    start, goal = ends or (np.zeros((len(ids), 2), np.int64), np.full((len(ids), 2), world.size - 1))
    return Scenarios(world, np.asarray(ids, np.int64), static, **obstacles, start=start, goal=goal)


def empty(world: World, episodes: int) -> Arrays:
    """Bouncing obstacles at rest in the first cell."""
    shape = (episodes, world.n_obstacles, 2)
    return obstacle_arrays(Obstacles(np.zeros(shape), np.zeros(shape)))


# ---------------------------------------------------------------- our draw


def _draw_philox(world: World, ids: Sequence[int]) -> tuple[np.ndarray, Arrays]:
    """Connected maps, and obstacles that keep away from the start while the agent leaves it.

    Every scenario has a generator of its own, keyed by (world name, id), so it does not depend on
    which others are asked for.
    """
    generators = [_generator(world.name, i) for i in ids]
    maps = [_connected_map(world, generator) for generator in generators]
    static = np.array(maps).reshape(-1, world.size, world.size)
    obstacles = empty(world, len(static))
    pending = np.ones((len(static), world.n_obstacles), bool)
    unsafe = np.arange(len(static))
    while unsafe.size:
        for e in unsafe:
            for name, drawn in _obstacles(world, generators[e], static[e], int(pending[e].sum())).items():
                obstacles[name][e, pending[e]] = drawn
        redrawn = {name: array[unsafe] for name, array in obstacles.items()}
        pending[unsafe] = _threatens_start(world, static[unsafe], redrawn)
        unsafe = unsafe[pending[unsafe].any(axis=1)]
    return static, obstacles


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
        if connected(static):
            return static
    raise RequestError(
        f'world "{world.name}": no static path in {MAX_MAP_DRAWS} maps of {world.n_static} static '
        f"cells among {n_cells}; fewer are needed"
    )


def _obstacles(world: World, generator: np.random.Generator, static: np.ndarray, n: int) -> Arrays:
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


def _threatens_start(world: World, static: np.ndarray, drawn: Arrays) -> np.ndarray:
    """Obstacles [E, N] that come too near the start; see `motion.threatens_start`."""
    start = np.zeros((len(static), 2), np.int64)
    scenarios = Scenarios(world, ids=start[:, 0], static=static, **drawn, start=start, goal=start)
    return motion.threatens_start(world, scenarios.obstacles, static)


# ---------------------------------------------------------------- the published draw


def _draw_mt19937(world: World, ids: Sequence[int]) -> tuple[np.ndarray, Arrays]:
    """The published reset, draw by draw, from NumPy's legacy generator seeded with the id.

    Static cells may repeat and may cut the goal off; obstacles may begin anywhere free of static
    cells, the agent's start included.
    """
    static = np.zeros((len(ids), world.size, world.size), bool)
    obstacles = empty(world, len(ids))
    for e, seed in enumerate(ids):
        generator = np.random.RandomState(seed)
        static[e][tuple(generator.randint(0, world.size, (world.n_static, 2)).T)] = True
        static[e, 0, 0] = static[e, -1, -1] = False
        for n in range(world.n_obstacles):
            cell = generator.randint(0, world.size, 2)
            while static[e, cell[0], cell[1]]:
                cell = generator.randint(0, world.size, 2)
            direction = generator.randn(2)
            obstacles["positions"][e, n] = cell
            obstacles["velocities"][e, n] = direction / np.linalg.norm(direction) * world.speed
    return static, obstacles


# ---------------------------------------------------------------- discs


def _draw_discs(world: World, ids: Sequence[int]) -> tuple:
    return _assembled(world, [discs.draw(world, _generator(world.name, i)) for i in ids])


def _draw_discs_mt19937(world: World, ids: Sequence[int]) -> tuple:
    return _assembled(world, [discs.draw_published(world, i) for i in ids])


def _assembled(world: World, drawn: list[discs.Drawn]) -> tuple:
    """Static cells, obstacles, start and goal of scenarios that were drawn one by one."""
    static, positions, velocities, start, goal = (np.array(part) for part in zip(*drawn, strict=True))
    obstacles = empty(world, len(drawn)) | {"positions": positions, "velocities": velocities}
    return static, obstacles, start, goal


Draw = Callable[[World, Sequence[int]], tuple]  # static, obstacles, and where they are not the corners: ends
DRAWS: dict[str, Draw] = {
    "philox": _draw_philox,
    "mt19937": _draw_mt19937,
    "discs": _draw_discs,
    "discs/mt19937": _draw_discs_mt19937,
}
