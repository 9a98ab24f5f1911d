"""One self-contained HTML page: no network, no library, everything inline."""

import importlib.resources
import json
from collections.abc import Sequence

from hrm_jax.referee.cells.protocols import PROTOCOLS
from hrm_jax.reporting import charts, curves, puzzle_results, puzzle_traces, summary, tables, traces
from hrm_jax.reporting.curves import Panel
from hrm_jax.reporting.inputs import Report, Run
from hrm_jax.reporting.markup import Html, element, join
from hrm_jax.reporting.names import Style, reference

SHORT_COMMIT = 10  # characters
PLAYER = ("drawing.js", "cells.js", "paths.js", "player.js")  # each may use those before it
# After those, where answers to puzzles were recorded, with the drawings of their kinds in between.
PUZZLE_PLAYER = (("puzzle_grid.js",), ("puzzle_strip.js", "puzzle_viewer.js"))

FAILURE_NOTE = (
    "Causes of failure: no path, the static map itself cuts the goal off; boxed in, a collision where every "
    "move would have collided; prediction, any other collision; horizon, a timeout though there is a path: "
    "the planner did not see far enough."
)
RESULTS_NOTE = (
    "Intervals are Wilson's 95 % for the success rate, over episodes. Full discs are learned models, open "
    "ones baselines, lozenges bounds."
)
PATHS_NOTE = (
    "An agent follows its path a point a step, at most {speed:.2f} cells a step. Static cells and the "
    "obstacles' discs of {collision_radius:g} cells are tested over the whole of a step, before the goal is."
)
PUBLISHED_PATHS_NOTE = (
    "Point k of a path is tested at time k + 1, so that the player's agent is a point behind its path; "
    "whatever fails counts as a collision."
)
SPREAD_NOTE = (
    "Two kinds of doubt, kept apart: the spread between training seeds is how much the same model, trained "
    "again, differs from itself on the same episodes; the half width is how much the rate of one trained "
    "model could differ on other episodes."
)
GROUPS_NOTE = (
    "Over episodes: an exact sign-flip test on how many models of either group solve each episode; it holds "
    "for these trained models. Over training seeds: Welch's t-test on their rates; it holds for models "
    "trained again, and with few seeds it sees large differences only."
)
PREDICTION_NOTE = "Errors of predicted obstacle positions as they occurred in the closed loop."


def build(reports: Sequence[Report], runs: Sequence[Run], density: dict | None) -> str:
    """The page as text."""
    looks = curves.looks(reports, density)
    recorded = [(i, r) for i, r in enumerate(reports) if r.traces]
    episodes, answers = ([(i, r) for i, r in recorded if r.puzzles is kind] for kind in (False, True))
    sections = {
        "results": ("Results", [_results(r, i, looks) for i, r in enumerate(reports)]),
        "segments": ("Answers by segment", _segments(reports, looks)),
        "prediction": ("Prediction", _prediction(reports, looks)),
        "density": ("Success against density", _density(density, looks)),
        "training": ("Training", _training(runs)),
        "player": ("Episodes", [_player(r, i) for i, r in episodes]),
        "answers": ("Answers", [_viewer(r, i) for i, r in answers]),
    }
    shown = {name: value for name, value in sections.items() if any(value[1])}
    content = [
        element("section", element("h2", title), *parts, id=name) for name, (title, parts) in shown.items()
    ]
    links = [element("a", title, href=f"#{name}") for name, (title, _) in shown.items()]
    nav = element("nav", *links, aria_label="Sections") if len(links) > 1 else None
    main = element("main", *content)
    script = _script((*PLAYER, *_puzzle_player(answers))) if recorded else None
    return _document(_title(reports), [_header(reports), nav, main, _footer()], script)


def _puzzle_player(recorded: Sequence[tuple[int, Report]]) -> list[str]:
    """The files of the viewer of answers, and of the drawings that it needs."""
    if not recorded:
        return []
    drawings = dict.fromkeys(puzzle_traces.drawing(report.traces.kind) for _, report in recorded)
    first, last = PUZZLE_PLAYER
    return [*first, *filter(None, drawings), *last]


