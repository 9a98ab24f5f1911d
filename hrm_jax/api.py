"""Judging from Python: `hrm_jax.judge`, and the report that it returns.

import hrm_jax

def still(seen, horizon):
    return seen.history[:, -1:].repeat(horizon, axis=1)

report = hrm_jax.judge(still, world="swarm", episodes=200)
print(report.table())
report.page("page/")
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hrm_jax.artefacts import files, report_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.judging import evaluation, keeping, request, tables
from hrm_jax.judging.entrants import Source
from hrm_jax.judging.evaluation import Match
from hrm_jax.judging.own import Function
from hrm_jax.judging.request import BUILT_IN, Request
from hrm_jax.referee.cells.episode import Result
from hrm_jax.referee.protocols import CELL_PROTOCOLS
from hrm_jax.worlds.features import Observation

AGAINST = ("constant_velocity", "reflection", "oracle")
NONE = type(None)
ARGUMENTS: dict[str, tuple[tuple[type, ...], str]] = {
    "world": (
        (str, Path, Scenarios, NONE),
        "a name, a file or Scenarios (of arrays: Scenarios.from_tracks)",
    ),
    "protocol": ((str,), "a name"),
    "episodes": ((int, NONE), "a whole number"),
    "seeds": ((str, NONE), 'a text "A:B"'),
    "backend": ((str,), "a name"),
    "predictor": ((str, Path, NONE), "a name or a file"),
    "history": ((int, NONE), "a whole number"),
    "record": ((int,), "a whole number"),
}
Model = str | Path | Callable[[Observation, int], Any]


class Report:
    """What an evaluation found; `data` is the contents of report.json."""

    def __init__(self, match: Match, results: Mapping[str, Result], recorded: int):
        self._match, self._results, self._recorded = match, results, recorded
        self.data: Any = evaluation.build_report(match, results)

    def table(self) -> str:
        """A row a model, with intervals: Markdown."""
        return tables.evaluation(self.data, self._match.limit)

    __str__ = table
    _repr_markdown_ = table  # in a notebook

    def save(self, path: str | Path) -> Path:
        """Write report.json, and beside it the recorded episodes, which are played once more; its path."""
        path = files.expanded(path)
        keeping.check(path, self._recorded, self._match.reads)
        report_file.write(path, self.data)
        if self._recorded:
            write = evaluation.recorder(self._match, self._results, self._recorded)
            keeping.record(path, self.data, write)
        return path

    def page(self, folder: str | Path) -> Path:
        """Write the report and a page of it to a folder, with a player of the recorded episodes; its path."""
        from hrm_jax.reporting import writing  # which a robot never needs

        folder = files.expanded(folder)
        if folder.exists() and not folder.is_dir():
            raise RequestError(f"{folder}: is a file; a folder is needed, new or existing")
        writing.write(writing.Request(folder, reports=[self.save(folder / "report.json")]))
        return folder / "index.html"


def judge(
    model: Model | Mapping[str, Model],
    *,
    world: str | Path | Scenarios | None = None,
    protocol: str = "standard",
    episodes: int | None = None,
    seeds: str | None = None,
    backend: str = "numpy",
    against: Sequence[str] | None = None,
    predictor: str | Path | None = None,
    history: int | None = None,
    record: int = 6,
) -> Report:
    """Judge a model in closed loop, next to others, as `python -m hrm_jax.evaluate` does.

    Args:
        model: a function (seen, horizon) -> positions [A, horizon, N, 2] in cells (`hrm_jax.judging.own`),
            the file of a model, a built-in name, or several of them by name.
        world: a name, `Scenarios`, a scenarios.npz, or recorded tracks (.csv, .npz); None: the protocol's.
        episodes, seeds: how many scenarios, or which ("0:200"); None: all of the protocol or the file.
        backend: "numpy", the referee; "jax" predicts for it; "jit" plays whole episodes on the device.
        against: built-in names that are judged, too; None: AGAINST, or the bounds of a protocol of paths.
        predictor: under a protocol of paths, what rolls obstacles forward.
        history: steps that the agent watches first, of a file of tracks.
        record: episodes that the page's player shows.

    Raises `hrm_jax.artefacts.errors.RequestError`, one line, where something asked for is wrong; what a
    function raises itself is passed on.
    """
    _check(world, protocol, episodes, seeds, backend, predictor, history, record)
    sources = _sources(model)
    if against is None:
        against = AGAINST if protocol in CELL_PROTOCOLS else ()
    for name in against:
        sources.setdefault(name, None)
    if not sources:
        raise RequestError("no model: there is nothing to judge")
    asked = Request(
        models=(),
        out=Path(),
        predictor=None if predictor is None else str(predictor),
        protocol=protocol,
        world=str(world) if isinstance(world, Path) else world,
        episodes=episodes,
        seeds=seeds,
        backend=backend,
        history=history,
        record=record,
    )
    match = evaluation.enter(asked, sources)
    return Report(match, evaluation.play_all(match), record)


def _check(*given: Any) -> None:
    """Refuse arguments of other types than `judge` takes."""
    for (name, (kinds, words)), value in zip(ARGUMENTS.items(), given, strict=True):
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise RequestError(f"{name} is of {type(value).__name__}; {words} is needed")


def _sources(model: Model | Mapping[str, Model]) -> dict[str, Source]:
    """Where models come from, by name."""
    if isinstance(model, str | Path):
        return request.sources([str(model)])
    if not isinstance(model, Mapping):
        called = getattr(model, "__name__", type(model).__name__)
        return {called if called.isidentifier() and called not in BUILT_IN else "model": Function(model)}
    found: dict[str, Source] = {}
    for name, one in model.items():
        if not isinstance(name, str):
            raise RequestError(f"{name!r:.50} cannot name a model; a text is needed")
        if not isinstance(one, str | Path):
            request.check_name(name)
            found[name] = Function(one, name)
        elif str(one) in BUILT_IN and str(one) != name:
            raise RequestError(f'"{name}": {one} is built in, and keeps its name')
        else:
            found |= request.sources([str(one) if str(one) == name else f"{name}={one}"])
    return found
