"""The tables of the page. Every number also stands in a `data-value`, unrounded."""

import functools
import statistics
from collections.abc import Sequence

from markupsafe import Markup

from hrm_jax.console.tables import percent
from hrm_jax.judging.marks import UNTRAINED, WARNED, counted_marks, mark
from hrm_jax.judging.reports import units
from hrm_jax.judging.statistics import counted, mean_rate
from hrm_jax.judging.tables import (
    GAIN,
    by_part,
    marked,
    measured,
    measuring_of,
    members,
    rate_of_groups,
)
from hrm_jax.judging.tables import reached as judged_lengths
from hrm_jax.judging.tables import trials as judged_trials
from hrm_jax.judging.tables import walks as judged_walks
from hrm_jax.referee.protocols import PathProtocol
from hrm_jax.reporting import charts
from hrm_jax.reporting.inputs import Report
from hrm_jax.reporting.markup import (
    Column,
    Record,
    count_columns,
    folded,
    p_value,
    points,
    rate_columns,
    signed_ends,
    table,
    trial_columns,
    whole,
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
SEGMENT_HEADINGS = {
    "exact": "Exact %",
    "lenient": "Lenient %",
    "tokens": "Tokens %",
    "halted": "Stopped by then %",
    "q_accuracy": "Q-head right %",
}
MODEL = Column("model", "Model")


def by_kind(models: dict[str, dict]) -> dict[str, list[str]]:
    """Names by kind, the best first; training seeds of one group stay together."""
    groups: dict[str, list[dict]] = {}
    for name, result in models.items():
        groups.setdefault(result.get("group") or name, []).append(result)

    def place(name: str) -> tuple:
        group = models[name].get("group") or name
        return -mean_rate(groups[group]), group, -models[name]["rate"]

    return {sort: sorted((n for n in models if kind(n) == sort), key=place) for sort in KINDS}


def css(result: dict) -> str | None:
    """The class of a model's row, which shows its mark."""
    return {UNTRAINED: "untrained", WARNED: "warned"}.get(mark(result))


# ---------------------------------------------------------------- results


def results(report: Report, index: int, styles: dict[str, Style]) -> Markup:
    """A row per model: its rate and interval, and what became of the rest; or of puzzles, partial credit."""
    models = report.data["models"]
    span, baseline = charts.bar_range(models.values()), reference(models)
    level = models[baseline]["rate"] if baseline else None

    def record(name: str) -> Record:
        result = models[name]
        bar = charts.interval_bar(result, span, styles[name], level)
        causes = dict.fromkeys(FAILURES, 0) | result["failures"] if result.get("failures") else {}
        lenient = {f"lenient-{key}": value for key, value in (result.get("lenient") or {}).items()}
        return {**result, **causes, **lenient, "model": name, "bar": bar, "css": css(result)}

    headings = PATH_HEADINGS if report.path_rules else HEADINGS
    bodies: dict[tuple[str, str] | None, Sequence[Record]] = {
        (sort, headings[sort]): list(map(record, names)) for sort, names in by_kind(models).items() if names
    }
    bar = Column("bar", charts.bar_axis(span))
    columns = _puzzle_columns(bar) if report.puzzles else _episode_columns(bar)
    return table(columns, bodies, _success(report), ["model"], id=f"results-{index}", css="results")


def _episode_columns(bar: Column) -> list[Column]:
    return [
        MODEL,
        *rate_columns("Rate\N{NO-BREAK SPACE}%"),
        bar,
        *count_columns("Successes"),
        Column("parameters", "Parameters", whole, optional=True),
        Column("collisions", "collision", whole, "Failures"),
        Column("timeouts", "timeout", whole, "Failures"),
        *(Column(key, FAILURE_HEADINGS[key], whole, "Causes of failure", optional=True) for key in FAILURES),
    ]


def _puzzle_columns(bar: Column) -> list[Column]:
    return [
        MODEL,
        *rate_columns("Exact\N{NO-BREAK SPACE}%"),
        bar,
        *rate_columns("Lenient\N{NO-BREAK SPACE}%", "lenient-", optional=True),
        Column("tokens", "Tokens\N{NO-BREAK SPACE}%", _hundredths, optional=True),
        *count_columns("Exact"),
        Column("parameters", "Parameters", whole, optional=True),
        Column("step", "Step", whole, optional=True),
    ]


def _hundredths(share: float) -> str:
    return f"{100 * share:.2f}"


def _success(report: Report) -> str:
    """What counts as a success."""
    rules: PathProtocol | None = report.path_rules
    if report.puzzles:
        return "Answers that are exact"
    if rules is None:
        return "Success within the time limit and without a collision"
    if rules.published:
        return f"Success as published: none of the {rules.points} points of a path touches anything"
    return (
        f"Success: within {rules.goal_tolerance:g} cells of the goal after at most {rules.points - 1} steps, "
        "and nothing touched on the way"
    )


def segments(report: Report, index: int) -> Markup:
    """The numbers behind the charts by segment: a row per model and segment."""
    records = [
        {"model": name, "segment": number, **segment}
        for name, result in report.data["models"].items()
        for number, segment in enumerate(result.get("segments") or [], 1)
    ]
    columns = [MODEL, Column("segment", "Segment", whole)]
    columns += [
        Column(key, heading, _hundredths if key == "tokens" else percent, optional=True)
        for key, heading in SEGMENT_HEADINGS.items()
    ]
    caption = "Answers after each segment"
    return table(columns, {None: records}, caption, ["model", "segment"], id=f"segments-{index}")


def measures(report: Report, index: int) -> Markup | None:
    """What the kind of puzzles measures besides, of all examples and by part; None where it does not."""
    measuring = measuring_of(report.data) if report.puzzles else None
    if measuring is None:
        return None
    records = [
        {**result, **(result.get("measures") or {}), "model": name, "part": part, "of": result["n"],
         "any": (result.get("lenient") or {}).get("rate")}
        for name, part, result in by_part(report.data["models"])
    ]  # fmt: skip
    columns = [
        MODEL,
        Column("part", measuring.heading.capitalize()),
        Column("of", "Examples", whole),
        Column("rate", "Exact %", percent),
        Column("any", "Lenient %", percent, optional=True),
        Column("tokens", "Tokens %", _hundredths, optional=True),
    ]
    for key, measure in measuring.shown.items():
        heading = measure.heading.capitalize() + " %" * (measure.most == 1)
        text = functools.partial(measured, measure=measure)
        columns.append(Column(key, heading, text, optional=True))
    caption = f"Answers by {measuring.heading}"
    return table(columns, {None: records}, caption, ["model", "part"], id=f"measures-{index}")


def walks(report: Report, index: int) -> Markup | None:
    """Walks from start to goal, the models' and the walkers'; None of puzzles that nothing walks in."""
    if not (report.puzzles and report.data.get("walks")):
        return None
    records = [
        {**found, **{f"optimal-{key}": value for key, value in found["optimal"].items()}}
        for found in judged_walks(report.data)
    ]
    columns = [
        Column("name", "Who"),
        Column("budget", "Moves at most", whole, optional=True),
        *trial_columns("Successes", "Success\N{NO-BREAK SPACE}%"),
        *rate_columns("Optimal\N{NO-BREAK SPACE}%", "optimal-"),
        Column("efficiency", "Efficiency\N{NO-BREAK SPACE}%", percent, optional=True),
    ]
    return table(columns, {None: records}, "Walks from start to goal", ["name"], id=f"walks-{index}")


def votes(report: Report, index: int) -> Markup | None:
    """What the augmentations of every task agree on, for so many tries; None where nothing was voted on."""
    records = [
        {"model": name, "tries": tries, "n": found["tasks"], **found}
        for name, result in report.data["models"].items()
        for tries, found in (result.get("voting") or {}).items()
    ]
    if not records:
        return None
    columns = [MODEL, Column("tries", "Tries"), *trial_columns("Tasks", "Tasks %")]
    columns.append(Column("share", "Test inputs %", percent))
    caption = "Votes of all augmentations"
    return table(columns, {None: records}, caption, ["model", "tries"], id=f"votes-{index}")


# ---------------------------------------------------------------- groups of training seeds


def training_seeds(report: Report, index: int) -> Markup | None:
    """How much a retrained model differs from itself, apart from how much episodes differ."""
    groups = {name: group for name, group in (report.data.get("groups") or {}).items() if group["seeds"] > 1}
    if not groups:
        return None
    columns = [
        Column("group", "Group"),
        Column("seeds", "Training seeds", whole),
        Column("which", "Training seeds"),
        Column("marked", "Marked", optional=True),
        Column("mean", f"Mean {rate_of_groups(report.data)} %", percent),
        Column("lowest", "Lowest %", percent),
        Column("highest", "Highest %", percent),
        Column("std", "Std between seeds", percent),
        Column("half_width", "95 % half width between episodes", percent),
    ]
    records = [_group(name, group, members(report.data, name)) for name, group in groups.items()]
    caption = "Spread between training seeds, in percentage points"
    return table(columns, {None: records}, caption, ["group"], id=f"groups-{index}")


def _group(group: str, spread: dict, results: list[dict]) -> Record:
    intervals = [counted(result)["interval"] for result in results]
    halves = [(high - low) / 2 for low, high in intervals]
    seeds = ", ".join(str(result["seed"]) for result in results if result.get("seed") is not None)
    return {
        **spread,
        "group": group,
        "which": f"({seeds})" if seeds else "",
        "lowest": spread["min"],
        "highest": spread["max"],
        "half_width": statistics.mean(halves),
        "marked": ", ".join(counted_marks(results)) or None,
    }


def group_tests(report: Report, tested: list[dict], index: int) -> Markup | None:
    """Tests between models that were each trained several times: over episodes, and over training seeds."""
    if not tested:
        return None
    records = [pair | {side: marked(pair[side], [report.data]) for side in "ab"} for pair in tested]
    columns = [
        Column("a", "Group a"),
        Column("b", "Group b"),
        Column("difference", "a − b, points", points),
        Column("interval", "95 % interval", signed_ends, optional=True),
        Column("p_episodes", "p over episodes", p_value, optional=True),
        Column("p_episodes_holm", "the same, Holm", p_value, optional=True),
        Column("p_seeds", "p over training seeds", p_value, optional=True),
        Column("p_seeds_holm", "the same, Holm", p_value, optional=True),
    ]
    return table(columns, {None: records}, "Tests between groups", ["a", "b"], id=f"group-pairs-{index}")


def lengths(report: Report, index: int) -> Markup | None:
    """How many updates the models were given, and what more of them brought; None where that is not told."""
    records = _chosen_stand_out(judged_lengths(report.data))
    columns = [
        Column("steps", "Updates"),
        Column("loss", "Best held-out loss"),
        Column("gain", GAIN.capitalize()),
        Column("chosen", "Chosen"),
    ]
    caption = "How many updates the models were given"
    return table(columns, {None: records}, caption, ["steps"], id=f"lengths-{index}") if records else None


def tuning(report: Report, index: int) -> Markup | None:
    """The settings that each model was tried with before it was trained; None where nothing was tried."""
    records = _chosen_stand_out(judged_trials(report.data))
    if not records:
        return None
    columns = [
        MODEL,
        Column("settings", "Tried"),
        Column("loss", "Held-out loss, mean", "{:.4g}".format),
        Column("by_seed", "By tuning seed"),
        Column("chosen", "Chosen"),
    ]
    caption = "What each model was tuned to"
    shown = table(columns, {None: records}, caption, ["model", "settings"], id=f"tuning-{index}")
    return folded(f"{len(records)} settings that were tried before", shown)


def _chosen_stand_out(rows: list[dict]) -> list[Record]:
    return [{**row, "css": "significant" if row["chosen"] else None} for row in rows]


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
    columns = [
        Column("a", "Model a"),
        Column("b", "Model b"),
        Column("a_only", "Only a succeeded", whole),
        Column("b_only", "Only b succeeded", whole),
        Column("difference", "a − b, points", points),
        Column("p_value", "p", p_value),
        Column("p_holm", "p, Holm", p_value, optional=True),
    ]
    records = [_pair(pair, report.data["models"]) for pair in tested]
    return table(columns, {None: records}, caption, ["a", "b"], id=name, css="pairs")


def _pair(pair: dict, models: dict[str, dict]) -> Record:
    difference = (pair["a_only"] - pair["b_only"]) / units(models[pair["a"]])
    css = "significant" if pair.get("p_holm", 1.0) < SIGNIFICANT else None
    return {**pair, "difference": difference, "css": css}
