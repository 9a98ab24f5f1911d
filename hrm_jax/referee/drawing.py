"""How scenarios are drawn: a pure function of (world, id)."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee import discs, dynamics
from hrm_jax.referee.geometry import connected, swept_distance
from hrm_jax.referee.world import KINDS, WAYPOINTS, Scenarios, World, check

SAFE_START = 2.0  # cells kept clear around the start when the agent begins to move
MAX_MAP_DRAWS = 1000
MARGIN = 0.05  # cells that circles, swings and patrols keep from the walls
CIRCLE_RADIUS = (1.5, 4.0)  # cells
SWING = (2.0, 5.0)  # cells, to either side of the centre
UNIFORMS = 8 + 2 * WAYPOINTS  # numbers in [0, 1) that make one obstacle of a mixed world

Obstacles = dict[str, np.ndarray]  # the obstacle arrays of `Scenarios`, over any leading axes


def draw(world: World, ids: Sequence[int]) -> Scenarios:
    """The scenarios of `world` with these ids (for the published worlds: seeds)."""
    check(world)
    static, obstacles, *ends = DRAWS[world.generator](world, ids)
    start, goal = ends or (np.zeros((len(ids), 2), np.int64), np.full((len(ids), 2), world.size - 1))
    ids = np.asarray(ids, np.int64)
    return Scenarios(world=world, ids=ids, static=static, **obstacles, start=start, goal=goal)


def empty(world: World, episodes: int) -> Obstacles:
    """Bouncing obstacles at rest in the first cell."""
    shape = (episodes, world.n_obstacles)
    return {
        "positions": np.zeros((*shape, 2)),
        "velocities": np.zeros((*shape, 2)),
        "kind": np.zeros(shape, np.int8),
        "anchors": np.zeros((*shape, WAYPOINTS, 2)),
        "turn": np.zeros((*shape, 2)),
        "seed": np.zeros(shape, np.uint32),
    }


# ---------------------------------------------------------------- our draw


def _draw_philox(world: World, ids: Sequence[int]) -> tuple[np.ndarray, Obstacles]:
    """Connected maps, and obstacles that leave the start alone while the agent sets off.

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
        drawn = {name: array[unsafe] for name, array in obstacles.items()}
        pending[unsafe] = _threatens_start(world, static[unsafe], drawn)
        unsafe = unsafe[pending[unsafe].any(axis=1)]
    return static, obstacles


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


def _obstacles(world: World, generator: np.random.Generator, static: np.ndarray, n: int) -> Obstacles:
    """`n` obstacles: on free cells with a uniform direction, or as their kind of motion wants it."""
    free = np.flatnonzero(~static)
    if world.kinds == ("bounce",):
        cells = free[generator.integers(len(free), size=n)]
        angle = generator.uniform(0, 2 * np.pi, size=n)
        drawn = {"positions": _centre(cells, world.size), "velocities": world.speed * _direction(angle)}
    else:
        u = generator.random((n, UNIFORMS))
        drawn = shape(world, u, _centre(free[(u[:, 1] * len(free)).astype(np.int64)], world.size))
    if world.kinds != ("bounce",) or world.noise or world.drop:
        drawn["seed"] = generator.integers(2**32, size=n, dtype=np.uint32)
    return drawn


def _centre(cells: np.ndarray, size: int) -> np.ndarray:
    return np.stack(np.divmod(cells, size), axis=-1).astype(np.float64)


def _direction(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def shape(world: World, u: np.ndarray, cell: np.ndarray) -> Obstacles:
    """Obstacles of the world's kinds, each as likely, out of `u` [..., UNIFORMS] in [0, 1).

    `cell` [..., 2] is where those begin that are not bound to a place.
    """
    kind = np.array([KINDS.index(name) for name in world.kinds])[(u[..., 0] * len(world.kinds)).astype(int)]
    angle, phase = 2 * np.pi * u[..., 2], 2 * np.pi * u[..., 3]
    positions, velocities = cell, world.speed * _direction(angle)
    anchors, turn = _inside(world, u[..., 8:].reshape(*kind.shape, WAYPOINTS, 2), 0.0), np.zeros_like(cell)
    for name, place in (("circular", _circle), ("oscillating", _swing)):
        chosen = (kind == KINDS.index(name))[..., None]
        values = place(world, u, angle, phase)
        positions, velocities = np.where(chosen, values[:2], (positions, velocities))
        anchors = np.where(chosen[..., None], values[2][..., None, :], anchors)
        turn = np.where(chosen, _direction(values[3])[..., ::-1], turn)
    positions = np.where((kind == KINDS.index("patrol"))[..., None], anchors[..., 0, :], positions)
    return {
        "positions": positions,
        "velocities": velocities,
        "kind": kind.astype(np.int8),
        "anchors": anchors,
        "turn": turn,
    }


def _inside(world: World, u: np.ndarray, reach: np.ndarray | float) -> np.ndarray:
    """Points [..., 2] from which one may go `reach` cells [..., 1] any way without leaving the world."""
    keep = MARGIN + reach
    return keep + u * (world.size - dynamics.WALL_GAP - 2 * keep)


def _circle(world: World, u: np.ndarray, angle: np.ndarray, phase: np.ndarray) -> tuple[np.ndarray, ...]:
    """Position, velocity, centre [..., 2] and angle a step [...] of those that circle."""
    radius = CIRCLE_RADIUS[0] + (CIRCLE_RADIUS[1] - CIRCLE_RADIUS[0]) * u[..., 4]
    centre = _inside(world, u[..., 5:7], radius[..., None])
    turn = np.where(u[..., 7] < 0.5, 1, -1) * world.speed / radius
    now, then = (radius[..., None] * _direction(phase + at) for at in (0, turn))
    return centre + now, then - now, centre, turn


def _swing(world: World, u: np.ndarray, angle: np.ndarray, phase: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same of those that swing to and fro; the angle is the phase's step."""
    reach = SWING[0] + (SWING[1] - SWING[0]) * u[..., 4]
    centre = _inside(world, u[..., 5:7], reach[..., None])
    turn = world.speed / reach  # the speed through the centre
    before, now = (reach * np.sin(phase - back) for back in (turn, 0))
    along = _direction(angle)
    return centre + now[..., None] * along, (now - before)[..., None] * along, centre, turn


def _threatens_start(world: World, static: np.ndarray, obstacles: Obstacles) -> np.ndarray:
    """Obstacles [E, N] that come too near (0, 0) in the last history step or the two after it."""
    start = np.zeros((len(static), 2), np.int64)
    scenarios = Scenarios(world=world, ids=start[:, 0], static=static, **obstacles, start=start, goal=start)
    path = dynamics.tracks(scenarios, world.history + 2)[:, max(world.history - 1, 0) :]
    return (swept_distance(path[:, :-1], path[:, 1:]) < SAFE_START).any(axis=1)


# ---------------------------------------------------------------- the published draw


def _draw_mt19937(world: World, ids: Sequence[int]) -> tuple[np.ndarray, Obstacles]:
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
