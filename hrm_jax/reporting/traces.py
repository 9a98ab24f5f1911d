"""traces.npz: recorded episodes, read, checked, and packed for the page's player.

Two kinds: of planners that move from cell to cell (here), and of planners of whole paths (path_traces).
Shapes: S steps made, N obstacles, T predicted steps, R x C the grid. Positions are (row, column);
those of obstacles come in hundredths of a cell.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.reporting import path_traces
from hrm_jax.reporting.arrays import HUNDREDTHS, pack, shaped
from hrm_jax.reporting.path_traces import PathTrace
from hrm_jax.worlds.geometry import nearest_moment

KINDS = ("cells", "paths")
ROUNDING = 0.02  # cells, by which a distance between positions in hundredths may be off
OUTCOMES = {"1": "success", "0": "collision", "T": "timeout"}


class CollisionRule(NamedTuple):
    """When an agent and an obstacle collide."""

    radius: float  # cells
    swept: bool  # whether the whole of a step counts, or only its end


@dataclass(frozen=True)
class Trace:
    """One episode of one model."""

    outcome: str  # a key of OUTCOMES
    agent: np.ndarray  # int16 [S + 1, 2], cells
    obstacles: np.ndarray  # int16 [S + 1, N, 2], hundredths
    observed: np.ndarray | None  # int16 [S, N, 2], hundredths; None: the truth was seen
    predicted: np.ndarray  # int16 [S, T, N or 0, 2], hundredths; [t, k] is for step t + k + 1
    plan: np.ndarray  # int16 [S, T + 1, 2], cells; the agent's own first, the last one repeated

    @property
    def last_step(self) -> tuple[np.ndarray, np.ndarray]:
        """Agent [2, 2] and obstacles [2, N, 2] before and after the last step, in cells."""
        return self.agent[-2:].astype(float), self.obstacles[-2:] / HUNDREDTHS


@dataclass(frozen=True)
class Episode:
    """One scenario and what every model made of it."""

    id: int
    static: np.ndarray  # bool [R, C]
    ends: list[list[int]]  # the cells of start and goal
    traces: dict[str, Trace] | dict[str, PathTrace]  # by model


@dataclass(frozen=True)
class Traces:
    """The contents of traces.npz."""

    path: Path
    kind: str  # of KINDS
    world: dict
    protocol: dict  # its rules as recorded, or empty
    models: list[str]
    episodes: list[Episode]


def load(path: Path) -> Traces:
    """Read traces.npz; a file that is anything else is a `RequestError`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        index = json.loads(str(arrays.pop("index")))
        models, kind = list(index["models"]), str(index.get("kind", "cells"))
        if kind not in KINDS:
            raise ValueError(f'kind "{kind}"; allowed: {", ".join(KINDS)}')
        read = path_traces.read if kind == "paths" else _trace
        episodes = [_episode(arrays, e, entry, models, read) for e, entry in enumerate(index["episodes"])]
        world, protocol = dict(index["world"]), dict(index.get("protocol", {}))
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file; the report names it as its traces") from None
    except KeyError as error:
        raise RequestError(f"{path}: incomplete, {error.args[0]} is missing") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path}: not a complete traces.npz ({error})") from None
    if not models or not episodes:
        raise RequestError(
            f"{path}: holds {len(episodes)} episodes of {len(models)} models; 1 of each is needed"
        )
    return Traces(path, kind, world, protocol, models, episodes)


def _episode(
    arrays: dict[str, np.ndarray], e: int, entry: dict, models: list[str], read: Callable
) -> Episode:
    static = shaped(arrays, f"static/{e}", (None, None))
    traces = {}
    for m, name in enumerate(models):
        outcome = str(entry["outcomes"][name])
        if outcome not in OUTCOMES:
            raise ValueError(f'outcome "{outcome}" of {e}/{m}; allowed: {", ".join(OUTCOMES)}')
        traces[name] = read(arrays, f"{e}/{m}", outcome)
    return Episode(int(entry["id"]), static.astype(bool), _ends(entry, static.shape), traces)


