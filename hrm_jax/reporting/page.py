"""One self-contained HTML page: no network, no library, everything inline."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from hrm_jax.judging.tables import family, held_together
from hrm_jax.puzzles.kinds import KINDS
from hrm_jax.reporting import (
    chart_tables,
    charts,
    curves,
    explained,
    notes,
    openings,
    packing,
    tables,
    verdict,
)
from hrm_jax.reporting.curves import Panel
from hrm_jax.reporting.inputs import Report, Run
from hrm_jax.reporting.markup import asset, part, template
from hrm_jax.reporting.names import Style

SHORT_COMMIT = 10  # characters
PLAYER = ("drawing.js", "stories.js", "cells.js", "paths.js", "player.js")  # each may use those before it
# After those, where answers to puzzles were recorded, with the drawings of their kinds in between.
PUZZLE_PLAYER = (("puzzle_grid.js",), ("puzzle_strip.js", "puzzle_viewer.js"))


def build(reports: Sequence[Report], runs: Sequence[Run], density: Any | None) -> str:
    """The page as text."""
    together = held_together([report.data for report in reports])
    reports = [
        replace(report, data={**report.data, "group_pairs": tested})
        for report, tested in zip(reports, together, strict=True)
    ]
    looks = curves.looks(reports, density)
    recorded = [(i, report) for i, report in enumerate(reports) if report.traces]
    players, viewers = ([(i, r) for i, r in recorded if r.puzzles is kind] for kind in (False, True))
    errors = _charts(
        reports, looks, curves.prediction, notes.prediction, chart_tables.prediction, explained.loser
    )
    answers = _charts(reports, looks, curves.answers, notes.segments, tables.segments)
    several = len(reports) > 1
    seen = (
        ("player", "Watch an episode", [_player(r, i, players) for i, r in players]),
        ("answers", "Watch an answer form", [_viewer(r, i, viewers) for i, r in viewers]),
    )
    read = (
        ("verdict", "In short", [_verdict(report, several) for report in reports]),
        ("results", "Results", [_results(r, i, looks) for i, r in enumerate(reports)]),
        ("segments", "Answers by segment", answers),
        ("prediction", "Prediction", errors),
        ("density", "Success against density", _density(density, looks)),
        ("training", "Training", _training(runs)),
        ("statistics", "Statistics", [_statistics(r, i, together) for i, r in enumerate(reports)]),
    )
    return template("page").render(
        title=_title(reports),
        css=Markup(asset("charts.css") + asset("page.css") + asset("player.css")),
        reports=[_facts(report) for report in reports],
        judged="Examples" if all(report.puzzles for report in reports) else "Seeds",
        seen=[section for section in seen if any(section[2])],
        read=[section for section in read if any(section[2])],
        script=_script(("page.js", *((*PLAYER, *_puzzle_player(viewers)) if recorded else ()))),
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
    """What exactly was judged, and by which program."""
    data, trials = report.data, "examples" if report.puzzles else "episodes"
    first, stop = data["seeds"]
    versions = ", ".join(f"{name} {version}" for name, version in (data.get("versions") or {}).items())
    commit = str(data.get("commit") or "unknown")
    changed = "+" if commit.endswith("+") else ""  # the tree was not as committed
    return {
        "protocol": data["protocol"],
        "world": data["world"],
        "trials": f"{first:,} to {stop - 1:,} ({stop - first:,} {trials})",
        "commit": commit,
        "short_commit": commit[:SHORT_COMMIT].rstrip("+") + changed,
        "versions": versions or "unknown",
    }


# ---------------------------------------------------------------- sections


def _verdict(report: Report, several: bool) -> Markup:
    said = [sentence.replace(" %", "\N{NO-BREAK SPACE}%") for sentence in verdict.sentences(report)]
    return part("parts.verdict", report.heading if several else "", said, report.fault)


def _results(report: Report, index: int, looks: dict[str, Style]) -> Markup:
    made = [
        (tables.results(report, index, looks), notes.results(report)),
        (tables.walks(report, index), notes.WALKS),
        (tables.measures(report, index), notes.measures(report)),
        (tables.votes(report, index), notes.VOTES),
    ]
    return part("parts.tables", report.heading, report.marks, _noted(made))


def _statistics(report: Report, index: int, together: list[list[dict]]) -> Markup | None:
    """What stands behind the verdict; nothing where no two models were tested."""
    made = [
        (tables.training_seeds(report, index), notes.SPREAD),
        (tables.group_tests(report, together[index], index), f"{notes.GROUPS} {family(together)}"),
        (tables.pairs(report, index), notes.pairs(report)),
        (tables.lengths(report, index), notes.lengths(report)),
        (tables.tuning(report, index), notes.TUNING),
    ]
    noted = _noted(made)
    return part("parts.tables", report.heading, [], noted) if noted else None


def _noted(made: Sequence[tuple[Markup | None, str]]) -> list[tuple[Markup, str]]:
    return [(table, note) for table, note in made if table]


def _charts(
    reports: Sequence[Report],
    looks: dict[str, Style],
    curve: Callable[[Any, dict[str, Style]], list[Panel]],
    note: Callable[[Report], str],
    numbers: Callable[[Report, int], Markup],
    asked: Callable[[Report], str] = lambda report: "",
) -> list[Markup]:
    """A figure for every report that has such curves."""
    drawn = [(r, i, curve(r.data, looks)) for i, r in enumerate(reports)]
    return [
        part("parts.figure", r.heading, charts.draw(panels), note(r), numbers(r, i), asked=asked(r))
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


def _player(report: Report, index: int, players: Sequence[tuple[int, Report]]) -> Markup:
    data = packing.episodes(report.traces, report.collision_rule) | {"opening": openings.opening(report)}
    return _shown(report, index, players, ("player", "Episode player"), notes.episodes(report), data)


def _viewer(report: Report, index: int, viewers: Sequence[tuple[int, Report]]) -> Markup:
    """The place of a viewer of answers."""
    ignored = (report.data.get("data") or {}).get("ignore_label_id")
    most = report.data.get("trained_segments")
    trained = {name: known.get("trained_segments", most) for name, known in report.data["models"].items()}
    data = packing.answers(report.traces, ignored, trained) | {"opening": openings.opening(report)}
    return _shown(report, index, viewers, ("player puzzles", "Viewer of answers"), notes.ANSWERS, data)


def _shown(
    report: Report,
    index: int,
    of: Sequence[tuple[int, Report]],
    about: tuple[str, str],
    note: str,
    data: dict,
) -> Markup:
    """A player; of several, those after the first are folded away, so that the verdict is near."""
    css, what = about
    heading = report.heading if len(of) > 1 else ""
    label = f"{what}, {report.heading}"
    return part("parts.player", heading, index, css, label, note, _json(data), folded=index != of[0][0])


def _json(data: dict) -> Markup:
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
