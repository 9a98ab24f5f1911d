"""Reports as tables of text: a row per model, and what the reader must know about the protocol."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hrm_jax.artefacts.report_file import (
    EVERY,
    PUZZLES,
    PuzzleReport,
    Report,
    Tried,
    best,
    gain,
    least_loss,
    mean_loss,
    tried_in_full,
)
from hrm_jax.console.tables import interval, markdown, percent, rate
from hrm_jax.judging import marks, statistics
from hrm_jax.judging.marks import counted_marks, mark
from hrm_jax.referee.protocols import PROTOCOLS, CellProtocol, PathProtocol

P_VALUES = ("p_episodes", "p_episodes_holm", "p_seeds", "p_seeds_holm")
APART = ("groups", "difference, points")
TESTS = ("p over episodes", "Holm", "p over training seeds", "Holm")  # headings of `P_VALUES`
IN_ALL = (
    "All trials of the {} reports at once, seeds dealt anew in each. A report counts by its trials; Holm's "
    "adjustment is over the pairs of this table alone:"
)
GAIN = f"less by, per {EVERY} updates"
WALKS = "Walks from start to goal, of the answers' moves and of walkers that nothing was trained for:"
# Of ARC without augmentations, examples are the test inputs of its tasks: several of some.
GROUPED = "The {n:,} examples are questions and augmentations of {puzzles:,} puzzles, which intervals count."


def evaluation(report: Report, limit: int) -> str:
    """What the terminal shows of an evaluation whose episodes end after `limit` steps."""
    rows = [["model", "episodes", "successes", "rate %", "95 % interval", "collisions", "timeouts"]]
    for name, result in report["models"].items():
        counts = [str(result[key]) for key in ("collisions", "timeouts")]
        share = [percent(result["rate"]), interval(result)]
        rows.append([name + mark(result), str(result["n"]), str(result["success"]), *share, *counts])
    first, stop = report["seeds"]
    title = f"protocol {report['protocol']}, world {report['world']}, seeds {first}:{stop}"
    success = f"the goal within {limit} steps without a collision"
    if _published_paths(report):
        success = "no point of the path touches anything at its time, as published"
    legend = f"Success: {success}. Interval: Wilson. Paired tests are in the report."
    parts = (title, markdown(rows), legend, groups(report), before(report), fault_note(report))
    return "\n\n".join(filter(None, parts))


def groups(report: Report | PuzzleReport) -> str:
    """Tables of the models that were trained several times, and of the tests between them; or empty."""
    mean_of = f"mean {rate_of_groups(report)} %"
    rows = [["group", "training seeds", mean_of, "lowest and highest", "std between seeds"]]
    for name, group in (report.get("groups") or {}).items():
        mean, low, high = (percent(group[key]) for key in ("mean", "min", "max"))
        std = "-" if group["std"] is None else percent(group["std"])
        seeds = ", ".join([str(group["seeds"]), *counted_marks(members(report, name))])
        rows.append([name, seeds, mean, f"{low} to {high}", std])
    return "\n\n".join(filter(None, (markdown(rows) if len(rows) > 1 else "", group_tests([report]))))


def members(report: Report | PuzzleReport, group: str) -> list[Any]:
    """The results of the models of a group."""
    return [result for result in report["models"].values() if result.get("group") == group]


def group_tests(reports: Sequence[Report | PuzzleReport]) -> str:
    """The tests between groups of all reports, held together, and how to read them; or empty."""
    several = len(reports) > 1
    rows = [["world"] * several + [*APART, "95 % interval", *TESTS]]
    together = held_together(reports)
    for report, tested in zip(reports, together, strict=True):
        rows += [
            [report["world"]] * several + [*_apart(pair, [report]), difference(pair), *_p(pair)]
            for pair in tested
        ]
    if len(rows) == 1:
        return ""
    return "\n\n".join(filter(None, (markdown(rows), family(together), _in_all(reports) if several else "")))


def _in_all(reports: Sequence[Report | PuzzleReport]) -> str:
    """The tests of those groups that all reports compare, over all trials at once; or empty.

    Each world counts once: the trainings of two reports of one world may be the same.
    """
    first, *others = [report.get("group_pairs") or [] for report in reports]
    compared = [{frozenset((pair["a"], pair["b"])) for pair in pairs} for pairs in others]
    shared = [(pair["a"], pair["b"]) for pair in first]
    shared = [pair for pair in shared if all(frozenset(pair) in pairs for pairs in compared)]
    if not shared or len({report["world"] for report in reports}) < len(reports):
        return ""
    tested = statistics.in_all_worlds([statistics.graded(report["models"]) for report in reports], shared)
    rows = [[*APART, *TESTS], *([*_apart(pair, reports), *_p(pair)] for pair in tested)]
    return f"{IN_ALL.format(len(reports))}\n\n{markdown(rows)}"


def _apart(pair: Mapping[str, Any], reports: Sequence[Report | PuzzleReport]) -> list[str]:
    """The groups, and by how much the first is ahead."""
    names = [marked(pair[side], reports) for side in ("a", "b")]
    return [" - ".join(names), f"{100 * pair['difference']:+.1f}"]


def marked(group: str, reports: Sequence[Report | PuzzleReport]) -> str:
    """The name of a group, marked where some of its seeds did not train."""
    found = [mark(result) for report in reports for result in members(report, group)]
    return group + marks.UNTRAINED * (marks.UNTRAINED in found)


def _p(pair: Mapping[str, Any]) -> list[str]:
    return [p_value(pair[key]) for key in P_VALUES]


def held_together(reports: Sequence[Report | PuzzleReport]) -> list[list[dict[str, Any]]]:
    """The pairs of groups of each report, with Holm's p-values over the pairs of all of them."""
    told = [report.get("group_pairs") or [] for report in reports]
    found = iter(statistics.held_together(list(itertools.chain.from_iterable(told))))
    return [list(itertools.islice(found, len(pairs))) for pairs in told]


