"""Entrants play scenarios under a protocol: the episodes, the report of them, and those that are recorded."""

import contextlib
import functools
import itertools
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hrm_jax.artefacts import provenance, traces_file, workers
from hrm_jax.artefacts.errors import known, naming
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.console.parser import JOBS, at_least
from hrm_jax.console.progress import say_took, watch
from hrm_jax.judging import entrants, keeping, own, request, statistics, tables
from hrm_jax.judging.entrants import BACKENDS, Entrant, Source
from hrm_jax.judging.own import Function
from hrm_jax.judging.request import Request
from hrm_jax.judging.resuming import Kept
from hrm_jax.referee.cells import episode
from hrm_jax.referee.cells.episode import Result
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.paths.planners import ALWAYS
from hrm_jax.referee.protocols import PROTOCOLS, PathProtocol, Protocol


class Match(NamedTuple):
    """Entrants that are to play scenarios under a protocol."""

    scenarios: Scenarios
    protocol: Protocol
    backend: str
    compared: dict[str, Entrant]
    asked: list[str]  # without those that play in every match
    reads: list[Path] = []  # files that nothing may be written over
    alone: bool = True  # all play in this process: not NumPy's alone, or functions, which are not pickled

    @property
    def limit(self) -> int:
        """Steps after which an episode is a timeout."""
        world = self.scenarios.world
        return world.until(self.protocol.limit(world.size))


def evaluate(asked: Request) -> None:
    """Judge as asked, write the report and print its table; then record episodes.

    Everything that can be wrong with the request, a `RequestError`, is found before the first episode.
    """
    sources = request.sources(asked.models)
    match = enter(asked, sources)
    keeping.check(asked.out, asked.record, match.reads)
    about = asked.backend, asked.predictor or ""
    kept = Kept(asked.out, match.scenarios, match.protocol, about, sources)
    results = play_all(match, kept, asked.jobs)
    report = build_report(match, results)
    report |= asked.before
    keeping.keep(asked.out, report, tables.evaluation(report, match.limit))
    kept.end()
    if asked.record:
        keeping.record(asked.out, report, recorder(match, results, asked.record))


def enter(asked: Request, sources: Mapping[str, Source]) -> Match:
    """The match that is asked for, everything in it checked."""
    at_least(asked, record=(0, keeping.MOST_RECORDED), jobs=(1, JOBS))
    protocol = PROTOCOLS[known("protocol", asked.protocol, PROTOCOLS)]
    known("backend", asked.backend, BACKENDS)
    always = ALWAYS if isinstance(protocol, PathProtocol) else ()
    entered = {**sources, **{name: None for name in always if name not in sources}}
    scenarios = request.scenarios(asked, protocol)
    compared = entrants.enter(entered, asked.predictor, asked.backend, scenarios.world, protocol)
    if asked.diverging:
        compared = {name: entrants.bounded(entrant) for name, entrant in compared.items()}
    reads = request.reads(asked, sources)
    functions = own.parse(asked.predictor or "") or any(isinstance(one, Function) for one in sources.values())
    alone = bool(functions) or asked.backend != "numpy"
    return Match(scenarios, protocol, asked.backend, compared, list(sources), reads, alone)


def play_all(match: Match, kept: Kept | None = None, jobs: int = 1) -> dict[str, Result]:
    """Every entrant's episodes, those of `jobs` entrants at a time; progress and seconds on stderr.

    What is `kept` is not played again.
    """
    results = {}
    for name in match.compared:
        if kept and (found := kept.find(name)):
            print(f"{name}: was judged before the evaluation was interrupted", file=sys.stderr)
            results[name] = found
    missing = [name for name in match.compared if name not in results]
    several = min(jobs, len(missing)) > 1 and not match.alone
    played = _in_processes(match, missing, jobs) if several else _in_turn(match, missing)
    with contextlib.closing(played):
        for name, result, seconds in played:
            if kept:
                kept.keep(name, result, seconds)
            results[name] = result
    return {name: results[name] for name in match.compared}


Played = tuple[str, Result, float]  # by whom, and the seconds that it took


def _in_turn(match: Match, names: Sequence[str]) -> Generator[Played, None, None]:
    """One entrant after another, in this process."""
    scenarios, protocol, backend, compared, *_ = match
    referee = entrants.referee(backend, protocol)
    for name in names:
        player = compared[name].source if backend == "jit" else compared[name].play
        began = time.monotonic()
        with watch(name, "episodes", len(scenarios)) as progress, naming(f'model "{name}"'):
            result = referee(scenarios, protocol, player, progress)
        yield name, result, time.monotonic() - began


