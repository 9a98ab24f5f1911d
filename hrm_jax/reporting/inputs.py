"""What a report is made of, read and checked: report.json, metrics.jsonl, density.json."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee.cells.protocols import PROTOCOLS
from hrm_jax.referee.paths.protocols import PATH_PROTOCOLS, PathProtocol
from hrm_jax.reporting.traces import CollisionRule, Traces
from hrm_jax.worlds.rules import FAILURES

PUZZLES = "puzzles"  # the protocol of hrm_jax.solve
REPORT_KEYS = ("protocol", "world", "seeds", "models")
RESULT_KEYS = ("n", "success", "rate", "interval", "collisions", "timeouts", "outcomes")
PUZZLE_REPORT_KEYS = (*REPORT_KEYS, "kind", "segments")
PUZZLE_RESULT_KEYS = ("n", "success", "rate", "interval", "outcomes")
PAIR_KEYS = ("a", "b", "a_only", "b_only", "p_value")
GROUP_PAIR_KEYS = ("a", "b", "difference", "p_episodes", "p_seeds")


@dataclass(frozen=True)
class Report:
    """One report.json, and what its protocol adds to it."""

    data: dict
    heading: str  # protocol, world and seeds in a line
    note: str  # what the protocol's own fault does to the numbers, or empty
    traces: Traces | Answers | None

    @property
    def puzzles(self) -> bool:
        """Whether answers to puzzles were judged, and no planner."""
        return self.data["protocol"] == PUZZLES

    @property
    def path_rules(self) -> PathProtocol | None:
        """The protocol, where whole paths were judged."""
        return path_rules(self.data)

    @property
    def collision_rule(self) -> CollisionRule:
        """The protocol's, or the standard one's where this version does not know the protocol."""
        rules = self.path_rules
        if rules:
            return CollisionRule(rules.collision_radius, not rules.published)
        protocol = PROTOCOLS.get(self.data["protocol"], PROTOCOLS["standard"])
        return CollisionRule(protocol.collision_radius, protocol.swept)


@dataclass(frozen=True)
class Run:
    """The record of one training run."""

    name: str
    records: list[dict[str, Any]]  # the lines of metrics.jsonl in order of step
    config: dict

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of `key`, gaps left out."""
        found = [(r["step"], r[key]) for r in self.records if finite(r.get(key))]
        return [step for step, _ in found], [value for _, value in found]


def path_rules(report: dict) -> PathProtocol | None:
    """The protocol of a report.json, where whole paths were judged."""
    return PATH_PROTOCOLS.get(report["protocol"])


def read_json(path: str | Path, what: str) -> Any:
    """The contents of a JSON file called `what`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: not a readable {what} ({error})") from None


# ---------------------------------------------------------------- kinds of values


def finite(value: object) -> bool:
    """Whether `value` is a number, NaN and infinity not among them."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _share(value: object) -> bool:
    return finite(value) and 0 <= value <= 1


def _interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_share, value)) and value[0] <= value[1]


def _text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _curve(value: object) -> bool:
    """A number per step ahead, null or NaN where there is none."""
    known = isinstance(value, list) and [v for v in value if v is not None]
    return bool(value) and known is not False and all(isinstance(v, int | float) for v in known)


def _counts(value: object) -> bool:
    return isinstance(value, dict) and all(key in FAILURES and _count(v) for key, v in value.items())


def _check(path: str | Path, where: str, holder: dict, wanted: dict[str, tuple[Callable, str]]) -> None:
    """Refuse a value of `holder` that is not as wanted; a key that is absent is another's business."""
    for key, (good, description) in wanted.items():
        if key in holder and not good(holder[key]):
            raise RequestError(f"{path}: {where}{key} is {_brief(holder[key])}; it must be {description}")


