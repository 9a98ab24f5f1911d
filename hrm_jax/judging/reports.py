"""Reports read back: what follows from their outcomes is computed again, and another file refused.

So no number is shown because a file says so: rates and their intervals, counts, paired tests, groups of
training seeds. What cannot be computed (causes, prediction errors, partial credit) must be possible.
"""

import itertools
import math
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import json_file, report_file
from hrm_jax.artefacts.errors import RequestError, known, naming
from hrm_jax.artefacts.report_file import PUZZLES, ROUNDING
from hrm_jax.judging import statistics
from hrm_jax.referee.protocols import CELL_PROTOCOLS, PROTOCOLS
from hrm_jax.worlds.rules import BOUNDS, FAILURES, OUTCOMES
from hrm_jax.worlds.world import WORLDS

ANSWERS = ("0", "1")  # outcomes of puzzles: wrong, exact
WALKS = ("0", "1", "2")  # outcomes of walks: no arrival, arrival, by a shortest path
CLOSE = 1e-4  # of intervals: others take 1.96 for the normal's 97.5 % point
OLDEST = ("a", "b", "difference", "p_episodes")  # of pairs of groups, in every report that has them
CHANGED = ", changed"  # after the name of a world of ours, of scenarios that are not those drawn in it


def load(path: str | Path) -> Any:
    """A `report_file.Report` or `PuzzleReport`, with its groups; any other file is a `RequestError`."""
    report = json_file.read(path, "report.json", nan=True)
    of_puzzles = isinstance(report, dict) and report.get("protocol") == PUZZLES
    kind, maker, check = (
        (report_file.PuzzleReport, "solve", _check_puzzles)
        if of_puzzles
        else (report_file.Report, "evaluate", _check_episodes)
    )
    json_file.check(path, report, kind, f"report.json of hrm_jax.{maker}")
    with naming(path):
        check(report)
    return report


def load_density(path: str | Path) -> Any:
    """A `report_file.Density`: success over the number and the speed of obstacles."""
    density = json_file.load(path, report_file.Density, "density.json of hrm_jax.density")
    with naming(path):
        _check_density(density)
    return density


def agree(where: str, found: Any, computed: Any) -> None:
    """Refuse what a file says of `computed` and is not that; what it does not say is fine."""
    if isinstance(computed, Mapping):
        for key, value in computed.items():
            if found.get(key) is not None:
                agree(f"{where}.{key}".removeprefix("."), found[key], value)
    elif isinstance(computed, list) and len(found) == len(computed):
        for index, pair in enumerate(zip(found, computed, strict=True)):
            agree(f"{where}[{index}]", *pair)
    elif not _same(found, computed, CLOSE if ".interval[" in where else ROUNDING):
        raise RequestError(f"{where} is {found!s:.99}; the rest of the file makes it {computed!s:.99}")


def _same(found: Any, computed: Any, within: float) -> bool:
    if isinstance(found, int | float) and isinstance(computed, float):
        return math.isclose(found, computed, rel_tol=0, abs_tol=within)
    return found == computed


# ---------------------------------------------------------------- episodes


def _check_episodes(report: Any) -> None:
    models = report["models"]
    _check_world(report["protocol"], report["world"])
    _check_outcomes(report, OUTCOMES)
    for name, result in models.items():
        agree(f"models.{name}", result, statistics.tally(result["outcomes"]))
        if name in BOUNDS and result.get("prediction"):
            raise RequestError(f"models.{name} holds a prediction; it predicts nothing")
        _check_causes(f"models.{name}.failures", result)
        prediction = result.get("prediction") or {}
        _check_curves(f"models.{name}.prediction", prediction)
        _check_curves(f"models.{name}.prediction.near_plan", prediction.get("near_plan") or {})
    solved = {name: statistics.solved(result["outcomes"]) for name, result in models.items()}
    _check_pairs(report, solved)
    _check_groups(report, statistics.groups(models))
    _check_before(report)


def _check_groups(report: Any, groups: dict[str, Any]) -> None:
    """Refuse others than these, which follow from the outcomes; the first reports lack them, and get them.

    Reports without intervals are older: of pairs of equally many seeds alone, with Welch's p over seeds.
    """
    if told := report.get("groups"):
        agree("groups", sorted(told), sorted(groups.get("groups", ())))
    told, pairs = report.get("group_pairs") or [], groups.get("group_pairs", [])
    if not any("interval" in pair for pair in told):
        named = [(pair["a"], pair["b"]) for pair in told]
        pairs = [{key: pair[key] for key in OLDEST} for pair in pairs if (pair["a"], pair["b"]) in named]
    agree("", report, groups | {"group_pairs": pairs})
    report |= groups


