"""What an evaluation is asked for: models, a protocol and scenarios by name, read and checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hrm_jax.artefacts import files, json_file, model_file, tracks_file
from hrm_jax.artefacts import scenarios as scenarios_file
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.artefacts.report_file import Before
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.judging import own
from hrm_jax.judging.entrants import PATH_PLANNERS, PREDICTORS, Source
from hrm_jax.judging.own import Function
from hrm_jax.judging.reports import CHANGED
from hrm_jax.referee import drawing
from hrm_jax.referee.protocols import PROTOCOLS, Protocol
from hrm_jax.worlds.world import WORLDS

BUILT_IN = (*PREDICTORS, *PATH_PLANNERS)


@dataclass(frozen=True)
class Request:
    """An evaluation, in the words of the command line."""

    models: Sequence[str]  # NAME, FILE, NAME=FILE or [NAME=]FILE.py:FUNCTION
    out: Path  # where report.json goes
    predictor: str | None = None  # NAME or FILE, for planners of paths that ask for one
    protocol: str = "standard"
    world: str | Scenarios | None = None  # a name, a scenarios.npz or a file of tracks; None: the protocol's
    episodes: int | None = None
    seeds: str | None = None  # "A:B"
    backend: str = "numpy"  # of entrants.BACKENDS
    history: int | None = None  # steps that are watched first, of recorded tracks
    record: int = 0  # episodes to record
    jobs: int = 1  # entrants that play at a time
    diverging: bool = False  # a predictor that diverges is cut off where predictions end, and not refused
    before: Before = field(default_factory=Before)  # what the report says of how the models were trained


def sources(models: Sequence[str]) -> dict[str, Source]:
    """Where models come from, by name, in order; functions are loaded."""
    found: dict[str, Source] = {}
    for model in models:
        function = own.parse(model)
        if function is None:
            one = model_file.named([model], BUILT_IN, BUILT_IN)
        else:
            check_name(function[0])
            one = {function[0]: own.load(*function[1:])}
        if twice := [name for name in one if name in found]:
            raise RequestError(f'two models are called "{twice[0]}"; name one with --model NAME=FILE')
        found |= one
    return found


def reads(request: Request, sources: Mapping[str, Source]) -> list[Path]:
    """The files that an evaluation reads, over which it must not write."""
    found = [source.path if isinstance(source, Function) else source for source in sources.values()]
    if request.predictor:
        function = own.parse(request.predictor)
        found.append(files.expanded(function[1] if function else request.predictor))
    if isinstance(request.world, str):
        found.append(files.expanded(request.world))
    return [path for path in found if path]


def check_name(name: str) -> None:
    """Refuse what cannot name somebody's function."""
    if not re.search(json_file.NAME, name) or name in BUILT_IN:
        raise RequestError(f'"{name}" cannot name a function; name it NAME=FILE.py:FUNCTION')


def scenarios(request: Request, protocol: Protocol) -> Scenarios:
    """The scenarios that are asked for, drawn or read."""
    name, stored = _stored(request, protocol)
    chosen = stored.world if stored else WORLDS[known("world", name, (*WORLDS, "FILE.npz", "TRACKS.csv"))]
    usual = WORLDS[protocol.world]
    if chosen.layout != usual.layout:
        allowed = [key for key, value in PROTOCOLS.items() if WORLDS[value.world].layout == chosen.layout]
        raise RequestError(
            f'protocol "{protocol.name}" is for worlds of {usual.layout}; "{name}" is one of '
            f"{chosen.layout}, for which there are {', '.join(allowed)}"
        )
    if not protocol.any_world and chosen != usual:
        raise RequestError(
            f'protocol "{protocol.name}" is defined on world "{protocol.world}" alone, not on '
            f'"{name}"; protocols for any world: '
            + ", ".join(key for key, value in PROTOCOLS.items() if value.any_world)
        )
    if stored is None:
        seeds = _seed_range(request, protocol.seeds, scenarios_file.LAST_ID + 1)
        return drawing.draw(chosen, range(*seeds))
    held = int(stored.ids[0]), int(stored.ids[-1]) + 1
    first, stop = _seed_range(request, held, held[1])
    if first < held[0]:
        raise RequestError(f"--seeds {request.seeds}: {name} holds {held[0]}:{held[1]}")
    return _named_truly(stored.select(slice(first - held[0], stop - held[0])))


def _stored(request: Request, protocol: Protocol) -> tuple[str, Scenarios | None]:
    """The world's name or file, and its scenarios where they are not to be drawn."""
    if isinstance(request.world, Scenarios):
        name, stored = request.world.world.name, request.world
    else:
        name, stored = protocol.world if request.world is None else request.world, None
        if name not in WORLDS and files.is_meant(name):
            return name, tracks_file.load(files.expanded(name), request.history)
    if request.history is not None:
        raise RequestError(f'--history {request.history}: for a file of tracks, not for world "{name}"')
    return name, stored


def _named_truly(stored: Scenarios) -> Scenarios:
    """Scenarios of a file, whose world has the name of one of ours only if they are what is drawn in it."""
    name = stored.world.name
    if name not in WORLDS or (
        stored.world == WORLDS[name] and stored.equal(drawing.draw(WORLDS[name], stored.ids.tolist()))
    ):
        return stored
    return replace(stored, world=replace(stored.world, name=f"{name}{CHANGED}"))


def _seed_range(request: Request, default: tuple[int, int], limit: int) -> tuple[int, int]:
    """First and last + 1 of the scenario ids."""
    count = request.episodes
    if count is not None and count < 1:
        raise RequestError(f"--episodes {count}: at least 1 is needed")
    if request.seeds is None:
        first, stop = default[0], default[1] if count is None else default[0] + count
    else:
        first, stop = _parse_seeds(request.seeds)
        if count not in (None, stop - first):
            raise RequestError(
                f"--episodes {count} contradicts --seeds {request.seeds}, which are {stop - first}"
            )
    if stop > limit:
        raise RequestError(f"seeds {first}:{stop} go beyond {limit}, where those available end")
    return first, stop


def _parse_seeds(text: str) -> tuple[int, int]:
    first, _, stop = text.partition(":")
    if not (text.isascii() and all(part.isdecimal() and len(part) <= 20 for part in (first, stop))):
        raise RequestError(f"--seeds {text[:50]!r}: A:B is needed, whole numbers with 0 <= A < B <= 2**32")
    if int(first) >= int(stop):
        raise RequestError(f"--seeds {text}: {first} is not before {stop}; A:B needs A < B")
    return int(first), int(stop)
