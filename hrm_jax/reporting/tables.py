"""The tables of the page. Every number also stands in a `data-value`, unrounded."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hrm_jax.referee.paths.protocols import PathProtocol
from hrm_jax.reporting import charts, curves
from hrm_jax.reporting.inputs import Report, Run, finite
from hrm_jax.reporting.markup import Html, element, number, p_value, percent
from hrm_jax.reporting.names import HEADINGS, KINDS, PATH_HEADINGS, Style, kind, reference
from hrm_jax.worlds.rules import FAILURES

SIGNIFICANT = 0.05
SHOWN_PAIRS = 15  # a longer table keeps the pairs without a learned model folded away
BEST = ("success", "exact")  # held-out shares of which the table of runs shows the highest
FAILURE_HEADINGS = {
    "no_static_path": "no path",
    "boxed_in": "boxed in",
    "prediction_error": "prediction",
    "horizon": "horizon",
}


def cell(key: str, value: object, text: str | Html, **attributes: object) -> Html:
    """A table cell of a number: readable, and exact in `data-value`."""
    return element("td", text, data_key=key, data_value=value, class_="number", **attributes)


def table(head: Sequence[Html], bodies: Sequence[Html], caption: str, **attributes: object) -> Html:
    """A table that scrolls by itself where the page is narrow."""
    parts = [element("caption", caption), element("thead", *head), *bodies]
    whole = element("table", *parts, **attributes)
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def row(*cells: Html | None, **attributes: object) -> Html:
    """A row of cells."""
    return element("tr", *cells, **attributes)


def headings(*names: str, left: int = 1) -> Html:
    """A row of column heads, the first `left` of them for text."""
    cells = [
        element("th", name, scope="col", class_=None if index < left else "number")
        for index, name in enumerate(names)
    ]
    return row(*cells)


def folded(summary: str, content: Html) -> Html:
    """Content behind a line that opens it; print opens nothing."""
    return element("details", element("summary", summary), content)


def by_kind(models: dict[str, dict]) -> dict[str, list[str]]:
    """Names by kind, the best first; training seeds of one group stay together."""
    groups: dict[str, list[float]] = {}
    for name, result in models.items():
        groups.setdefault(result.get("group") or name, []).append(result["rate"])

    def place(name: str) -> tuple:
        group = models[name].get("group") or name
        return -statistics.mean(groups[group]), group, -models[name]["rate"]

    return {sort: sorted((n for n in models if kind(n) == sort), key=place) for sort in KINDS}


# ---------------------------------------------------------------- results


@dataclass(frozen=True)
class _Columns:
    """Which columns a table of results has, and what its bars are drawn on."""

    sized: bool  # parameters are known
    failed: bool  # causes of failure are known
    span: tuple[float, float]  # of the bars, shares
    reference: float | None  # a rate to compare with
    headings: dict[str, str]  # of the kinds of models

    @property
    def count(self) -> int:
        """All columns."""
        return 8 + self.sized + len(FAILURES) * self.failed


def results(report: Report, index: int, styles: dict[str, Style]) -> Html:
    """A row per model: rate with its interval, outcomes, and why episodes failed."""
    models = report.data["models"]
    columns = _Columns(
        sized=any(result.get("parameters") is not None for result in models.values()),
        failed=any(result.get("failures") for result in models.values()),
        span=charts.bar_range(models.values()),
        reference=models[baseline]["rate"] if (baseline := reference(models)) else None,
        headings=PATH_HEADINGS if report.path_rules else HEADINGS,
    )
    bodies = [
        _results_body(sort, names, models, styles, columns)
        for sort, names in by_kind(models).items()
        if names
    ]
    return table(
        _results_head(columns), bodies, _success(report.path_rules), id=f"results-{index}", class_="results"
    )


def _success(rules: PathProtocol | None) -> str:
    """What an episode must do to count."""
    if rules is None:
        return "Success within the time limit and without a collision"
    if rules.published:
        return f"Success as published: none of the {rules.points} points of a path touches anything"
    return (
        f"Success: within {rules.goal_tolerance:g} cells of the goal after at most {rules.points - 1} steps, "
        "and nothing touched on the way"
    )


def _results_head(columns: _Columns) -> list[Html]:
    def th(text: str | Html, css: str | None = "number", **attributes: object) -> Html:
        return element("th", text, scope="col", rowspan=2, class_=css, **attributes)

    def group(text: str, width: int) -> Html:
        return element("th", text, scope="colgroup", class_="group", colspan=width)

    tops = [th("Model", None), th("Parameters") if columns.sized else None]
    tops += [th("Successes", colspan=2), th("Rate\N{NO-BREAK SPACE}%"), th("95 % interval")]
    tops.append(th(charts.bar_axis(columns.span), "drawn", aria_label="The interval, drawn"))
    tops.append(group("Failures", 2))
    tops.append(group("Causes of failure", len(FAILURES)) if columns.failed else None)
    names = ["collision", "timeout", *(FAILURE_HEADINGS[key] for key in FAILURES if columns.failed)]
    return [row(*tops), row(*(element("th", name, scope="col", class_="number") for name in names))]


def _results_body(
    sort: str, names: list[str], models: dict[str, dict], styles: dict[str, Style], columns: _Columns
) -> Html:
    title = row(element("th", columns.headings[sort], colspan=columns.count, scope="rowgroup"), class_="kind")
    rows = [_result(name, models[name], styles[name], columns) for name in names]
    return element("tbody", title, *rows, class_=sort)


def _result(name: str, result: dict, style: Style, columns: _Columns) -> Html:
    low, high = result["interval"]
    cells = [element("th", name, scope="row")]
    if columns.sized:
        cells.append(count("parameters", result.get("parameters")))
    cells += [count("success", result["success"]), cell("n", result["n"], f"/ {result['n']:,}")]
    cells.append(cell("rate", result["rate"], percent(result["rate"])))
    cells.append(cell("interval", f"{low} {high}", f"{percent(low)} – {percent(high)}"))
    bar = charts.interval_bar(result, columns.span, style.css, style.kind, columns.reference)
    cells.append(element("td", bar, class_="drawn"))
    cells += [count(key, result[key]) for key in ("collisions", "timeouts")]
    if columns.failed:
        causes = result.get("failures")
        cells += [count(key, causes.get(key, 0) if causes else None) for key in FAILURES]
    return row(*cells, data_model=name)


def count(key: str, value: int | None) -> Html:
    """A table cell of a whole number, or of a gap."""
    return cell(key, value, "–" if value is None else f"{value:,}")


# ---------------------------------------------------------------- spread between training seeds


def spread_by_group(models: dict[str, dict]) -> dict[str, list[dict]]:
    """Results of models trained several times, by group."""
    groups: dict[str, list[dict]] = {}
    for result in models.values():
        if result.get("group"):
            groups.setdefault(result["group"], []).append(result)
    return {group: results for group, results in groups.items() if len(results) > 1}


def training_seeds(report: Report, index: int) -> Html | None:
    """How much a retrained model differs from itself, apart from how much episodes differ."""
    groups = spread_by_group(report.data["models"])
    if not groups:
        return None
    head = headings("Group", "Training seeds", "Mean rate %", "Lowest %", "Highest %", "Std between seeds",
                    "95 % half width between episodes")  # fmt: skip
    rows = [_group(group, members) for group, members in groups.items()]
    caption = "Spread between training seeds, in percentage points"
    return table([head], [element("tbody", *rows)], caption, id=f"groups-{index}")


def _group(group: str, members: list[dict]) -> Html:
    rates = [result["rate"] for result in members]
    halves = [(result["interval"][1] - result["interval"][0]) / 2 for result in members]
    seeds = ", ".join(str(result["seed"]) for result in members if result.get("seed") is not None)
    columns = {
        "mean": statistics.mean(rates),
        "lowest": min(rates),
        "highest": max(rates),
        "std": statistics.stdev(rates),
        "half_width": statistics.mean(halves),
    }
    count = f"{len(members)} ({seeds})" if seeds else str(len(members))
    cells = [cell(key, value, percent(value)) for key, value in columns.items()]
    return row(
        element("th", group, scope="row"), cell("seeds", len(members), count), *cells, data_group=group
    )


def group_tests(report: Report, index: int) -> Html | None:
    """Tests between models that were each trained several times: over episodes, and over training seeds."""
    tested = report.data.get("group_pairs")
    if not tested:
        return None
    head = headings("Group a", "Group b", "a − b, points", "p over episodes", "p over training seeds", left=2)
    rows = [
        row(
            *(element("th", pair[side], scope="row") for side in "ab"),
            cell("difference", pair["difference"], f"{100 * pair['difference']:+.1f}".replace("-", "−")),
            *(_p(key, pair[key]) for key in ("p_episodes", "p_seeds")),
            data_a=pair["a"],
            data_b=pair["b"],
        )
        for pair in tested
    ]
    return table([head], [element("tbody", *rows)], "Tests between groups", id=f"group-pairs-{index}")


# ---------------------------------------------------------------- paired tests


def pairs(report: Report, index: int) -> Html | None:
    """Exact McNemar tests; those between two models that were not trained come last, folded if many."""
    tested = report.data.get("pairs") or []
    if not tested:
        return None
    both = [pair for pair in tested if "learned" in (kind(pair["a"]), kind(pair["b"]))]
    rest = [pair for pair in tested if pair not in both]
    if not both or len(tested) <= SHOWN_PAIRS:
        return _pairs_table(both + rest, report, "Paired tests", f"pairs-{index}")
    shown = _pairs_table(both, report, "Paired tests with a learned model", f"pairs-{index}")
    if report.data.get("group_pairs"):  # the tests between groups come first; these are one seed each
        shown = folded(f"{len(both)} pairs with a learned model, single training seeds", shown)
    if not rest:
        return shown
    more = _pairs_table(rest, report, "Paired tests without a learned model", f"pairs-{index}-rest")
    return Html(shown + folded(f"{len(rest)} pairs without a learned model", more))


def _pairs_table(tested: list[dict], report: Report, caption: str, name: str) -> Html:
    adjusted = any("p_holm" in pair for pair in tested)
    columns = ["Model a", "Model b", "Only a succeeded", "Only b succeeded", "a − b, points", "p"]
    head = headings(*columns, *(["p, Holm"] if adjusted else []), left=2)
    rows = [_pair(pair, report.data["models"], adjusted) for pair in tested]
    return table([head], [element("tbody", *rows)], caption, id=name, class_="pairs")


def _pair(pair: dict, models: dict[str, dict], adjusted: bool) -> Html:
    cells = [element("th", pair[side], scope="row") for side in "ab"]
    cells += [count(key, pair[key]) for key in ("a_only", "b_only")]
    n = _units(models[pair["a"]]) if pair["a"] in models else None
    gain = (pair["a_only"] - pair["b_only"]) / n if n else None
    cells.append(cell("difference", gain, "–" if gain is None else f"{100 * gain:+.1f}".replace("-", "−")))
    cells.append(_p("p_value", pair["p_value"]))
    if adjusted:
        cells.append(_p("p_holm", pair.get("p_holm")))
    deciding = pair.get("p_holm", pair["p_value"]) if adjusted else 1.0
    css = "significant" if deciding < SIGNIFICANT else None
    return row(*cells, data_a=pair["a"], data_b=pair["b"], class_=css)


def _judged(report: Report) -> str:
    """What the tests count."""
    first = next(iter(report.data["models"].values()))
    if first.get("voting"):
        return "tasks"
    return "puzzles" if report.puzzles else "episodes"


def _units(result: dict) -> int:
    """How many of them there are."""
    votes = result.get("voting")
    return next(iter(votes.values()))["tasks"] if votes else result.get("puzzles") or result["n"]


def _p(key: str, p: float | None) -> Html:
    return cell(key, p, "–" if p is None else p_value(p))


def pairs_note(report: Report) -> str:
    """How to read so many p-values."""
    tested = report.data.get("pairs") or []
    explained = f"Exact McNemar test on the {_judged(report)} that only one of the two solved."
    if len(tested) == 1:
        return explained
    if all("p_holm" in pair for pair in tested):
        return (
            f"{explained} Holm's adjustment is over all {len(tested)} pairs of this report: below 0.05 "
            "(bold) the difference stands even though so many were tested."
        )
    return (
        f"{explained} These p-values are not adjusted for the {len(tested)} tests of this report: "
        f"{number(SIGNIFICANT * len(tested), 2)} of them would fall below 0.05 by chance alone, so read only "
        f"those below {number(SIGNIFICANT / len(tested), 2)} (Bonferroni) as differences."
    )


# ---------------------------------------------------------------- numbers behind the charts


def prediction(report: Report, index: int) -> Html:
    """Error and calibration at every step ahead."""
    models = report.data["models"]
    distances = curves.distances(models)
    rows = [
        _prediction_row(name, result["prediction"], step, distances)
        for name, result in models.items()
        for step in range(_horizon(result.get("prediction")))
    ]
    names = ["Model", "Steps ahead", "Median, cells", "90th percentile, cells"]
    head = headings(*names, *(f"Within {distance} cells, %" for distance in distances))
    return table(
        [head], [element("tbody", *rows)], "Prediction errors in the closed loop", id=f"prediction-{index}"
    )


def _horizon(known: dict | None) -> int:
    return max(map(len, (known.get("median") or (), known.get("p90") or ()))) if known else 0


def _prediction_row(name: str, known: dict, step: int, distances: list[str]) -> Html:
    cells = [cell("step", step + 1, str(step + 1))]
    for key in ("median", "p90"):
        value = _at(known.get(key), step)
        cells.append(cell(key, value, number(value)))
    for distance in distances:
        value = _at(known.get("within", {}).get(distance), step)
        cells.append(cell(f"within-{distance}", value, "–" if value is None else percent(value)))
    return row(element("th", name, scope="row"), *cells, data_model=name, data_step=step + 1)


def _at(curve: list | None, step: int) -> float | None:
    return curve[step] if curve and step < len(curve) and finite(curve[step]) else None


def density(data: dict) -> Html:
    """Success at every density and speed."""
    rows = [
        row(
            element("th", name, scope="row"),
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
    head = headings(
        "Model", "Obstacles", "Speed, cells/step", "Episodes", "Successes", "Rate %", "95 % interval"
    )
    return table([head], [element("tbody", *rows)], "Success against density", id="density-table")


def runs(trained: Iterable[Run]) -> Html:
    """What each training run was and where it ended."""
    trained = list(trained)
    goals = [key for key in BEST if any(run.series(f"eval/{key}")[1] for run in trained)] or ["success"]
    head = headings("Run", "Model", "Batch size", "Steps", "Last loss", "Best held-out loss",
                    *(f"Best held-out {key} %" for key in goals), "Samples/s", left=2)  # fmt: skip
    rows = [_run(run, goals) for run in trained]
    return table([head], [element("tbody", *rows)], "Training runs", id="runs")


def _run(run: Run, goals: Sequence[str]) -> Html:
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
        element("th", run.name, scope="row"),
        element("td", name),
        cell("batch_size", batch, "–" if batch is None else f"{batch:,}"),
        count("steps", run.records[-1]["step"]),
        *cells,
        data_run=run.name,
    )