def _in_processes(match: Match, names: Sequence[str], jobs: int) -> Generator[Played, None, None]:
    """Those of `jobs` entrants at a time, as they come."""
    players = {name: match.compared[name].play for name in names}
    play = functools.partial(_play, match.scenarios, match.protocol, players)
    with (
        watch("judging", "models", len(names), closing=False) as progress,
        contextlib.closing(workers.unordered(play, names, jobs)) as played,
    ):
        for done, (name, result, seconds) in enumerate(played, 1):
            say_took(name, "episodes", len(match.scenarios), seconds)
            progress(done, len(names))
            yield name, result, seconds


def _play(scenarios: Scenarios, protocol: Protocol, players: Mapping[str, Any], name: str) -> Played:
    """One entrant's episodes, in a process of its own."""
    began = time.monotonic()
    with naming(f'model "{name}"'):
        result = entrants.referee("numpy", protocol)(scenarios, protocol, players[name])
    return name, result, time.monotonic() - began


def build_report(match: Match, results: Mapping[str, Result]) -> Any:
    """The contents of report.json."""
    scenarios, protocol, _, compared, *_ = match
    models = {name: compared[name].about | summary(result) for name, result in results.items()}
    solved = {name: statistics.solved(result.outcomes) for name, result in results.items()}
    return {
        "protocol": protocol.name,
        "world": scenarios.world.name,
        "seeds": [int(scenarios.ids[0]), int(scenarios.ids[-1]) + 1],
        **provenance.stamp(),
        "models": models,
        "pairs": statistics.pairs(solved),
        **statistics.groups(models),
    }


def summary(result: Result) -> dict[str, Any]:
    """One entrant's part of the report, except for what it says about itself."""
    outcomes, errors = result.outcomes, result.errors.summary()
    if errors and result.near_plan and (near := result.near_plan.summary()):
        errors["near_plan"] = near
    return {
        **statistics.tally(outcomes),
        **({"failures": result.failures} if result.failures else {}),
        **({"prediction": errors} if errors else {}),
        "outcomes": outcomes,
    }


# ---------------------------------------------------------------- recording


def recorder(match: Match, results: Mapping[str, Result], count: int) -> Callable[[Path], None]:
    """What plays `count` episodes once more and writes them to a file."""
    shown = one_a_group({name: match.compared[name] for name in match.asked})
    judged = {name: results[name].outcomes for name in shown}
    chosen = choose(judged, count)
    return lambda path: record(path, match.scenarios, match.protocol, shown, judged, chosen)


def one_a_group(entrants: Mapping[str, Entrant]) -> dict[str, Entrant]:
    """Of models that were trained several times, the first."""
    first: dict[str, str] = {}
    for name, entrant in entrants.items():
        first.setdefault(entrant.about.get("group", name), name)
    return {name: entrants[name] for name in first.values()}


def choose(outcomes: Mapping[str, str], count: int) -> list[int]:
    """Up to `count` positions of episodes worth seeing.

    Neighbours in the ranking of the models take turns with an episode that the better one solved and the
    other did not; then come the episodes on which the models differ most.
    """
    ranked = sorted(map(statistics.solved, outcomes.values()), key=np.sum, reverse=True)
    order = np.argsort(np.abs(np.mean(ranked, axis=0) - 0.5), kind="stable").tolist()
    apart = [[e for e in order if one[e] and not other[e]] for one, other in itertools.pairwise(ranked)]
    turns = [e for turn in itertools.zip_longest(*apart) for e in turn if e is not None]
    return sorted(list(dict.fromkeys([*turns, *order]))[:count])


def record(
    path: Path,
    scenarios: Scenarios,
    protocol: Protocol,
    shown: Mapping[str, Entrant],
    judged: Mapping[str, str],
    chosen: Sequence[int],
) -> None:
    """Play the episodes at the positions `chosen` with every entrant, and write them to `path`.

    One that ends otherwise than when it was `judged`, among others, is left out: rounding differs, and beside
    its report it would be a contradiction.
    """
    of_paths = isinstance(protocol, PathProtocol)
    kind, episodes = "paths" if of_paths else "cells", []
    play: Callable[..., Any] = path_episode.trace if of_paths else episode.trace
    with watch("recording", "episodes", len(chosen), closing=False) as progress:
        for done, position in enumerate(chosen, 1):
            one = scenarios.select(slice(position, position + 1))
            traces = {
                name: traces_file.compact(play(one, protocol, entrant.play))
                for name, entrant in shown.items()
            }
            if all(trace.outcome == judged[name][position] for name, trace in traces.items()):
                ends = [one.start[0].tolist(), one.goal[0].tolist()]
                episodes.append(traces_file.Episode(int(one.ids[0]), one.static[0], ends, traces))
            progress(done, len(chosen))
    keeping.say_left_out("episodes", len(chosen) - len(episodes), len(chosen))
    about = asdict(scenarios.world), asdict(protocol)
    traces_file.write(path, traces_file.Traces(kind, *about, list(shown), episodes))
