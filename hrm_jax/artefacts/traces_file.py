"""traces.npz: whole episodes of several models, for the report's player; its reader and its writer.

`index` is JSON: {"world", "protocol", "models", "episodes": [{"id", "outcomes": {model: outcome}, "ends":
[start, goal]}]}, and of planners of whole paths "kind": "paths". For episode number e and model number m
there are `static/e` bool [R, C] and, as `NAME/e/m`, the arrays of `CellTrace` or `PathTrace`, all int16:
positions (row, column) in hundredths of a cell, except where cells are counted. An obstacle of a recorded
world that is not there has both at GONE.

Shapes: S steps made, N obstacles, T predicted steps, K plans, n samples a plan, P points a path, R x C the
grid. "N|0" is N or, where obstacles are not looked at, 0.
"""

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, NotRequired, TypedDict

import numpy as np
from msgspec import Meta

from hrm_jax.artefacts import archive, json_file
from hrm_jax.artefacts.archive import Arrays
from hrm_jax.worlds.geometry import known_ends

LARGEST = np.iinfo(np.int16).max
GONE = -LARGEST
HUNDREDTHS = 100  # positions between cells are kept in hundredths of a cell
OUTCOMES = {"1": "success", "0": "collision", "T": "timeout"}
Cell = tuple[int, int]
ABSENT = "no such file; the report names it as its traces"


class Entry(TypedDict):
    """One episode, in the index."""

    id: Annotated[int, Meta(ge=0, le=2**53)]
    outcomes: dict[str, str]  # of every model
    ends: NotRequired[tuple[Cell, Cell]]  # cells of start and goal


class World(TypedDict):
    """Of the world, what readers ask."""

    size: NotRequired[int]
    history: NotRequired[int]
    recorded: NotRequired[int]


class Index(TypedDict):
    """The array `index`."""

    world: World
    models: Annotated[list[Annotated[str, Meta(pattern=json_file.NAME)]], Meta(min_length=1)]
    episodes: Annotated[list[Entry], Meta(min_length=1)]
    protocol: NotRequired[dict[str, Any]]
    kind: NotRequired[str]


class Array(NamedTuple):
    """How an array of a trace is kept."""

    shape: str  # symbols and numbers, space between
    unit: int  # parts of a cell, or 1 for whole numbers
    time: int  # the axis along which it goes on in time
    optional: bool


def _array(shape: str, unit: int = HUNDREDTHS, time: int = 0, **default: Any) -> Any:
    return field(metadata={"array": Array(shape, unit, time, bool(default))}, **default)


class Trace:
    """One episode of one model: arrays as the file keeps them, or until `compact` in cells, float64."""

    outcome: str  # a key of OUTCOMES
    agent: np.ndarray
    obstacles: np.ndarray
    agent_unit: ClassVar[int]  # parts of a cell in which `agent` is kept

    @property
    def last_step(self) -> tuple[np.ndarray, np.ndarray]:
        """Agent [2, 2] and obstacles [2, N, 2] before and after the last step, in cells."""
        last = len(self.agent) - 1
        ends = [max(last - 1, 0), last]  # an agent that collides at once has made no step
        return self.agent[ends] / self.agent_unit, np.stack(known_ends(*there(self.obstacles[ends])))

    def arrays(self) -> Arrays:
        """Its arrays by name, those that are there."""
        found = {name: getattr(self, name) for name in schema(type(self))}
        return {name: array for name, array in found.items() if array is not None}


@dataclass(frozen=True)
class CellTrace(Trace):
    """Of a planner that moves from cell to cell."""

    agent_unit: ClassVar[int] = 1
    outcome: str
    agent: np.ndarray = _array("S+1 2", unit=1)
    obstacles: np.ndarray = _array("S+1 N 2")
    predicted: np.ndarray = _array("S T N|0 2", time=1)  # [t, k] is for step t + k + 1
    plan: np.ndarray = _array("S P 2", unit=1)  # the agent's cell first, the last one repeated
    observed: np.ndarray | None = _array("S N|0 2", default=None)  # None: the truth was seen

    def check(self) -> None:
        """Refuse what shapes alone do not tell, with a ValueError."""
        if len(self.agent) < 2:
            raise ValueError("agent holds no step")
        if self.outcome == "0" and not self.obstacles.shape[1]:
            raise ValueError("it ends in a collision, but obstacles holds no obstacle")


