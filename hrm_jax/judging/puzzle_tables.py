"""A report of answers to puzzles as text, for `solve` and for `report` without a page."""

from collections.abc import Mapping
from typing import Any

from hrm_jax.artefacts.report_file import PuzzleReport
from hrm_jax.console.tables import markdown, percent, rate
from hrm_jax.puzzles.kinds import KINDS

Results = Mapping[str, Any]


def text(report: PuzzleReport) -> str:
    """The data, a row per model, its answers after some of the segments, its votes, and how to read them."""
    models, trained = report["models"], report.get("trained_segments")
    first, stop = report["seeds"]
    segments = f", {report['segments']} segments (trained with {trained})" if trained else ""
    parts = [f"{report['world']}, examples {first}:{stop}{segments}", markdown(_main(models))]
    by_segment = {name: result for name, result in models.items() if result.get("segments")}
    if by_segment:
        lenient = any(
            "lenient" in after for result in by_segment.values() for after in result["segments"] or ()
        )
        what = "Exact %" + " / lenient %" * lenient
        parts += [f"{what} after so many segments:", markdown(_segments(by_segment, report["segments"]))]
    voted = {name: result for name, result in models.items() if result.get("voting")}
    if voted:
        parts += ["Votes of all augmentations, by task:", markdown(_votes(voted))]
    return "\n\n".join([*parts, _legend(report)])


def _main(models: Results) -> list[list[str]]:
    lenient = any(result.get("lenient") for result in models.values())
    rows = [["model", "exact", *["lenient"] * lenient, "tokens"]]
    for name, result in models.items():
        judged = [result, *[result.get("lenient")] * lenient]
        tokens = result.get("tokens")
        cells = [rate(part, result["n"]) if part else "-" for part in judged]
        rows.append([name, *cells, "-" if tokens is None else f"{100 * tokens:.2f} %"])
    return rows


def shown(segments: int) -> list[int]:
    """Numbers of segments that the table has: 1, 2, 4, 8, … and the last."""
    return sorted({*(2**i for i in range(segments.bit_length())), segments})


def _segments(models: Results, segments: int) -> list[list[str]]:
    rows = [["model", *map(str, shown(segments))]]
    for name, result in models.items():
        after = [result["segments"][step - 1] for step in shown(segments)]
        shares = [[s[key] for key in ("exact", "lenient") if s.get(key) is not None] for s in after]
        rows.append([name, *(" / ".join(map(percent, parts)) for parts in shares)])
    return rows


def _votes(models: Results) -> list[list[str]]:
    tries = list(dict.fromkeys(key for result in models.values() for key in result["voting"]))
    rows = [["model", *(cell for name in tries for cell in (name, f"{name} share %"))]]
    for name, result in models.items():
        found = [result["voting"].get(key) for key in tries]
        cells = [(rate(votes, votes["tasks"]), percent(votes["share"])) if votes else "--" for votes in found]
        rows.append([name, *(cell for pair in cells for cell in pair)])
    return rows


def _legend(report: PuzzleReport) -> str:
    """How to read the tables."""
    first, kind = next(iter(report["models"].values())), KINDS.get(report["kind"])
    lines = ["Exact: every label is met."]
    if first.get("lenient"):
        lines.append(f"Lenient: {kind.lenient.short if kind and kind.lenient else 'any right answer'}.")
    lines.append("Interval: Wilson.")
    if first.get("puzzles", first["n"]) < first["n"]:
        lines.append(
            f"The examples are augmentations of {first['puzzles']:,} puzzles, which intervals count."
        )
    if "voting" in first:
        lines.append(
            "pass: all test inputs of a task are right; share: of its test inputs, averaged over tasks."
        )
    return " ".join(lines)
