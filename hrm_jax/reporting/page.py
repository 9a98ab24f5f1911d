"""One self-contained HTML page: no network, no library, everything inline."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from hrm_jax.judging.tables import family, held_together
from hrm_jax.puzzles.kinds import KINDS
from hrm_jax.reporting import chart_tables, charts, curves, notes, packing, summary, tables
from hrm_jax.reporting.curves import Panel
from hrm_jax.reporting.inputs import Report, Run
from hrm_jax.reporting.markup import asset, part, template
from hrm_jax.reporting.names import Style

SHORT_COMMIT = 10  # characters
PLAYER = ("drawing.js", "cells.js", "paths.js", "player.js")  # each may use those before it
# After those, where answers to puzzles were recorded, with the drawings of their kinds in between.
PUZZLE_PLAYER = (("puzzle_grid.js",), ("puzzle_strip.js", "puzzle_viewer.js"))


def build(reports: Sequence[Report], runs: Sequence[Run], density: Any | None) -> str:
    """The page as text."""
    looks = curves.looks(reports, density)
    recorded = [(i, report) for i, report in enumerate(reports) if report.traces]
    players, viewers = ([(i, r) for i, r in recorded if r.puzzles is kind] for kind in (False, True))
    errors = _charts(reports, looks, curves.prediction, notes.prediction, chart_tables.prediction)
    answers = _charts(reports, looks, curves.answers, notes.segments, tables.segments)
    together = held_together([report.data for report in reports])
    sections = (
        ("results", "Results", [_results(r, i, looks, together) for i, r in enumerate(reports)]),
        ("segments", "Answers by segment", answers),
        ("prediction", "Prediction", errors),
        ("density", "Success against density", _density(density, looks)),
        ("training", "Training", _training(runs)),
        ("player", "Episodes", [_player(report, i) for i, report in players]),
        ("answers", "Answers", [_viewer(report, i) for i, report in viewers]),
    )
    return template("page").render(
        title=_title(reports),
        css=Markup(asset("charts.css") + asset("page.css")),
        reports=[_facts(report) for report in reports],
        judged="Examples" if all(report.puzzles for report in reports) else "Seeds",
        sections=[(name, title, parts) for name, title, parts in sections if parts],
        script=_script((*PLAYER, *_puzzle_player(viewers))) if recorded else None,
    )


def _puzzle_player(recorded: Sequence[tuple[int, Report]]) -> list[str]:
    """The files of the viewer of answers, and of the drawings that it needs."""
    if not recorded:
        return []
    kinds = [KINDS[report.traces.kind] for _, report in recorded if report.traces.kind in KINDS]
    drawings = dict.fromkeys(kind.drawing for kind in kinds if kind.drawing)
    first, last = PUZZLE_PLAYER
    return [*first, *drawings, *last]


def _script(names: Sequence[str]) -> Markup:
    """The player: its parts in one scope."""
    parts = "\n".join(map(asset, names))
    return Markup(f'(() => {{\n"use strict";\n\n{parts}}})();\n')


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


def _results(report: Report, index: int, looks: dict[str, Style], together: list[list[dict]]) -> Markup:
    made = [
        (tables.results(report, index, looks), notes.results(report)),
        (tables.walks(report, index), notes.WALKS),
        (tables.measures(report, index), notes.measures(report)),
        (tables.training_seeds(report, index), notes.SPREAD),
        (tables.group_tests(together[index], index), f"{notes.GROUPS} {family(together)}"),
        (tables.lengths(report, index), notes.lengths(report)),
        (tables.tuning(report, index), notes.TUNING),
        (tables.pairs(report, index), notes.pairs(report)),
        (tables.votes(report, index), notes.VOTES),
    ]
    noted = [(table, note) for table, note in made if table]
    return part("parts.results", report.heading, report.note, noted)


def _charts(
    reports: Sequence[Report],
    looks: dict[str, Style],
    curve: Callable[[Any, dict[str, Style]], list[Panel]],
    note: Callable[[Report], str],
    numbers: Callable[[Report, int], Markup],
) -> list[Markup]:
    """A figure for every report that has such curves."""
    drawn = [(r, i, curve(r.data, looks)) for i, r in enumerate(reports)]
    return [
        part("parts.figure", r.heading, charts.draw(panels), note(r), numbers(r, i))
        for r, i, panels in drawn
        if panels
    ]


def _density(density: Any | None, looks: dict[str, Style]) -> list[Markup]:
    if density is None:
        return []
    panels = charts.draw(curves.density(density, looks))
    return [part("parts.figure", "", panels, notes.density(density), chart_tables.density(density))]


def _training(runs: Sequence[Run]) -> list[Markup]:
    if not runs:
        return []
    panels = charts.draw(curves.training(runs))
    return [part("parts.figure", "", panels, notes.training(runs), chart_tables.runs(runs), folded=False)]


def _player(report: Report, index: int) -> Markup:
    data = packing.episodes(report.traces, report.collision_rule)
    return part("parts.player", report.heading, index, "player", "Episode player", _json(data))


def _viewer(report: Report, index: int) -> Markup:
    """The place of a viewer of answers."""
    ignored = (report.data.get("data") or {}).get("ignore_label_id")
    most = report.data.get("trained_segments")
    trained = {name: known.get("trained_segments", most) for name, known in report.data["models"].items()}
    data = packing.answers(report.traces, ignored, trained)
    return part("parts.player", report.heading, index, "player puzzles", "Viewer of answers", _json(data))


def _json(data: dict) -> Markup:
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
