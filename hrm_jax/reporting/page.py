"""One self-contained HTML page: no network, no library, everything inline."""

import functools
import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jinja2
from markupsafe import Markup

from hrm_jax.referee.protocols import CELL_PROTOCOLS
from hrm_jax.reporting import (
    chart_tables,
    charts,
    curves,
    puzzle_results,
    puzzle_traces,
    summary,
    tables,
    traces,
)
from hrm_jax.reporting.curves import Panel
from hrm_jax.reporting.inputs import Report, Run
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


@dataclass(frozen=True)
class Results:
    """The tables of one report, each with a note or an empty one."""

    kind: ClassVar[str] = "Results"
    heading: str
    warning: str
    tables: list[tuple[Markup, str]]


@dataclass(frozen=True)
class Figure:
    """Charts, and the table of their numbers."""

    kind: ClassVar[str] = "Figure"
    heading: str
    panels: list[Markup]
    note: str
    numbers: Markup
    folded: bool = True


@dataclass(frozen=True)
class Player:
    """The place of a player, which its script fills from the data."""

    kind: ClassVar[str] = "Player"
    heading: str
    index: int
    css: str
    what: str
    data: Markup


@dataclass(frozen=True)
class Section:
    """A part of the page that the navigation names."""

    id: str
    title: str
    parts: Sequence[Results | Figure | Player]


def build(reports: Sequence[Report], runs: Sequence[Run], density: Any | None) -> str:
    """The page as text."""
    looks = curves.looks(reports, density)
    recorded = [(i, report) for i, report in enumerate(reports) if report.traces]
    players, viewers = ([(i, r) for i, r in recorded if r.puzzles is kind] for kind in (False, True))
    sections = (
        Section("results", "Results", [_results(r, i, looks) for i, r in enumerate(reports)]),
        Section("segments", "Answers by segment", _segments(reports, looks)),
        Section("prediction", "Prediction", _prediction(reports, looks)),
        Section("density", "Success against density", _density(density, looks)),
        Section("training", "Training", _training(runs)),
        Section("player", "Episodes", [_player(report, i) for i, report in players]),
        Section("answers", "Answers", [_viewer(report, i) for i, report in viewers]),
    )
    return _template().render(
        title=_title(reports),
        css=Markup(_asset("page.css")),
        reports=[_facts(report) for report in reports],
        judged="Examples" if all(report.puzzles for report in reports) else "Seeds",
        sections=[section for section in sections if section.parts],
        script=_script((*PLAYER, *_puzzle_player(viewers))) if recorded else None,
    )


def _puzzle_player(recorded: Sequence[tuple[int, Report]]) -> list[str]:
    """The files of the viewer of answers, and of the drawings that it needs."""
    if not recorded:
        return []
    drawings = dict.fromkeys(puzzle_traces.drawing(report.traces.kind) for _, report in recorded)
    first, last = PUZZLE_PLAYER
    return [*first, *filter(None, drawings), *last]


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("hrm_jax.reporting")
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    return jinja2.Environment(loader=loader, autoescape=True, **options).get_template("page.html.j2")


def _script(names: Sequence[str]) -> Markup:
    """The player: its parts in one scope."""
    parts = "\n".join(map(_asset, names))
    return Markup(f'(() => {{\n"use strict";\n\n{parts}}})();\n')


def _asset(name: str) -> str:
    return importlib.resources.files("hrm_jax.reporting").joinpath("assets", name).read_text(encoding="utf-8")


# ---------------------------------------------------------------- header


def _title(reports: Sequence[Report]) -> str:
    if not reports:
        return "Training and evaluation"
    names = dict.fromkeys(
        report.heading.rpartition(", examples" if report.puzzles else ", seeds")[0] for report in reports
    )
    closed = not any(report.path_rules or report.puzzles for report in reports)
    return f"{'Closed-loop evaluation' if closed else 'Evaluation'}: {'; '.join(names)}"


