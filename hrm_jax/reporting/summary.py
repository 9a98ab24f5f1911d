"""One sentence or two in plain language, out of the numbers of a report."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from hrm_jax.console.tables import percent
from hrm_jax.judging.statistics import leaders, mean_rate
from hrm_jax.reporting.inputs import Report
from hrm_jax.reporting.markup import p_value
from hrm_jax.reporting.names import REFERENCES, kind, reference
from hrm_jax.reporting.tables import SIGNIFICANT

CEILING = "oracle"


def sentence(report: Report) -> str:
    """The best learned model against the reference baseline and the oracle."""
    models = report.data["models"]
    learned = contenders({name: result for name, result in models.items() if kind(name) == "learned"})
    if not learned:
        return _untrained(report)
    best = leaders({name: _mean(models, names) for name, names in learned.items()})
    names = [name for group in best for name in learned[group]]
    if len(best) == 1:
        parts = [_who(best[0], learned, report), _against_baseline(report, names, "training seeds")]
    else:
        level = _level(best, learned, report, "learned models")
        parts = [level, _against_baseline(report, names, "models")]
    return " ".join(filter(None, [*parts, _below_oracle(models, _mean(models, names))]))


def contenders(models: dict[str, dict]) -> dict[str, list[str]]:
    """Names of models by group; one that was trained once is a group of its own."""
    groups: dict[str, list[str]] = {}
    for name, result in models.items():
        groups.setdefault(result.get("group") or name, []).append(name)
    return {group if len(names) > 1 else names[0]: names for group, names in groups.items()}


def _mean(models: dict[str, dict], names: list[str]) -> Fraction:
    return mean_rate(models[name] for name in names)


def _words(report: Report) -> tuple[str, str]:
    """What a model does that succeeds, and with what."""
    return ("solves", "examples") if report.puzzles else ("succeeds in", "episodes")


def _level(best: Sequence[str], of: Mapping[str, list[str]], report: Report, what: str) -> str:
    """Those that none is better than, where they are several."""
    rate = percent(_mean(report.data["models"], of[best[0]]))
    every = f"{', '.join(best[:-1])} and {best[-1]}"
    return f"No single best of {len(of)} {what}: {every} are level, each at {rate} % of {_words(report)[1]}."


def _who(best: str, learned: dict[str, list[str]], report: Report) -> str:
    models, (solves, puzzles) = report.data["models"], _words(report)
    of = f"Best of {len(learned)} learned models" if len(learned) > 1 else "The learned model"
    names = learned[best]
    if len(names) > 1:
        rates = [models[name]["rate"] for name in names]
        return (
            f"{of}: {best}, which {solves} {percent(_mean(models, names))} % of {puzzles} on average over "
            f"{len(names)} training seeds (from {percent(min(rates))} to {percent(max(rates))} %)."
        )
    result = models[names[0]]
    low, high = result["interval"]
    return (
        f"{of}: {best}, which {solves} {percent(result['rate'])} % of {result['n']:,} {puzzles} "
        f"(95 % interval {percent(low)} to {percent(high)} %)."
    )


def _against_baseline(report: Report, names: list[str], what: str) -> str:
    """How far `names`, which are so many of `what`, are from the reference baseline."""
    models = report.data["models"]
    baseline = reference(models)
    if baseline is None and report.puzzles:
        return ""
    if baseline is None:
        missing = REFERENCES[report.path_rules is not None]
        return f"The report holds no {missing} baseline to compare with."
    other = _mean(models, [baseline])
    tests = [pair for pair in (_pair(report, name, baseline) for name in names) if pair]
    named = f'"{baseline}"' if " " in baseline else baseline
    gap = _gap(_mean(models, names) - other)
    return f"{gap} the {named} baseline ({percent(other)} %){_tested(tests, what)}."


def _gap(difference: Fraction) -> str:
    if not difference:
        return "That is level with"
    points = (
        percent(abs(difference)).replace("0.0", "under 0.1")
        if abs(difference) < 5e-4
        else percent(abs(difference))
    )
    return f"That is {points} points {'above' if difference > 0 else 'below'}"


def _pair(report: Report, name: str, baseline: str) -> dict | None:
    for pair in report.data.get("pairs") or []:
        if {pair["a"], pair["b"]} == {name, baseline}:
            return pair
    return None


def _tested(tests: list[dict], what: str) -> str:
    if not tests:
        return ""
    key, adjusted = (
        ("p_holm", "Holm-adjusted") if all("p_holm" in t for t in tests) else ("p_value", "unadjusted")
    )
    below = sum(test[key] < SIGNIFICANT for test in tests)
    if len(tests) > 1:
        return f", a difference at p < {SIGNIFICANT} ({adjusted}) for {below} of {len(tests)} {what}"
    p = p_value(tests[0][key])
    verdict = "a difference" if below else "no significant difference"
    return f": {verdict}, {adjusted} p {p if p.startswith('<') else f'= {p}'}"


def _below_oracle(models: dict[str, dict], rate: Fraction) -> str:
    if CEILING not in models:
        return ""
    top = _mean(models, [CEILING])
    relation = _gap(rate - top).removeprefix("That is ")
    return f"It is {relation} the oracle ({percent(top)} %), which plans with the true future."


def _untrained(report: Report) -> str:
    models, (solves, puzzles) = report.data["models"], _words(report)
    baselines = [name for name in models if kind(name) == "baseline"]
    compared = {name: [name] for name in baselines or models}
    best = leaders({name: _mean(models, [name]) for name in compared})
    result = models[best[0]]
    low, high = result["interval"]
    first = (
        f"The best {'baseline' if baselines else 'of the rest'} is {best[0]}, "
        f"which {solves} {percent(result['rate'])} % of {result['n']:,} {puzzles} (95 % interval "
        f"{percent(low)} to {percent(high)} %)."
    )
    if len(best) > 1:
        first = _level(best, compared, report, "baselines" if baselines else "bounds")
    below = _below_oracle(models, _mean(models, best[:1])) if baselines else ""
    return f"No learned model was evaluated. {first} {below}".rstrip()
