"""traces.npz: whole episodes of several models, for the report's player.

`index` is JSON: {"world", "protocol", "models", "episodes": [{"id", "outcomes": {model: outcome}}]}.
For episode number e and model number m: `static/e` bool [R, C]; in cells `agent/e/m` [S + 1, 2] and
`plan/e/m` [S, T + 1, 2]; in hundredths of a cell `obstacles/e/m` [S + 1, N, 2], `observed/e/m` [S, N, 2]
and `predicted/e/m` [S, T, N, 2]; all int16. The names are those of `episode.Trace`.

Of planners of whole paths `index` also has "kind": "paths" and, per episode, "ends": [start, goal], and the
arrays are those of `path_episode.PathTrace`, by their names: positions in hundredths of a cell, int16 all.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from hrm_jax.artefacts.files import written_whole
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.referee.cells import episode
from hrm_jax.referee.cells.protocols import Protocol
from hrm_jax.referee.paths.episode import PathTrace
from hrm_jax.referee.paths.protocols import PathProtocol

PER_CELL = 100  # positions are kept in hundredths of a cell
COUNTED = ("planned_at", "chosen")  # of a PathTrace: whole numbers, not positions


def choose(outcomes: dict[str, str], count: int) -> list[int]:
    """Up to `count` positions of telling episodes: those on which the models differ most come first."""
    solved = np.array([[o == episode.SUCCESS for o in row] for row in outcomes.values()])
    share = solved.mean(axis=0)
    order = np.argsort(np.abs(share - 0.5), kind="stable")
    return sorted(order[:count].tolist())


def record(
    path: Path,
    scenarios: Scenarios,
    protocol: Protocol,
    predictors: dict[str, episode.Predictor],
    chosen: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Play the episodes at the positions `chosen` with every predictor, and write them down."""
    arrays, index = {}, []
    for e, position in enumerate(chosen):
        one = scenarios.select(slice(position, position + 1))
        arrays[f"static/{e}"] = one.static[0]
        outcomes = {}
        for m, (name, predictor) in enumerate(predictors.items()):
            trace = episode.trace(one, protocol, predictor)
            outcomes[name] = trace.outcome
            arrays |= {f"{key}/{e}/{m}": value for key, value in _compact(trace).items()}
        index.append({"id": int(one.ids[0]), "outcomes": outcomes})
        if progress:
            progress(e + 1, len(chosen))
    _write(path, arrays, scenarios, protocol, models=list(predictors), episodes=index)


def write_paths(
    path: Path,
    scenarios: Scenarios,
    protocol: PathProtocol,
    traces: dict[str, Sequence[PathTrace]],
    chosen: Sequence[int],
) -> None:
    """Write the episodes at the positions `chosen` of planners of paths: `traces` of each, in that order."""
    arrays, index = {}, []
    for e, (position, *played) in enumerate(zip(chosen, *traces.values(), strict=True)):
        arrays[f"static/{e}"] = scenarios.static[position]
        for m, trace in enumerate(played):
            arrays |= {f"{key}/{e}/{m}": value for key, value in _compact_path(trace).items()}
        index.append(
            {
                "id": int(scenarios.ids[position]),
                "outcomes": {name: trace.outcome for name, trace in zip(traces, played, strict=True)},
                "ends": [scenarios.start[position].tolist(), scenarios.goal[position].tolist()],
            }
        )
    _write(path, arrays, scenarios, protocol, models=list(traces), episodes=index, kind="paths")


def _write(
    path: Path,
    arrays: dict[str, np.ndarray],
    scenarios: Scenarios,
    protocol: Protocol | PathProtocol,
    **described: object,
) -> None:
    index = {"world": asdict(scenarios.world), "protocol": asdict(protocol), **described}
    with written_whole(path, "wb") as file:
        np.savez_compressed(file, index=json.dumps(index), **arrays)


def _compact(trace: episode.Trace) -> dict[str, np.ndarray]:
    scaled = {name: _hundredths(getattr(trace, name)) for name in ("obstacles", "observed", "predicted")}
    return {"agent": trace.agent.astype(np.int16), "plan": trace.plan.astype(np.int16), **scaled}


def _compact_path(trace: PathTrace) -> dict[str, np.ndarray]:
    names = [field.name for field in fields(trace) if field.name != "outcome"]
    return {
        name: getattr(trace, name).astype(np.int16) if name in COUNTED else _hundredths(getattr(trace, name))
        for name in names
    }


def _hundredths(cells: np.ndarray) -> np.ndarray:
    limit = np.iinfo(np.int16).max
    return np.clip(np.rint(PER_CELL * cells), -limit, limit).astype(np.int16)