def _facts(report: Report) -> dict[str, str]:
    """What the header says about a report."""
    data, trials = report.data, "examples" if report.puzzles else "episodes"
    first, stop = data["seeds"]
    versions = ", ".join(f"{name} {version}" for name, version in (data.get("versions") or {}).items())
    commit = str(data.get("commit") or "unknown")
    changed = "+" if commit.endswith("+") else ""  # the tree was not as committed
    return {
        "heading": report.heading,
        "summary": summary.sentence(report).replace(" %", "\N{NO-BREAK SPACE}%"),
        "protocol": data["protocol"],
        "world": data["world"],
        "trials": f"{first:,} to {stop - 1:,} ({stop - first:,} {trials})",
        "commit": commit,
        "short_commit": commit[:SHORT_COMMIT].rstrip("+") + changed,
        "versions": versions or "unknown",
    }


# ---------------------------------------------------------------- sections


def _results(report: Report, index: int, looks: dict[str, Style]) -> Results:
    made = [
        ((puzzle_results if report.puzzles else tables).results(report, index, looks), _results_note(report)),
        (tables.training_seeds(report, index), SPREAD_NOTE),
        (tables.group_tests(report, index), GROUPS_NOTE),
        (tables.pairs(report, index), tables.pairs_note(report)),
        (puzzle_results.votes(report, index) if report.puzzles else None, puzzle_results.VOTES_NOTE),
    ]
    return Results(report.heading, report.note, [(table, note) for table, note in made if table])


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


def _segments(reports: Sequence[Report], looks: dict[str, Style]) -> list[Figure]:
    drawn = [(r, i, curves.answers(r.data, looks)) for i, r in enumerate(reports) if r.puzzles]
    return [
        Figure(r.heading, _panels(panels), puzzle_results.segments_note(r), puzzle_results.segments(r, i))
        for r, i, panels in drawn
        if panels
    ]


def _prediction(reports: Sequence[Report], looks: dict[str, Style]) -> list[Figure]:
    drawn = [(r, i, curves.prediction(r.data["models"], looks)) for i, r in enumerate(reports)]
    return [
        Figure(
            report.heading, _panels(panels), _prediction_note(report), chart_tables.prediction(report, index)
        )
        for report, index, panels in drawn
        if panels
    ]


def _prediction_note(report: Report) -> str:
    protocol = CELL_PROTOCOLS.get(report.data["protocol"])
    margin = protocol.planning_radius - protocol.collision_radius if protocol and protocol.swept else 0.0
    if margin <= 0:
        return PREDICTION_NOTE
    return (
        f"{PREDICTION_NOTE} {margin:.1g} cells is the margin between the planner's radius "
        f"({protocol.planning_radius}) and that of a collision ({protocol.collision_radius}): predictions "
        "nearer than that to the truth cannot lead the planner into a collision."
    )


def _density(density: Any | None, looks: dict[str, Style]) -> list[Figure]:
    if density is None:
        return []
    first, stop = density["seeds"]
    note = (
        f"Protocol {density['protocol']}, seeds {first:,} to {stop - 1:,} in every cell. "
        "Bars are Wilson 95 % intervals, moved apart sideways so that they do not hide each other."
    )
    return [Figure("", _panels(curves.density(density, looks)), note, chart_tables.density(density))]


def _training(runs: Sequence[Run]) -> list[Figure]:
    if not runs:
        return []
    judged = "examples" if any(run.series("eval/exact")[1] for run in runs) else "episodes"
    note = (
        f"Losses on a logarithmic axis. Dashed grey curves are baselines on the same held-out {judged}. "
        f"Curves of more than {curves.MOST_POINTS} records show means of equal numbers of records."
    )
    return [Figure("", _panels(curves.training(runs)), note, chart_tables.runs(runs), folded=False)]


def _panels(panels: Sequence[Panel]) -> list[Markup]:
    names = [curve.name for panel in panels for curve in panel.curves]
    width = charts.label_column(names) if names else 0
    return [charts.draw(panel, width) for panel in panels]


def _player(report: Report, index: int) -> Player:
    data = traces.packed(report.traces, report.collision_rule)
    return Player(report.heading, index, "player", "Episode player", _json(data))


def _viewer(report: Report, index: int) -> Player:
    """The place of a viewer of answers."""
    ignored = (report.data.get("data") or {}).get("ignore_label_id")
    most = report.data.get("trained_segments")
    trained = {name: known.get("trained_segments", most) for name, known in report.data["models"].items()}
    data = puzzle_traces.packed(report.traces, ignored, trained)
    return Player(report.heading, index, "player puzzles", "Viewer of answers", _json(data))


def _json(data: dict) -> Markup:
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
