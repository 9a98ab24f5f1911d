"""traces.npz: recorded episodes, read, checked, and packed for the page's player.

Shapes: S steps made, N obstacles, T predicted steps, R x C the grid. Positions are (row, column);
those of obstacles come in hundredths of a cell.
"""

import base64
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hrm_jax.errors import RequestError

HUNDREDTHS = 100
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


@dataclass(frozen=True)
class Episode:
    """One scenario and what every model made of it."""

    id: int
    static: np.ndarray  # bool [R, C]
    traces: dict[str, Trace]  # by model


@dataclass(frozen=True)
class Traces:
    """The contents of traces.npz."""

    path: Path
    world: dict
    models: list[str]
    episodes: list[Episode]


def load(path: Path) -> Traces:
    """Read traces.npz; a file that is anything else is a `RequestError`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        index = json.loads(str(arrays.pop("index")))
        models = list(index["models"])
        episodes = [_episode(arrays, e, entry, models) for e, entry in enumerate(index["episodes"])]
        world = dict(index["world"])
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
    return Traces(path, world, models, episodes)


def _episode(arrays: dict[str, np.ndarray], e: int, entry: dict, models: list[str]) -> Episode:
    static = _shaped(arrays, f"static/{e}", (None, None))
    outcomes = entry["outcomes"]
    traces = {name: _trace(arrays, f"{e}/{m}", str(outcomes[name])) for m, name in enumerate(models)}
    return Episode(int(entry["id"]), static.astype(bool), traces)


def _trace(arrays: dict[str, np.ndarray], key: str, outcome: str) -> Trace:
    if outcome not in OUTCOMES:
        raise ValueError(f'outcome "{outcome}" of {key}; allowed: {", ".join(OUTCOMES)}')
    agent = _shaped(arrays, f"agent/{key}", (None, 2))
    steps = len(agent) - 1
    if steps < 1:
        raise ValueError(f"agent/{key} holds no step")
    obstacles = _shaped(arrays, f"obstacles/{key}", (steps + 1, None, 2))
    predicted = _shaped(arrays, f"predicted/{key}", (steps, None, None, 2))
    seen = f"observed/{key}"
    observed = _shaped(arrays, seen, (steps, None, 2)) if seen in arrays else None
    count = obstacles.shape[1]
    for name, array in (("predicted", predicted), ("observed", observed)):
        if array is not None and array.shape[-2] not in (0, count):
            raise ValueError(f"{name}/{key} is of {array.shape[-2]} obstacles; there are {count}")
    if outcome == "0" and count == 0:
        raise ValueError(f"{key} ends in a collision, but obstacles/{key} holds no obstacle")
    if observed is not None and observed.shape[1] != count:
        observed = None  # of a model that does not look
    plan = _shaped(arrays, f"plan/{key}", (steps, None, 2))
    return Trace(outcome, agent, obstacles, observed, predicted, plan)


def _shaped(arrays: dict[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """The array `name`, refused unless it has this shape; None stands for any size."""
    array = arrays[name]
    fits = array.ndim == len(shape) and all(w in (None, s) for w, s in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "biu":
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; whole numbers [{wanted}] are needed")
    return array


# ---------------------------------------------------------------- packing for the page


def packed(traces: Traces, rule: CollisionRule) -> dict:
    """What player.js reads: JSON in which every array is {shape, data} of `_pack`."""
    return {
        "models": traces.models,
        "rule": rule._asdict(),
        "episodes": [
            {
                "id": episode.id,
                "static": _pack(episode.static),
                "traces": [_packed_trace(episode.traces[name]) for name in traces.models],
            }
            for episode in traces.episodes
        ],
    }


def _packed_trace(trace: Trace) -> dict:
    arrays = {name: getattr(trace, name) for name in ("agent", "obstacles", "predicted", "plan")}
    clear = trace.observed is None or np.array_equal(trace.observed, trace.obstacles[:-1])
    return {
        "outcome": OUTCOMES[trace.outcome],
        **{name: _pack(array) for name, array in arrays.items()},
        "observed": None if clear else _pack(trace.observed),
    }


def _pack(array: np.ndarray) -> dict:
    """Shape, and base64 of zlib of int16 differences in time (mod 2^16), which are small and repeat."""
    axis = time_axis(array.ndim)
    bounds = np.iinfo(np.int16)
    whole = np.clip(array.astype(np.int64), bounds.min, bounds.max)
    steps = np.diff(whole, axis=axis, prepend=0).astype(np.uint16).astype("<u2")
    return {
        "shape": list(array.shape),
        "data": base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii"),
    }


def time_axis(ndim: int) -> int:
    """The axis of steps ahead of a prediction [S, T, N, 2], the first one of anything else."""
    return max(ndim - 3, 0)


# ---------------------------------------------------------------- the moment of a collision


def contact(trace: Trace, swept: bool) -> tuple[int, np.ndarray, np.ndarray, float]:
    """Obstacle, agent [2] and obstacle [2] at their nearest in the last step, and the distance; cells."""
    agent = trace.agent[-2:].astype(float)
    obstacles = trace.obstacles[-2:].astype(float) / HUNDREDTHS
    gap = agent[:, None] - obstacles  # [2, N, 2]
    travel = gap[1] - gap[0]
    along = (travel**2).sum(axis=-1)
    nearest = np.clip(-(gap[0] * travel).sum(axis=-1) / np.where(along > 0, along, 1.0), 0.0, 1.0)
    fraction = nearest if swept else np.ones(len(nearest))
    distance = np.linalg.norm(gap[0] + fraction[:, None] * travel, axis=-1)
    hit = int(distance.argmin())
    f = fraction[hit]
    return (
        hit,
        (1 - f) * agent[0] + f * agent[1],
        (1 - f) * obstacles[0, hit] + f * obstacles[1, hit],
        float(distance[hit]),
    )
