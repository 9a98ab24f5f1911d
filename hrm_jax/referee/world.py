"""Worlds and scenarios: what is drawn, how it is stored. `drawing` draws, `dynamics` moves.

Positions are (row, column) in cells; static cells are points at integer coordinates, obstacles
points with continuous ones. E episodes, N obstacles.
"""

import json
import zipfile
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.files import written_whole

# The kinds of motion (docs/worlds.md), the published one first. Codes are positions in this tuple.
KINDS = ("bounce", "circular", "oscillating", "patrol", "turning", "pursuit")
WAYPOINTS = 4  # of a patrol
LAYOUTS = ("cells", "discs")  # of static cells: one by one, or discs of them


@dataclass(frozen=True)
class World:
    """What scenarios are drawn from."""

    name: str
    size: int = 20  # rows and columns
    n_static: int = 12  # static cells or discs; under the mt19937 draw the tries, repeats allowed
    n_obstacles: int = 6
    speed: float = 0.7  # cells per step
    history: int = 20  # steps the world runs before the agent may move
    generator: str = "philox"  # how scenarios are drawn: a key of drawing.DRAWS
    layout: str = "cells"  # cells | discs
    kinds: tuple[str, ...] = ("bounce",)  # motions, each entry as likely for every obstacle
    interacting: bool = False  # obstacles turn back at static cells, and from each other
    noise: float = 0.0  # cells; standard deviation of an observed position, per axis
    drop: float = 0.0  # chance that an obstacle is not observed in a step


@dataclass(frozen=True)
class Scenarios:
    """E scenarios of one world, as drawn: before the history steps."""

    world: World
    ids: np.ndarray  # int64 [E]
    static: np.ndarray  # bool [E, R, C]
    positions: np.ndarray  # float64 [E, N, 2], cells
    velocities: np.ndarray  # float64 [E, N, 2], cells per step
    kind: np.ndarray  # int8 [E, N], index into KINDS
    anchors: np.ndarray  # float64 [E, N, WAYPOINTS, 2], cells: a patrol's way-points, a centre
    turn: np.ndarray  # float64 [E, N, 2], cosine and sine of a circle's or a swing's angle a step
    seed: np.ndarray  # uint32 [E, N], decides turns and observations (dynamics.uniform)
    start: np.ndarray  # int64 [E, 2]
    goal: np.ndarray  # int64 [E, 2]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, index: slice | np.ndarray) -> "Scenarios":
        """The scenarios at `index`."""
        return replace(self, **{name: getattr(self, name)[index] for name in ARRAYS})


ARRAYS = tuple(field.name for field in fields(Scenarios) if field.name != "world")

# Oracle and reflection: successes in the first 1,000 scenarios (`large`: 100) under `standard`, in per cent.
_WORLDS = (
    # Oracle 100.0, reflection 93.5.
    World("standard"),
    # Fast and crowded: where obstacles will be decides, and who knows it still arrives. 99.9, 77.7.
    World("dense", n_obstacles=20, speed=1.2),
    # 99.5, 70.6.
    World("swarm", n_obstacles=30, speed=1.2),
    # Every kind of motion, circles and swings three times as likely as what cannot be foreseen. 97.5, 61.6.
    World(
        "mixed",
        n_obstacles=20,
        speed=1.0,
        kinds=("bounce", *3 * ("circular", "oscillating"), "patrol", "turning", "pursuit"),
    ),
    # The map and the other obstacles matter. 99.4, 49.7.
    World("interacting", n_static=40, n_obstacles=16, speed=0.9, interacting=True),
    # Observed through noise, a fifth of it missing. 100.0, 47.3.
    World("noisy", n_obstacles=12, speed=1.0, noise=0.15, drop=0.2),
    # 100.0, 62.0.
    World("large", size=64, n_static=120, n_obstacles=100, speed=1.2),
    # The published environment: 20 tries at placing a static cell whatever its n_static says.
    World("hrm-cloud", n_static=20, generator="mt19937"),
    World("hrm-cloud/small", n_static=20, history=10, generator="mt19937"),
    # For paths: 10 static discs, 8 moving ones of radius 2, any start and goal; `speed` bounds each axis.
    World(
        "discs",
        size=64,
        n_static=10,
        n_obstacles=8,
        speed=0.75,
        history=10,
        generator="discs",
        layout="discs",
    ),
    # The same as published: nothing is checked, and the agent sets off at once.
    World(
        "diffusion",
        size=64,
        n_static=10,
        n_obstacles=8,
        speed=0.75,
        history=0,
        generator="discs/mt19937",
        layout="discs",
    ),
)
WORLDS = {world.name: world for world in _WORLDS}


def check(world: World) -> None:
    """Refuse a world that the planner cannot handle, or with motions that nobody knows."""
    if not 2 <= world.size <= 64:
        raise RequestError(f'world "{world.name}": size {world.size}; the planner handles 2 to 64')
    if world.layout not in LAYOUTS:
        raise RequestError(f'world "{world.name}": layout "{world.layout}"; one of {", ".join(LAYOUTS)}')
    simple = world.kinds == ("bounce",) and not (world.interacting or world.noise or world.drop)
    if world.layout == "discs" and not simple:
        raise RequestError(
            f'world "{world.name}": among discs obstacles only bounce, and are seen as they are'
        )
    unknown = set(world.kinds) - set(KINDS)
    if unknown or not world.kinds:
        found, allowed = ", ".join(sorted(unknown)) or "none", ", ".join(KINDS)
        raise RequestError(f'world "{world.name}": kinds of motion: {found}; allowed: {allowed}')


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
            described = json.loads(str(file["world"]))
            world = World(**{**described, "kinds": tuple(described["kinds"])})
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
    check(world)
    shapes = {
        "ids": (n,),
        "static": (n, world.size, world.size),
        "positions": (n, world.n_obstacles, 2),
        "velocities": (n, world.n_obstacles, 2),
        "kind": (n, world.n_obstacles),
        "anchors": (n, world.n_obstacles, WAYPOINTS, 2),
        "turn": (n, world.n_obstacles, 2),
        "seed": (n, world.n_obstacles),
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
    if not ((scenarios.kind >= 0) & (scenarios.kind < len(KINDS))).all():
        raise RequestError(f"{path}: kind holds codes outside 0 to {len(KINDS) - 1}")
    if n == 0 or (np.diff(scenarios.ids) != 1).any():
        raise RequestError(f"{path}: scenario ids must be consecutive, and at least one")
