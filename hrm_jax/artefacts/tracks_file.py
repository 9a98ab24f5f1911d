"""tracks.npz and tracks.csv: somebody's recorded obstacles, as a person or a tracker writes them; NumPy only.

An npz has the arguments of `Scenarios.from_tracks` by name: tracks [E, T, N, 2], and if wanted static, start,
goal and history. A CSV has a header and the columns episode, time, obstacle, row, column, a position a line,
and if wanted kind. Without it, or where kind is "obstacle", a line is where an obstacle is at a time. Times
are steps, and an episode begins with the first of its own; at a time without a line an obstacle is not
there. Other kinds need no time and no obstacle, and are for all episodes where none is named: "wall" a static
cell, "start" and "goal" cells, "map" a corner of the map: the last row and column.
"""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hrm_jax.artefacts import archive, files, scenarios
from hrm_jax.artefacts.errors import RequestError, naming
from hrm_jax.artefacts.scenarios import HISTORY, Scenarios, check_map, smallest_map
from hrm_jax.worlds.world import RECORDED

ARRAYS = ("tracks", "static", "start", "goal", "history")
COLUMNS = ("episode", "time", "obstacle", "row", "column")
KINDS = ("obstacle", "wall", "start", "goal", "map")
LONGEST = 19  # digits of a name that is a number
MOST = 50_000_000  # positions of a file: episodes times obstacles times steps


class Line(NamedTuple):
    """A line of the CSV; time and obstacle are those of obstacles alone."""

    number: int
    kind: str
    episode: str
    time: int
    obstacle: str
    place: tuple[float, float]


