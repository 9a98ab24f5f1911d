"""Where and with what a recorded episode collided."""

from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.traces_file import CellTrace, Trace
from hrm_jax.worlds.geometry import nearest_moment

ROUNDING = 0.02  # cells, by which a distance between positions in hundredths may be off
FINENESS = 200  # places of a step that are tried for the first touch of the map
GRAZE = 0.01  # cells, by which rounding to hundredths may move a touch off the cell


class CollisionRule(NamedTuple):
    """When an agent and an obstacle collide."""

    radius: float  # cells
    swept: bool  # whether the whole of a step counts, or only its end


class Ending(NamedTuple):
    """The collision that ended an episode; places are (row, column) in cells.

    Without an obstacle where a path touched the map, and without a place where there was no path to follow.
    """

    agent: np.ndarray | None = None
    obstacle: np.ndarray | None = None
    number: int | None = None  # the obstacle's, from 0
    distance: float = 0.0  # between the two, cells


def contact(trace: Trace, swept: bool) -> Ending:
    """Agent and obstacle at their nearest in the last step."""
    agent, obstacles = trace.last_step
    gap = agent[:, None] - obstacles  # [2, N, 2]
    share = nearest_moment(*gap) if swept else np.ones(gap.shape[1])
    distance = np.linalg.norm(gap[0] + share[:, None] * (gap[1] - gap[0]), axis=-1)
    hit = int(distance.argmin())
    f = share[hit]
    places = ((1 - f) * agent[0] + f * agent[1], (1 - f) * obstacles[0, hit] + f * obstacles[1, hit])
    return Ending(*places, hit, float(distance[hit]))


def ending(trace: Trace, static: np.ndarray, rule: CollisionRule) -> Ending:
    """What ended an episode that failed."""
    if trace.obstacles.shape[1]:
        found = contact(trace, rule.swept)
        if isinstance(trace, CellTrace) or found.distance < rule.radius + ROUNDING:
            return found
    return Ending(touch(trace, static, rule.swept))


def touch(trace: Trace, static: np.ndarray, swept: bool) -> np.ndarray | None:
    """Where [2] the last step first leads off the map or into a static cell, in cells; None: nowhere.

    A cell is a unit square around its centre, or, by the published rule that is not `swept`, what a position
    is truncated to.
    """
    before, after = trace.last_step[0]
    share = np.linspace(0, 1, FINENESS + 1)[:, None] if swept else np.ones((1, 1))
    places = (1 - share) * before + share * after
    grazes = np.array([(0, 0), (GRAZE, 0), (-GRAZE, 0), (0, GRAZE), (0, -GRAZE)])
    near = places[:, None] + grazes  # [places, 5, 2]
    cells = np.floor(near + 0.5 if swept else near).astype(np.int64)
    inside = ((cells >= 0) & (cells < static.shape)).all(axis=-1)
    rows, columns = np.clip(cells, 0, np.array(static.shape) - 1).transpose(2, 0, 1)
    bad = (~inside | static[rows, columns]).any(axis=1)
    return places[bad.argmax()] if bad.any() else None
