"""The verdict on a report in plain words: that one is better is said only where its tests show it."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from hrm_jax.console.tables import percent
from hrm_jax.judging.marks import UNTRAINED, listed, mark
from hrm_jax.judging.statistics import mean_rate
from hrm_jax.judging.tables import rate_of_groups
from hrm_jax.reporting.inputs import Report
from hrm_jax.reporting.names import REFERENCES, kind, reference
from hrm_jax.reporting.tables import SIGNIFICANT

CEILING = "oracle"


class Contender(NamedTuple):
    """A model, or those of one group, which were trained with other seeds."""

    name: str
    models: list[str]
    rate: Fraction  # the mean of theirs


def sentences(report: Report) -> list[str]:
    """Who is best, what cannot be told apart from it, and how far the baseline and the oracle are from it."""
    entered = contenders(report.data["models"])
    learned = [one for one in entered if kind(one.models[0]) == "learned"]
    baselines = [one for one in entered if kind(one.models[0]) == "baseline"]
    compared = learned or baselines or entered
    what = "learned models" if learned else "baselines" if baselines else "bounds"
    best, level, behind = _ranked(report, compared)
    said = [] if learned else ["No learned model was judged."]
    said += _leaders(report, best, level, behind, f"{len(compared)} {what}")
    if learned:
        said += [_caution(report, best, level, behind), _against_baseline(report, [best, *level])]
    if learned or baselines:
        said.append(_against_oracle(report, [best, *level]))
    return list(filter(None, said))


def contenders(models: dict[str, dict]) -> list[Contender]:
    """All models by group, the best first; one that was trained once is alone."""
    groups: dict[str, list[str]] = {}
    for name, result in models.items():
        groups.setdefault(result.get("group") or name, []).append(name)
    found = [
        Contender(group if len(names) > 1 else names[0], names, mean_rate(models[name] for name in names))
        for group, names in groups.items()
    ]
    return sorted(found, key=lambda one: -one.rate)


# ---------------------------------------------------------------- tests


def _ranked(report: Report, compared: list[Contender]) -> tuple[Contender, list[Contender], list[Contender]]:
    """The first, those that no test tells apart from it, and those that one shows to be behind it."""
    best, *rest = compared
    behind = [one for one in rest if apart(report, best, one)]
    return best, [one for one in rest if one not in behind], behind


def apart(report: Report, a: Contender, b: Contender) -> bool:
    """Whether a test of the report, adjusted for how many there are, shows a difference between two."""
    if pair := _group_pair(report, a, b):
        if _seeds_can_tell(a, b):
            return pair["p_seeds_holm"] < SIGNIFICANT
        low, high = pair.get("interval") or (-1, 1)
        p = pair.get("p_episodes_holm")
        return not low <= 0 <= high and p is not None and p < SIGNIFICANT
    shown, tested = _pairs_that_differ(report, a.models, b.models)
    return 0 < tested == shown


def _group_pair(report: Report, a: Contender, b: Contender) -> Any | None:
    if rate_of_groups(report.data) != "rate":  # they are of other rates than those that are told here
        return None
    pairs = report.data.get("group_pairs") or []
    return next((pair for pair in pairs if {pair["a"], pair["b"]} == {a.name, b.name}), None)


def _seeds_can_tell(*groups: Contender) -> bool:
    """Whether there are enough training seeds for a permutation test of them to be significant at all."""
    sizes = [len(group.models) for group in groups]
    return min(sizes) > 1 and 2 / math.comb(sum(sizes), sizes[0]) < SIGNIFICANT


def _pairs_that_differ(report: Report, ours: Sequence[str], theirs: Sequence[str]) -> tuple[int, int]:
    """How many paired tests between `ours` and `theirs` show one side ahead, of how many."""
    every = report.data.get("pairs") or []
    tested = [pair for pair in every if (pair["a"] in ours and pair["b"] in theirs)
              or (pair["a"] in theirs and pair["b"] in ours)]  # fmt: skip
    shown = [
        (pair["a_only"] > pair["b_only"]) == (pair["a"] in ours)
        for pair in tested
        if pair.get("p_holm", len(every) * pair["p_value"]) < SIGNIFICANT
    ]
    return max(shown.count(True), shown.count(False)), len(tested)


# ---------------------------------------------------------------- sentences


def _words(report: Report) -> tuple[str, str, str]:
    """What one does that succeeds, what several do, and with what."""
    if report.puzzles:
        return "solves", "solve", "examples"
    return "reaches the goal in", "reach the goal in", "episodes"


def _leaders(
    report: Report, best: Contender, level: list[Contender], behind: list[Contender], of: str
) -> list[str]:
    reaches, reach, trials = _words(report)
    n = f"{report.data['models'][best.models[0]]['n']:,} {trials}"
    said = []
    if not level:
        first = f"{best.name} is the best of {of}: it {reaches}" if behind else f"{best.name} {reaches}"
        doubts = _in_brackets(_spread(report, best), _untrained(report, best))
        said.append(f"{first} {percent(best.rate)} % of {n}{doubts}.")
    else:
        them = [best, *level]
        alike = len({one.rate for one in them}) == 1
        rates = f"{percent(best.rate)} %" if alike else f"{listed([percent(one.rate) for one in them])} %"
        named = [one.name + _in_brackets(_untrained(report, one)) for one in them]
        tie = f"{listed(named)} cannot be told apart"
        said.append(f"{tie}: {f'each {reaches}' if alike else f'they {reach}'} {rates} of {n}.")
    if behind:
        told = [(one.name, f"{percent(one.rate)} %", _untrained(report, one)) for one in behind]
        rates = listed([name + _in_brackets(*notes) for name, *notes in told])
        said.append(f"Behind {best.name if level else 'it'}, by more than chance: {rates}.")
    return said


def _untrained(report: Report, one: Contender) -> str:
    """How many of a group's models did not train; empty where all did."""
    count = sum(mark(report.data["models"][name]) == UNTRAINED for name in one.models)
    return f"{count} of {len(one.models)} not trained" if count else ""


