"""Recorded episodes and answers, packed for the page's players (player.js, puzzle_viewer.js)."""

import base64
import zlib

import numpy as np

from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.artefacts.traces_file import OUTCOMES, Episode, Trace, Traces, schema
from hrm_jax.puzzles.kinds import KINDS, UNKNOWN
from hrm_jax.reporting.collisions import CollisionRule, ending

PROBABILITY = 10_000  # chances go to the page in so many parts


def pack(array: np.ndarray, axis: int = 0, unit: int = 1) -> dict:
    """Shape, axis of time, and base64 of zlib of int16 differences along it (mod 2^16): small ones repeat.

    Values are in parts of which `unit` make a whole.
    """
    bounds = np.iinfo(np.int16)
    whole = np.clip(array.astype(np.int64), bounds.min, bounds.max)
    steps = np.diff(whole, axis=axis, prepend=0).astype(np.uint16).astype("<u2")
    data = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii")
    return {"shape": list(array.shape), "axis": axis, "unit": unit, "data": data}


# ---------------------------------------------------------------- episodes


def episodes(traces: Traces, rule: CollisionRule) -> dict:
    """What player.js reads: JSON in which every array is what `pack` makes of it."""
    return {
        "kind": traces.kind,
        "models": traces.models,
        "rule": rule._asdict(),
        "tolerance": traces.protocol.get("goal_tolerance"),
        "episodes": [
            {
                "id": episode.id,
                "static": pack(episode.static),
                "ends": episode.ends,
                "traces": [_trace(episode.traces[name], episode, rule) for name in traces.models],
            }
            for episode in traces.episodes
        ],
    }


def _trace(trace: Trace, episode: Episode, rule: CollisionRule) -> dict:
    kept, arrays = schema(type(trace)), trace.arrays()
    found: dict[str, dict | None] = {
        name: pack(array, kept[name].time, kept[name].unit) for name, array in arrays.items()
    }
    if "observed" in kept and not _differs(arrays.get("observed"), trace.obstacles[:-1]):
        found["observed"] = None
    end = ending(trace, episode.static, rule)._asdict() if trace.outcome == "0" else {}
    collision = {key: np.asarray(value).tolist() for key, value in end.items()} or None
    return {"outcome": OUTCOMES[trace.outcome], "collision": collision, **found}


def _differs(observed: np.ndarray | None, truth: np.ndarray) -> bool:
    """Whether something was observed, of all obstacles, and it was not the truth."""
    return observed is not None and observed.shape == truth.shape and not np.array_equal(observed, truth)


# ---------------------------------------------------------------- answers to puzzles


def answers(recorded: Answers, ignored: int | None, trained: dict[str, int | None]) -> dict:
    """What puzzle_viewer.js reads; every array is what `pack` makes of it.

    `trained` has the number of segments that every model was trained with, where it is known.
    """
    exact, halts = recorded.exact(ignored), recorded.halts().astype(int)
    another = (_right(recorded) & ~exact).astype(int)
    exact = exact.astype(int)
    return {
        "kind": recorded.kind,
        "size": [recorded.height, recorded.width],
        "segments": recorded.segments,
        "trained": [trained.get(name) for name in recorded.models],
        "ignored": ignored,
        "models": recorded.models,
        "examples": [
            {
                "id": int(recorded.index[k]),
                "inputs": pack(recorded.inputs[k]),
                "labels": pack(recorded.labels[k]),
                "answers": [
                    {
                        "exact": exact[m, k].tolist(),
                        "another": another[m, k].tolist(),
                        "halts": halts[m, k].tolist(),
                        "predictions": pack(recorded.predictions[m, k]),
                        "halt": _chances(recorded.q_halt[m, k]),
                        "rival": _chances(recorded.q_continue[m, k]),
                    }
                    for m in range(len(recorded.models))
                ],
            }
            for k in range(len(recorded.index))
        ],
    }


def _right(recorded: Answers) -> np.ndarray:
    """Which answers are right by their kind's own rule, that of the tables: bool [M, K, T]."""
    rule = KINDS.get(recorded.kind, UNKNOWN).lenient
    if rule is None:
        return np.zeros(recorded.predictions.shape[:3], bool)
    return rule.right(recorded, slice(None), recorded.predictions.swapaxes(1, 2)).swapaxes(1, 2)


def _chances(logits: np.ndarray) -> dict | None:
    """Sigmoids of logits [T], packed; None where there are none."""
    if np.isnan(logits).any():
        return None
    chances = 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))  # which never overflows
    return pack(np.round(PROBABILITY * chances), unit=PROBABILITY)
