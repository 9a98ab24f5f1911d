"""What a player opens on: a recorded episode, or example, and two models that fare differently in it."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hrm_jax.artefacts.traces_file import HUNDREDTHS, AnyTrace, CellTrace, Episode
from hrm_jax.reporting.collisions import ending
from hrm_jax.reporting.inputs import Report
from hrm_jax.reporting.names import kind, reference
from hrm_jax.worlds.rules import COLLISION, SUCCESS

EARLY = 6  # steps before which a failure says little: there was hardly a way to see it coming
NEAR = 8  # steps between the parting of two agents and the end of one of them, so that both can be seen
OFF = 0.2  # cells by which a prediction is off that explains a collision
# Pairs of kinds, the most telling first; those that are missing come after them.
TELLING = (("baseline", "learned"), ("learned", "learned"), ("bound", "learned"), ("baseline", "baseline"))
Clarity = Callable[[int, str, str], tuple]  # of an entry and who did better and worse: a sort key


def opening(report: Report) -> dict[str, Any]:
    """Place of the entry among the recorded ones, and places of the models among those recorded."""
    recorded, names = report.traces, report.traces.models
    if report.puzzles:
        exact = recorded.exact((report.data.get("data") or {}).get("ignore_label_id"))  # [M, K, T]
        solved, clarity = exact[:, :, -1].T.tolist(), _forming(exact, names)
    else:
        solved = [[one.traces[name].outcome == SUCCESS for name in names] for one in recorded.episodes]
        clarity = _explained(recorded.episodes, report)
    entry, pair = min(_candidates(solved, report, clarity))[1:]
    return {"entry": entry, "models": list(pair)}


def _candidates(solved: Sequence[Sequence[bool]], report: Report, clarity: Clarity) -> list[tuple]:
    """(how little it tells, entry, pair) of all that there is to open on."""
    names, models = report.traces.models, report.data["models"]
    found: list[tuple] = [((9,), entry, (0, min(1, len(names) - 1))) for entry in range(len(solved))]
    for (entry, outcomes), pair in itertools.product(
        enumerate(solved), itertools.combinations(range(len(names)), 2)
    ):
        if outcomes[pair[0]] == outcomes[pair[1]]:
            continue
        better, worse = sorted((names[m] for m in pair), key=lambda name: not outcomes[names.index(name)])
        untypical = models[better]["rate"] < models[worse]["rate"]
        key = (untypical, *_interest(better, worse, models), *clarity(entry, better, worse))
        found.append(((0, key), entry, pair))
    return found


def _interest(better: str, worse: str, models: dict) -> tuple:
    """What compares learned models with the baseline that they are measured against comes first."""
    kinds = tuple(sorted((kind(better), kind(worse))))
    rank = TELLING.index(kinds) if kinds in TELLING else len(TELLING)
    return rank, reference(models) not in (better, worse), -models[better]["rate"]


def _explained(episodes: Sequence[Episode], report: Report) -> Clarity:
    """A collision, not at once, with an obstacle that was expected elsewhere."""

    def clarity(entry: int, better: str, worse: str) -> tuple:
        trace = episodes[entry].traces[worse]
        last = len(trace.agent) - 1
        soon = last - _parting(trace, episodes[entry].traces[better]) < NEAR
        mistaken = _mistaken(episodes[entry], worse, report)
        return trace.outcome != COLLISION, last < EARLY, not mistaken, not soon, last

    return clarity


def _parting(a: AnyTrace, b: AnyTrace) -> int:
    """The first step at which the agents are at different places, or at which one has ended."""
    steps = min(len(a.agent), len(b.agent))
    apart = np.abs(a.agent[:steps] - b.agent[:steps]).max(axis=1) > 0.05 * a.agent_unit
    return int(apart.argmax()) if apart.any() else steps


def _mistaken(episode: Episode, name: str, report: Report) -> bool:
    """Whether the obstacle that was hit had been expected elsewhere, a step before."""
    trace = episode.traces[name]
    if not isinstance(trace, CellTrace) or trace.outcome != COLLISION:
        return False
    hit, last = ending(trace, episode.static, report.collision_rule).number, len(trace.agent) - 1
    expected = trace.predicted[last - 1][0].astype(float)
    if hit is None or not len(expected):
        return False
    return bool(np.linalg.norm(expected[hit] - trace.obstacles[last, hit]) > OFF * HUNDREDTHS)


def _forming(exact: np.ndarray, names: Sequence[str]) -> Clarity:
    """The longer the better answer takes to be right, the more there is to see."""
    return lambda entry, better, worse: (-int((~exact[names.index(better), entry]).sum()),)