def _ends(entry: dict, shape: tuple[int, int]) -> list[list[int]]:
    """Start and goal: opposite corners where the episode does not say."""
    ends = entry.get("ends", [[0, 0], [side - 1 for side in shape]])
    cells = [[int(part) for part in cell] for cell in ends]
    inside = all(
        len(cell) == 2 and all(0 <= part < side for part, side in zip(cell, shape, strict=True))
        for cell in cells
    )
    if len(cells) != 2 or not inside:
        raise ValueError(f"ends are {ends}; two cells of a map of {shape[0]}x{shape[1]} are needed")
    return cells


def _trace(arrays: dict[str, np.ndarray], key: str, outcome: str) -> Trace:
    agent = shaped(arrays, f"agent/{key}", (None, 2))
    steps = len(agent) - 1
    if steps < 1:
        raise ValueError(f"agent/{key} holds no step")
    obstacles = shaped(arrays, f"obstacles/{key}", (steps + 1, None, 2))
    predicted = shaped(arrays, f"predicted/{key}", (steps, None, None, 2))
    seen = f"observed/{key}"
    observed = shaped(arrays, seen, (steps, None, 2)) if seen in arrays else None
    count = obstacles.shape[1]
    for name, array in (("predicted", predicted), ("observed", observed)):
        if array is not None and array.shape[-2] not in (0, count):
            raise ValueError(f"{name}/{key} is of {array.shape[-2]} obstacles; there are {count}")
    if outcome == "0" and count == 0:
        raise ValueError(f"{key} ends in a collision, but obstacles/{key} holds no obstacle")
    if observed is not None and observed.shape[1] != count:
        observed = None  # of a model that does not look
    plan = shaped(arrays, f"plan/{key}", (steps, None, 2))
    return Trace(outcome, agent, obstacles, observed, predicted, plan)


# ---------------------------------------------------------------- packing for the page


def packed(traces: Traces, rule: CollisionRule) -> dict:
    """What player.js reads: JSON in which every array is what `arrays.pack` makes of it."""
    pack_trace = path_traces.packed if traces.kind == "paths" else _packed_trace
    return {
        "kind": traces.kind,
        "models": traces.models,
        "rule": rule._asdict(),
        "tolerance": traces.protocol.get("goal_tolerance"),
        "episodes": [
            {
                "id": episode.id,
                "static": pack(episode.static, 0),
                "ends": episode.ends,
                "traces": [
                    {"outcome": OUTCOMES[trace.outcome], **pack_trace(trace)}
                    for trace in (episode.traces[name] for name in traces.models)
                ],
            }
            for episode in traces.episodes
        ],
    }


def _packed_trace(trace: Trace) -> dict:
    arrays = {name: getattr(trace, name) for name in ("agent", "obstacles", "predicted", "plan")}
    clear = trace.observed is None or np.array_equal(trace.observed, trace.obstacles[:-1])
    arrays |= {} if clear else {"observed": trace.observed}
    return {"observed": None} | {name: pack(array, time_axis(array.ndim)) for name, array in arrays.items()}


def time_axis(ndim: int) -> int:
    """The axis of steps ahead of a prediction [S, T, N, 2], the first one of anything else."""
    return max(ndim - 3, 0)


# ---------------------------------------------------------------- the moment of a collision


def contact(trace: Trace | PathTrace, swept: bool) -> tuple[int, np.ndarray, np.ndarray, float]:
    """Obstacle, agent [2] and obstacle [2] at their nearest in the last step, and the distance; cells."""
    agent, obstacles = trace.last_step
    before, after = agent[:, None] - obstacles  # each [N, 2]
    fraction = nearest_moment(before, after) if swept else np.ones(len(before))
    distance = np.linalg.norm(before + fraction[:, None] * (after - before), axis=-1)
    hit = int(distance.argmin())
    f = fraction[hit]
    return (
        hit,
        (1 - f) * agent[0] + f * agent[1],
        (1 - f) * obstacles[0, hit] + f * obstacles[1, hit],
        float(distance[hit]),
    )


def ending(
    trace: Trace | PathTrace, static: np.ndarray, rule: CollisionRule
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Agent and obstacle, each [2], at the collision that ended an episode; cells.

    No obstacle where a path touched the map, and neither where there was no path to follow.
    """
    if trace.obstacles.shape[1]:
        _, agent, obstacle, distance = contact(trace, rule.swept)
        if isinstance(trace, Trace) or distance < rule.radius + ROUNDING:
            return agent, obstacle
    return path_traces.touch(trace, static, rule.swept), None
