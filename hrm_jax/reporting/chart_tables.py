"""The numbers behind the page's charts, as tables."""

import statistics
from collections.abc import Sequence

from markupsafe import Markup

from hrm_jax.console.tables import percent
from hrm_jax.reporting import curves
from hrm_jax.reporting.inputs import Report, Run, finite
from hrm_jax.reporting.markup import Column, Record, number, rate_columns, table, whole
from hrm_jax.reporting.tables import MODEL, css

BEST = ("success", "exact")  # held-out shares of which the table of runs shows the highest


def prediction(report: Report, index: int) -> Markup:
    """Error and calibration at every step ahead."""
    models = report.data["models"]
    within = {f"within-{distance}": distance for distance in curves.distances(models)}
    columns = [
        MODEL,
        Column("step", "Steps ahead", whole),
        Column("median", "Median, cells", number),
        Column("p90", "90th percentile, cells", number),
        *(Column(key, f"Within {distance} cells, %", percent) for key, distance in within.items()),
    ]
    records = []
    for name, result in models.items():
        known = result.get("prediction") or {}
        lines = {key: known.get(key) or [] for key in ("median", "p90")}
        horizon = max(map(len, lines.values()))
        lines |= {key: known.get("within", {}).get(distance, []) for key, distance in within.items()}
        records += [
            {"model": name, "step": step + 1, **{key: _at(line, step) for key, line in lines.items()}}
            for step in range(horizon)
        ]
    caption = "Prediction errors in the closed loop"
    return table(columns, {None: records}, caption, ["model", "step"], id=f"prediction-{index}")


def _at(curve: list, step: int) -> float | None:
    return curve[step] if step < len(curve) and finite(curve[step]) else None


def density(data: dict) -> Markup:
    """Success at every density and speed."""
    columns = [
        MODEL,
        Column("n_obstacles", "Obstacles", whole),
        Column("speed", "Speed, cells/step", number),
        Column("n", "Episodes", whole),
        Column("success", "Successes", whole),
        *rate_columns("Rate %"),
    ]
    records = [
        {**field, **result, "model": name, "css": css(result)}
        for field in data["cells"]
        for name, result in field["models"].items()
    ]
    return table(columns, {None: records}, "Success against density", ["model"], id="density-table")


def runs(trained: Sequence[Run]) -> Markup:
    """What each training run was and where it ended."""
    goals = [key for key in BEST if any(run.series(f"eval/{key}")[1] for run in trained)] or ["success"]
    columns = [
        Column("run", "Run"),
        Column("network", "Model"),
        Column("batch_size", "Batch size", whole),
        Column("steps", "Steps", whole),
        Column("loss", "Last loss", number),
        Column("eval/loss", "Best held-out loss", number),
        *(Column(f"eval/{key}", f"Best held-out {key} %", number) for key in goals),
        Column("samples_per_second", "Samples/s", number),
    ]
    return table(columns, {None: [_run(run, goals) for run in trained]}, "Training runs", ["run"], id="runs")


def _run(run: Run, goals: Sequence[str]) -> Record:
    pace = run.series("samples_per_second")[1]
    newest = next((record["loss"] for record in reversed(run.records) if "loss" in record), None)
    best = {key: max(run.series(key)[1], default=None) for key in (f"eval/{goal}" for goal in goals)}
    return {
        "run": run.name,
        "network": run.config.get("model", {}).get("name", "–"),
        "batch_size": run.config.get("batch_size"),
        "steps": run.records[-1]["step"],
        "loss": newest if finite(newest) else None,  # an older one is not where the run ended
        "eval/loss": min(run.series("eval/loss")[1], default=None),
        **{key: None if share is None else 100 * share for key, share in best.items()},
        "samples_per_second": statistics.median(pace) if pace else None,
    }
