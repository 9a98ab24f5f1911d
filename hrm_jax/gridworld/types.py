"""Types of the dynamic grid world. Cells are points at integer (row, col); obstacles are moving points."""

import dataclasses
from typing import NamedTuple

import jax

from hrm_jax.artefacts.errors import RequestError, nearest

# The kinds of motion (docs/worlds.md), the published one first. Codes are positions in this tuple.
KINDS = ("bounce", "circular", "oscillating", "patrol", "turning", "pursuit")
BOUNCE, CIRCULAR, OSCILLATING, PATROL, TURNING, PURSUIT = range(len(KINDS))
WAYPOINTS = 4  # of a patrol
LAYOUTS = ("cells", "discs")
DISC_RADII = (2, 5)  # cells, both included
DISC_CELLS = 81  # cells of the widest disc


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """What the documents and the originals vary. Lengths are cells, times are steps.

    The defaults are the corrected world of the standard protocol; `distinct_static`, `connected` and
    `safe_start` all False with `n_static=20` is the published one (docs/faults.md#f4).

    In the layout "discs" (docs/worlds.md#discs) static cells come as discs, obstacles start anywhere, each
    with a velocity of its own, and start and goal are drawn (`rollout.ends`).
    """

    size: int = 20  # rows = columns; start (0, 0), goal (size-1, size-1)
    n_static: int = 12  # static cells, never start or goal; or static discs
    n_obstacles: int = 6
    speed: float = 0.7  # cells a step; discs: the most per axis
    history: int = 20  # steps that pass before the agent may move
    distinct_static: bool = True  # False: draws with replacement; a draw on start or goal is lost
    connected: bool = True  # redraw the static cells until a 4-connected path joins start and goal
    safe_start: bool = True  # redraw an obstacle that comes within 2 cells of the waiting agent
    kinds: tuple[str, ...] = ("bounce",)  # motions, each entry as likely for every obstacle
    interacting: bool = False  # obstacles turn back at static cells, and from each other
    noise: float = 0.0  # cells; standard deviation of an observed position, per axis
    drop: float = 0.0  # chance that an obstacle is not observed in a step
    layout: str = "cells"  # cells | discs

    @property
    def simple(self) -> bool:
        """Whether obstacles only bounce, and are seen as they are: no more than a position and a velocity."""
        return self.kinds == ("bounce",) and not (self.interacting or self.noise or self.drop)

    def __post_init__(self):
        object.__setattr__(self, "kinds", tuple(self.kinds))  # a list, as JSON has it, is welcome
        for kind in self.kinds:
            if kind not in KINDS:
                raise RequestError(f'data.world.kinds: "{kind}"{nearest(kind, KINDS)}; of {", ".join(KINDS)}')
        if not self.kinds:
            raise RequestError(f"data.world.kinds is empty: at least one of {', '.join(KINDS)}")
        if not (self.noise >= 0 and 0 <= self.drop < 1):
            raise RequestError(
                f"data.world.noise = {self.noise}, drop = {self.drop}: noise from 0, drop from 0 to under 1"
            )
        if self.size < 3:
            raise RequestError(f"data.world.size = {self.size}: at least 3")
        if self.n_obstacles < 1:
            raise RequestError(f"data.world.n_obstacles = {self.n_obstacles}: at least 1")
        if not 0 < self.speed < self.size / 2:
            raise RequestError(f"data.world.speed = {self.speed}: above 0, under {self.size / 2}")
        if self.layout not in LAYOUTS:
            told = nearest(self.layout, LAYOUTS)
            raise RequestError(f'data.world.layout: "{self.layout}"{told}; of {", ".join(LAYOUTS)}')
        if self.layout == "discs":
            self._check_discs()
            return
        room = self.size**2 - 2
        if not 0 <= self.n_static <= room // 4:
            raise RequestError(
                f"data.world.n_static = {self.n_static}: 0 to {room // 4}, a quarter of the {room} cells "
                f"of a {self.size}x{self.size} world"
            )

    def _check_discs(self):
        for name in ("distinct_static", "connected", "safe_start"):
            if getattr(self, name):
                raise RequestError(f'data.world.{name} = True: False where data.world.layout = "discs"')
        if not self.simple:
            raise RequestError(
                'data.world.layout = "discs": obstacles bounce and are seen as they are '
                '(kinds = ("bounce",), interacting = False, noise = drop = 0)'
            )
        most = (self.size**2 - 2) // DISC_CELLS  # then start and goal find room wherever the discs fall
        if not 0 <= self.n_static <= most:
            raise RequestError(
                f"data.world.n_static = {self.n_static}: 0 to {most} discs of up to {DISC_CELLS} cells, "
                f"which leave two of a {self.size}x{self.size} world free"
            )


class Motion(NamedTuple):
    """What makes an obstacle of a world that is not simple move as it does; leading axes as `Obstacles`."""

    kind: jax.Array  # [...] int32, index into KINDS
    anchors: jax.Array  # [..., WAYPOINTS, 2] cells: a patrol's way-points, a centre
    turn: jax.Array  # [..., 2] cosine and sine of a circle's or a swing's angle a step
    seed: jax.Array  # [...] uint32, decides turns and observations (dynamics.uniform)
    waypoint: jax.Array  # [...] int32, which one a patrol is going to


class Obstacles(NamedTuple):
    """Moving obstacles; leading axes as the context says (one obstacle, [N], or [E, N])."""

    position: jax.Array  # [..., 2] float32, cells, in [0, size - 0.01]; as drawn among discs: in [0, size)
    velocity: jax.Array  # [..., 2] float32, cells a step
    motion: Motion | None = None  # None in a simple world


class Windows(NamedTuple):
    """Training windows in the published unit: positions and displacements over the world's size.

    A group is the set of obstacles that one example may look at: one, or a world's N.
    """

    history: jax.Array  # [G, N, T, 2] positions, oldest first
    target: jax.Array  # [G, N, 2] displacement of the step that follows
    weight: jax.Array  # [G] mean 1; 0 pads the last batch of an epoch


class Scenes(NamedTuple):
    """Training examples of whole worlds: what was seen, and what came after. Positions over size."""

    history: jax.Array  # [G, N, T, 2] observed, gaps filled, oldest first
    observed: jax.Array  # [G, N, T] float32: 1 observed, 0 filled in
    agent: jax.Array  # [G, T, 2]
    static: jax.Array  # [G, R, C] float32: 1 at static cells
    future: jax.Array  # [G, N, horizon, 2], the truth


class Seen(NamedTuple):
    """What a predictor may look at in the closed loop. Positions in cells; E episodes, H history steps."""

    history: jax.Array  # [E, H, N, 2], oldest first, gaps filled
    observed: jax.Array  # [E, H, N] bool; False: filled in
    agent: jax.Array  # [E, H, 2]
    static: jax.Array  # [E, R, C] bool