def family(together: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Over how many pairs of groups, of how many reports, Holm's adjustment is."""
    tested = [len(pairs) for pairs in together if pairs]
    pairs = "one pair" if sum(tested) == 1 else f"{sum(tested)} pairs"
    of = "this report" if len(tested) == 1 else f"{len(tested)} reports together"
    return f"Holm's adjustment, of either test, is over the {pairs} of groups shown, of {of}."


def p_value(p: float | None) -> str:
    """As many digits as mean something; a sum of chances below what a float holds is not 0."""
    return "-" if p is None else f"{p:.2g}" if p else "< 1e-300"


def difference(pair: Mapping[str, Any]) -> str:
    """`[-0.5, +1.2]`: the interval of a difference, in points."""
    return f"[{', '.join(f'{100 * end:+.1f}' for end in pair['interval'])}]" if pair["interval"] else "-"


def before(report: Report | PuzzleReport) -> str:
    """How many updates the models were given, and with what settings each was tried; or empty."""
    lengths = [["updates", "best held-out loss", GAIN, "chosen"]]
    lengths += [[row["steps"], row["loss"], row["gain"], row["chosen"]] for row in reached(report)]
    tuning = [["model", "tried", "held-out loss, mean", "by tuning seed", "chosen"]]
    tuning += [
        [
            tried["model"],
            tried["settings"],
            "-" if tried["loss"] is None else f"{tried['loss']:.4g}",
            tried["by_seed"],
            tried["chosen"],
        ]
        for tried in trials(report)
    ]
    return "\n\n".join(markdown(rows) for rows in (lengths, tuning) if len(rows) > 1)


def reached(report: Mapping[str, Any] | Report | PuzzleReport) -> list[dict[str, str]]:
    """Of each number of updates that was tried: the best model's loss, what more brought, whether chosen."""
    found = report.get("lengths")
    if not found:
        return []
    following = [*found["tried"][1:], None]
    return [
        {
            "steps": f"{one['steps']:,}",
            "loss": f"{least_loss(one):.4g} ({best(one)})",
            "gain": f"{gain(one, more):.1f} %" if more else "-",
            "chosen": "yes" if one["steps"] == found["chosen"] else "",
        }
        for one, more in zip(found["tried"], following, strict=True)
    ]


def trials(report: Mapping[str, Any] | Report | PuzzleReport) -> list[dict[str, Any]]:
    """Of each of those settings: model, settings in words, mean loss, losses by seed, whether chosen.

    The mean is None of what was not tried with all seeds.
    """
    found: dict[str, list[Tried]] = {}
    for tried in report.get("tuning") or ():
        found.setdefault(tried["model"], []).append(tried)
    return [
        {
            "model": tried["model"],
            "settings": settings(tried),
            "loss": mean_loss(tried) if tried in in_full else None,
            "by_seed": ", ".join("diverged" if one is None else f"{one:.4g}" for one in tried["losses"]),
            "chosen": "yes" if tried["chosen"] else "",
        }
        for of_model in found.values()
        for in_full in [tried_in_full(of_model)]
        for tried in of_model
    ]


def settings(tried: Mapping[str, Any] | Tried) -> str:
    """Of a model, in words: the choice in the config where it is not its name, and FIELD=VALUE."""
    return " ".join([*[tried["choice"]] * (tried["choice"] != tried["model"]), *tried["fields"]])


def rate_of_groups(report: Mapping[str, Any] | Report | PuzzleReport) -> str:
    """What the groups of a report are of: "lenient" answers, or the "rate"."""
    return (
        "rate"
        if all(statistics.counted(found) is found for found in report["models"].values())
        else "lenient"
    )


def comparison(reports: Sequence[Report]) -> list[list[str]]:
    """Rows of text, the heading first: a row per model, a column per report."""
    names = list(dict.fromkeys(name for report in reports for name in report["models"]))
    rows = [["model", *map(heading, reports)]]
    for name in names:
        results = [report["models"].get(name) for report in reports]
        rows.append([name, *(rate(result) + mark(result) if result else "-" for result in results)])
    return rows


def heading(report: Report | PuzzleReport) -> str:
    """`standard, seeds 0:1000`, and the world where it is not the protocol's own; of puzzles, the data."""
    first, stop = report["seeds"]
    if report["protocol"] == PUZZLES:
        return f"{report['world']}, examples {first}:{stop}"
    protocol = PROTOCOLS.get(report["protocol"])
    own = protocol is not None and protocol.world == report["world"]
    world = "" if own else f", world {report['world']}"
    return f"{report['protocol']}{world}, seeds {first}:{stop}"


def fault_note(report: Report | PuzzleReport) -> str:
    """What the column of a protocol with a published fault shows, and why models are marked; or empty."""
    return " ".join(filter(None, [published_fault(report), *marks.sentences(report["models"])]))


def published_fault(report: Report | PuzzleReport) -> str:
    """What the column of a protocol with a published fault shows; or empty."""
    if _published_paths(report):
        return _path_fault_note(report)
    protocol = PROTOCOLS.get(report["protocol"])
    if not (isinstance(protocol, CellProtocol) and protocol.index_shift):
        return ""
    return (
        f"{protocol.name}: the published planner tests each cell against the prediction one step "
        f"too late, so that even an exact future fails often{_in_brackets(report, 'oracle')}. "
        "It measures that fault, not the predictor."
    )


def _published_paths(report: Report | PuzzleReport) -> bool:
    protocol = PROTOCOLS.get(report["protocol"])
    return isinstance(protocol, PathProtocol) and protocol.published


def _path_fault_note(report: Report | PuzzleReport) -> str:
    stands, straight = (_in_brackets(report, name) for name in ("stand_still", "straight_line_refined"))
    return (
        f"{report['protocol']}: the published rule tests only the points of a path, whatever lies between "
        f"them. Standing still and jumping to the goal at the end succeeds too{stands}, and so "
        f"does a straight line with the same refinement{straight}. It measures the "
        "rule and the refinement, not the denoiser."
    )


def _in_brackets(report: Report | PuzzleReport, name: str) -> str:
    return f" ({name}: {rate(report['models'][name])})" if name in report["models"] else ""


# ---------------------------------------------------------------- puzzles


def puzzles(report: PuzzleReport) -> str:
    """The data, a row per model, its answers after some of the segments, its votes, and how to read them."""
    models, trained = report["models"], report.get("trained_segments")
    first, stop = report["seeds"]
    segments = f", {report['segments']} segments (trained with {trained})" if trained else ""
    parts = [f"{report['world']}, examples {first}:{stop}{segments}", markdown(_puzzles(models))]
    if measuring := measuring_of(report):
        parts += [f"By {measuring.heading}, in per cent where nothing else is said:"]
        parts += [markdown(_measured(models, measuring))]
    if report.get("walks"):
        parts += [WALKS, markdown(_walks(report))]
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
    return "\n\n".join(filter(None, [*parts, groups(report), before(report), _legend(report)]))


def _puzzles(models: Mapping[str, Any]) -> list[list[str]]:
    lenient = any(result.get("lenient") for result in models.values())
    rows = [["model", "exact", *["lenient"] * lenient, "tokens"]]
    for name, result in models.items():
        judged = [result, *[result.get("lenient")] * lenient]
        tokens = result.get("tokens")
        cells = [rate(part, result["n"]) if part else "-" for part in judged]
        rows.append([name + mark(result), *cells, "-" if tokens is None else f"{100 * tokens:.2f} %"])
    return rows


def measuring_of(report: PuzzleReport) -> Any:
    """The `Measuring` of the kind, where the report has such measures."""
    from hrm_jax.puzzles.kinds import KINDS, UNKNOWN  # an evaluation of plans does without the puzzles

    told = any(result.get("measures") for result in report["models"].values())
    return KINDS.get(report["kind"], UNKNOWN).measuring if told else None


def by_part(models: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Of reports with parts: (model, "all" or a part's name, its result)."""
    whole = {name: {"all": result} | (result.get("parts") or {}) for name, result in models.items()}
    return [(name, part, result) for name, parts in whole.items() for part, result in parts.items()]


def measured(value: float | None, measure: Any) -> str:
    """A measure as text: shares in per cent."""
    if value is None:
        return "-"
    return percent(value) if measure.most == 1 else f"{value:.3f}"


def _measured(models: Mapping[str, Any], measuring: Any) -> list[list[str]]:
    headings = [measure.heading for measure in measuring.shown.values()]
    rows = [["model", measuring.heading, "examples", "exact", "lenient", "tokens", *headings]]
    for name, part, result in by_part(models):
        shares = result["rate"], (result.get("lenient") or {}).get("rate"), result.get("tokens")
        found = result.get("measures") or {}
        cells = ["-" if share is None else percent(share) for share in shares]
        cells += [measured(found.get(key), measure) for key, measure in measuring.shown.items()]
        rows.append([name, part, str(result["n"]), *cells])
    return rows


def walks(report: PuzzleReport) -> list[dict[str, Any]]:
    """Of reports with walks: those of the models' and baselines' answers, and the walkers', as a report's."""
    rows: list[dict[str, Any]] = []
    for name, result in report["models"].items():
        found, n = result.get("measures") or {}, result["n"]
        if (success := found.get("success")) is not None and (lenient := result.get("lenient")):
            rates = statistics.rate(round(success * n), n, result.get("puzzles")), {"optimal": lenient}
            rows.append({"name": name, "n": n, **rates[0], **rates[1], "efficiency": found.get("efficiency")})
    return rows + [{"name": name, **found} for name, found in (report.get("walks") or {}).items()]


def _walks(report: PuzzleReport) -> list[list[str]]:
    rows = [["who", "moves at most", "success", "optimal", "efficiency %"]]
    for found in walks(report):
        rates = rate(found), rate(found["optimal"], found["n"])
        efficiency = "-" if found["efficiency"] is None else percent(found["efficiency"])
        rows.append([found["name"], str(found.get("budget", "-")), *rates, efficiency])
    return rows


def shown(segments: int) -> list[int]:
    """Numbers of segments that the table has: 1, 2, 4, 8, … and the last."""
    return sorted({*(2**i for i in range(segments.bit_length())), segments})


def _segments(models: Mapping[str, Any], segments: int) -> list[list[str]]:
    rows = [["model", *map(str, shown(segments))]]
    for name, result in models.items():
        after = [result["segments"][step - 1] for step in shown(segments)]
        shares = [[s[key] for key in ("exact", "lenient") if s.get(key) is not None] for s in after]
        rows.append([name, *(" / ".join(map(percent, parts)) for parts in shares)])
    return rows


def _votes(models: Mapping[str, Any]) -> list[list[str]]:
    tries = list(dict.fromkeys(key for result in models.values() for key in result["voting"]))
    rows = [["model", *(cell for name in tries for cell in (name, f"{name} share %"))]]
    for name, result in models.items():
        found = [result["voting"].get(key) for key in tries]
        cells = [(rate(votes, votes["tasks"]), percent(votes["share"])) if votes else "--" for votes in found]
        rows.append([name, *(cell for pair in cells for cell in pair)])
    return rows


def unchecked(report: PuzzleReport) -> str:
    """Of which models it cannot be told that identifiers mean here what they meant in training; or empty."""
    names = [n for n, result in report["models"].items() if result.get("identifiers_checked") is False]
    if not names:
        return ""
    return (
        f"Puzzle identifiers could not be checked: {', '.join(names)}. The file of the model, or the data "
        "set, does not say what they stand for, and under others the answers are worth nothing."
    )


def _legend(report: PuzzleReport) -> str:
    """How to read the tables."""
    from hrm_jax.puzzles.kinds import KINDS  # an evaluation of plans does without the puzzles

    first, kind = next(iter(report["models"].values())), KINDS.get(report["kind"])
    lines = ["Exact: every label is met."]
    if first.get("lenient"):
        lines.append(f"Lenient: {kind.lenient.short if kind and kind.lenient else 'any right answer'}.")
    lines += [measuring.note] if (measuring := measuring_of(report)) else []
    lines += ["Interval: Wilson.", *marks.sentences(report["models"])]
    if first.get("puzzles", first["n"]) < first["n"]:
        lines.append(GROUPED.format(**first))
    lines += filter(None, [unchecked(report)])
    if "voting" in first:
        lines.append(
            "pass: all test inputs of a task are right; share: of its test inputs, averaged over tasks."
        )
    return " ".join(lines)
