"""report.json, density.json and a run's metrics: what they hold, for those who write and who read them.

The files are plain JSON, and so are these types: the dicts that are written are the dicts that are read.
Keys beyond those named here are free. Shares, rates and p-values lie in [0, 1]. `judging.reports` reads
reports: what follows from their outcomes is computed there again.
"""

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.health import Health
from hrm_jax.artefacts.json_file import number
from hrm_jax.artefacts.scenarios import LAST_ID

PUZZLES = "puzzles"  # the protocol of hrm_jax.solve

Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Difference = Annotated[float, Meta(ge=-1, le=1)]  # of shares
Loss = Annotated[float, Meta(ge=0)]
PerCent = Annotated[float, Meta(ge=0, le=100)]
Segments = Annotated[int, Meta(ge=1, le=10_000)]
Name = Annotated[str, Meta(pattern=json_file.NAME)]
Span = tuple[Count, Annotated[int, Meta(ge=1, le=LAST_ID + 1)]]  # ids [first, last + 1]
Curve = Annotated[list[float | None], Meta(min_length=1)]  # per step ahead, from 0; null or NaN where unknown
FileName = Annotated[str, Meta(pattern=r"^[^/\\\x00]+\Z")]
EVERY = 200  # updates that `gain` is of
LARGEST_LOG = 700.0  # of what a float holds
ROUNDING = 1e-6  # of shares that were computed elsewhere, or written with few digits


class Rate(TypedDict):
    """How many succeeded, as a share with its Wilson 95 % interval."""

    success: Count
    rate: Share
    interval: tuple[Share, Share]


class Trials(Rate):
    """The same of `n` trials."""

    n: Positive


class Errors(TypedDict):
    """Errors of predicted positions by steps ahead, in cells."""

    mean: NotRequired[Curve]
    median: NotRequired[Curve]
    p90: NotRequired[Curve]
    within: NotRequired[dict[str, Curve]]  # shares nearer than so many cells


class Prediction(Errors):
    """Of all obstacles, and of those that come near where the agent means to be."""

    near_plan: NotRequired[Errors]


class Judged(Trials):
    """What either command reports of a model."""

    outcomes: str  # a letter a trial
    parameters: NotRequired[Count | None]
    group: NotRequired[Name | None]  # of a model that was trained several times
    seed: NotRequired[Annotated[int, Meta(ge=-(2**53), le=2**53)] | None]
    health: NotRequired[Health | None]  # of a predictor, or of a training that is lost


class Result(Judged):
    """A predictor or planner in closed loop, or a planner of whole paths."""

    collisions: Count
    timeouts: Count
    failures: NotRequired[dict[str, Count] | None]  # by cause: worlds.rules.FAILURES
    prediction: NotRequired[Prediction | None]
    predictor: NotRequired[Name]  # whose forecasts a planner of paths used


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


class Lenient(Rate):
    """How many answers are right, be it without being the label."""

    outcomes: NotRequired[str]  # a letter an example


class Answered(Trials):
    """How right the answers to some puzzles are."""

    outcomes: str  # a letter an example
    puzzles: NotRequired[Positive]  # groups of examples, which intervals and tests count
    tokens: NotRequired[Share | None]
    lenient: NotRequired[Lenient | None]
    measures: NotRequired[
        dict[Name, float | None] | None
    ]  # means, by the names of the kind; null: of nothing


class PuzzleResult(Answered, Judged):
    """A solver of puzzles, or a baseline."""

    parts: NotRequired[dict[Name, Answered] | None]  # by the names of the kind
    step: NotRequired[Count | None]
    puzzle_parameters: NotRequired[Count | None]
    trained_segments: NotRequired[Segments | None]
    identifiers_checked: NotRequired[bool]  # False: what puzzle identifiers stand for could not be told
    segments: NotRequired[list[Segment] | None]
    voting: NotRequired[Annotated[dict[str, Votes], Meta(min_length=1)]]  # by "pass@1", ...


class Walk(Trials):
    """What became of the walks of what answers no cell."""

    outcomes: str  # a letter a walk: 0 never arrived, 1 did, 2 by a shortest path
    optimal: Rate
    efficiency: Annotated[float, Meta(ge=0)] | None  # moves of the shortest path over those walked, averaged
    budget: Positive  # moves


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
    """Two groups: how far apart, a sign-flip test over episodes, a permutation test over training seeds.

    Null: of groups of one seed; over episodes, of groups of different sizes. Holm's are over all pairs of the
    report.
    """

    a: Name
    b: Name
    difference: Difference
    interval: NotRequired[tuple[Difference, Difference] | None]  # 95 %, over seeds and episodes
    p_episodes: Share | None
    p_episodes_holm: NotRequired[Share | None]
    p_seeds: Share | None
    p_seeds_holm: NotRequired[Share | None]


class Tried(TypedDict):
    """Settings that were tried for a model before it was trained, and their held-out losses."""

    model: Name
    choice: Name  # in the config
    fields: list[Name]  # FIELD=VALUE
    # By tuning seed; null where it diverged. Only the first, where it was not among the finalists.
    losses: Annotated[list[float | None], Meta(min_length=1)]
    chosen: bool  # those that it was trained with


class Reached(TypedDict):
    """What the models of a world reach in so many updates."""

    steps: Positive
    losses: Annotated[dict[Name, Loss | None], Meta(min_length=1)]  # by model; null where it diverged


class Lengths(TypedDict):
    """How many updates the models of a world were given: the first length that more hardly improves."""

    until: PerCent  # what is hardly: less than this of the least loss, `EVERY` updates
    tried: Annotated[list[Reached], Meta(min_length=1)]  # ever more updates
    chosen: Positive


