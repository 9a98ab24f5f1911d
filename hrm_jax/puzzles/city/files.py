"""City data as the original keeps them: 18 JSON files in a folder or a ZIP, and the same in memory.

    city_routing_paper_{train,test}_dataset.json            what the split is: tokens, sizes, counts
    city_routing_paper_{train,test}_all__{inputs,labels}.json        [N][S] tokens
        …_all__{puzzle_identifiers,puzzle_indices,group_indices}.json     as in `puzzles.dataset`
        …_all__{base_scenario_ids,vehicle_types}.json                [N] ids, and "easy" to "expert"
    city_routing_paper_{identifiers,dataset_summary}.json

`read` takes what can be scored (`compliance`), be it sound or not; what becomes a data set is `checked`.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from hrm_jax.artefacts import json_file
from hrm_jax.artefacts.errors import RequestError, naming, one_line
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.city import tokens
from hrm_jax.puzzles.city.build import EXTRA
from hrm_jax.puzzles.dataset import BLANK, SPLITS, PuzzleSet

PREFIX = "city_routing_paper_"
KEYS = ("easy", "normal", "hard", "expert")  # of the vehicles, in the order of `tokens.VEHICLES`
TOKENS = ("PAD", "OBSTACLE", "SMALL_ROAD", "LARGE_ROAD", "DIAGONAL", "TRAFFIC_JAM", "ROAD_CLOSURE", "START",
          "END", "PATH", "TRAFFIC_JAM_SMALL", "TRAFFIC_JAM_DIAGONAL")  # fmt: skip
METHOD = {
    "method": "paper_compatible_generation",
    "systematic_augmentation": "4_vehicle_variants_per_base_scenario",
    "no_overlap": "train_test_base_scenarios_completely_separate",
}
LARGEST = 2**30  # bytes of a file in a ZIP, as it says before it is unpacked

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Token = Annotated[int, msgspec.Meta(ge=0, le=255)]
COLUMNS: dict[str, tuple[Any, type]] = {  # of a split: what a file holds, and the type of its array
    "inputs": (list[list[Token]], np.uint8),
    "labels": (list[list[Token]], np.uint8),
    "puzzle_identifiers": (list[Whole], np.int32),
    "puzzle_indices": (list[Whole], np.int32),
    "group_indices": (list[Whole], np.int32),
    "base_scenario_ids": (list[Whole], np.int32),
    "vehicle_types": (list[str], np.str_),
}


class Sides(msgspec.Struct, frozen=True):
    """Columns and rows."""

    width: dataset.Positive
    height: dataset.Positive


class Split(dataset.Meta, frozen=True):
    """…_dataset.json; the original's other keys say nothing more."""

    map_dimensions: Sides


@dataclass(frozen=True)
class Cities:
    """One split: N examples, each of one vehicle in one scenario; arrays as in `PuzzleSet`."""

    inputs: np.ndarray  # uint8 [N, S]
    labels: np.ndarray  # uint8 [N, S]
    puzzle_of_example: np.ndarray  # int [N]: what a model is told of the vehicle
    scenarios: np.ndarray  # int32 [N]: ids
    vehicles: np.ndarray  # int [N]: positions in `tokens.VEHICLES`, from 1 on; 0: none of them
    hours: np.ndarray  # int [N]; -1 where they are not said
    height: int
    width: int
    vocabulary: int
    ignored: int | None  # the label that does not count

    @property
    def grids(self) -> np.ndarray:
        """The inputs uint8 [N, H, W]."""
        return self.inputs.reshape(-1, self.height, self.width)

    @property
    def path_only(self) -> bool:
        """Whether labels are the path alone, the rest of them 0."""
        return not (self.labels == tokens.START).any()


@dataclass(frozen=True)
class Data:
    """Both splits, and what the files say besides."""

    splits: dict[str, Cities]
    names: list[str] = field(default_factory=lambda: [BLANK])  # of the puzzle identifiers
    summary: dict[str, Any] = field(default_factory=dict)


def names_of_files() -> list[str]:
    """The 18 names."""
    of_splits = [
        f"{split}_{part}" for split in SPLITS for part in ("dataset", *(f"all__{n}" for n in COLUMNS))
    ]
    return [f"{PREFIX}{name}.json" for name in (*of_splits, "identifiers", "dataset_summary")]


def is_data_set(source: Path) -> bool:
    """Whether a folder is in HRM's layout, and none of the 18 files."""
    return source.is_dir() and any((source / split).is_dir() for split in SPLITS)


# ---------------------------------------------------------------- reading


def read(source: Path) -> Data:
    """The data in a ZIP, in a folder of the 18 files, or in a data set of `hrm_jax.puzzles`."""
    if is_data_set(source):
        return of_data_set(source)
    with naming(source):
        texts = dict(_texts(source))
        if missing := [name for name in names_of_files() if name not in texts]:
            raise RequestError(f"{missing[0]} is missing; a city's data are {len(names_of_files())} files")
        found = {name: json_file.parse(text, name) for name, text in texts.items()}
        names = _typed(found, "identifiers", list[str])
        summary = _typed(found, "dataset_summary", dict[str, Any])
        return Data({split: _split(found, split, summary) for split in SPLITS}, names, summary)


