"""Episodes that tell models apart, played again and recorded for the report's player."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hrm_jax.artefacts import traces_file
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.artefacts.traces_file import Episode, Traces
from hrm_jax.console.progress import watch
from hrm_jax.judging.entrants import Entrant
from hrm_jax.referee.cells import episode
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.protocols import PathProtocol, Protocol
from hrm_jax.worlds.rules import SUCCESS


def one_a_group(entrants: Mapping[str, Entrant]) -> dict[str, Entrant]:
    """Of models that were trained several times, the first."""
    first: dict[str, str] = {}
    for name, entrant in entrants.items():
        first.setdefault(entrant.about.get("group", name), name)
    return {name: entrants[name] for name in first.values()}


def choose(outcomes: Mapping[str, str], count: int) -> list[int]:
    """Up to `count` positions of telling episodes: those on which the models differ most come first."""
    solved = np.array([[o == SUCCESS for o in row] for row in outcomes.values()])
    share = solved.mean(axis=0)
    order = np.argsort(np.abs(share - 0.5), kind="stable")
    return sorted(order[:count].tolist())


def record(
    path: Path,
    scenarios: Scenarios,
    protocol: Protocol,
    shown: Mapping[str, Entrant],
    chosen: Sequence[int],
) -> None:
    """Play the episodes at the positions `chosen` with every entrant, and write them to `path`."""
    of_paths = isinstance(protocol, PathProtocol)
    kind, play = ("paths", path_episode.trace) if of_paths else ("cells", episode.trace)
    episodes = []
    with watch("recording", "episodes", len(chosen), closing=False) as progress:
        for position in chosen:
            one = scenarios.select(slice(position, position + 1))
            traces = {
                name: traces_file.compact(kind, play(one, protocol, entrant.play))
                for name, entrant in shown.items()
            }
            ends = [one.start[0].tolist(), one.goal[0].tolist()]
            episodes.append(Episode(int(one.ids[0]), one.static[0], ends, traces))
            progress(len(episodes), len(chosen))
    about = asdict(scenarios.world), asdict(protocol)
    traces_file.write(path, Traces(kind, *about, list(shown), episodes))
