"""The rules under which whole paths are judged, by name.

`paths` is this project's. `diffusion/2025-12` repeats the published evaluation, faults included: point k of
a path is tested at time k + 1, at that instant alone, and nothing limits how far apart two points are, so
that standing still and jumping to the goal at the end succeeds in 40 of the 50 published worlds
(docs/faults.md#f27, #f28).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PathProtocol:
    """How paths are judged.

    An agent follows its path a point a step, at most `speed` cells a step; a collision, with a static cell
    or an obstacle anywhere within the step, is tested before the goal. `published` has none of that.
    """

    name: str
    world: str  # key of world.WORLDS; scenarios of other worlds only where `any_world`
    seeds: tuple[int, int]  # default scenario ids, half open
    any_world: bool = False
    published: bool = False
    points: int = 64  # of a path: times 0 to 63, after which an episode is a timeout
    speed: float = math.sqrt(2)  # cells a step: the expert's longest move
    collision_radius: float = 2.0  # cells
    goal_tolerance: float = 2.0  # cells, exclusive: the published expert's

    def limit(self, size: int) -> int:
        """Steps after which an episode is a timeout, whatever the size of the world."""
        return self.points - 1


_PROTOCOLS = (
    PathProtocol("paths", world="discs", seeds=(0, 500), any_world=True),
    PathProtocol("diffusion/2025-12", world="diffusion", seeds=(1000, 1050), published=True),
)
PATH_PROTOCOLS = {protocol.name: protocol for protocol in _PROTOCOLS}