def _check_before(report: Any) -> None:
    """Refuse trials of models that are not judged, and choices that do not follow from their losses."""
    judged: dict[str, list] = {result.get("group") or name: [] for name, result in report["models"].items()}
    if found := report.get("lengths"):
        steps = [reached["steps"] for reached in found["tried"]]
        if steps != sorted(set(steps)):
            raise RequestError(f"lengths.tried: {steps} updates; each must be more than the one before")
        for reached in found["tried"]:
            for name in reached["losses"]:
                known("model in lengths", name, judged)
        agree("lengths", found, {"chosen": report_file.enough(found["tried"], found["until"])})
    for tried in report.get("tuning") or []:
        judged[known("model in tuning", tried["model"], judged)].append(tried)
    for name, trials in judged.items():
        if trials and [tried for tried in trials if tried["chosen"]] != [report_file.winner(trials)]:
            raise RequestError(
                f"tuning: of {name} the one of the least loss, tried in full, is chosen, and no other"
            )


def _check_world(protocol: str, name: str) -> None:
    """Refuse a protocol that is none, or is not held in such a world; worlds of others are not known."""
    rules = PROTOCOLS[known("protocol", protocol, PROTOCOLS)]
    world, own = WORLDS.get(name.removesuffix(CHANGED)), WORLDS[rules.world]
    if not rules.any_world and world != own:
        raise RequestError(f'world is "{name}"; protocol "{protocol}" is defined on "{rules.world}" alone')
    if world and world.layout != own.layout and not name.endswith(CHANGED):  # then it is a file's name
        raise RequestError(f'world is "{name}"; protocol "{protocol}" is for worlds of {own.layout}')


def _check_outcomes(report: Any, letters: tuple[str, ...]) -> None:
    """Refuse other numbers of trials than there are seeds, and outcomes that are none."""
    first, end = report["seeds"]
    for name, result in report["models"].items():
        for key, count in (("n", result["n"]), ("outcomes", len(result["outcomes"]))):
            if count != end - first:
                raise RequestError(f"models.{name} is of {count} {key}; seeds are {first} to {end - 1}")
        _check_letters(f"models.{name}", result["outcomes"], letters)


def _check_letters(where: str, outcomes: str, letters: tuple[str, ...]) -> None:
    for letter in set(outcomes).difference(letters):
        raise RequestError(f'{where}.outcomes hold "{letter}"; allowed: {", ".join(letters)}')


def _check_causes(where: str, result: Any) -> None:
    failures = result.get("failures") or {}
    for cause in failures:
        known(f"cause in {where}", cause, FAILURES)
    if not failures:
        return
    failed = result["collisions"] + result["timeouts"]
    if sum(failures.values()) != failed:
        raise RequestError(f"{where} are {sum(failures.values())}; {failed} episodes failed")
    if failures.get("horizon", 0) > result["timeouts"]:
        raise RequestError(f"{where}.horizon is {failures['horizon']} of {result['timeouts']} timeouts")
    met = failures.get("boxed_in", 0) + failures.get("prediction_error", 0)
    if met > result["collisions"]:
        raise RequestError(f"{where} have causes of {met} collisions; there are {result['collisions']}")


def _check_curves(where: str, prediction: Any) -> None:
    within = prediction.get("within", {})
    for distance in within:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", distance):
            raise RequestError(f'{where}.within holds "{distance}"; a distance in cells is needed')
    nearer = [within[distance] for distance in sorted(within, key=float)]
    errors = [prediction[name] for name in ("median", "p90") if name in prediction]
    mean = [prediction["mean"]] if "mean" in prediction else []  # the first reports': of all steps together
    for most, curves in ((1, nearer), (sys.float_info.max, errors + mean)):
        for value in itertools.chain.from_iterable(curves):
            if value is not None and (value < 0 or value > most):  # NaN is neither
                raise RequestError(f"{where} holds {value}: from 0 to {most:g}, or null")
    lengths = sorted({len(curve) for curve in nearer + errors})
    if len(lengths) > 1:
        raise RequestError(f"{where} holds curves of {lengths} steps; one length is needed")
    for what, rising in (("within", nearer), ("median and p90", errors)):
        table = np.array(rising, float)  # null becomes NaN
        if len(table) > 1 and (table[1:] < table[:-1]).any():
            raise RequestError(f"{where}: {what}: a quantile, or a share, grows with what it is of")


