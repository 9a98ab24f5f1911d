"""Tables of the numbers behind the charts."""

import statistics
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from hrm_jax.console.tables import percent
from hrm_jax.reporting import curves
from hrm_jax.reporting.inputs import Report, Run, finite
from hrm_jax.reporting.markup import cell, count, element, name_cell, number, row, simple_table

BEST = ("success", "exact")  # held-out shares of which the table of runs shows the highest


def prediction(report: Report, index: int) -> Markup:
    """Error and calibration at every step ahead."""
    models = report.data["models"]
    distances = curves.distances(models)
    rows = [
        _prediction_row(name, result["prediction"], step, distances)
        for name, result in models.items()
        for step in range(_horizon(result.get("prediction")))
    ]
    names = ["Model", "Steps ahead", "Median, cells", "90th percentile, cells"]
    names += [f"Within {distance} cells, %" for distance in distances]
    return simple_table(names, rows, "Prediction errors in the closed loop", id=f"prediction-{index}")


def _horizon(known: dict | None) -> int:
    return max(map(len, (known.get("median") or (), known.get("p90") or ()))) if known else 0


def _prediction_row(name: str, known: dict, step: int, distances: list[str]) -> Markup:
    cells = [cell("step", step + 1, str(step + 1))]
    for key in ("median", "p90"):
        value = _at(known.get(key), step)
        cells.append(cell(key, value, number(value)))
    for distance in distances:
        value = _at(known.get("within", {}).get(distance), step)
        cells.append(cell(f"within-{distance}", value, "–" if value is None else percent(value)))
    return row(*name_cell(name), *cells, data_model=name, data_step=step + 1)


def _at(curve: list | None, step: int) -> float | None:
    return curve[step] if curve and step < len(curve) and finite(curve[step]) else None


def density(data: dict) -> Markup:
    """Success at every density and speed."""
    rows = [
        row(
            *name_cell(name),
            cell("n_obstacles", field["n_obstacles"], str(field["n_obstacles"])),
            cell("speed", field["speed"], number(field["speed"])),
            count("n", result["n"]),
            count("success", result["success"]),
            cell("rate", result["rate"], percent(result["rate"])),
            cell(
                "interval", "{} {}".format(*result["interval"]), " – ".join(map(percent, result["interval"]))
            ),
            data_model=name,
        )
        for field in data["cells"]
        for name, result in field["models"].items()
    ]
    names = ("Model", "Obstacles", "Speed, cells/step", "Episodes", "Successes", "Rate %", "95 % interval")
    return simple_table(names, rows, "Success against density", id="density-table")


def runs(trained: Iterable[Run]) -> Markup:
    """What each training run was and where it ended."""
    trained = list(trained)
    goals = [key for key in BEST if any(run.series(f"eval/{key}")[1] for run in trained)] or ["success"]
    names = ("Run", "Model", "Batch size", "Steps", "Last loss", "Best held-out loss",
             *(f"Best held-out {key} %" for key in goals), "Samples/s")  # fmt: skip
    return simple_table(names, [_run(run, goals) for run in trained], "Training runs", left=2, id="runs")


def _run(run: Run, goals: Sequence[str]) -> Markup:
    losses = run.series("loss")[1]
    held_out = run.series("eval/loss")[1]
    reached = {f"eval/{key}": run.series(f"eval/{key}")[1] for key in goals}
    pace = run.series("samples_per_second")[1]
    model = run.config.get("model")
    name = (model.get("name") if isinstance(model, dict) else model) or "–"
    batch = run.config.get("batch_size")
    batch = batch if finite(batch) else None
    values = {
        "loss": losses[-1] if losses else None,
        "eval/loss": min(held_out, default=None),
        **{key: 100 * max(values) if values else None for key, values in reached.items()},
        "samples_per_second": statistics.median(pace) if pace else None,
    }
    cells = [cell(key, value, number(value)) for key, value in values.items()]
    return row(
        *name_cell(run.name),
        element("td", name),
        cell("batch_size", batch, "–" if batch is None else f"{batch:,}"),
        count("steps", run.records[-1]["step"]),
        *cells,
        data_run=run.name,
    )
