"""How long a world's models train, and with what settings of their own: held-out losses of trials choose."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.json_file import nullable, number
from hrm_jax.artefacts.report_file import (
    Lengths,
    Reached,
    Tried,
    enough,
    finalists,
    least_loss,
    mean_loss,
    tried_in_full,
    winner,
)
from hrm_jax.training import runs as training
from hrm_jax.training.runs import Run

FIRST_SEED = 100  # of trials: those of the runs that are judged begin at 0
MOST_POINTS = 1000  # of a grid


class Untrainable(RequestError):
    """Every setting of a model diverged in a world, or every model did."""


class Trial(NamedTuple):
    """Settings that are tried for a rival of a world, once with each tuning seed."""

    model: str  # as in the config's choice
    fields: tuple[str, ...]  # FIELD=VALUE, those of the grid
    runs: tuple[Run, ...]


def grid(options: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of "FIELD=VALUE,VALUE,…", as FIELD=VALUE each."""
    axes = []
    for option in options:
        field, _, values = option.partition("=")
        if not (field and all(values.split(","))):
            raise RequestError(f"--tune {option}: FIELD=VALUE,VALUE,… with a field of the config")
        if field.startswith(("data.", "objective.")):  # what the held-out loss is of
            raise RequestError(f"--tune {option}: held-out losses of another task cannot be compared")
        if field in (axis[0].partition("=")[0] for axis in axes):
            raise RequestError(f"--tune {option}: {field} is given twice; FIELD=VALUE,VALUE,…")
        axes.append([f"{field}={value}" for value in dict.fromkeys(values.split(","))])
    if (points := math.prod(map(len, axes))) > MOST_POINTS:
        raise RequestError(f"--tune: {points:,} combinations; at most {MOST_POINTS:,}")
    return list(itertools.product(*axes))


def lengths(option: str) -> list[int]:
    """Numbers of updates, "STEPS,STEPS,…", which rise."""
    words = option.split(",") if option else []
    steps = [int(word) for word in words if word.isdecimal() and len(word) < 10]
    if len(steps) < len(words) or sorted({*steps} - {0}) != steps:
        raise RequestError(f"--lengths {option}: rising numbers of updates, STEPS,STEPS,…")
    return steps


def length(world: str, pilots: Mapping[int, Sequence[Run]], until: float) -> Lengths:
    """What a report says of how many updates the models of a world get, given one training a model each."""
    tried: list[Reached] = [
        {"steps": steps, "losses": {run.name: nullable(training.held_out(run)) for run in runs}}
        for steps, runs in pilots.items()
    ]
    if not math.isfinite(min(map(least_loss, tried))):
        raise Untrainable(f"all models of {world} diverged at every one of --lengths")
    return {"until": until, "tried": tried, "chosen": enough(tried, until)}


def folder(fields: Sequence[str]) -> str:
    """Where the runs of a point of the grid lie: "learning_rate=1e-2"."""
    settings = (field.partition("=") for field in fields)
    return ",".join(f"{name.rpartition('.')[2]}={value}" for name, _, value in settings).replace("/", "_")


def final(trials: Sequence[Trial], most: int) -> list[Trial]:
    """The trials of a rival once each was trained for the first time: finalists alone keep the others.

    These are as many for every rival, so that all have the same chance.
    """
    found = finalists([number(training.held_out(trial.runs[0])) for trial in trials], most)
    return [
        trial if index in found else trial._replace(runs=trial.runs[:1]) for index, trial in enumerate(trials)
    ]


def tried(rival: str, trials: Sequence[Trial]) -> list[Tried]:
    """What a report says of the trials of a rival; the `winner` of them is chosen."""
    rows: list[Tried] = [
        {
            "model": rival,
            "choice": trial.model,
            "fields": list(trial.fields),
            "losses": [nullable(training.held_out(run)) for run in trial.runs],
            "chosen": False,
        }
        for trial in trials
    ]
    best, in_full = winner(rows), tried_in_full(rows)
    if not math.isfinite(mean_loss(best)):
        world, more = trials[0].runs[0].world, " or more --finalists" * (len(in_full) < len(rows))
        raise Untrainable(
            f"{rival} in {world} diverged at each of {len(in_full)} settings; other --tune values{more}"
        )
    best["chosen"] = True
    return rows


def chosen(rows: Sequence[Mapping]) -> tuple[str, tuple[str, ...]]:
    """The choice in the config and the settings that a rival is trained with."""
    (best,) = (row for row in rows if row["chosen"])
    return best["choice"], tuple(best["fields"])
