"""Recorded answers to puzzles, packed for the page's viewer (puzzle_viewer.js)."""

import numpy as np

from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.puzzles.kinds import KINDS
from hrm_jax.reporting.arrays import pack

PROBABILITY = 10_000  # chances go to the page in so many parts


def packed(answers: Answers, ignored: int | None, trained: dict[str, int | None]) -> dict:
    """What the viewer reads; every array is what `arrays.pack` makes of it.

    `trained` has the number of segments that every model was trained with, where it is known.
    """
    exact, halts = answers.exact(ignored), answers.halts()
    return {
        "kind": answers.kind if drawing(answers.kind) else "",
        "size": [answers.height, answers.width],
        "segments": answers.segments,
        "trained": [trained.get(name) for name in answers.models],
        "ignored": ignored,
        "models": answers.models,
        "examples": [
            {
                "id": int(answers.index[k]),
                "inputs": pack(answers.inputs[k], 0),
                "labels": pack(answers.labels[k], 0),
                "answers": [
                    {
                        "exact": _flags(exact[m, k]),
                        "halts": _flags(halts[m, k]),
                        "predictions": pack(answers.predictions[m, k], 0),
                        "halt": _chances(answers.q_halt[m, k]),
                        "rival": _chances(answers.q_continue[m, k]),
                    }
                    for m in range(len(answers.models))
                ],
            }
            for k in range(len(answers.index))
        ],
    }


def drawing(kind: str) -> str | None:
    """The file of assets that draws puzzles of a kind; None: they are shown as numbers."""
    return KINDS[kind].drawing if kind in KINDS else None


def _flags(values: np.ndarray) -> str:
    return "".join("01"[int(value)] for value in values)


def _chances(logits: np.ndarray) -> dict | None:
    """Sigmoids of logits [T], packed; None where there are none."""
    if np.isnan(logits).any():
        return None
    chances = 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))  # which never overflows
    return pack(np.round(PROBABILITY * chances), 0)
