"""What the charts show, apart from how they are drawn: the page and the PNG figures share it."""

import dataclasses
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hrm_jax.reporting.inputs import Report, Run, finite
from hrm_jax.reporting.names import Style, styles

SOON = 5  # steps ahead: a plan lives for one
MOST_POINTS = 300  # of a training curve; longer ones show means of equal numbers of records


@dataclass(frozen=True)
class Curve:
    """Values of one model or run along an axis; a gap is None or NaN."""

    name: str
    style: Style
    x: Sequence[float]
    y: Sequence[float | None]
    intervals: Sequence[Sequence[float]] = ()  # [low, high] per point, or none at all

    @property
    def points(self) -> list[tuple[float, float]]:
        """The points that are there."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if finite(y)]


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    x_label: str
    y_label: str
    curves: list[Curve]
    y_range: tuple[float, float] | None = None
    log: bool = False
    shares: bool = False  # whether y is a share, to be labelled in per cent
    mark: tuple[float, str] | None = None  # a place along x, and what it is


def looks(reports: Sequence[Report], density: dict | None) -> dict[str, Style]:
    """A style for every model of the page, the same in all its charts."""
    named = [(name, result.get("group")) for r in reports for name, result in r.data["models"].items()]
    cells = density["cells"] if density else []
    return styles([*named, *((name, None) for field in cells for name in field["models"])])


# ---------------------------------------------------------------- prediction


def prediction(report: dict, looks: dict[str, Style]) -> list[Panel]:
    """Errors against steps ahead, and the shares of predictions that are near enough."""
    models = report["models"]
    known = {name: result["prediction"] for name, result in models.items() if result.get("prediction")}
    errors = {
        "median": ("Median error", "error, cells"),
        "p90": ("90th percentile of the error", "error, cells"),
    }
    panels = [
        _ahead(title, label, {name: curves.get(key) for name, curves in known.items()}, looks)
        for key, (title, label) in errors.items()
    ]
    for distance in distances(models):
        near = {name: curves.get("within", {}).get(distance) for name, curves in known.items()}
        panels.append(_ahead(f"Within {distance} cells of the truth", "predictions, %", near, looks, True))
    panels += [missed(known, distance, looks) for distance in distances(models)[:1]]
    return [panel for panel in panels if panel.curves]


def missed(known: dict[str, dict], distance: str, looks: dict[str, Style]) -> Panel:
    """How often a prediction is further off where and when it matters: near the planned way, and soon."""
    curves: dict[str, list | None] = {
        name: [None if share is None else 1 - share for share in share_of.get(distance, [])[:SOON]]
        for name, prediction in known.items()
        if (share_of := prediction.get("near_plan", {}).get("within", {}))
    }
    title = f"Off by more than {distance} cells, near the plan and soon"
    return dataclasses.replace(_ahead(title, "predictions, %", curves, looks, True), y_range=None)


def distances(models: dict[str, dict]) -> list[str]:
    """The distances, in cells, for which shares of near enough predictions are known."""
    known = [(result.get("prediction") or {}).get("within", {}) for result in models.values()]
    return list(dict.fromkeys(distance for within in known for distance in within))


def _ahead(
    title: str, y_label: str, curves: dict[str, list | None], looks: dict[str, Style], shares: bool = False
) -> Panel:
    drawn = [
        Curve(name, looks[name], range(1, len(values) + 1), values)
        for name, values in curves.items()
        if values and any(map(finite, values))
    ]
    return Panel(title, "steps ahead", y_label, drawn, (0.0, 1.0) if shares else None, shares=shares)


# ---------------------------------------------------------------- answers to puzzles

SEGMENT_KEYS = {  # of report.json: the chart's title, and what its y axis counts
    "exact": ("Exact accuracy after each segment", "examples, %"),
    "lenient": ("Any right answer after each segment", "examples, %"),
    "tokens": ("Cells that are right", "cells, %"),
    "halted": ("Would have stopped by then", "examples, %"),
    "q_accuracy": ("Q-head right about the answer", "examples, %"),
}


def answers(report: dict, looks: dict[str, Style]) -> list[Panel]:
    """What answers are worth after every segment, and what the Q-head makes of them."""
    trained = report.get("trained_segments")
    mark = (trained, "trained") if trained and trained <= report["segments"] else None
    panels = []
    for key, (title, label) in SEGMENT_KEYS.items():
        drawn = _by_segment(report["models"], key, looks)
        if drawn:
            y_range = (_floor(drawn) if key == "tokens" else 0.0, 1.0)
            panels.append(Panel(title, "segment", label, drawn, y_range, shares=True, mark=mark))
    return panels


def _by_segment(models: dict[str, dict], key: str, looks: dict[str, Style]) -> list[Curve]:
    known = {
        name: [s.get(key) for s in result["segments"]]
        for name, result in models.items()
        if result.get("segments")
    }
    return [
        Curve(name, looks[name], range(1, len(values) + 1), values)
        for name, values in known.items()
        if any(map(finite, values))
    ]


def _floor(drawn: Sequence[Curve]) -> float:
    """The tenth below all values: most cells are right, and the axis is for the differences."""
    lowest = min(y for curve in drawn for y in curve.y if finite(y))
    return min(math.floor(10 * lowest) / 10, 0.9)


# ---------------------------------------------------------------- density


def density(data: dict, looks: dict[str, Style]) -> list[Panel]:
    """Success against the number of obstacles, a panel per speed."""
    speeds = sorted({field["speed"] for field in data["cells"]})
    return [_speed(data, speed, looks) for speed in speeds]


def _speed(data: dict, speed: float, looks: dict[str, Style]) -> Panel:
    fields = sorted(
        (field for field in data["cells"] if field["speed"] == speed), key=lambda field: field["n_obstacles"]
    )
    curves = []
    for name in dict.fromkeys(name for field in fields for name in field["models"]):
        at = [(field["n_obstacles"], field["models"][name]) for field in fields if name in field["models"]]
        rates, intervals = [r["rate"] for _, r in at], [r["interval"] for _, r in at]
        curves.append(Curve(name, looks[name], [n for n, _ in at], rates, intervals))
    title = f"Speed {speed:g} cells a step"
    return Panel(title, "obstacles", "success, %", curves, (0.0, 1.0), shares=True)


# ---------------------------------------------------------------- training


def training(runs: Sequence[Run]) -> list[Panel]:
    """Loss, then the held-out metrics that matter: success, loss, the farthest error."""
    looks = styles((run.name, None) for run in runs)
    losses = [_run_curve(run, "loss", looks[run.name]) for run in runs]
    panels = [Panel("Training loss", "step", "loss", losses, log=True)]
    for key in _held_out(runs):
        shares = key in SHARES
        curves = [_run_curve(run, f"eval/{key}", looks[run.name]) for run in runs] + _references(runs, key)
        title, label = _titles(key)
        y_range = (_floor(curves) if key == "tokens" else 0.0, 1.0) if shares else None
        panels.append(Panel(title, "step", label, curves, y_range, key == "loss", shares))
    panels += _thinking(runs)
    return [_drawable(panel) for panel in panels if any(curve.x for curve in panel.curves)]


def _drawable(panel: Panel) -> Panel:
    """The panel without empty curves, its axis logarithmic only where there is something to show on it."""
    positive = [curve for curve in panel.curves if any(y > 0 for _, y in curve.points)]
    log = panel.log and bool(positive)
    known = positive if log else [curve for curve in panel.curves if curve.x]
    return dataclasses.replace(panel, curves=known, log=log)


COPY = "eval/copy"  # the share of cells that a copy of the input gets right
SHARES = {  # held-out metrics that are shares: the chart's title, and its y axis
    "success": ("Held-out success, closed loop", "success, %"),
    "exact": ("Held-out exact answers", "examples, %"),
    "tokens": ("Held-out cells that are right", "cells, %"),
}


def _thinking(runs: Sequence[Run]) -> list[Panel]:
    """Exact answers after so many segments (eval/exact_1, eval/exact_2, …, eval/exact): a panel per run."""
    panels = []
    for run in runs:
        found = {key for record in run.records for key in record}
        counts = sorted(int(key[11:]) for key in found if re.fullmatch(r"eval/exact_[0-9]{1,9}", key))
        names = {f"eval/exact_{count}": f"after {count}" for count in counts}
        names |= {"eval/exact": "after all"} if counts else {}
        looks = styles((name, None) for name in names.values())
        drawn = [
            dataclasses.replace(_run_curve(run, key, looks[name]), name=name) for key, name in names.items()
        ]
        title = "Held-out exact answers by segment"
        whose = f"{title}: {run.name}" if len(runs) > 1 else title
        panels.append(Panel(whose, "step", "examples, %", drawn, (0.0, 1.0), shares=True))
    return panels


def _held_out(runs: Sequence[Run]) -> list[str]:
    found = {key for run in runs for record in run.records for key in record}
    errors = sorted(int(key[11:]) for key in found if re.fullmatch(r"eval/error_[0-9]{1,9}", key))
    wanted = [*SHARES, "loss", *(f"error_{steps}" for steps in errors[-1:])]
    return [key for key in wanted if f"eval/{key}" in found]


def _titles(key: str) -> tuple[str, str]:
    if key in SHARES:
        return SHARES[key]
    if key == "loss":
        return "Held-out loss", "loss"
    return f"Held-out error, {key[6:]} steps ahead", "mean error, cells"


def _run_curve(run: Run, key: str, style: Style) -> Curve:
    steps, values = _thinned(*run.series(key))
    return Curve(run.name, style, steps, values)


def _thinned(steps: list[int], values: list[float]) -> tuple[list[float], list[float]]:
    """At most MOST_POINTS points, each the mean of as many records in a row as that takes."""
    size = -(-len(steps) // MOST_POINTS) or 1
    blocks = [slice(start, start + size) for start in range(0, len(steps), size)]
    return [steps[block][-1] for block in blocks], [statistics.mean(values[block]) for block in blocks]


def _references(runs: Sequence[Run], key: str) -> list[Curve]:
    """Curves of the baselines that the runs evaluated with themselves; equal ones once."""
    out: dict[tuple[str, float], Curve] = {}
    for run in runs:
        written = {name for record in run.records for name in record if name.startswith("eval/")}
        names = {name for name in written if name.endswith(f"/{key}") and name.count("/") > 1}
        names |= {COPY} & written if key == "tokens" else set()
        for name in sorted(names):
            label = name.removeprefix("eval/").removesuffix(f"/{key}").removeprefix("baseline/")
            steps, values = _thinned(*run.series(name))
            if values:
                style = styles([(label, None)])[label]
                out.setdefault((label, values[-1]), Curve(label, style, steps, values))
    return list(out.values())
