"""traces.npz: whole episodes of several models, for the report's player.

`index` is JSON: {"world", "protocol", "models", "episodes": [{"id", "outcomes": {model: outcome}}]}.
For episode number e and model number m: `static/e` bool [R, C]; in cells `agent/e/m` [S + 1, 2] and
`plan/e/m` [S, T + 1, 2]; in hundredths of a cell `obstacles/e/m` [S + 1, N, 2], `observed/e/m` [S, N, 2]
and `predicted/e/m` [S, T, N, 2]; all int16. The names are those of `episode.Trace`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hrm_jax.files import written_whole
from hrm_jax.planning import episode
from hrm_jax.planning.protocols import Protocol
from hrm_jax.planning.world import Scenarios

PER_CELL = 100  # positions are kept in hundredths of a cell


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
    described = {
        "world": asdict(scenarios.world),
        "protocol": asdict(protocol),
        "models": list(predictors),
        "episodes": index,
    }
    with written_whole(path, "wb") as file:
        np.savez_compressed(file, index=json.dumps(described), **arrays)


def _compact(trace: episode.Trace) -> dict[str, np.ndarray]:
    limit = np.iinfo(np.int16).max
    scaled = {
        name: np.clip(np.rint(PER_CELL * getattr(trace, name)), -limit, limit)
        for name in ("obstacles", "observed", "predicted")
    }
    arrays = {"agent": trace.agent, "plan": trace.plan, **scaled}
    return {name: array.astype(np.int16) for name, array in arrays.items()}