@dataclass(frozen=True)
class PathTrace(Trace):
    """Of a planner of whole paths."""

    agent_unit: ClassVar[int] = HUNDREDTHS
    outcome: str
    agent: np.ndarray = _array("S+1 2")
    obstacles: np.ndarray = _array("S+1 N 2")
    planned_at: np.ndarray = _array("K", unit=1)  # the steps at which a plan was made; the first is 0
    plans: np.ndarray = _array("K P 2", time=1)  # from the step of the plan on
    samples: np.ndarray = _array("K n P 2", time=2)  # before refinement; n = 0 where none are drawn
    refined: np.ndarray = _array("K n|0 P 2", time=2)  # after it
    chosen: np.ndarray = _array("K", unit=1)  # index of the sample that became the plan; -1: none did
    believed: np.ndarray = _array("K P N|0 2", time=1)  # where the obstacles were taken to be

    def check(self) -> None:
        """Refuse what shapes alone do not tell, with a ValueError."""
        if not len(self.agent):
            raise ValueError("agent holds no position")
        at, last = self.planned_at, len(self.agent) - 1
        if not len(at) or at[0] != 0 or (np.diff(at) <= 0).any() or at[-1] > last:
            raise ValueError(f"planned_at is {at[:8].tolist()}; it must rise from 0 to at most {last}")
        count = self.samples.shape[1]
        if self.chosen.min() < -1 or self.chosen.max() >= max(count, 1):
            raise ValueError(f"chosen names sample {self.chosen.max()} of {count}; -1 is none")

    def plan_at(self, step: int) -> int:
        """Which plan is in force at `step`."""
        return int(np.searchsorted(self.planned_at, step, side="right")) - 1


AnyTrace = CellTrace | PathTrace
KINDS: dict[str, type[AnyTrace]] = {"cells": CellTrace, "paths": PathTrace}


@dataclass(frozen=True)
class Episode:
    """One scenario and what every model made of it."""

    id: int
    static: np.ndarray  # bool [R, C]
    ends: list[list[int]]  # the cells of start and goal
    traces: dict[str, AnyTrace]  # by model


@dataclass(frozen=True)
class Traces:
    """The contents of traces.npz."""

    kind: str  # of KINDS
    world: dict[str, Any]
    protocol: dict[str, Any]  # its rules as recorded, or empty
    models: list[str]
    episodes: list[Episode]


def there(positions: np.ndarray) -> np.ndarray:
    """Positions [..., 2] of obstacles as the file keeps them, in cells; NaN where one is not there."""
    gone = (positions == GONE).all(axis=-1, keepdims=True)
    return np.where(gone, np.nan, positions / HUNDREDTHS)


def schema(kind: type[Trace]) -> dict[str, Array]:
    """How the arrays of a trace are kept, by name."""
    parts: Any = fields(kind)  # type: ignore[arg-type]
    return {part.name: part.metadata["array"] for part in parts if part.metadata}


# ---------------------------------------------------------------- writing


def compact(trace: AnyTrace) -> AnyTrace:
    """A trace, all positions in cells, as the file keeps it."""
    arrays: dict[str, Any] = {
        name: _whole(getattr(trace, name), kept) for name, kept in schema(type(trace)).items()
    }
    return replace(trace, **arrays)


def _whole(array: np.ndarray, kept: Array) -> np.ndarray:
    whole = np.clip(np.rint(kept.unit * array), -LARGEST, LARGEST)
    return np.where(np.isnan(array), GONE, whole).astype(np.int16)


def write(path: Path, traces: Traces) -> None:
    """Write the file, whole or not at all."""
    episodes: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for e, episode in enumerate(traces.episodes):
        arrays[f"static/{e}"] = episode.static
        for m, name in enumerate(traces.models):
            arrays |= {f"{key}/{e}/{m}": value for key, value in episode.traces[name].arrays().items()}
        outcomes = {name: episode.traces[name].outcome for name in traces.models}
        episodes.append({"id": episode.id, "outcomes": outcomes, "ends": episode.ends})
    index = {
        "world": traces.world,
        "protocol": traces.protocol,
        "models": traces.models,
        "episodes": episodes,
        **({"kind": traces.kind} if traces.kind != "cells" else {}),
    }
    archive.write(path, {"index": json.dumps(index), **arrays})


# ---------------------------------------------------------------- reading


