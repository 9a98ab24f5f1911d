"""Types of the dynamic grid world. Cells are points at integer (row, col); obstacles are moving points."""

import dataclasses
from typing import NamedTuple

import jax

from hrm_jax.errors import RequestError


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """What the documents and the originals vary. Lengths are cells, times are steps.

    The defaults are the corrected world of the standard protocol; `distinct_static`, `connected` and
    `safe_start` all False with `n_static=20` is the published one (specs/cloud.md §2.1, fault F4).
    """

    size: int = 20  # rows = columns; start (0, 0), goal (size-1, size-1)
    n_static: int = 12  # static cells, never start or goal
    n_obstacles: int = 6
    speed: float = 0.7  # cells a step
    history: int = 20  # steps that pass before the agent may move
    distinct_static: bool = True  # False: draws with replacement; a draw on start or goal is lost
    connected: bool = True  # redraw the static cells until a 4-connected path joins start and goal
    safe_start: bool = True  # redraw an obstacle that comes within 2 cells of the waiting agent

    def __post_init__(self):
        if self.size < 3:
            raise RequestError(f"data.world.size = {self.size}: at least 3")
        if self.n_obstacles < 1:
            raise RequestError(f"data.world.n_obstacles = {self.n_obstacles}: at least 1")
        room = self.size**2 - 2
        if not 0 <= self.n_static <= room // 4:
            raise RequestError(
                f"data.world.n_static = {self.n_static}: 0 to {room // 4}, a quarter of the {room} cells "
                f"of a {self.size}x{self.size} world"
            )
        if not 0 < self.speed < self.size / 2:
            raise RequestError(f"data.world.speed = {self.speed}: above 0, under {self.size / 2}")


class Obstacles(NamedTuple):
    """Moving obstacles; leading axes as the context says (one obstacle, [N], or [E, N])."""

    position: jax.Array  # [..., 2] float32, cells, in [0, size - 0.01]
    velocity: jax.Array  # [..., 2] float32, cells a step


class Windows(NamedTuple):
    """Training windows in the published unit: positions and displacements over the world's size.

    A group is the set of obstacles that one example may look at: one, or a world's N.
    """

    history: jax.Array  # [G, N, T, 2] positions, oldest first
    target: jax.Array  # [G, N, 2] displacement of the step that follows
    weight: jax.Array  # [G] mean 1; 0 pads the last batch of an epoch