# ---------------------------------------------------------------- answers to puzzles


def _check_puzzles(report: Any) -> None:
    from hrm_jax.puzzles.kinds import KINDS  # an evaluation of plans does without the puzzles

    models = report["models"]
    kind = KINDS[known("kind of puzzles", report["kind"], KINDS)] if report["kind"] else None
    if kind and not kind.lenient:
        for name, result in models.items():
            if result.get("lenient"):
                raise RequestError(f"models.{name}.lenient: {report['kind']} has one right answer")
    _check_outcomes(report, ANSWERS)
    _check_alike("puzzles", models.values())
    _check_alike(
        "tasks", [votes for result in models.values() for votes in result.get("voting", {}).values()]
    )
    for name, result in models.items():
        _check_answers(f"models.{name}", result, report["segments"])
        _check_measured(f"models.{name}", result, kind and kind.measuring)
    _check_walks(report, kind)
    trained = [result["trained_segments"] for result in models.values() if result.get("trained_segments")]
    if trained:
        agree("", report, {"trained_segments": max(trained)})
    _check_pairs(report, {name: _solved(result) for name, result in models.items()})
    _check_groups(report, statistics.puzzle_groups(models))
    _check_before(report)


def _check_walks(report: Any, kind: Any) -> None:
    """Refuse walks of puzzles that nothing walks in, and other rates than follow from their outcomes."""
    found, (first, end) = report.get("walks") or {}, report["seeds"]
    if found and not (kind and kind.walkers):
        raise RequestError(f"walks: nothing walks in puzzles of the kind {report['kind']!r}")
    for name, walks in found.items():
        _check_letters(f"walks.{name}", walks["outcomes"], WALKS)
        agree(f"walks.{name}.outcomes", len(walks["outcomes"]), end - first)
        agree(f"walks.{name}", walks, statistics.walks(walks["outcomes"]))


def _check_alike(what: str, parts: Iterable[Any]) -> None:
    """Refuse models of different numbers of puzzles or tasks: all answer the same."""
    found = {part[what] for part in parts if what in part}
    if len(found) > 1:
        raise RequestError(f"models of {sorted(found)} {what}; all are judged on the same")


def _check_measured(where: str, result: Any, measuring: Any) -> None:
    """Refuse measures and parts that the kind of puzzles has not, or that cannot be."""
    allowed = measuring.shown if measuring else {}
    for name, value in (result.get("measures") or {}).items():
        least, most = allowed[known(f"measure in {where}", name, allowed)][1:]
        if value is not None and not least - ROUNDING <= value <= most + ROUNDING:
            raise RequestError(f"{where}.measures.{name} is {value}: from {least:g} to {most:g}, or null")
    parts = result.get("parts") or {}
    for name, part in parts.items():
        place = f"{where}.parts.{known(f'part in {where}', name, measuring.parts if measuring else ())}"
        _check_letters(place, part["outcomes"], ANSWERS)
        agree(place, part, {"n": len(part["outcomes"])})
        _check_score(place, part)
        _check_measured(place, part, measuring)
    for key in ("n", "success"):
        told = sum(part[key] for part in parts.values())
        _check_order(f"{where}.parts: {key}", told, result[key], "those of all parts, and of the whole,")


def _check_score(where: str, result: Any) -> None:
    """Refuse other rates than follow from the outcomes."""
    n, puzzles, lenient = result["n"], result.get("puzzles"), result.get("lenient")
    if puzzles and puzzles > n:
        raise RequestError(f"{where}.puzzles is {puzzles}; there are {n} examples")
    agree(where, result, statistics.rate(result["outcomes"].count("1"), n, puzzles))
    if lenient:
        _check_rate(f"{where}.lenient", lenient, n, puzzles)
        if outcomes := lenient.get("outcomes"):
            _check_letters(f"{where}.lenient", outcomes, ANSWERS)
            agree(
                f"{where}.lenient", {**lenient, "n": len(outcomes)}, {"n": n, "success": outcomes.count("1")}
            )


def _check_answers(where: str, result: Any, segments: int) -> None:
    _check_score(where, result)
    _check_segments(where, result, segments)
    last: Any = {}
    for tries, votes in sorted(result.get("voting", {}).items(), key=lambda item: _tries(where, item[0])):
        place = f"{where}.voting.{tries}"
        _check_rate(place, votes, votes["tasks"])
        _check_order(place, votes["rate"], votes["share"], "tasks and test inputs that are right")
        if outcomes := votes.get("outcomes"):
            agree(f"{place}.outcomes", len(outcomes), votes["tasks"])
            agree(place, votes, {"success": outcomes.count("1")})
        for key in ("success", "share"):
            _check_order(f"{place}.{key}", last.get(key, 0), votes[key], "fewer and more tries")
        last = votes


