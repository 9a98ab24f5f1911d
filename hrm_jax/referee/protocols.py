"""Protocols: the rules an evaluation is held under, by name. docs/protocols.md describes them all.

`standard` and `paths` are this project's; everything it compares is judged by them, and they change only
under a new name. The others repeat published evaluations, faults included, so that a published number can be
reproduced and understood; none of them is fit to compare models.
"""

import math
from dataclasses import dataclass
from typing import Any

from hrm_jax.worlds.rules import Rules


@dataclass(frozen=True)
class CellProtocol(Rules):
    """How episodes of moves from cell to cell are planned and judged.

    `swept` rules test the whole of every step: moves are planned against segments, and a collision
    anywhere within the step is tested before the goal. Otherwise, as published, only the instants
    count: nodes are planned against points, and the goal is tested before a collision.
    """

    name: str
    world: str  # key of `worlds.world.WORLDS`; scenarios of other worlds only where `any_world`
    seeds: tuple[int, int]  # default scenario ids, half open
    any_world: bool = False
    swept: bool = False
    goal_tolerance: float = 0.5  # cells, exclusive
    index_shift: int = 0  # steps by which the planner reads the prediction too late


@dataclass(frozen=True)
class PathProtocol:
    """How whole paths are judged.

    An agent follows its path a point a step, at most `speed` cells a step; a collision, with a static cell
    or an obstacle anywhere within the step, is tested before the goal. `published` has none of that: point k
    is tested at time k + 1, at that instant alone, and nothing limits how far apart two points are
    (docs/faults.md#f27, #f28).
    """

    name: str
    world: str  # as above, and so are the next two
    seeds: tuple[int, int]
    any_world: bool = False
    published: bool = False
    points: int = 64  # of a path: times 0 to 63, after which an episode is a timeout
    speed: float = math.sqrt(2)  # cells a step: the expert's longest move
    collision_radius: float = 2.0  # cells
    goal_tolerance: float = 2.0  # cells, exclusive: the published expert's

    def limit(self, size: int) -> int:
        """Steps after which an episode is a timeout, whatever the size of the world."""
        return self.points - 1


_PUBLISHED: dict[str, Any] = {"world": "hrm-cloud", "seeds": (100, 150)}  # of the Mid and the 8-GPU models
_CELLS = (
    # 1,000 scenarios: a Wilson interval of about +-2.5 points at 80 %.
    CellProtocol("standard", world="standard", seeds=(0, 1000), any_world=True, swept=True),
    # "60 to 68 %": a node at plan time t is tested against the prediction for t + 1, so that even an exact
    # future fails a third.
    CellProtocol("hrm-cloud/2025-12", index_shift=1, **_PUBLISHED),
    # The same with only that index corrected: what the fault costs, and how little then separates models.
    CellProtocol("hrm-cloud/2025-12-index-fixed", **_PUBLISHED),
    # The small model ("52 %", what a blind planner reaches): shorter history, more steps, other seeds.
    CellProtocol("hrm-cloud/small", world="hrm-cloud/small", seeds=(5000, 5050), steps=100, index_shift=1),
    # 8-GPU v2, said to be the same: collisions are judged at the planner's own radius, and a neighbour of the
    # goal is the goal.
    CellProtocol("hrm-cloud/8gpu-v2", collision_radius=1.0, goal_tolerance=1.5, index_shift=1, **_PUBLISHED),
)
_PATHS = (
    PathProtocol("paths", world="discs", seeds=(0, 500), any_world=True),
    PathProtocol("diffusion/2025-12", world="diffusion", seeds=(1000, 1050), published=True),
)

Protocol = CellProtocol | PathProtocol
CELL_PROTOCOLS = {protocol.name: protocol for protocol in _CELLS}
PATH_PROTOCOLS = {protocol.name: protocol for protocol in _PATHS}
PROTOCOLS: dict[str, Protocol] = CELL_PROTOCOLS | PATH_PROTOCOLS