def load(path: Path) -> Traces:
    """Read traces.npz; a file that is anything else is a `RequestError`."""
    with archive.reading(path, ABSENT, "not a complete traces.npz") as arrays:
        return _traces(arrays)


def _traces(arrays: Arrays) -> Traces:
    index = json_file.parse(str(arrays.pop("index")), "index")
    json_file.fit(index, Index, "index of a traces.npz")
    models, kind = index["models"], index.get("kind", "cells")
    if len(set(models)) < len(models):
        raise ValueError(f"models names one twice: {', '.join(models)}")
    if kind not in KINDS:
        raise ValueError(f'kind "{kind}"; allowed: {", ".join(KINDS)}')
    episodes = [_episode(arrays, e, entry, models, KINDS[kind]) for e, entry in enumerate(index["episodes"])]
    size = index["world"].get("size", len(episodes[0].static))
    for episode in episodes:
        if episode.static.shape != (size, size):
            raise ValueError(f"static is {list(episode.static.shape)}; its world is of {size} cells a side")
    return Traces(kind, index["world"], index.get("protocol", {}), models, episodes)


def _episode(
    arrays: Arrays, e: int, entry: dict[str, Any], models: list[str], kind: type[AnyTrace]
) -> Episode:
    static = shaped(arrays, f"static/{e}", "R C", {})
    if static.max(initial=0) > 1 or static.min(initial=0) < 0:
        raise ValueError(f"static/{e} holds {static.max()}; 0 and 1 are needed")
    if set(entry["outcomes"]) != set(models):
        raise ValueError(f"outcomes of {', '.join(entry['outcomes'])}; models are {', '.join(models)}")
    traces = {
        name: _trace(arrays, f"{e}/{m}", entry["outcomes"][name], kind) for m, name in enumerate(models)
    }
    return Episode(int(entry["id"]), static.astype(bool), _ends(entry, static.shape), traces)


def _ends(entry: dict[str, Any], shape: tuple[int, ...]) -> list[list[int]]:
    """Start and goal: opposite corners where an older file does not say."""
    ends = entry.get("ends", [[0, 0], [side - 1 for side in shape]])
    cells = np.array(ends, int)
    if cells.shape != (2, 2) or (cells < 0).any() or (cells >= shape).any():
        raise ValueError(f"ends are {ends}; two cells of a map of {shape[0]}x{shape[1]} are needed")
    return cells.tolist()


def _trace(arrays: Arrays, key: str, outcome: str, kind: type[AnyTrace]) -> AnyTrace:
    if outcome not in OUTCOMES:
        raise ValueError(f'outcome "{outcome}" of {key}; allowed: {", ".join(OUTCOMES)}')
    sizes: dict[str, int] = {}
    found = {
        name: shaped(arrays, f"{name}/{key}", kept.shape, sizes)
        for name, kept in schema(kind).items()
        if f"{name}/{key}" in arrays or not kept.optional
    }
    trace = kind(str(outcome), **found)
    for name, array in found.items():
        if not (np.abs(array.astype(float)) <= LARGEST).all():
            raise ValueError(f"{name}/{key} goes from {array.min()} to {array.max()}; at most {LARGEST}")
    try:
        trace.check()
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    return trace


def shaped(arrays: Arrays, name: str, shape: str, sizes: dict[str, int]) -> np.ndarray:
    """The array `name`, refused unless it is of whole numbers and of this shape.

    A symbol stands for its size in `sizes`; one that is not there yet stands for any size, and enters.
    """
    array, symbols = arrays[name], shape.split()
    allowed = [_allowed(symbol, sizes) for symbol in symbols]
    fits = array.ndim == len(symbols) and all(
        not choice or size in choice for choice, size in zip(allowed, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "biu":
        wanted = ", ".join(" or ".join(map(str, choice)) or "any" for choice in allowed)
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; whole numbers [{wanted}] are needed")
    for symbol, size in zip(symbols, array.shape, strict=True):
        base = symbol.removesuffix("+1")
        sizes.setdefault(base, size - 1 if symbol != base else size)
    return array


def _allowed(symbol: str, sizes: dict[str, int]) -> tuple[int, ...]:
    """Sizes that a symbol stands for; none where any will do."""
    base = symbol.removesuffix("+1").removesuffix("|0")
    size = int(base) if base.isdigit() else sizes.get(base)
    if size is None:
        return ()
    return (size + 1,) if symbol.endswith("+1") else (size, 0) if symbol.endswith("|0") and size else (size,)