def _tries(where: str, name: str) -> int:
    if not re.fullmatch(r"pass@[1-9][0-9]{0,3}", name):
        raise RequestError(f'{where}.voting holds "{name}"; pass@1, pass@2, ... are needed')
    return int(name.removeprefix("pass@"))


def _check_rate(where: str, result: Any, n: int, independent: int | None = None) -> None:
    """Refuse a `Rate` of `n` trials that contradicts its successes."""
    if result["success"] > n:
        raise RequestError(f"{where}.success is {result['success']} of {n}")
    agree(where, result, statistics.rate(result["success"], n, independent))


def _check_order(where: str, less: float, more: float, what: str) -> None:
    if less > more + ROUNDING:
        raise RequestError(f"{where}: {what} are {less:g} and {more:g}; the latter cannot be less")


def _check_segments(where: str, result: Any, count: int) -> None:
    """Refuse means after each segment that are not those of so many, or end elsewhere than the answer."""
    told = result.get("segments") or []
    if len(told) not in (0, count):
        raise RequestError(f"{where}.segments holds {len(told)} segments; the report is of {count}")
    for number, segment in enumerate(told):
        before = told[max(number - 1, 0)].get("halted")
        if before is not None and segment.get("halted") is not None:
            place = f"{where}.segments[{number}]"
            _check_order(place, before, segment["halted"], "those that had stopped before, and by then")
    if told:
        rates = {"exact": result["rate"], "tokens": result.get("tokens")}
        rates["lenient"] = (result.get("lenient") or {}).get("rate")
        agree(f"{where}.segments[{count - 1}]", told[-1], {k: v for k, v in rates.items() if v is not None})


def units(result: Any) -> int:
    """How many tasks, puzzles or examples the tests count."""
    votes = result.get("voting")
    return next(iter(votes.values()))["tasks"] if votes else result.get("puzzles") or result["n"]


def _solved(result: Any) -> np.ndarray | None:
    """What a model solved of what the tests count, bool [N]; None where a report does not say."""
    outcomes: str | None = result["outcomes"]
    if voting := result.get("voting"):
        outcomes = voting[max(voting, key=lambda name: _tries("", name))].get("outcomes")
    return statistics.solved(outcomes) if outcomes and len(outcomes) == units(result) else None


# ---------------------------------------------------------------- paired tests, and densities


def _check_pairs(report: Any, solved: Mapping[str, np.ndarray | None]) -> None:
    """Refuse pairs that are none, or are there twice, and other tests than follow from what each solved."""
    pairs, seen = report.get("pairs") or [], set()
    most = min(map(units, report["models"].values()))
    for index, pair in enumerate(pairs):
        where, names = f"pairs[{index}]", (pair["a"], pair["b"])
        a, b = (solved[known(f"model in {where}", name, solved)] for name in names)
        if frozenset(names) in seen or len(set(names)) < 2:
            raise RequestError(f"{where} is of {' and '.join(names)}: of two models, each pair once")
        seen.add(frozenset(names))
        if pair["a_only"] + pair["b_only"] > most:
            raise RequestError(f"{where} counts {pair['a_only']} + {pair['b_only']} of {most}")
        if a is not None and b is not None:
            agree(where, pair, {"a_only": int((a > b).sum()), "b_only": int((a < b).sum())})
        agree(where, pair, {"p_value": statistics.mcnemar(pair["a_only"], pair["b_only"])})
    adjusted = statistics.holm([pair["p_value"] for pair in pairs])
    agree("pairs", pairs, [{"p_holm": p} for p in adjusted])


def _check_density(density: Any) -> None:
    known("protocol", density["protocol"], CELL_PROTOCOLS)
    (first, end), seen = density["seeds"], set()
    for index, cell in enumerate(density["cells"]):
        if (place := (cell["n_obstacles"], cell["speed"])) in seen:
            raise RequestError(f"cells[{index}] is the second of {place[0]} obstacles at {place[1]:g}")
        seen.add(place)
        for name, result in cell["models"].items():
            where = f"cells[{index}].models.{name}"
            if result["n"] != end - first:
                raise RequestError(f"{where}.n is {result['n']}; seeds are {first} to {end - 1}")
            _check_rate(where, result, result["n"])