def _brief(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


RESULT = {
    "n": (lambda value: _count(value) and value > 0, "a whole number above 0"),
    "success": (_count, "a whole number"),
    "rate": (_share, "a number from 0 to 1"),
    "interval": (_interval, "[low, high], both from 0 to 1"),
    "collisions": (_count, "a whole number"),
    "timeouts": (_count, "a whole number"),
    "parameters": (lambda value: value is None or _count(value), "a whole number"),
    "failures": (lambda value: value is None or _counts(value), f"counts of {', '.join(FAILURES)}"),
    "prediction": (lambda value: value is None or isinstance(value, dict), "an object"),
    "group": (lambda value: value is None or _text(value), "a text"),
}
PREDICTION = {
    **{key: (_curve, "a list of numbers, one per step ahead") for key in ("mean", "median", "p90")},
    "within": (lambda value: isinstance(value, dict), 'an object like {"0.2": [...]}'),
}
PAIR = {
    "a": (_text, "a model's name"),
    "b": (_text, "a model's name"),
    "a_only": (_count, "a whole number"),
    "b_only": (_count, "a whole number"),
    "p_value": (_share, "a number from 0 to 1"),
    "p_holm": (_share, "a number from 0 to 1"),
}
_chance = (lambda value: value is None or _share(value), "a number from 0 to 1, or null")
GROUP_PAIR = {
    "a": (_text, "a group's name"),
    "b": (_text, "a group's name"),
    "difference": (finite, "a number"),
    "p_episodes": _chance,
    "p_seeds": _chance,
}
_known_share = (lambda value: value is None or _share(value), "a number from 0 to 1, or null")
PUZZLE_RESULT = {
    **RESULT,
    "step": (lambda value: value is None or _count(value), "a whole number"),
    "tokens": _known_share,
    "lenient": (lambda value: value is None or isinstance(value, dict), "an object"),
    "segments": (lambda value: value is None or isinstance(value, list), "a list, one entry per segment"),
    "trained_segments": (lambda v: v is None or (_count(v) and v > 0), "a whole number above 0, or null"),
    "puzzles": (lambda value: _count(value) and value > 0, "a whole number above 0"),
    "voting": (lambda value: isinstance(value, dict) and bool(value), "an object with pass@1 or others"),
}
VOTE_KEYS = ("tasks", "success", "rate", "interval", "share")
VOTE = {**RESULT, "tasks": RESULT["n"], "share": RESULT["rate"]}
LENIENT_KEYS = ("success", "rate", "interval")
SEGMENT = {
    "exact": (_share, "a number from 0 to 1"),
    **dict.fromkeys(("lenient", "tokens", "halted", "q_accuracy"), _known_share),
}
SEEDS = (lambda v: isinstance(v, list) and len(v) == 2 and all(map(_count, v)), "[first, last + 1]")
MODELS = (lambda value: isinstance(value, dict) and bool(value), "an object with at least one model")
DENSITY = {
    "protocol": (_text, "a protocol's name"),
    "seeds": SEEDS,
    "cells": (lambda value: isinstance(value, list) and bool(value), "a list of cells"),
}
CURVE = (_curve, "a list of numbers, one per step ahead")


# ---------------------------------------------------------------- report.json


def load_report(path: str | Path) -> dict:
    """Read a report.json; a file that is anything else is a `RequestError`."""
    report = read_json(path, "report.json")
    puzzles = isinstance(report, dict) and report.get("protocol") == PUZZLES
    top, each = (PUZZLE_REPORT_KEYS, PUZZLE_RESULT_KEYS) if puzzles else (REPORT_KEYS, RESULT_KEYS)
    try:
        whole = all(key in report for key in top) and all(
            key in result for result in report["models"].values() for key in each
        )
    except (TypeError, AttributeError):
        whole = False
    if not whole:
        maker = "solve" if puzzles else "evaluate"
        raise RequestError(
            f"{path}: not a report.json of hrm_jax.{maker}; it must hold {', '.join((*top, *each))}"
        )
    check_report(path, report)
    if puzzles:
        _check_puzzles(path, report)
    return report


def check_report(path: str | Path, report: dict) -> None:
    """Refuse a report.json whose values are not what their names promise."""
    top = {
        "seeds": SEEDS,
        "models": MODELS,
        "pairs": (lambda v: isinstance(v, list), "a list"),
        "versions": (lambda v: v is None or isinstance(v, dict), "an object"),
        "traces": (lambda v: v is None or _text(v), "the name of a file"),
    }
    _check(path, "", report, top)
    for name, result in report["models"].items():
        _check(path, f"models.{name}.", result, RESULT)
        _check_prediction(path, f"models.{name}.prediction.", result.get("prediction"))
    for index, pair in enumerate(report.get("pairs", ())):
        _require(path, f"pairs[{index}]", pair, PAIR_KEYS)
        _check(path, f"pairs[{index}].", pair, PAIR)
    for index, pair in enumerate(report.get("group_pairs", ())):
        _require(path, f"group_pairs[{index}]", pair, GROUP_PAIR_KEYS)
        _check(path, f"group_pairs[{index}].", pair, GROUP_PAIR)


def _check_puzzles(path: str | Path, report: dict) -> None:
    """What only a report of answers to puzzles holds."""
    top = {
        "world": (_text, "a text"),
        "kind": (lambda value: isinstance(value, str), "a text"),
        "segments": (lambda value: _count(value) and value > 0, "a whole number above 0"),
        "trained_segments": (lambda v: v is None or (_count(v) and v > 0), "a whole number above 0, or null"),
        "data": (lambda value: value is None or isinstance(value, dict), "an object"),
    }
    _check(path, "", report, top)
    ignored = {"ignore_label_id": (lambda value: value is None or _count(value), "a whole number, or null")}
    _check(path, "data.", report.get("data") or {}, ignored)
    for name, result in report["models"].items():
        where = f"models.{name}."
        _check(path, where, result, PUZZLE_RESULT)
        if result.get("lenient"):
            _require(path, f"{where}lenient", result["lenient"], LENIENT_KEYS)
            _check(path, f"{where}lenient.", result["lenient"], RESULT)
        for tries, votes in result.get("voting", {}).items():
            _require(path, f"{where}voting.{tries}", votes, VOTE_KEYS)
            _check(path, f"{where}voting.{tries}.", votes, VOTE)
        _check_segments(path, f"{where}segments", result.get("segments") or [], report["segments"])


def _check_segments(path: str | Path, where: str, found: list, count: int) -> None:
    if len(found) not in (0, count):
        raise RequestError(f"{path}: {where} holds {len(found)} segments; the report is of {count}")
    for index, segment in enumerate(found):
        _require(path, f"{where}[{index}]", segment, ("exact",))
        _check(path, f"{where}[{index}].", segment, SEGMENT)


def _check_prediction(path: str | Path, where: str, prediction: dict | None) -> None:
    if not prediction:
        return
    _check(path, where, prediction, PREDICTION)
    within = prediction.get("within", {})
    _check(path, f"{where}within.", within, dict.fromkeys(within, CURVE))
    known = [*within.values(), *(prediction[key] for key in ("median", "p90") if key in prediction)]
    lengths = sorted({len(curve) for curve in known})
    if len(lengths) > 1:
        raise RequestError(f"{path}: {where[:-1]} holds curves of {lengths} steps; one length is needed")


def _require(path: str | Path, where: str, holder: object, keys: tuple[str, ...]) -> None:
    if not isinstance(holder, dict) or any(key not in holder for key in keys):
        holding = f" that holds {', '.join(keys)}" if keys else ""
        raise RequestError(f"{path}: {where} must be an object{holding}")


# ---------------------------------------------------------------- training runs


def load_runs(workdirs: list[str]) -> list[Run]:
    """The runs in `workdirs`, named by the shortest ends of their paths that tell them apart."""
    paths = [Path(workdir).resolve() for workdir in workdirs]
    if len(set(paths)) < len(paths):
        raise RequestError("--workdir names one folder twice; each run is needed once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return [
        _load_run(Path(given), "/".join(path.parts[-depth:]))
        for given, path in zip(workdirs, paths, strict=True)
    ]


def _load_run(workdir: Path, name: str) -> Run:
    path = workdir / "metrics.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{path}: not readable ({error}); --workdir is a folder of hrm_jax.train"
        ) from None
    records = [_record(path, number, line, len(lines)) for number, line in enumerate(lines, 1)]
    records = sorted(filter(None, records), key=lambda record: record["step"])
    if not records:
        raise RequestError(f"{path}: holds no record yet; train first")
    return Run(name, records, _load_config(workdir / "config.json"))


