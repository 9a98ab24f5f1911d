"""What a page is made of: reports with their recorded episodes, training runs, a grid of densities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from hrm_jax.artefacts import answers_file, files, json_file, report_file, traces_file
from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.report_file import PUZZLES
from hrm_jax.artefacts.traces_file import Traces
from hrm_jax.judging import statistics, tables
from hrm_jax.referee.protocols import CELL_PROTOCOLS, PATH_PROTOCOLS, PathProtocol
from hrm_jax.reporting.collisions import CollisionRule

LARGEST = 1e100  # of numbers in charts


@dataclass(frozen=True)
class Report:
    """One report.json, and what its protocol adds to it."""

    data: Any  # report_file.Report or PuzzleReport
    traces: Any = None  # Traces or Answers, where some were recorded

    @property
    def heading(self) -> str:
        """Protocol, world and seeds in a line."""
        return tables.heading(self.data)

    @property
    def note(self) -> str:
        """What the protocol's own fault does to the numbers, or empty."""
        return tables.fault_note(self.data)

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
        """The protocol's, or the standard one's where this version does not know the protocol."""
        rules = self.path_rules
        if rules:
            return CollisionRule(rules.collision_radius, not rules.published)
        protocol = CELL_PROTOCOLS.get(self.data["protocol"], CELL_PROTOCOLS["standard"])
        return CollisionRule(protocol.collision_radius, protocol.swept)


@dataclass(frozen=True)
class Run:
    """The record of one training run."""

    name: str
    records: list[dict[str, Any]]  # the lines of metrics.jsonl in order of step
    config: dict

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of `key`, gaps left out."""
        found = [(r["step"], r[key]) for r in self.records if finite(r.get(key))]
        return [step for step, _ in found], [value for _, value in found]


def finite(value: object) -> TypeGuard[float]:
    """Whether `value` is a number that a chart can show, so not NaN, infinite or near it."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


# ---------------------------------------------------------------- reports


def load_report(path: str | Path) -> Report:
    """A report.json with all that belongs to it."""
    data: Any = report_file.load(path)
    recorded: Traces | Answers | None = None
    of_puzzles = data["protocol"] == PUZZLES
    if not of_puzzles:
        data = statistics.groups(data["models"]) | data  # which the first reports lacked
    if data.get("traces"):
        file = Path(path).parent / data["traces"]
        recorded = _answers(file, data) if of_puzzles else traces_file.load(file)
    return Report(data, recorded)


def _answers(path: Path, report: report_file.PuzzleReport) -> Answers:
    """Recorded answers, refused where they are of other models or segments than the report."""
    found = answers_file.load(path)
    if found.segments != report["segments"]:
        raise RequestError(
            f"{path}: answers after {found.segments} segments; the report is of {report['segments']}"
        )
    strange = [name for name in found.models if name not in report["models"]]
    if strange:
        allowed = ", ".join(report["models"])
        raise RequestError(f'{path}: "{strange[0]}" is not in the report, which is of {allowed}')
    return found


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
        _load_run(Path(given), "/".join(path.parts[-depth:]))
        for given, path in zip(workdirs, paths, strict=True)
    ]


def _load_run(workdir: Path, name: str) -> Run:
    path = workdir / "metrics.jsonl"
    if not files.exists(path):
        raise RequestError(f"{path}: not readable; --workdir is a folder of hrm_jax.train")
    records = json_file.lines(path, report_file.Record, "record with a step")
    if not records:
        raise RequestError(f"{path}: holds no record yet; train first")
    return Run(
        name, sorted(records, key=lambda record: record["step"]), _load_config(workdir / "config.json")
    )


def _load_config(path: Path) -> dict:
    """A run's config; empty where none was kept."""
    return json_file.load(path, dict[str, Any], "config.json") if path.exists() else {}
