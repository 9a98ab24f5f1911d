"""Recorded episodes, packed for the page's player."""

import numpy as np

from hrm_jax.artefacts.traces_file import OUTCOMES, Trace, Traces, schema
from hrm_jax.reporting.arrays import pack
from hrm_jax.reporting.collisions import CollisionRule


def packed(traces: Traces, rule: CollisionRule) -> dict:
    """What player.js reads: JSON in which every array is what `arrays.pack` makes of it."""
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
                "traces": [_packed(episode.traces[name]) for name in traces.models],
            }
            for episode in traces.episodes
        ],
    }


def _packed(trace: Trace) -> dict:
    kept, arrays = schema(type(trace)), trace.arrays()
    found: dict[str, dict | None] = {name: pack(array, kept[name].time) for name, array in arrays.items()}
    if "observed" in kept and not _differs(arrays.get("observed"), trace.obstacles[:-1]):
        found["observed"] = None
    return {"outcome": OUTCOMES[trace.outcome], **found}


def _differs(observed: np.ndarray | None, truth: np.ndarray) -> bool:
    """Whether something was observed, of all obstacles, and it was not the truth."""
    return observed is not None and observed.shape == truth.shape and not np.array_equal(observed, truth)
