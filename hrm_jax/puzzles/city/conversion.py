"""The original's 18 JSON files of a city and data sets in HRM's layout, into one another, without loss."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import files as paths
from hrm_jax.artefacts.errors import RequestError, naming
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.city.build import RULES
from hrm_jax.puzzles.city.files import (
    COLUMNS,
    KEYS,
    METHOD,
    PREFIX,
    TOKENS,
    Cities,
    Data,
    is_data_set,
    names_of_files,
    read,
)
from hrm_jax.puzzles.dataset import PAD, SPLITS


def convert(source: Path, out: Path) -> str:
    """The data set of the 18 files, or the files of a data set, in `out`, a folder or ZIP; what was done."""
    data = read(source)
    if is_data_set(source):
        _write_files(data, out)
        return f"{out}: {len(names_of_files())} files"
    with naming(source):
        for split, cities in data.splits.items():
            _check(split, cities)
    # What is to be made is known by what it is made of.
    settings = {"kind": "city", "converted": dataset.digest([json.dumps(data.names), *_prints(data)])}
    made = building.produce(out, settings, RULES, lambda work, whole: _write_data_set(data, whole))
    return f"{out}: {'done' if made else 'there already'}"


def _prints(data: Data) -> Iterator[str]:
    for cities in data.splits.values():
        for array in (cities.inputs, cities.labels, cities.puzzle_of_example, cities.scenarios, cities.hours):
            yield dataset.digest([array.tobytes().hex()])


def _check(split: str, cities: Cities) -> None:
    """Refuse a split that cannot be a data set: what it asks would not be what it teaches."""
    for name in ("inputs", "labels"):
        highest = int(getattr(cities, name).max())
        if highest >= cities.vocabulary:
            raise RequestError(
                f"{split} {name} hold the token {highest}; the vocabulary is 0 to {cities.vocabulary - 1}"
            )
    if cities.path_only and cities.ignored is not None:
        raise RequestError(
            f"{split}: labels are the path alone, and ignore_label_id is {cities.ignored}: nothing but the "
            "path would count, and path everywhere be right; allowed for such labels: null"
        )
    _, first, sizes = np.unique(cities.scenarios, return_index=True, return_counts=True)
    for at, size in zip(first, sizes, strict=True):
        found = cities.vehicles[cities.scenarios == cities.scenarios[at]].tolist()
        if found != [1, 2, 3, 4]:
            raise RequestError(
                f"{split}: scenario {cities.scenarios[at]} has {size} examples, of the vehicles "
                f"{', '.join(KEYS[n - 1] if n else 'unknown' for n in found)}; each has {', '.join(KEYS)}"
            )


def _write_data_set(data: Data, folder: Path) -> None:
    for split, cities in data.splits.items():
        offsets = np.arange(len(cities.inputs) + 1)
        extra = {"scenario_ids": cities.scenarios[:: len(KEYS)]}
        if (cities.hours >= 0).all():
            extra["hours"] = cities.hours[:: len(KEYS)].astype(np.int32)
        dataset.write(
            folder,
            split,
            "city",
            cities.inputs,
            cities.labels,
            cities.puzzle_of_example,
            offsets,
            offsets[:: len(KEYS)],
            cities.vocabulary,
            height=cities.height,
            width=cities.width,
            names=data.names,
            extra=extra,
            ignored=None if cities.path_only else PAD,
        )


def _write_files(data: Data, out: Path) -> None:
    contents = dict(_contents(data))
    if out.suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in contents.items():
                archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
        with paths.atomic_write(out, "wb") as file:
            file.write(buffer.getvalue())
        return
    for name in contents:
        paths.check_writable(out / name)
    for name, text in contents.items():
        with paths.atomic_write(out / name) as file:
            file.write(text)


def _contents(data: Data) -> Iterator[tuple[str, str]]:
    """The names and texts of the 18 files."""
    for split, cities in data.splits.items():
        yield f"{PREFIX}{split}_dataset.json", json.dumps(_metadata(data, split), indent=2)
        keys = [KEYS[vehicle - 1] for vehicle in cities.vehicles.tolist()]
        offsets = np.arange(len(cities.inputs) + 1)
        columns = (cities.inputs, cities.labels, cities.puzzle_of_example, offsets, offsets[:: len(KEYS)],
                   cities.scenarios)  # fmt: skip
        lists: list[Any] = [array.tolist() for array in columns]
        for name, values in zip(COLUMNS, [*lists, keys], strict=True):
            yield f"{PREFIX}{split}_all__{name}.json", json.dumps(values, separators=(",", ":"))
    yield f"{PREFIX}identifiers.json", json.dumps(data.names)
    yield f"{PREFIX}dataset_summary.json", json.dumps(_summary(data), indent=2)


def _metadata(data: Data, split: str) -> dict[str, Any]:
    cities = data.splits[split]
    groups = len(np.unique(cities.scenarios))
    return {
        "seq_len": cities.inputs.shape[1],
        "vocab_size": cities.vocabulary,
        "pad_id": PAD,
        "ignore_label_id": cities.ignored,
        "blank_identifier_id": 0,
        "num_puzzle_identifiers": len(data.names),
        "total_groups": groups,
        # The original divides by groups, HRM by puzzles (docs/faults.md).
        "mean_puzzle_examples": len(cities.inputs) / groups if len(data.names) == 1 else 1.0,
        "sets": ["all"],
        "task": "city_logistics_routing",
        "map_dimensions": {"width": cities.width, "height": cities.height},
        "token_mapping": {name: number for number, name in enumerate(TOKENS[: cities.vocabulary])},
        "generation_method": "paper_compatible",
        "split": split,
    }


def _summary(data: Data) -> dict[str, Any]:
    """Counted, where the original has constants."""
    train, test = (data.splits[split] for split in SPLITS)
    hours = {split: cities.hours[:: len(KEYS)].tolist() for split, cities in data.splits.items()}
    ours = {
        "layout": "fixed" if len(data.names) == 1 else "repaired",
        "size": train.height,
        "vocabulary": train.vocabulary,
        "label_format": "path_only" if train.path_only else "grid",
        **({"hours": hours} if all(min(found) >= 0 for found in hours.values()) else {}),
    }
    return {
        "method": METHOD["method"],
        "train_examples": len(train.inputs),
        "test_examples": len(test.inputs),
        "base_scenarios_train": len(np.unique(train.scenarios)),
        "base_scenarios_test": len(np.unique(test.scenarios)),
        "systematic_augmentation": METHOD["systematic_augmentation"],
        "vehicles": list(KEYS),
        "no_overlap": METHOD["no_overlap"],
        "hrm_jax": ours,
    }