class Before(TypedDict, total=False):
    """What was found out before the models of a report were trained."""

    lengths: Lengths | None
    tuning: list[Tried] | None


class Header(TypedDict):
    """What any report.json says first."""

    protocol: Name
    world: Name
    seeds: Span
    versions: NotRequired[dict[str, Name | None] | None]
    commit: NotRequired[Name | None]
    pairs: NotRequired[list[Pair] | None]
    groups: NotRequired[dict[str, Group] | None]
    group_pairs: NotRequired[list[GroupPair] | None]
    traces: NotRequired[FileName | None]  # in the report's folder
    lengths: NotRequired[Lengths | None]
    tuning: NotRequired[list[Tried] | None]


class Report(Header):
    """report.json of hrm_jax.evaluate."""

    models: Annotated[dict[str, Result], Meta(min_length=1)]


class PuzzleData(TypedDict):
    """Of a data set's dataset.json, what a reader of reports needs."""

    ignore_label_id: NotRequired[Count | None]
    seq_len: NotRequired[Positive | None]
    vocab_size: NotRequired[Positive | None]


class PuzzleReport(Header):
    """report.json of hrm_jax.solve."""

    models: Annotated[dict[str, PuzzleResult], Meta(min_length=1)]
    kind: str
    segments: Segments
    trained_segments: NotRequired[Segments | None]
    data: NotRequired[PuzzleData | None]
    walks: NotRequired[dict[Name, Walk] | None]


class DensityRate(Trials):
    """A model in one world of the grid."""

    health: NotRequired[Health | None]  # of a predictor, as its training left it


class DensityCell(TypedDict):
    """One world of the grid."""

    n_obstacles: Annotated[int, Meta(ge=0, le=10_000)]
    speed: Annotated[float, Meta(ge=0, le=1000)]  # cells a step
    models: Annotated[dict[str, DensityRate], Meta(min_length=1)]


class Density(TypedDict):
    """density.json of hrm_jax.density."""

    protocol: Name
    seeds: Span
    cells: Annotated[list[DensityCell], Meta(min_length=1)]


class Record(TypedDict):
    """One line of a run's metrics.jsonl; every other key is a metric."""

    step: Count


Metrics = dict[str, float | None]  # of a record; null or NaN where there is no number
BAD_STEPS = "bad_steps"  # of a record: updates in a row, up to it, that were skipped; left out where 0
METRIC_SHARES = re.compile(r"eval/(.+/)?(success|exact|exact_[0-9]+|tokens|copy)")


def group_of(name: str) -> str:
    """GROUP of a model that is called GROUP/SEED; "" of any other."""
    return name.rpartition("/")[0]


def mean_loss(tried: Tried) -> float:
    """Over the tuning seeds; infinite where one diverged."""
    return math.fsum(map(number, tried["losses"])) / len(tried["losses"])


def finalists(losses: Sequence[float], most: int) -> list[int]:
    """Of the losses of a model's settings with the first tuning seed, where the least are that are finite."""
    order = sorted(range(len(losses)), key=losses.__getitem__)
    return [index for index in order[:most] if math.isfinite(losses[index])]


def tried_in_full(trials: Sequence[Tried]) -> list[Tried]:
    """Of the settings of a model, those that were tried with all the tuning seeds."""
    seeds = max(len(tried["losses"]) for tried in trials)
    return [tried for tried in trials if len(tried["losses"]) == seeds]


def winner(trials: Sequence[Tried]) -> Tried:
    """The first of the least mean loss, of those of a model that were tried in full."""
    return min(tried_in_full(trials), key=mean_loss)


def best(reached: Reached) -> str:
    """The model of the least loss."""
    return min(reached["losses"], key=lambda name: number(reached["losses"][name]))


def least_loss(reached: Reached) -> float:
    """Of the best model; infinite where all diverged."""
    return number(reached["losses"][best(reached)])


def gain(fewer: Reached, more: Reached) -> float:
    """How many per cent of the least loss `EVERY` further updates took off, on the way to `more`."""
    before, after = least_loss(fewer), least_loss(more)
    if not 0 < before < math.inf:
        return 100.0 if after < before else 0.0
    if not after:
        return 100.0
    each = EVERY / (more["steps"] - fewer["steps"]) * math.log(after / before)
    return -100 * math.expm1(min(each, LARGEST_LOG))


def enough(tried: Sequence[Reached], until: float) -> int:
    """The first of these lengths that the next one improves by less than `until`; without one, the last."""
    for fewer, more in itertools.pairwise(tried):
        if gain(fewer, more) < until:
            return fewer["steps"]
    return tried[-1]["steps"]


def lost(records: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> bool:
    """Whether a training was given up, by its records: too many updates in a row were not finite."""
    limit = config.get("optimizer", {}).get("max_bad_steps", math.inf)
    return bool(records) and number(records[-1].get(BAD_STEPS, 0)) >= limit


def load_records(path: str | Path) -> list[Record]:
    """The lines of a run's metrics.jsonl, of which every value is a number and every share in [0, 1]."""
    records = json_file.lines(path, Record, "record with a step")
    for record in records:
        json_file.check(path, record, Metrics, f"record of step {record['step']}")
        for key, value in record.items():
            if METRIC_SHARES.fullmatch(key) and value is not None and not _is_share(value):
                raise RequestError(f"{path}: step {record['step']}: {key} is {value}; a share is from 0 to 1")
    return records


def _is_share(value: Any) -> bool:
    return math.isnan(value) or -ROUNDING <= value <= 1 + ROUNDING


def write(path: Path, report: Report | PuzzleReport | Density) -> None:
    """Write it, whole or not at all."""
    with files.atomic_write(path) as file:
        file.write(json.dumps(report, indent=1) + "\n")
