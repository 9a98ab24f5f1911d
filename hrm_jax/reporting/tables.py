"""The tables of the page. Every number also stands in a `data-value`, unrounded."""

import statistics
from dataclasses import dataclass

from markupsafe import Markup

from hrm_jax.console.tables import percent
from hrm_jax.referee.protocols import PathProtocol
from hrm_jax.reporting import charts
from hrm_jax.reporting.inputs import Report
from hrm_jax.reporting.markup import (
    cell,
    count,
    element,
    folded,
    name_cell,
    number,
    p_value,
    row,
    simple_table,
    table,
)
from hrm_jax.reporting.names import HEADINGS, KINDS, PATH_HEADINGS, Style, kind, reference
from hrm_jax.worlds.rules import FAILURES

SIGNIFICANT = 0.05
SHOWN_PAIRS = 15  # a longer table keeps the pairs without a learned model folded away
FAILURE_HEADINGS = {
    "no_static_path": "no path",
    "boxed_in": "boxed in",
    "prediction_error": "prediction",
    "horizon": "horizon",
}


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


def results(report: Report, index: int, styles: dict[str, Style]) -> Markup:
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


def _results_head(columns: _Columns) -> list[Markup]:
    def th(text: str | Markup, css: str | None = "number", **attributes: object) -> Markup:
        return element("th", text, scope="col", rowspan=2, class_=css, **attributes)

    def group(text: str, width: int) -> Markup:
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
) -> Markup:
    title = row(element("th", columns.headings[sort], colspan=columns.count, scope="rowgroup"), class_="kind")
    rows = [_result(name, models[name], styles[name], columns) for name in names]
    return element("tbody", title, *rows, class_=sort)


def _result(name: str, result: dict, style: Style, columns: _Columns) -> Markup:
    low, high = result["interval"]
    cells = name_cell(name)
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


# ---------------------------------------------------------------- spread between training seeds


def training_seeds(report: Report, index: int) -> Markup | None:
    """How much a retrained model differs from itself, apart from how much episodes differ."""
    groups = {name: group for name, group in (report.data.get("groups") or {}).items() if group["seeds"] > 1}
    if not groups:
        return None
    names = ("Group", "Training seeds", "Mean rate %", "Lowest %", "Highest %", "Std between seeds",
             "95 % half width between episodes")  # fmt: skip
    rows = [_group(name, group, report.data["models"]) for name, group in groups.items()]
    caption = "Spread between training seeds, in percentage points"
    return simple_table(names, rows, caption, id=f"groups-{index}")


def _group(group: str, spread: dict, models: dict[str, dict]) -> Markup:
    members = [result for result in models.values() if result.get("group") == group]
    halves = [(result["interval"][1] - result["interval"][0]) / 2 for result in members]
    seeds = ", ".join(str(result["seed"]) for result in members if result.get("seed") is not None)
    columns = {
        "mean": spread["mean"],
        "lowest": spread["min"],
        "highest": spread["max"],
        "std": spread["std"],
        "half_width": statistics.mean(halves),
    }
    counted = f"{len(members)} ({seeds})" if seeds else str(len(members))
    cells = [cell(key, value, percent(value)) for key, value in columns.items()]
    return row(*name_cell(group), cell("seeds", len(members), counted), *cells, data_group=group)


def group_tests(report: Report, index: int) -> Markup | None:
    """Tests between models that were each trained several times: over episodes, and over training seeds."""
    tested = report.data.get("group_pairs")
    if not tested:
        return None
    names = ("Group a", "Group b", "a − b, points", "p over episodes", "p over training seeds")
    rows = [
        row(
            *name_cell(pair["a"], pair["b"]),
            cell("difference", pair["difference"], f"{100 * pair['difference']:+.1f}".replace("-", "−")),
            *(_p(key, pair[key]) for key in ("p_episodes", "p_seeds")),
            data_a=pair["a"],
            data_b=pair["b"],
        )
        for pair in tested
    ]
    return simple_table(names, rows, "Tests between groups", left=2, id=f"group-pairs-{index}")


# ---------------------------------------------------------------- paired tests


def pairs(report: Report, index: int) -> Markup | None:
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
    return Markup(shown + folded(f"{len(rest)} pairs without a learned model", more))


def _pairs_table(tested: list[dict], report: Report, caption: str, name: str) -> Markup:
    adjusted = any("p_holm" in pair for pair in tested)
    columns = ["Model a", "Model b", "Only a succeeded", "Only b succeeded", "a − b, points", "p"]
    columns += ["p, Holm"] if adjusted else []
    rows = [_pair(pair, report.data["models"], adjusted) for pair in tested]
    return simple_table(columns, rows, caption, left=2, id=name, class_="pairs")


def _pair(pair: dict, models: dict[str, dict], adjusted: bool) -> Markup:
    cells = name_cell(pair["a"], pair["b"])
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


def _p(key: str, p: float | None) -> Markup:
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
