"""report.json, density.json and a run's metrics: what they hold, for those who write and who read them.

The files are plain JSON, and so are these types: the dicts that are written are the dicts that are read.
Keys beyond those named here are free. Shares, rates and p-values lie in [0, 1].
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.worlds.rules import FAILURES

PUZZLES = "puzzles"  # the protocol of hrm_jax.solve

Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1)]
Span = tuple[Count, Count]  # ids [first, last + 1]
Curve = Annotated[list[float | None], Meta(min_length=1)]  # per step ahead; null or NaN where unknown


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
    std: float | None


class GroupPair(TypedDict):
    """Tests between two groups: a sign-flip test over episodes, Welch's over training seeds."""

    a: Name
    b: Name
    difference: float
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
    traces: NotRequired[Name | None]  # a file in the report's folder


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

    n_obstacles: Count
    speed: float  # cells a step
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
    report = json_file.read(path, "report.json")
    of_puzzles = isinstance(report, dict) and report.get("protocol") == PUZZLES
    maker = "solve" if of_puzzles else "evaluate"
    json_file.check(path, report, PuzzleReport if of_puzzles else Report, f"report.json of hrm_jax.{maker}")
    numbers = sorted({result["n"] for result in report["models"].values()})
    if len(numbers) > 1:
        raise RequestError(f"{path}: models of {numbers} trials; all are judged on the same")
    for name, result in report["models"].items():
        where, n = f"{path}: models.{name}", result["n"]
        _check_rate(where, result, n)
        if of_puzzles:
            _check_rate(f"{where}.lenient", result.get("lenient"), n)
            for tries, votes in result.get("voting", {}).items():
                _check_rate(f"{where}.voting.{tries}", votes, votes["tasks"])
            _check_segments(where, result, report["segments"])
        else:
            _check_causes(where, result.get("failures") or {})
            _check_lengths(where, result.get("prediction") or Prediction())
    return report


def load_density(path: str | Path) -> Density:
    """Read density.json: success over the number and the speed of obstacles."""
    density = json_file.read(path, "density.json")
    json_file.check(path, density, Density, "density.json of hrm_jax.density")
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
    if success > n or not math.isclose(rate, success / n, abs_tol=1e-6):
        raise RequestError(f"{where}.success is {success} of {n}, and rate {rate}; they must agree")
    outcomes = result.get("outcomes")
    if isinstance(outcomes, str) and len(outcomes) != n:
        raise RequestError(f"{where}.outcomes are {len(outcomes)}; it must be {n}, one a trial")


def _check_segments(where: str, result: PuzzleResult, count: int) -> None:
    found = len(result.get("segments") or ())
    if found not in (0, count):
        raise RequestError(f"{where}.segments holds {found} segments; the report is of {count}")


def _check_causes(where: str, failures: dict[str, int]) -> None:
    for cause in failures:
        known(f"cause in {where}.failures", cause, FAILURES)


def _check_lengths(where: str, prediction: Prediction) -> None:
    curves = [
        *prediction.get("within", {}).values(),
        *(prediction[k] for k in ("median", "p90") if k in prediction),
    ]
    lengths = sorted({len(curve) for curve in curves})
    if len(lengths) > 1:
        raise RequestError(f"{where}.prediction holds curves of {lengths} steps; one length is needed")
