"""Why a baseline that is far more often near the truth loses: out of the report's own numbers."""

import math
import statistics
from collections.abc import Sequence

from hrm_jax.console.tables import percent
from hrm_jax.reporting import curves, verdict
from hrm_jax.reporting.inputs import Report, finite
from hrm_jax.reporting.names import kind, reference

FAR_MORE = 0.05  # by which a share is far higher than another
CAUSES = {
    "reflection": "An obstacle that meets a wall makes only a part of its step, and then reflection takes it "
    "to be slow."
}
WORDS = (
    "Why does {loser} lose, though it is near the truth far more often? {steps} steps ahead {loser} is "
    "within {distance} cells in {far[0]} % of its predictions, {winner} in {far[1]} %. But a new plan is "
    "made at every step, so what decides is the next step near the plan. There {loser} is off by more than "
    "{distance} cells in {near[0]} % of its predictions, {winner} in {near[1]} %."
)


def loser(report: Report) -> str:
    """The answer for the reference baseline and the best learned model; empty where nobody would ask."""
    models, baseline = report.data["models"], reference(report.data["models"])
    entered, distances = verdict.contenders(models), curves.distances(models)
    winner = next((one for one in entered if kind(one.models[0]) == "learned"), None)
    if baseline is None or winner is None or not distances or report.fault:
        return ""
    losing = next(one for one in entered if one.name == baseline)
    both = [[models[name].get("prediction") or {} for name in one.models] for one in (losing, winner)]
    far = [_share(found, distances[0], -1) for found in both]
    near = [_share([one.get("near_plan") or {} for one in found], distances[0], 0) for found in both]
    surprising = far[0] > far[1] + FAR_MORE and near[0] < near[1]  # of NaN, which is what is not known: no
    if not surprising or winner.rate <= losing.rate or not verdict.apart(report, winner, losing):
        return ""
    said = WORDS.format(
        loser=baseline,
        winner=winner.name,
        distance=distances[0],
        steps=len(both[0][0]["within"][distances[0]]),
        far=[percent(share) for share in far],
        near=[percent(1 - share) for share in near],
    )
    return f"{said} {CAUSES.get(baseline, '')}".rstrip()


def _share(found: Sequence[dict], distance: str, step: int) -> float:
    """The mean share of predictions within `distance` at a step; NaN where it is not known."""
    shares = [one.get("within", {}).get(distance, [None])[step] for one in found]
    return statistics.mean(share if finite(share) else math.nan for share in shares)