def _texts(source: Path) -> Iterator[tuple[str, str]]:
    wanted = set(names_of_files())
    if source.is_dir():
        for name in wanted:
            if (source / name).is_file():
                yield name, (source / name).read_text(encoding="utf-8", errors="replace")
        return
    try:
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                if entry.filename not in wanted:
                    continue
                if entry.file_size > LARGEST:
                    raise RequestError(
                        f"{entry.filename} is of {entry.file_size:,} bytes; at most {LARGEST:,}"
                    )
                yield entry.filename, archive.read(entry).decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise RequestError("no such folder or ZIP") from None
    except RequestError:
        raise
    except Exception as error:  # a damaged archive fails with whatever its parts raise
        raise RequestError(f"neither a folder nor a ZIP that can be read: {one_line(error)}") from None


def _typed(found: dict[str, Any], name: str, kind: Any) -> Any:
    name = f"{PREFIX}{name}.json"
    json_file.fit(found[name], kind, name)
    return msgspec.convert(found[name], kind)


def _split(found: dict[str, Any], split: str, summary: dict[str, Any]) -> Cities:
    meta = _typed(found, f"{split}_dataset", Split)
    columns: dict[str, Any] = {}
    for name, (kind, dtype) in COLUMNS.items():
        rows = _typed(found, f"{split}_all__{name}", kind)
        if kind == list[list[Token]] and {len(row) for row in rows} - {meta.seq_len}:
            raise RequestError(f"{split} {name}: rows of {meta.seq_len} tokens are needed, as seq_len says")
        columns[name] = np.array(rows, dtype)
    count, sides = len(columns["inputs"]), meta.map_dimensions
    for name in ("labels", "base_scenario_ids", "vehicle_types"):
        if len(columns[name]) != count:
            raise RequestError(f"{split} {name}: {len(columns[name])} entries; there are {count} inputs")
    if not count or sides.width * sides.height != meta.seq_len:
        raise RequestError(
            f"{split}: {count} examples of {sides.width} x {sides.height} cells; seq_len is {meta.seq_len}"
        )
    offsets = columns["puzzle_indices"]
    if len(offsets) != len(columns["puzzle_identifiers"]) + 1 or not _rises(offsets, count):
        raise RequestError(
            f"{split} puzzle_indices must rise from 0 to {count}, one more than puzzle_identifiers"
        )
    scenarios = columns["base_scenario_ids"]
    return Cities(
        columns["inputs"],
        columns["labels"],
        np.repeat(columns["puzzle_identifiers"], np.diff(offsets)),
        scenarios,
        np.array([1 + KEYS.index(key) if key in KEYS else 0 for key in columns["vehicle_types"].tolist()]),
        _hours(summary, split, scenarios),
        sides.height,
        sides.width,
        meta.vocab_size,
        meta.ignore_label_id,
    )


def _rises(offsets: np.ndarray, last: int) -> bool:
    ends = len(offsets) > 1 and offsets[0] == 0 and offsets[-1] == last
    return bool(ends and (offsets[1:] > offsets[:-1]).all())


class Ours(msgspec.Struct, frozen=True):
    """What our summaries say under "hrm_jax"."""

    hours: dict[str, list[Annotated[int, msgspec.Meta(ge=0, le=23)]]] = {}


def _hours(summary: dict[str, Any], split: str, scenarios: np.ndarray) -> np.ndarray:
    """The hour of every example's scenario, in the order in which scenarios first appear."""
    json_file.fit(summary.get("hrm_jax", {}), Ours, "hrm_jax in the summary")
    known = summary.get("hrm_jax", {}).get("hours", {}).get(split)
    order = list(dict.fromkeys(scenarios.tolist()))
    if known is None:
        return np.full(len(scenarios), -1)
    if len(known) != len(order):
        raise RequestError(f"{split}: {len(known)} hours in the summary; there are {len(order)} scenarios")
    by_id = dict(zip(order, known, strict=True))
    return np.array([by_id[scenario] for scenario in scenarios.tolist()])


def of_data_set(folder: Path) -> Data:
    """A data set in HRM's layout: vehicles are its identifiers, or, where those are 0, order in a group."""
    loaded = {split: building.load(folder, split) for split in SPLITS}
    if other := {puzzles.kind for puzzles in loaded.values()} - {"", "city"}:
        raise RequestError(f"{folder}: its kind is {min(other)!r}; puzzles of cities are needed")
    splits = {split: _of_puzzles(puzzles) for split, puzzles in loaded.items()}
    named = folder / dataset.NAMES
    return Data(splits, dataset.names(named) if named.exists() else [BLANK])


def _of_puzzles(puzzles: PuzzleSet) -> Cities:
    groups = puzzles.group_of_example
    place = np.arange(len(groups)) - np.searchsorted(groups, groups)
    vehicles = np.where(puzzles.puzzle_of_example > 0, puzzles.puzzle_of_example, 1 + place)
    ids, hours = (dataset.extra(puzzles, name) for name in EXTRA)
    return Cities(
        np.asarray(puzzles.inputs),
        np.asarray(puzzles.labels),
        puzzles.puzzle_of_example,
        groups if ids is None else ids[groups],
        np.where(vehicles <= len(KEYS), vehicles, 0),
        np.full(len(groups), -1) if hours is None else hours[groups],
        puzzles.height,
        puzzles.width,
        puzzles.meta.vocab_size,
        puzzles.meta.ignore_label_id,
    )
