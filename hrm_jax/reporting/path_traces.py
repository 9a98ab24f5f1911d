"""Recorded episodes of path planners, as traces.npz holds them under the kind "paths".

Shapes: S steps made, N obstacles, K plans, n samples a plan, P points a path, R x C the grid. Positions are
(row, column), in hundredths of a cell.
"""

from dataclasses import dataclass

import numpy as np

from hrm_jax.reporting.arrays import HUNDREDTHS, pack, shaped

FINENESS = 200  # places of a step that are tried for the first touch of the map
GRAZE = 0.01  # cells, by which rounding to hundredths may move a touch off the cell

# The axis along which a path goes on in time.
TIME_AXES = {
    "agent": 0,
    "obstacles": 0,
    "planned_at": 0,
    "plans": 1,
    "samples": 2,
    "refined": 2,
    "chosen": 0,
    "believed": 1,
}


@dataclass(frozen=True)
class PathTrace:
    """One episode of one planner."""

    outcome: str  # a key of traces.OUTCOMES
    agent: np.ndarray  # int16 [S + 1, 2]
    obstacles: np.ndarray  # int16 [S + 1, N, 2]
    planned_at: np.ndarray  # int16 [K], the steps at which a plan was made; the first is 0
    plans: np.ndarray  # int16 [K, P, 2], from the step of the plan on
    samples: np.ndarray  # int16 [K, n, P, 2], before refinement; n = 0 where none are drawn
    refined: np.ndarray  # int16 [K, n or 0, P, 2], after it
    chosen: np.ndarray  # int16 [K], index of the sample that became the plan; -1: none did
    believed: np.ndarray  # int16 [K, P, N or 0, 2], where the obstacles were taken to be

    @property
    def last_step(self) -> tuple[np.ndarray, np.ndarray]:
        """Agent [2, 2] and obstacles [2, N, 2] before and after the last step, in cells."""
        ends = [max(len(self.agent) - 2, 0), len(self.agent) - 1]  # who is hit at once has made no step
        return self.agent[ends] / HUNDREDTHS, self.obstacles[ends] / HUNDREDTHS

    def plan_at(self, step: int) -> int:
        """Which plan is in force at `step`."""
        return int(np.searchsorted(self.planned_at, step, side="right")) - 1


def read(arrays: dict[str, np.ndarray], key: str, outcome: str) -> PathTrace:
    """The trace at `key` ("episode/model"); arrays that do not fit each other are a ValueError."""
    agent = shaped(arrays, f"agent/{key}", (None, 2))
    if len(agent) == 0:
        raise ValueError(f"agent/{key} holds no position")
    obstacles = shaped(arrays, f"obstacles/{key}", (len(agent), None, 2))
    planned_at = shaped(arrays, f"planned_at/{key}", (None,))
    _check_times(planned_at, len(agent), key)
    plans = shaped(arrays, f"plans/{key}", (len(planned_at), None, 2))
    count, points = plans.shape[:2]
    samples = shaped(arrays, f"samples/{key}", (count, None, points, 2))
    refined = shaped(arrays, f"refined/{key}", (count, None, points, 2))
    if refined.shape[1] not in (0, samples.shape[1]):
        raise ValueError(f"refined/{key} is of {refined.shape[1]} samples; there are {samples.shape[1]}")
    chosen = shaped(arrays, f"chosen/{key}", (count,))
    if chosen.min() < -1 or chosen.max() >= max(samples.shape[1], 1):
        raise ValueError(f"chosen/{key} names sample {chosen.max()} of {samples.shape[1]}; -1 is none")
    believed = shaped(arrays, f"believed/{key}", (count, points, None, 2))
    if believed.shape[2] not in (0, obstacles.shape[1]):
        raise ValueError(
            f"believed/{key} is of {believed.shape[2]} obstacles; there are {obstacles.shape[1]}"
        )
    return PathTrace(outcome, agent, obstacles, planned_at, plans, samples, refined, chosen, believed)


def _check_times(planned_at: np.ndarray, positions: int, key: str) -> None:
    ordered = len(planned_at) > 0 and planned_at[0] == 0 and (np.diff(planned_at) > 0).all()
    if not ordered or planned_at[-1] >= positions:
        raise ValueError(
            f"planned_at/{key} is {planned_at[:8].tolist()}; it must rise from 0 to at most {positions - 1}"
        )


def packed(trace: PathTrace) -> dict:
    """The arrays of a trace for player.js."""
    return {name: pack(getattr(trace, name), axis) for name, axis in TIME_AXES.items()}


def touch(trace: PathTrace, static: np.ndarray, swept: bool) -> np.ndarray | None:
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