def _load_config(path: Path) -> dict:
    """A run's config; empty where none was kept."""
    config = read_json(path, "config.json") if path.exists() else {}
    _require(path, "the file", config, ())
    return config


def _record(path: Path, number: int, line: str, count: int) -> dict | None:
    """One line of metrics.jsonl; the last one may be half written by a run that is still going."""
    try:
        record = json.loads(line)
        if _count(record["step"]):
            return record
    except (ValueError, KeyError, TypeError):
        if number == count and count > 1:
            return None
    raise RequestError(f"{path}: line {number} is not a record with a step: {line[:60]}")


# ---------------------------------------------------------------- density.json


def load_density(path: str | Path) -> dict:
    """Read density.json: success rates over the number and the speed of obstacles."""
    density = read_json(path, "density.json")
    _require(path, "the file", density, ("protocol", "seeds", "cells"))
    _check(path, "", density, DENSITY)
    for index, cell in enumerate(density["cells"]):
        where = f"cells[{index}]"
        _require(path, where, cell, ("n_obstacles", "speed", "models"))
        _check(
            path,
            f"{where}.",
            cell,
            {"n_obstacles": (_count, "a whole number"), "speed": (finite, "a number")},
        )
        _check(path, f"{where}.", cell, {"models": MODELS})
        for name, result in cell["models"].items():
            _require(path, f"{where}.models.{name}", result, ("n", "success", "rate", "interval"))
            _check(path, f"{where}.models.{name}.", result, RESULT)
    return density
