"""Tables of a report of answers to puzzles, as HTML."""

from markupsafe import Markup

from hrm_jax.console.tables import percent
from hrm_jax.puzzles.kinds import KINDS
from hrm_jax.reporting import charts
from hrm_jax.reporting.curves import SEGMENT_KEYS
from hrm_jax.reporting.inputs import Report
from hrm_jax.reporting.markup import cell, count, element, name_cell, row, simple_table, table
from hrm_jax.reporting.names import HEADINGS, Style, reference
from hrm_jax.reporting.tables import by_kind

NOTE = (
    "An answer is exact when every cell that counts is that of the label. Intervals are Wilson's 95 % over "
    "examples. Full discs are learned models, open ones baselines."
)
AUGMENTED_NOTE = "The {n:,} examples are augmentations of {puzzles:,} puzzles, and intervals count these."
LENIENT_NOTE = "Lenient: any right answer counts, be it the label's or another."
TOKENS_NOTE = "Tokens: the mean share of cells that are right; a copy of the input shows what it is worth."
VOTES_NOTE = (
    "A task is right when all its test inputs are, each within so many tries; test inputs: their share that "
    "is right, averaged over tasks."
)
SEGMENTS_NOTE = (
    "The model runs {segments} segments whatever its Q-head says; stopped counts the examples for "
    "which it would have said stop in this segment or before."
)
TRAINED_NOTE = "It was trained with at most {trained} (dashed line)."


def note(report: Report) -> str:
    """What the columns of the table mean."""
    models = report.data["models"].values()
    parts = [NOTE]
    if baseline := reference(report.data["models"]):
        parts.append(f'The dashed line is the rate of "{baseline}".')
    first = next(iter(models))
    if first.get("puzzles", first["n"]) < first["n"]:
        parts.append(AUGMENTED_NOTE.format(**first))
    if any(result.get("lenient") for result in models):
        kind = KINDS.get(report.data["kind"])
        parts.append(f"Lenient: {kind.lenient.note}" if kind and kind.lenient else LENIENT_NOTE)
    if any(result.get("tokens") is not None for result in models):
        parts.append(TOKENS_NOTE)
    return " ".join(parts)


def segments_note(report: Report) -> str:
    """What the charts by segment show."""
    said, trained = (
        SEGMENTS_NOTE.format(segments=report.data["segments"]),
        report.data.get("trained_segments"),
    )
    return f"{said} {TRAINED_NOTE.format(trained=trained)}" if trained else said


# ---------------------------------------------------------------- HTML


def results(report: Report, index: int, styles: dict[str, Style]) -> Markup:
    """A row per model: exact with its interval, lenient, and the share of cells that are right."""
    models = report.data["models"]
    optional = [
        key
        for key in ("parameters", "step", "lenient", "tokens")
        if any(result.get(key) is not None for result in models.values())
    ]
    span, baseline = charts.bar_range(models.values()), reference(models)
    level = models[baseline]["rate"] if baseline else None
    bodies = []
    for sort, names in by_kind(models).items():
        if names:
            width = 6 + len(optional) + ("lenient" in optional)
            title = row(element("th", HEADINGS[sort], colspan=width, scope="rowgroup"), class_="kind")
            rows = [_result(name, models[name], optional, styles[name], span, level) for name in names]
            bodies.append(element("tbody", title, *rows, class_=sort))
    return table(
        [_head(optional, span)], bodies, "Answers that are exact", id=f"results-{index}", class_="results"
    )


def _head(optional: list[str], span: tuple[float, float]) -> Markup:
    def th(text: str | Markup, css: str | None = "number", **attributes: object) -> Markup:
        return element("th", text, scope="col", class_=css, **attributes)

    cells = [th("Model", None)]
    cells += [th(name) for key, name in (("parameters", "Parameters"), ("step", "Step")) if key in optional]
    cells += [th("Exact", colspan=2), th("Exact\N{NO-BREAK SPACE}%"), th("95 % interval")]
    cells.append(th(charts.bar_axis(span), "drawn", aria_label="The interval, drawn"))
    if "lenient" in optional:
        cells += [th("Lenient\N{NO-BREAK SPACE}%"), th("95 % interval")]
    return row(*cells, th("Tokens\N{NO-BREAK SPACE}%") if "tokens" in optional else None)


def _result(
    name: str, result: dict, optional: list[str], style: Style, span: tuple[float, float], level: float | None
) -> Markup:
    cells = name_cell(name)
    cells += [count(key, result.get(key)) for key in ("parameters", "step") if key in optional]
    cells += [count("success", result["success"]), cell("n", result["n"], f"/ {result['n']:,}")]
    cells += _rate(result, "")
    bar = charts.interval_bar(result, span, style.css, style.kind, level)
    cells.append(element("td", bar, class_="drawn"))
    if "lenient" in optional:
        cells += _rate(result.get("lenient"), "lenient-")
    if "tokens" in optional:
        cells.append(_share("tokens", result.get("tokens"), 2))
    return row(*cells, data_model=name)


def _rate(result: dict | None, prefix: str) -> list[Markup]:
    """Cells of a rate and of its interval."""
    if not result:
        return [_share(f"{prefix}rate", None), _share(f"{prefix}interval", None)]
    low, high = result["interval"]
    return [
        _share(f"{prefix}rate", result["rate"]),
        cell(f"{prefix}interval", f"{low} {high}", f"{percent(low)} – {percent(high)}"),
    ]


def _share(key: str, value: float | None, digits: int = 1) -> Markup:
    return cell(key, value, "–" if value is None else f"{100 * value:.{digits}f}")


def segments(report: Report, index: int) -> Markup:
    """The numbers behind the charts: a row per model and segment."""
    known = {name: result.get("segments") or [] for name, result in report.data["models"].items()}
    kept = [
        key for key in SEGMENT_KEYS if any(s.get(key) is not None for found in known.values() for s in found)
    ]
    titles = {
        "exact": "Exact %", "lenient": "Lenient %", "tokens": "Tokens %", "halted": "Stopped by then %",
        "q_accuracy": "Q-head right %",
    }  # fmt: skip
    rows = [
        row(
            *name_cell(name),
            count("segment", number),
            *(_share(key, segment.get(key), 2 if key == "tokens" else 1) for key in kept),
            data_model=name,
            data_segment=number,
        )
        for name, found in known.items()
        for number, segment in enumerate(found, 1)
    ]
    columns = ("Model", "Segment", *(titles[key] for key in kept))
    return simple_table(columns, rows, "Answers after each segment", id=f"segments-{index}")


def votes(report: Report, index: int) -> Markup | None:
    """What the augmentations of every task agree on, for so many tries; None where nothing was voted on."""
    known = {name: result["voting"] for name, result in report.data["models"].items() if result.get("voting")}
    if not known:
        return None
    rows = [
        row(
            *name_cell(name),
            element("td", tries),
            count("success", found["success"]),
            cell("n", found["tasks"], f"/ {found['tasks']:,}"),
            *_rate(found, ""),
            _share("share", found["share"]),
            data_model=name,
            data_tries=tries,
        )
        for name, by_tries in known.items()
        for tries, found in by_tries.items()
    ]
    names = ("Model", "Tries", "Tasks", "", "Tasks %", "95 % interval", "Test inputs %")
    return simple_table(names, rows, "Votes of all augmentations", left=2, id=f"votes-{index}")