def _in_brackets(*notes: str) -> str:
    """Those that say something, behind a space."""
    said = ", ".join(filter(None, notes))
    return f" ({said})" if said else ""


def _spread(report: Report, one: Contender) -> str:
    """The doubt about a rate: between training seeds, or between episodes."""
    results = [report.data["models"][name] for name in one.models]
    if len(results) > 1:
        rates = [result["rate"] for result in results]
        low, high = percent(min(rates)), percent(max(rates))
        seeds = f"{len(rates)} training seeds"
        return f"each of {seeds}" if low == high else f"the mean of {seeds}, from {low} to {high} %"
    return f"95 % interval {percent(results[0]['interval'][0])} to {percent(results[0]['interval'][1])} %"


def _caution(report: Report, best: Contender, level: list[Contender], behind: list[Contender]) -> str:
    """What the tests between learned models do not speak of: models that are trained again."""
    fewest = min(len(one.models) for one in (best, *level, *behind))
    if not behind or all(_seeds_can_tell(best, one) for one in behind):
        return ""
    if fewest == 1:
        return "A model that was trained once may rank otherwise when it is trained again."
    return (
        f"That holds for these trained models; {fewest} training seeds of each are too few to say it of "
        "models trained again."
    )


def _against_baseline(report: Report, leaders: list[Contender]) -> str:
    models = report.data["models"]
    baseline = reference(models)
    if baseline is None:
        missing = REFERENCES[report.path_rules is not None]
        return "" if report.puzzles else f"The report holds no {missing} baseline to compare with."
    named = f'"{baseline}"' if " " in baseline else baseline
    return f"{named}, which learns nothing, {_compared(report, leaders, baseline)}."


def _against_oracle(report: Report, leaders: list[Contender]) -> str:
    if CEILING not in report.data["models"]:
        return ""
    return f"The oracle, which is given the true future, {_compared(report, leaders, CEILING)}."


def _compared(report: Report, leaders: list[Contender], other: str) -> str:
    """The rate of `other`, how far that is from the first of the leaders', and whether tests show it."""
    reaches, _, _ = _words(report)
    best, rate = leaders[0], mean_rate([report.data["models"][other]])
    difference = rate - best.rate
    if not difference:
        return f"{reaches} {percent(rate)} %: level with {best.name}"
    size = "under 0.1" if abs(difference) < 5e-4 else percent(abs(difference))
    relation = f"{size} points {'above' if difference > 0 else 'below'} {best.name}"
    return f"{reaches} {percent(rate)} %: {relation}{_shown(report, leaders, other)}"


def _shown(report: Report, leaders: list[Contender], other: str) -> str:
    ours = [name for one in leaders for name in one.models]
    shown, tested = _pairs_that_differ(report, ours, [other])
    if not tested:
        return ", untested"
    if not shown:
        return ", which chance alone may explain"
    if tested == 1:
        return ", more than chance explains"
    whose = "training seeds" if len(leaders) == 1 else "trained models"
    if shown == tested:
        return f", more than chance explains for {'both' if tested == 2 else f'all {tested}'} {whose}"
    return f", more than chance explains for {shown} of {tested} {whose}"