def _title(reports: Sequence[Report]) -> str:
    if not reports:
        return "Training and evaluation"
    names = dict.fromkeys(
        report.heading.rpartition(", examples" if report.puzzles else ", seeds")[0] for report in reports
    )
    loop = (
        "Evaluation"
        if any(report.path_rules or report.puzzles for report in reports)
        else "Closed-loop evaluation"
    )
    return f"{loop}: {'; '.join(names)}"


def _document(title: str, body: Sequence[Html | None], script: str | None) -> str:
    head = [
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'),
        element("title", title),
        element("style", Html(_asset("page.css"))),
    ]
    player = element("script", Html(script)) if script else None
    page = [element("head", *head), element("body", *body, player)]
    return f'<!doctype html>\n<html lang="en">{join(page)}</html>\n'


def _script(names: Sequence[str]) -> str:
    """The player: its parts in one scope."""
    parts = "\n".join(map(_asset, names))
    return f'(() => {{\n"use strict";\n\n{parts}}})();\n'


def _asset(name: str) -> str:
    return importlib.resources.files("hrm_jax.reporting").joinpath("assets", name).read_text(encoding="utf-8")


# ---------------------------------------------------------------- header


def _header(reports: Sequence[Report]) -> Html:
    parts = [element("h1", _title(reports))]
    for report in reports:
        name = element("strong", f"{report.heading}: ") if len(reports) > 1 else None
        parts.append(element("p", name, _unbroken(summary.sentence(report)), class_="summary"))
    if reports:
        parts.append(_provenance(reports))
    return element("header", *parts)


