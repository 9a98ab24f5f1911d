"""report.json, density.json and a run's metrics: what they hold, for those who write and who read them.

The files are plain JSON, and so are these types: the dicts that are written are the dicts that are read.
Keys beyond those named here are free. Shares, rates and p-values lie in [0, 1].
"""

import itertools
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.worlds.rules import COLLISION, FAILURES, SUCCESS, TIMEOUT

PUZZLES = "puzzles"  # the protocol of hrm_jax.solve

Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1)]
Span = tuple[Count, Count]  # ids [first, last + 1]
Curve = Annotated[list[float | None], Meta(min_length=1)]  # per step ahead, from 0; null or NaN where unknown
FileName = Annotated[str, Meta(pattern=r"^[^/\\\x00]+$")]
ROUNDING = 1e-6  # of shares


class Rate(TypedDict):
    """How many succeeded, as a share with its Wilson 95 % interval."""

    success: Count
    rate: Share
    interval: tuple[Share, Share]


class Trials(Rate):
    """The same of `n` trials."""

    n: Positive


class Prediction(TypedDict):
    """Errors of predicted positions by steps ahead, in cells."""

    mean: NotRequired[Curve]
    median: NotRequired[Curve]
    p90: NotRequired[Curve]
    within: NotRequired[dict[str, Curve]]  # shares nearer than so many cells


class Judged(Trials):
    """What either command reports of a model."""

    outcomes: str  # a letter a trial
    parameters: NotRequired[Count | None]
    group: NotRequired[Name | None]  # of a model that was trained several times
    seed: NotRequired[int | None]


class Result(Judged):
    """A predictor or planner in closed loop, or a planner of whole paths."""

    collisions: Count
    timeouts: Count
    failures: NotRequired[dict[str, Count] | None]  # by cause: worlds.rules.FAILURES
    prediction: NotRequired[Prediction | None]
    predictor: NotRequired[str]  # whose forecasts a planner of paths used


class Segment(TypedDict):
    """Means over examples after one segment."""

    exact: Share
    lenient: NotRequired[Share | None]
    tokens: NotRequired[Share | None]
    halted: NotRequired[Share | None]
    q_accuracy: NotRequired[Share | None]


class Votes(Rate):
    """Tasks that the votes of all augmentations get right."""

    tasks: Positive
    share: Share  # of test inputs, averaged over tasks
    outcomes: NotRequired[str]


class PuzzleResult(Judged):
    """A solver of puzzles, or a baseline."""

    puzzles: NotRequired[Positive]  # groups of examples, which intervals and tests count
    step: NotRequired[Count | None]
    puzzle_parameters: NotRequired[Count | None]
    trained_segments: NotRequired[Positive | None]
    identifiers_checked: NotRequired[bool]  # False: what puzzle identifiers stand for could not be told
    tokens: NotRequired[Share | None]
    lenient: NotRequired[Rate | None]
    segments: NotRequired[list[Segment] | None]
    voting: NotRequired[Annotated[dict[str, Votes], Meta(min_length=1)]]  # by "pass@1", ...


class Pair(TypedDict):
    """McNemar's test of two models; `p_holm` is Holm's over all pairs of the report."""

    a: Name
    b: Name
    a_only: Count
    b_only: Count
    p_value: Share
    p_holm: NotRequired[Share]


class Group(TypedDict):
    """One model trained several times."""

    seeds: Positive
    mean: Share
    min: Share
    max: Share
    rates: list[Share]
    std: Share | None


class GroupPair(TypedDict):
    """Tests between two groups: a sign-flip test over episodes, Welch's over training seeds."""

    a: Name
    b: Name
    difference: Annotated[float, Meta(ge=-1, le=1)]
    p_episodes: Share | None
    p_seeds: Share | None


class Header(TypedDict):
    """What any report.json says first."""

    protocol: Name
    world: Name
    seeds: Span
    versions: NotRequired[dict[str, Any] | None]
    commit: NotRequired[str | None]
    pairs: NotRequired[list[Pair] | None]
    traces: NotRequired[FileName | None]  # in the report's folder


class Report(Header):
    """report.json of hrm_jax.evaluate."""

    models: Annotated[dict[str, Result], Meta(min_length=1)]
    groups: NotRequired[dict[str, Group] | None]
    group_pairs: NotRequired[list[GroupPair] | None]


class PuzzleData(TypedDict):
    """Of a data set's dataset.json, what a reader of reports needs."""

    ignore_label_id: NotRequired[Count | None]


class PuzzleReport(Header):
    """report.json of hrm_jax.solve."""

    models: Annotated[dict[str, PuzzleResult], Meta(min_length=1)]
    kind: str
    segments: Positive
    trained_segments: NotRequired[Positive | None]
    data: NotRequired[PuzzleData | None]


class DensityCell(TypedDict):
    """One world of the grid."""

    n_obstacles: Annotated[int, Meta(ge=0, le=10_000)]
    speed: Annotated[float, Meta(ge=0, le=1000)]  # cells a step
    models: Annotated[dict[str, Trials], Meta(min_length=1)]