def load(path: str | os.PathLike, history: int | None = None) -> Scenarios:
    """The scenarios of a file, be they tracks or what `scenarios.save` wrote.

    `history`: the steps that the agent watches recorded obstacles, if not those that the file says.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        with naming(path):
            return _of_csv(path, HISTORY if history is None else history)
    with archive.reading(path, scenarios.ABSENT, scenarios.INCOMPLETE) as found:
        if "tracks" in found and "world" not in found:
            return _of_arrays(found, history, path.stem)
        stored = scenarios.of_arrays(found)
    if history is not None:
        raise RequestError(f"{path}: scenarios of {stored.world.history} steps of history, not {history}")
    return stored


def _of_arrays(found: archive.Arrays, history: int | None, name: str) -> Scenarios:
    archive.check_names(found, ARRAYS, "tracks.npz")
    given = dict(found)
    said = given.pop("history", np.asarray(HISTORY))
    if said.shape or said.dtype.kind not in "iu":
        raise RequestError(f"history is {said.dtype} {list(said.shape)}; one whole number is needed")
    steps = int(said) if history is None else history
    return Scenarios.from_tracks(given.pop("tracks"), **given, history=steps, name=name)


def _of_csv(path: Path, history: int) -> Scenarios:
    lines = _read(path)
    placed = [line for line in lines if line.kind == "obstacle"]
    if not placed:
        raise RequestError('no line is of an obstacle; kind is to be "obstacle" or empty')
    episodes = _numbered(line.episode for line in placed)
    obstacles = _numbered(line.obstacle for line in placed)
    begun, ended = ({name: of(times) for name, times in _times(placed).items()} for of in (min, max))
    length = max(ended[name] - begun[name] for name in episodes) + 1
    if length > RECORDED:
        raise RequestError(
            f"{length:,} steps from the first time of an episode to its last: at most {RECORDED:,}"
        )
    if len(episodes) * len(obstacles) * length > MOST:
        raise RequestError(
            f"{len(episodes):,} episodes of {length:,} times and {len(obstacles):,} obstacles: at most "
            f"{MOST:,} positions; times go up by 1 a step"
        )
    tracks = np.full((len(episodes), length, len(obstacles), 2), np.nan)
    for line in placed:
        at = episodes[line.episode], line.time - begun[line.episode], obstacles[line.obstacle]
        if not np.isnan(tracks[at]).all():
            raise RequestError(
                f"line {line.number}: obstacle {line.obstacle} is at time {line.time} of episode "
                f"{line.episode} twice"
            )
        tracks[at] = line.place
    ends = {
        kind: _ends([line for line in lines if line.kind == kind], episodes) for kind in ("start", "goal")
    }
    static = _map([line for line in lines if line.kind in ("wall", "map")], episodes, tracks, ends)
    return Scenarios.from_tracks(tracks, static, **ends, history=history, name=path.stem)


def _times(lines: Sequence[Line]) -> dict[str, list[int]]:
    """The times of each episode, which begins with the first of them."""
    found: dict[str, list[int]] = {}
    for line in lines:
        found.setdefault(line.episode, []).append(line.time)
    return found


def _ends(lines: Sequence[Line], episodes: dict[str, int]) -> np.ndarray | None:
    """Cells [E, 2]: of each episode, or of all; None where no line says."""
    if not lines:
        return None
    said: dict[str, Line] = {}
    for line in lines:
        if (first := said.setdefault(line.episode, line)) is not line:
            raise RequestError(f"line {line.number}: a second {line.kind}, after that of line {first.number}")
    cells = np.full((len(episodes), 2), np.nan)
    for line in sorted(lines, key=lambda line: line.episode != ""):  # those for all first
        cells[_meant(line, episodes)] = line.place
    if np.isnan(cells).any():
        lacking = list(episodes)[int(np.isnan(cells).any(axis=1).argmax())]
        raise RequestError(f"episode {lacking} has no {lines[0].kind}, but others have")
    return cells


def _map(
    lines: Sequence[Line], episodes: dict[str, int], tracks: np.ndarray, ends: dict[str, np.ndarray | None]
) -> np.ndarray | None:
    """Static cells bool [E, R, C]: of the size that "map" says, else of the smallest that holds all."""
    if not lines:
        return None
    corners = [line for line in lines if line.kind == "map"]
    for line in corners:
        _meant(line, episodes)
        if line.place != corners[0].place:
            raise RequestError(
                f"line {line.number}: another map than in line {corners[0].number}; one is for all"
            )
    cells = np.array([line.place for line in lines]), *ends.values()
    rows, columns = smallest_map(np.empty((0, 2)) if corners else tracks, *cells)
    if corners and (rows - 1 > corners[0].place[0] or columns - 1 > corners[0].place[1]):
        last = tuple(map(int, corners[0].place))
        raise RequestError(f"a wall, start or goal is beyond the map, whose last cell is {last}")
    check_map(rows, columns)
    static = np.zeros((len(episodes), rows, columns), bool)
    for line in lines:
        if line.kind == "wall":
            row, column = map(int, line.place)
            static[_meant(line, episodes), row, column] = True
    return static


def _meant(line: Line, episodes: dict[str, int]) -> Any:
    """The episodes that a line is about, as an index."""
    if not line.episode:
        return slice(None)
    if line.episode not in episodes:
        raise RequestError(f"line {line.number}: no obstacle is in an episode {line.episode}")
    return episodes[line.episode]


def _numbered(names: Iterable[str]) -> dict[str, int]:
    """Numbers from 0 for what is named, in the order of the names: as numbers where all are."""
    known = set(names)
    numbers = all(name.isascii() and name.isdecimal() and len(name) < LONGEST for name in known)
    return {name: i for i, name in enumerate(sorted(known, key=lambda n: (int(n) if numbers else 0, n)))}


# ---------------------------------------------------------------- lines


def _read(path: Path) -> list[Line]:
    if not files.exists(path):
        raise RequestError("no such file of tracks")
    if not path.is_file():
        raise RequestError("not a file")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(rows, [])]
            _check_header(header)
            return [_line(header, row, rows.line_num) for row in rows if any(map(str.strip, row))]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise RequestError(f"no CSV of tracks ({error})") from None


def _check_header(header: list[str]) -> None:
    wanted = f"the columns are {', '.join(COLUMNS)} and, if wanted, kind"
    for name in COLUMNS:
        if header.count(name) != 1:
            raise RequestError(f'its header has "{name}" {header.count(name)} times; {wanted}')
    if header.count("kind") > 1 or (strange := [name for name in header if name not in (*COLUMNS, "kind")]):
        raise RequestError(f'its header has "{strange[0] if header.count("kind") < 2 else "kind"}"; {wanted}')


def _line(header: list[str], row: list[str], number: int) -> Line:
    if len(row) != len(header):
        raise RequestError(f"line {number}: {len(row)} columns; its header has {len(header)}")
    said = {name: value.strip() for name, value in zip(header, row, strict=True)}
    kind = said.get("kind", "").lower() or "obstacle"
    if kind not in KINDS:
        raise RequestError(f'line {number}: kind "{kind}"; allowed: {", ".join(KINDS)}')
    place = _number(said, "row", number), _number(said, "column", number)
    if kind != "obstacle":
        if not all(value.is_integer() and value >= 0 for value in place):
            raise RequestError(f"line {number}: the {kind} is at {place}; a cell of the map is needed")
        return Line(number, kind, said["episode"], 0, "", place)
    for name in ("episode", "obstacle"):
        if not said[name]:
            raise RequestError(f"line {number}: {name} is empty")
    time = _number(said, "time", number)
    if not time.is_integer() or abs(time) > MOST:
        raise RequestError(f"line {number}: time {said['time']}; whole steps are needed, one apart")
    return Line(number, kind, said["episode"], int(time), said["obstacle"], place)


def _number(said: dict[str, str], name: str, number: int) -> float:
    try:
        value = np.nan if "_" in said[name] else float(said[name])
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise RequestError(f'line {number}: {name} is "{said[name]:.40}"; a number is needed')
    return value