def _unbroken(text: str) -> str:
    """Text in which no line begins with a per cent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _provenance(reports: Sequence[Report]) -> Html:
    judged = "Examples" if all(report.puzzles for report in reports) else "Seeds"
    head = tables.headings("Protocol", "World", judged, "Commit", "Versions", left=5)
    rows = [_facts(report) for report in reports]
    return tables.table([head], [element("tbody", *rows)], "What was evaluated", id="provenance")


def _facts(report: Report) -> Html:
    data, judged = report.data, "examples" if report.puzzles else "episodes"
    first, stop = data["seeds"]
    versions = ", ".join(f"{name} {version}" for name, version in (data.get("versions") or {}).items())
    commit = str(data.get("commit") or "unknown")
    changed = "+" if commit.endswith("+") else ""  # the tree was not as committed
    facts = [data["protocol"], data["world"], f"{first:,} to {stop - 1:,} ({stop - first:,} {judged})"]
    cells = [element("td", fact) for fact in facts]
    cells.append(element("td", commit[:SHORT_COMMIT].rstrip("+") + changed, title=commit))
    return tables.row(*cells, element("td", versions or "unknown"))


def _footer() -> Html:
    return element(
        "footer", element("p", "Made by hrm_jax.report. Every number of a chart is in a table beside it.")
    )


# ---------------------------------------------------------------- sections


def _results(report: Report, index: int, looks: dict[str, Style]) -> Html:
    spread, tested = tables.training_seeds(report, index), tables.pairs(report, index)
    compared = tables.group_tests(report, index)
    parts = [
        element("h3", report.heading),
        element("p", report.note, class_="warning") if report.note else None,
        (puzzle_results if report.puzzles else tables).results(report, index, looks),
        element("p", _results_note(report), class_="note"),
        [spread, element("p", SPREAD_NOTE, class_="note")] if spread else None,
        [compared, element("p", GROUPS_NOTE, class_="note")] if compared else None,
        [tested, element("p", tables.pairs_note(report), class_="note")] if tested else None,
        puzzle_results.votes(report, index) if report.puzzles else None,
    ]
    return element("article", *parts)


def _results_note(report: Report) -> str:
    if report.puzzles:
        return puzzle_results.note(report)
    models, rules = report.data["models"], report.path_rules
    parts, baseline = [RESULTS_NOTE], reference(models)
    if baseline:
        parts.append(f"The dashed line is the rate of {baseline}.")
    if rules:
        parts.append(PUBLISHED_PATHS_NOTE if rules.published else PATHS_NOTE.format(**vars(rules)))
    elif any(result.get("failures") for result in models.values()):
        parts.append(FAILURE_NOTE)
    return " ".join(parts)


def _segments(reports: Sequence[Report], looks: dict[str, Style]) -> list[Html]:
    out = []
    for index, report in enumerate(reports):
        panels = curves.answers(report.data, looks) if report.puzzles else []
        if panels:
            numbers = tables.folded("Numbers of these charts", puzzle_results.segments(report, index))
            out.append(_figure(report.heading, panels, puzzle_results.segments_note(report), numbers))
    return out


def _prediction(reports: Sequence[Report], looks: dict[str, Style]) -> list[Html]:
    out = []
    for index, report in enumerate(reports):
        panels = curves.prediction(report.data["models"], looks)
        if panels:
            numbers = tables.folded("Numbers of these charts", tables.prediction(report, index))
            out.append(_figure(report.heading, panels, _prediction_note(report), numbers))
    return out


def _prediction_note(report: Report) -> str:
    protocol = PROTOCOLS.get(report.data["protocol"])
    margin = protocol.planning_radius - protocol.collision_radius if protocol and protocol.swept else 0.0
    if margin <= 0:
        return PREDICTION_NOTE
    return (
        f"{PREDICTION_NOTE} {margin:.1g} cells is the margin between the planner's radius "
        f"({protocol.planning_radius}) and that of a collision ({protocol.collision_radius}): predictions "
        "nearer than that to the truth cannot lead the planner into a collision."
    )


def _density(density: dict | None, looks: dict[str, Style]) -> list[Html]:
    if density is None:
        return []
    first, stop = density["seeds"]
    note = (
        f"Protocol {density['protocol']}, seeds {first:,} to {stop - 1:,} in every cell. "
        "Bars are Wilson 95 % intervals, moved apart sideways so that they can be told from each other."
    )
    numbers = tables.folded("Numbers of these charts", tables.density(density))
    return [_figure(None, curves.density(density, looks), note, numbers)]


def _training(runs: Sequence[Run]) -> list[Html]:
    if not runs:
        return []
    judged = "examples" if any(run.series("eval/exact")[1] for run in runs) else "episodes"
    note = (
        f"Losses on a logarithmic axis. Dashed grey curves are baselines on the same held-out {judged}. "
        f"Curves of more than {curves.MOST_POINTS} records show means of equal numbers of records."
    )
    return [_figure(None, curves.training(runs), note, tables.runs(runs))]


def _figure(heading: str | None, panels: Sequence[Panel], note: str, numbers: Html) -> Html:
    width = charts.label_column(curve.name for panel in panels for curve in panel.curves) if panels else 0
    drawn = element("div", *(_panel(panel, width) for panel in panels), class_="panels")
    caption = element("figcaption", note, class_="note")
    return element("figure", element("h3", heading) if heading else None, drawn, caption, numbers)


def _panel(panel: Panel, label_width: float) -> Html:
    lines = [charts.Line(c.name, c.style.css, c.x, c.y, c.intervals) for c in panel.curves]
    return charts.lines(
        panel.title, lines, x_label=panel.x_label, y_label=panel.y_label, y_range=panel.y_range,
        log=panel.log, shares=panel.shares, label_width=label_width, mark=panel.mark,
    )  # fmt: skip


def _player(report: Report, index: int) -> Html:
    """The place of a player; player.js fills it from the data beside it."""
    packed = traces.packed(report.traces, report.collision_rule)
    return _played(report, index, packed, "player", "Episode player")


def _viewer(report: Report, index: int) -> Html:
    """The place of a viewer of answers; puzzle_viewer.js fills it."""
    ignored = (report.data.get("data") or {}).get("ignore_label_id")
    most = report.data.get("trained_segments")
    trained = {name: known.get("trained_segments", most) for name, known in report.data["models"].items()}
    packed = puzzle_traces.packed(report.traces, ignored, trained)
    return _played(report, index, packed, "player puzzles", "Viewer of answers")


def _played(report: Report, index: int, packed: dict, css: str, what: str) -> Html:
    data = json.dumps(packed, separators=(",", ":")).replace("<", "\\u003c")
    name = f"traces-{index}"
    parts = [
        element("h3", report.heading),
        element(
            "div",
            class_=css,
            id=f"player-{index}",
            data_traces=name,
            aria_label=f"{what}, {report.heading}",
        ),
        element(
            "noscript", element("p", "The player needs JavaScript; all the rest of the page does without.")
        ),
        element("script", Html(data), type="application/json", id=name),
    ]
    return element("article", *parts)
