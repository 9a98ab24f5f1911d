"""How the scenarios of the 64x64 world are drawn: discs that stand, discs that move, any start and goal.

docs/worlds.md describes them. Obstacles pass through static cells and one another. One scenario at a time.
"""

from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.worlds import motion
from hrm_jax.worlds.geometry import swept_distance
from hrm_jax.worlds.world import DISC_RADII, SAFE_STEPS, World

NEAREST, FURTHEST = 16, 56  # cells between start and goal along the longer axis
SAFE_START = 4.0  # cells between the waiting agent and an obstacle's centre
MAX_DRAWS = 1000


class Drawn(NamedTuple):
    """One scenario."""

    static: np.ndarray  # bool [R, C]
    positions: np.ndarray  # float64 [N, 2], cells
    velocities: np.ndarray  # float64 [N, 2], cells a step
    start: np.ndarray  # int64 [2]
    goal: np.ndarray  # int64 [2]


def draw(world: World, generator: np.random.Generator) -> Drawn:
    """Start and goal apart and connected, and obstacles that keep away from the start for a while."""
    low, high = DISC_RADII
    for _ in range(MAX_DRAWS):
        centres = generator.integers(world.size, size=(world.n_static, 2))
        static = occupancy(world.size, centres, generator.integers(low, high + 1, size=world.n_static))
        free = np.argwhere(~static)
        if len(free) < 2:
            continue
        start, goal = free[generator.integers(len(free), size=2)]
        far = np.abs(start - goal).max()
        if NEAREST <= far <= FURTHEST and _joined(static, start, goal):
            return Drawn(static, *_obstacles(world, generator, start), start, goal)
    raise RequestError(
        f'world "{world.name}": no start and goal {NEAREST} to {FURTHEST} cells apart with a way between '
        f"them in {MAX_DRAWS} maps of {world.n_static} discs on {world.size}x{world.size} cells"
    )


def draw_published(world: World, seed: int) -> Drawn:
    """The published reset, draw by draw, from NumPy's legacy generator.

    Nothing is checked: docs/faults.md, F31 and F33.
    """
    generator = np.random.RandomState(seed)
    low, high = DISC_RADII
    discs = [
        (*generator.randint(0, world.size, 2), generator.randint(low, high + 1))
        for _ in range(world.n_static)
    ]
    static = occupancy(
        world.size, np.array([disc[:2] for disc in discs]), np.array([disc[2] for disc in discs])
    )
    obstacles = np.empty((world.n_obstacles, 2, 2))
    for obstacle in obstacles:
        obstacle[0] = generator.uniform(0, world.size, 2)
        obstacle[1] = generator.uniform(-world.speed, world.speed, 2)
    start, goal = (_free_cell(static, generator) for _ in range(2))
    return Drawn(static, obstacles[:, 0], obstacles[:, 1], start, goal)


def occupancy(size: int, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The cells [size, size] bool within `radii` [K] of `centres` [K, 2]."""
    cells = np.stack(np.meshgrid(*[np.arange(size)] * 2, indexing="ij"), axis=-1)
    square = ((cells[:, :, None] - centres) ** 2).sum(axis=-1)
    return (square <= radii**2).any(axis=-1)


def _free_cell(static: np.ndarray, generator: np.random.RandomState) -> np.ndarray:
    while True:
        cell = generator.randint(0, len(static), 2)
        if not static[tuple(cell)]:
            return cell


def _joined(static: np.ndarray, start: np.ndarray, goal: np.ndarray) -> bool:
    from scipy import ndimage  # here alone: it takes longer to import than all of planning

    regions, _ = ndimage.label(~static)  # 4-connected
    return regions[tuple(start)] == regions[tuple(goal)]


def _obstacles(
    world: World, generator: np.random.Generator, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities [N, 2]; an obstacle that threatens the start is drawn again."""
    positions, velocities = np.empty((2, world.n_obstacles, 2))
    pending = np.ones(world.n_obstacles, bool)
    while pending.any():
        count = int(pending.sum())
        positions[pending] = generator.uniform(0, world.size, (count, 2))
        velocities[pending] = generator.uniform(-world.speed, world.speed, (count, 2))
        pending = _threaten(world, positions, velocities, start)
    return positions, velocities


def _threaten(world: World, positions: np.ndarray, velocities: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Obstacles [N] that come too near the start in the last history step or the steps after it."""
    near = np.zeros(len(positions), bool)
    for time in range(world.history + SAFE_STEPS):
        before = positions
        positions, velocities = motion.bounce(positions, velocities, world.size)
        if time >= world.history - 1:
            near |= swept_distance(before - start, positions - start) < SAFE_START
    return near