class Density(TypedDict):
    """density.json of hrm_jax.density."""

    protocol: Name
    seeds: Span
    cells: Annotated[list[DensityCell], Meta(min_length=1)]


class Record(TypedDict):
    """One line of a run's metrics.jsonl; every other key is a metric."""

    step: Count


def write(path: Path, report: Report | PuzzleReport | Density) -> None:
    """Write it, whole or not at all."""
    with files.atomic_write(path) as file:
        file.write(json.dumps(report, indent=1) + "\n")


def load(path: str | Path) -> Report | PuzzleReport:
    """Read a report.json; a file that is anything else is a `RequestError`."""
    report = json_file.read(path, "report.json", nan=True)
    of_puzzles = isinstance(report, dict) and report.get("protocol") == PUZZLES
    maker = "solve" if of_puzzles else "evaluate"
    json_file.check(path, report, PuzzleReport if of_puzzles else Report, f"report.json of hrm_jax.{maker}")
    numbers, (first, end) = sorted({result["n"] for result in report["models"].values()}), report["seeds"]
    if len(numbers) > 1:
        raise RequestError(f"{path}: models of {numbers} trials; all are judged on the same")
    if numbers[0] != end - first:
        raise RequestError(f"{path}: models of {numbers[0]} trials; seeds are {first} to {end - 1}")
    for name, result in report["models"].items():
        where, n = f"{path}: models.{name}", result["n"]
        _check_rate(where, result, n)
        _check_outcomes(where, result)
        if of_puzzles:
            _check_rate(f"{where}.lenient", result.get("lenient"), n)
            for tries, votes in result.get("voting", {}).items():
                _check_rate(f"{where}.voting.{tries}", votes, votes["tasks"])
            _check_segments(where, result, report["segments"])
        else:
            _check_causes(where, result)
            _check_curves(where, result.get("prediction") or Prediction())
    for pair in report.get("pairs") or ():
        for name in (pair["a"], pair["b"]):
            known(f"model in {path}: pairs", name, report["models"])
    return report


def load_density(path: str | Path) -> Density:
    """Read density.json: success over the number and the speed of obstacles."""
    density = json_file.load(path, Density, "density.json of hrm_jax.density")
    for index, cell in enumerate(density["cells"]):
        for name, result in cell["models"].items():
            _check_rate(f"{path}: cells[{index}].models.{name}", result, result["n"])
    return density


def _check_rate(where: str, result: Any, n: int) -> None:
    """Refuse a `Rate` of `n` trials whose numbers contradict one another; none is fine."""
    if result is None:
        return
    low, high = result["interval"]
    if low > high:
        raise RequestError(f"{where}.interval is [{low}, {high}]; it must be [low, high]")
    success, rate = result["success"], result["rate"]
    if success > n or not math.isclose(rate, success / n, abs_tol=ROUNDING):
        raise RequestError(f"{where}.success is {success} of {n}, and rate {rate}; they must agree")
    if not low - ROUNDING <= rate <= high + ROUNDING:
        raise RequestError(f"{where}.interval is [{low}, {high}]; the rate is {rate}")
    outcomes = result.get("outcomes")
    if isinstance(outcomes, str) and len(outcomes) != n:
        raise RequestError(f"{where}.outcomes are {len(outcomes)}; it must be {n}, one a trial")


def _check_outcomes(where: str, result: Any) -> None:
    """Refuse counts that are not those of the outcomes, a letter a trial."""
    for name, letter in {"success": SUCCESS, "collisions": COLLISION, "timeouts": TIMEOUT}.items():
        found = result["outcomes"].count(letter)
        if result.get(name, found) != found:
            raise RequestError(f"{where}.{name} is {result[name]}; its outcomes say {found}")


def _check_segments(where: str, result: PuzzleResult, count: int) -> None:
    found = len(result.get("segments") or ())
    if found not in (0, count):
        raise RequestError(f"{where}.segments holds {found} segments; the report is of {count}")


def _check_causes(where: str, result: Result) -> None:
    failures, failed = result.get("failures") or {}, result["collisions"] + result["timeouts"]
    for cause in failures:
        known(f"cause in {where}.failures", cause, FAILURES)
    if failures and sum(failures.values()) != failed:
        raise RequestError(f"{where}.failures are {sum(failures.values())}; {failed} episodes failed")


def _check_curves(where: str, prediction: Prediction) -> None:
    within = list(prediction.get("within", {}).values())
    errors = [prediction[name] for name in ("median", "p90", "mean") if name in prediction]
    for most, curves in ((1, within), (sys.float_info.max, errors)):
        for value in itertools.chain.from_iterable(curves):
            if value is not None and (value < 0 or value > most):  # NaN is neither
                raise RequestError(f"{where}.prediction holds {value}: from 0 to {most:g}, or null")
    # The first reports' means are of all steps together.
    lengths = sorted({len(curve) for curve in (*within, *errors[: len(errors) - ("mean" in prediction)])})
    if len(lengths) > 1:
        raise RequestError(f"{where}.prediction holds curves of {lengths} steps; one length is needed")
