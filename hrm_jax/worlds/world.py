"""What a world is, and every world, declared once. No third-party import: configs read this, too.

Positions are (row, column) in cells. Static cells are points at integer coordinates, obstacles points with
continuous ones. docs/worlds.md describes the worlds and their motions. Adding a world is one entry in WORLDS.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, ClassVar

from hrm_jax.artefacts.errors import RequestError, known, nearest
from hrm_jax.artefacts.fields import AboveZero, Fraction, Positive, Rule, check, one_of

# How obstacles move. A code is a position in this tuple; the published motion comes first.
KINDS = ("bounce", "circular", "oscillating", "patrol", "turning", "pursuit", "switching")
BOUNCE, CIRCULAR, OSCILLATING, PATROL, TURNING, PURSUIT, SWITCHING = range(len(KINDS))
LAYOUTS = ("cells", "discs")  # of static cells: one by one, or discs of them
GENERATORS = ("philox", "mt19937", "discs", "discs/mt19937", "jax", "recorded")
LARGEST = 64  # rows and columns that the planner handles
WIDEST = 1024  # of a world in which nothing is planned
LONGEST = 1000  # steps of a history
RECORDED = 100_000  # positions of a recorded track
ROOM = {"circular": 9, "oscillating": 11}  # rows and columns that the widest circle and swing need

CONFIGURED = "data.world"  # what a world is called that a config describes in the group of this name
WALL_GAP = 0.01  # cells; the world ends this far inside its upper walls
WAYPOINTS = 4  # of a patrol
SAFE_STEPS = 2  # steps after the history during which the start is kept clear of obstacles
DISC_RADII = (2, 5)  # cells, both included: of static discs
DISC_CELLS = 81  # cells of the widest disc


def _between(least: float, most: float) -> Rule:
    return Rule(lambda value: least <= value <= most, f"{least} to {most:,}")


Size = Annotated[int, _between(3, WIDEST)]
Steps = Annotated[int, _between(0, LONGEST)]
Recorded = Annotated[int, _between(0, RECORDED)]
Spread = Annotated[float, _between(0, WIDEST)]
Shape = Annotated[
    tuple[int, int],
    Rule(
        lambda sides: (
            isinstance(sides, tuple)
            and len(sides) == 2
            and all(type(side) is int and side > 0 for side in sides)
        ),
        "two whole numbers above 0, rows and columns",
    ),
]
Kinds = Annotated[
    tuple[str, ...],
    Rule(lambda kinds: isinstance(kinds, tuple) and len(kinds) > 0, f"at least one of {', '.join(KINDS)}"),
]


@dataclass(frozen=True)
class World:
    """What scenarios are drawn from. Lengths are cells, times are steps.

    A generator says how scenarios are drawn: "jax" by the simulator (`hrm_jax.gridworld`), any other by the
    referee (`hrm_jax.referee.drawing`); "recorded" ones are not drawn, but come from somebody's tracks. The
    flags `distinct_static`, `connected` and `safe_start` direct the simulator; scenarios of "philox" have all
    three, those of "mt19937" none. Worlds of discs have none: discs overlap, start and goal are drawn, and
    what is checked is the generator's affair.
    """

    name: str  # a line of text
    size: Size = 20  # rows and columns; drawn starts are (0, 0), goals (size - 1, size - 1), but among discs
    n_static: int = 12  # static cells or discs; where they are not distinct, the tries
    n_obstacles: Positive = 6
    speed: AboveZero = 0.7  # cells a step; among discs: the most along each axis
    history: Steps = 20  # steps that pass before the agent may move
    distinct_static: bool = True  # False: with replacement, and a draw on start or goal is lost
    connected: bool = True  # static cells are drawn again until a 4-connected path joins start and goal
    safe_start: bool = True  # obstacles that come within SAFE_START of the waiting agent are drawn again
    kinds: Kinds = ("bounce",)  # motions; each entry as likely for every obstacle
    interacting: bool = False  # obstacles turn back at static cells, and from each other
    noise: Spread = 0.0  # cells; standard deviation of an observed position, per axis
    drop: Fraction = 0.0  # chance that an obstacle is not observed in a step
    layout: Annotated[str, one_of(LAYOUTS)] = "cells"
    generator: Annotated[str, one_of(GENERATORS)] = "philox"

    recorded: ClassVar[int] = 0  # see `RecordedWorld`
    shape: ClassVar[tuple[int, int] | None] = None

    @property
    def simple(self) -> bool:
        """Whether obstacles only bounce, and are observed exactly: they are a position and a velocity."""
        ruled = self.interacting or self.noise or self.drop or self.recorded
        return self.kinds == ("bounce",) and not ruled

    def until(self, limit: int) -> int:
        """Steps after which an episode is a timeout, where the rules say `limit`: it ends with its record."""
        return until(limit, self.recorded, self.history)

    def __post_init__(self):
        if isinstance(self.kinds, list):  # JSON has no tuple
            object.__setattr__(self, "kinds", tuple(self.kinds))
        if isinstance(self.shape, list):
            object.__setattr__(self, "shape", tuple(self.shape))
        if not (isinstance(self.name, str) and 0 < len(self.name) <= 300 and self.name.isprintable()):
            raise RequestError("the name of a world is a line of text, of 300 characters at most")
        place = self.name if self.name == CONFIGURED else f'world "{self.name}"'
        check(place, self)
        if complaint := self._complaint():
            raise RequestError(f"{place}: {complaint}")

    def _complaint(self) -> str | None:
        """What is wrong with the fields taken together, in one line."""
        for kind in self.kinds:
            if kind not in KINDS:
                return f'kinds: "{kind}"{nearest(str(kind), KINDS)}; of {", ".join(KINDS)}'
            if self.size < ROOM.get(kind, 0):
                return f'size = {self.size}: at least {ROOM[kind]} for the motion "{kind}"'
        if self.generator == "recorded" and not self.recorded:
            return 'generator = "recorded": recorded, the length of the tracks, is missing'
        if self.size > LARGEST and self.generator != "jax":
            return f"size = {self.size}: the planner handles up to {LARGEST}"
        if self.speed >= self.size / 2:
            return f"speed = {self.speed}: above 0, under {self.size / 2}"
        most = self.size**2 // (4 if self.interacting else 1)
        if self.n_obstacles > most:
            crowd = "a quarter of the" if self.interacting else "the"
            return f"n_obstacles = {self.n_obstacles}: at most {most}, {crowd} cells of the world"
        if self.layout == "discs" and (complaint := self._complaint_of_discs()):
            return complaint
        most, of = self._most_static()
        return None if 0 <= self.n_static <= most else f"n_static = {self.n_static}: 0 to {most}{of}"

    def _most_static(self) -> tuple[int, str]:
        """The most static cells or discs, and of what."""
        room, world = self.size**2 - 2, f"{self.size}x{self.size} world"  # all but start and goal
        if self.layout == "discs":  # then start and goal find room wherever the discs fall
            most = room // DISC_CELLS
            return most, f" discs of up to {DISC_CELLS} cells, which leave two of a {world} free"
        most, share = room, "of"
        if self.generator == "jax":  # which draws again until there is a path
            most, share = room // 4, "a quarter of"
        return most, f", {share} the {room} cells of a {world} other than start and goal"

    def _complaint_of_discs(self) -> str | None:
        for name in ("distinct_static", "connected", "safe_start"):
            if getattr(self, name):
                return f'{name} = True: False where layout = "discs"'
        if not self.simple:
            return (
                'layout = "discs": obstacles bounce and are observed exactly '
                '(kinds = ("bounce",), interacting = False, noise = drop = 0)'
            )
        return None


@dataclass(frozen=True)
class RecordedWorld(World):
    """A world whose obstacles were recorded, and move as they did; `size` is the longer side of its map."""

    generator: Annotated[str, one_of(["recorded"])] = "recorded"
    recorded: Recorded = 0  # type: ignore[misc]  # positions of a track, one a step
    shape: Shape | None = None  # type: ignore[misc]  # rows and columns of a map that is no square

    def _complaint(self) -> str | None:
        if self.recorded < self.history + 2:
            least = f"history + 2 = {self.history + 2}, for one step"
            return f"recorded = {self.recorded} positions of a track: at least {least}"
        if self.kinds != ("bounce",) or self.interacting or self.noise or self.drop or self.layout != "cells":
            return 'a recorded world has no motion, noise or layout of its own (all as in "standard")'
        if self.shape and max(self.shape) > self.size:
            return f"shape = {self.shape}: rows and columns, at most size = {self.size}"
        return super()._complaint()


_UNCHECKED: dict[str, Any] = {"distinct_static": False, "connected": False, "safe_start": False}
_DISCS = _UNCHECKED | {"size": 64, "n_static": 10, "n_obstacles": 8, "speed": 0.75, "layout": "discs"}

# Oracle and reflection: successes in the first 1,000 scenarios (`large`: 100) under `standard`, in per cent.
WORLDS = {
    world.name: world
    for world in (
        # Oracle 100.0, reflection 93.5.
        World("standard"),
        # Fast and crowded: a predictor of the obstacles decides. 99.9, 77.7.
        World("dense", n_obstacles=20, speed=1.2),
        # 99.5, 70.6.
        World("swarm", n_obstacles=30, speed=1.2),
        # Every motion, circles and swings three times as likely as what cannot be predicted. 97.5, 61.6.
        World(
            "mixed",
            n_obstacles=20,
            speed=1.0,
            kinds=("bounce", *3 * ("circular", "oscillating"), "patrol", "turning", "pursuit"),
        ),
        # The map and the other obstacles matter. 99.4, 49.7.
        World("interacting", n_static=40, n_obstacles=16, speed=0.9, interacting=True),
        # Observed with noise, a fifth of it missing. 100.0, 47.3.
        World("noisy", n_obstacles=12, speed=1.0, noise=0.15, drop=0.2),
        # 100.0, 62.0.
        World("large", size=64, n_static=120, n_obstacles=100, speed=1.2),
        # Only a long memory knows: straight on and round in turns, by a clock of each one's own. 100.0, 54.0.
        World("clocked", n_obstacles=20, speed=1.0, history=60, kinds=("switching",)),
        # Rounds of four way-points, of which the history holds one and a half. 100.0, 63.3.
        World("rounds", n_obstacles=20, speed=1.0, history=60, kinds=("patrol",)),
        # The published environment: 20 tries at placing a static cell.
        World("hrm-cloud", n_static=20, generator="mt19937", **_UNCHECKED),
        World("hrm-cloud/small", n_static=20, history=10, generator="mt19937", **_UNCHECKED),
        # For paths: static discs, and moving ones of radius 2; start and goal anywhere.
        World("discs", history=10, generator="discs", **_DISCS),
        # The same as published: nothing is checked, and the agent leaves at once.
        World("diffusion", history=0, generator="discs/mt19937", **_DISCS),
    )
}


def until(limit: int, recorded: int, history: int) -> int:
    """See `World.until`; `recorded` is 0 where obstacles move by rules."""
    return min(limit, recorded - 1 - history) if recorded else limit


def of_config(fields: Mapping[str, Any]) -> World:
    """The world of a config's group `data.world`, or of a model file; the simulator draws it."""
    if not hasattr(fields, "keys"):  # a ConfigDict, which no Mapping is, will do
        raise RequestError(f"{CONFIGURED} = {fields!r:.99}: a group of fields is needed")
    for name in fields:
        known(f"field of {CONFIGURED}", name, to_config(World(CONFIGURED)))
    return World(CONFIGURED, generator="jax", **fields)


def to_config(world: World) -> dict[str, Any]:
    """The group `data.world` of a config, and of a model file: all of a world but its name and generator."""
    fields = asdict(world)
    del fields["name"], fields["generator"]
    return fields


def from_json(said: Any) -> World:
    """The world that a file describes; what an older file does not say is as in the world of its name."""
    if not (isinstance(said, dict) and isinstance(said["name"], str)):
        raise RequestError("its world is not an object with a name")
    kind = RecordedWorld if said.get("generator") == "recorded" else World
    for name in said:
        known("field of a world", name, (field.name for field in fields(kind)))
    alike = WORLDS.get(said["name"], WORLDS["discs" if said.get("layout") == "discs" else "standard"])
    return kind(**{**asdict(alike), **said})
