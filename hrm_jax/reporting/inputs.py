"""What a page is made of: reports with their recorded episodes, training runs, a grid of densities."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, TypeGuard

from hrm_jax.artefacts import files, json_file, report_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.report_file import PUZZLES, Name, Positive
from hrm_jax.judging import marks, reports, tables
from hrm_jax.referee.protocols import CELL_PROTOCOLS, PATH_PROTOCOLS, PathProtocol
from hrm_jax.reporting import recorded
from hrm_jax.reporting.collisions import CollisionRule

LARGEST = 1e100  # of numbers in charts


@dataclass(frozen=True)
class Report:
    """One report.json, and what its protocol adds to it."""

    data: Any  # report_file.Report or PuzzleReport
    traces: Any = None  # Traces or Answers, where some were recorded
    path: str = ""  # of its file, where only that tells it from another on the page

    @property
    def heading(self) -> str:
        """Protocol, world and seeds in a line."""
        return tables.heading(self.data) + (f" ({self.path})" if self.path else "")

    @property
    def fault(self) -> str:
        """What the protocol's own fault does to the numbers, or empty."""
        return tables.published_fault(self.data)

    @property
    def marks(self) -> list[str]:
        """Why models are marked."""
        return marks.sentences(self.data["models"])

    @property
    def puzzles(self) -> bool:
        """Whether answers to puzzles were judged, and no planner."""
        return self.data["protocol"] == PUZZLES

    @property
    def path_rules(self) -> PathProtocol | None:
        """The protocol, where whole paths were judged."""
        return PATH_PROTOCOLS.get(self.data["protocol"])

    @property
    def collision_rule(self) -> CollisionRule:
        """The protocol's."""
        rules = self.path_rules
        if rules:
            return CollisionRule(rules.collision_radius, not rules.published)
        protocol = CELL_PROTOCOLS[self.data["protocol"]]
        return CollisionRule(protocol.collision_radius, protocol.swept)


class Network(TypedDict, total=False):
    """Of a run's model, what the page shows."""

    name: Name


class Shown(TypedDict, total=False):
    """Of a run's config, what the page shows; empty where none was kept."""

    model: Network
    batch_size: Positive


@dataclass(frozen=True)
class Run:
    """The record of one training run."""

    name: str
    records: list[Any]  # the lines of metrics.jsonl in order of step
    config: Any  # Shown

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of `key`, gaps left out."""
        found = [(r["step"], r[key]) for r in self.records if finite(r.get(key))]
        return [step for step, _ in found], [value for _, value in found]


def finite(value: object) -> TypeGuard[float]:
    """Whether `value` is a number that a chart can show, so not NaN, infinite or near it."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


# ---------------------------------------------------------------- reports


def load_reports(paths: Sequence[str | Path]) -> list[Report]:
    """Reports, told apart: tracks of one name may have come from two files."""
    found = [load_report(path) for path in paths]
    headings = collections.Counter(report.heading for report in found)
    return [
        replace(report, path=str(path)) if headings[report.heading] > 1 else report
        for report, path in zip(found, paths, strict=True)
    ]


def load_report(path: str | Path) -> Report:
    """A report.json with all that belongs to it."""
    data = reports.load(path)
    traces = recorded.load(Path(path).parent / data["traces"], data) if data.get("traces") else None
    return Report(data, traces)


# ---------------------------------------------------------------- training runs


def load_runs(workdirs: Sequence[str | Path]) -> list[Run]:
    """The runs in `workdirs`, named by the shortest ends of their paths that tell them apart."""
    paths = [Path(workdir).resolve() for workdir in workdirs]
    if len(set(paths)) < len(paths):
        raise RequestError("--workdir names one folder twice; each run is needed once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return [
        _load_run(Path(given), files.printable("/".join(path.parts[-depth:])))
        for given, path in zip(workdirs, paths, strict=True)
    ]


def _load_run(workdir: Path, name: str) -> Run:
    path = workdir / "metrics.jsonl"
    if not files.exists(path):
        raise RequestError(f"{path}: not readable; --workdir is a folder of hrm_jax.train")
    records = report_file.load_records(path)
    if not records:
        raise RequestError(f"{path}: holds no record yet; train first")
    config = workdir / "config.json"
    shown = json_file.load(config, Shown, "config.json") if config.exists() else {}
    return Run(name, sorted(records, key=lambda record: record["step"]), shown)
