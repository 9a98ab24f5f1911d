"""Models that were trained several times, as one: spread over training seeds, and tests between them."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from hrm_jax.judging import statistics
from hrm_jax.worlds.rules import SUCCESS


def solved(outcomes: str) -> np.ndarray:
    """Which episodes were successes: bool [N]."""
    return np.array([outcome == SUCCESS for outcome in outcomes])


def compare(by_model: Mapping[str, np.ndarray], group_of: Mapping[str, str | None]) -> dict[str, Any]:
    """`groups` and `group_pairs` of report.json, or nothing, of models by the episodes solved, bool [N]."""
    members: dict[str, list[np.ndarray]] = {}
    for name, group in group_of.items():
        if group is not None:
            members.setdefault(group, []).append(by_model[name])
    if not members:
        return {}
    rows = {group: np.array(solved, int) for group, solved in members.items()}  # [seeds, N]
    summaries = {group: _spread(solved.mean(axis=1).tolist()) for group, solved in rows.items()}
    pairs = [
        {
            "a": a,
            "b": b,
            "difference": summaries[a]["mean"] - summaries[b]["mean"],
            "p_episodes": statistics.sign_flip(rows[a].sum(axis=0) - rows[b].sum(axis=0)),
            "p_seeds": statistics.welch(summaries[a]["rates"], summaries[b]["rates"]),
        }
        for a, b in itertools.combinations(rows, 2)
        if len(rows[a]) == len(rows[b])
    ]
    return {"groups": summaries, "group_pairs": pairs}


def _spread(rates: list[float]) -> dict[str, Any]:
    return {
        "seeds": len(rates),
        "mean": float(np.mean(rates)),
        "min": min(rates),
        "max": max(rates),
        "rates": rates,
        "std": float(np.std(rates, ddof=1)) if len(rates) > 1 else None,
    }
