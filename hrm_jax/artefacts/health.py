"""Whether a predictor has learned anything: what is measured as it trains, and what is wrong by that.

The tasks measure it at every held-out evaluation; metrics.jsonl, model.npz and report.json keep the figures.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from hrm_jax.artefacts.json_file import nullable, number

STEPS = 10  # ahead, at most: where the error is compared
BETTER = 0.05  # share by which a model that has learned something is better than a trivial predictor
MOST_SATURATED = 0.5  # share of gates that are within 0.05 of 0 or 1
MOST_GROWTH = 10.0  # of the state's RMS, from a third of the steps to the last one

OF_STATES = ("gates_saturated", "state_growth")
Figure = float | None  # null: it was not finite


class Health(TypedDict):
    """Of a predictor, on held-out data. Errors are in cells."""

    steps: int  # ahead, of the errors
    error: Figure
    constant_velocity: Figure  # its error on the same windows
    frozen: NotRequired[Figure]  # that of standing still, which is the smaller one where obstacles turn often
    gates_saturated: NotRequired[Figure]
    state_growth: NotRequired[Figure]


def measured(record: Mapping[str, Any]) -> Health | None:
    """The figures in a record of metrics.jsonl; None where it did not evaluate a predictor."""
    reference = "eval/constant_velocity/error_{}"
    ahead = [h for h in range(1, STEPS + 1) if f"eval/error_{h}" in record and reference.format(h) in record]
    if not ahead:
        return None
    found = {"error": f"eval/error_{ahead[-1]}", "constant_velocity": reference.format(ahead[-1])}
    known = {"frozen": f"eval/frozen/error_{ahead[-1]}", **{name: f"eval/{name}" for name in OF_STATES}}
    found |= {name: key for name, key in known.items() if key in record}
    figures: Any = {name: nullable(record[key]) for name, key in found.items()}
    figures["steps"] = ahead[-1]
    return figures


def told(about: Mapping[str, Any]) -> dict[str, Any]:
    """The "health" in what a model file or a report says of a model; {} where it says nothing of it."""
    return {"health": about["health"]} if about.get("health") else {}


def lost(health: Health | None) -> Health:
    """Of a training that was given up, whose last evaluation, if there was one, measured `health`."""
    known: Health = health or {"steps": STEPS, "error": None, "constant_velocity": None}
    return {**known, "error": None}


def untrained(health: Health | None) -> bool:
    """Whether a predictor has learned no more than a trivial one; no, where nothing is known of it."""
    if health is None:
        return False
    return not number(health["error"]) < (1 - BETTER) * _trivial(health)[0]


def _trivial(health: Health) -> tuple[float, str]:
    """The smaller error of the trivial predictors, and which of them has it."""
    moving, standing = number(health["constant_velocity"]), number(health.get("frozen"))
    return min((moving, "constant velocity"), (standing, "standing still"))


def faults(health: Health | None) -> list[str]:
    """What is wrong with a predictor, to be read after its name; nothing where nothing is known.

    The first, of an `untrained` one, says that its training came to nothing. The others warn: of a model
    whose error is small they say where it may fail, at a higher rate or over more steps.
    """
    if health is None:
        return []
    error, (reference, trivial) = number(health["error"]), _trivial(health)
    saturated, growth = number(health.get("gates_saturated", 0)), number(health.get("state_growth", 0))
    found = []
    if health["error"] is None:
        found.append("is lost: its updates or its held-out error were not finite")
    elif untrained(health):
        found.append(
            f"has not learned more than {trivial}: held-out error at {health['steps']} steps "
            f"{error:.3g} cells against {reference:.3g}"
        )
    if not saturated <= MOST_SATURATED:
        found.append(f"has more than half of its gates saturated ({100 * saturated:.0f} %)")
    if not growth <= MOST_GROWTH:
        found.append(f"has states that grow {growth:.3g} times over the last two thirds of its steps")
    return found
