"""City routing: one street plan and its traffic, the cheapest route for a bike, a car, a van and a truck.

    python -m hrm_jax.puzzles city --out data/city
    python -m hrm_jax.puzzles city --out data/city12 --size 12 --train 8000 --test 500 --hours 8 17 18
    python -m hrm_jax.puzzles city --out data/original --layout fixed

Tokens: 1 building or park, 2 small road, 3 large road, 4 diagonal, 5 jam on a large road, 6 closure, 7 start,
8 goal, 9 path, 10 jam on a small road, 11 jam on the diagonal; the label is the input with its route marked.
A group is a scenario, its four puzzles the vehicles, which are the puzzle identifiers 1 to 4. Train and test
share no street plan. Costs and law are in docs/puzzles.md. --layout fixed gives the original's data, to the
bit and with their faults (docs/faults.md): one plan, 10 tokens, no identifiers, labels of the path alone.
"""

import argparse
import contextlib
import functools
import itertools
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hrm_jax.artefacts import parts
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import at_least
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import dataset, sharing
from hrm_jax.puzzles.city import answers, law, original, tokens
from hrm_jax.puzzles.dataset import BLANK, PAD, SPLITS

USUAL = {"train": 240, "test": 100}  # scenarios
MOST = 1_000_000  # scenarios of a split: further ones would be drawn as those of another
CELLS = 2**15  # in a part, about: a second's work at most
EXTRA = ("scenario_ids", "hours")  # further arrays of a data set, int32 [G]
ONLY_REPAIRED = ("size", "vocab", "hours", "jam", "apart")
RULES = building.Rules(
    "city",
    lambda height, width: tokens.VOCABULARY if height == width and height in tokens.SIZES else 0,
    answers.wrong,
    "needs one start, one goal, no path, and an answer that differs by the path of a cheapest route "
    "of its vehicle",
    also=tokens.ORIGINAL_VOCABULARY,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m hrm_jax.puzzles city`."""
    add = parser.add_argument
    add("--layout", choices=("repaired", "fixed"), default="repaired",
        help="fixed: the original's one street plan and its own generator")  # fmt: skip
    for split, count in USUAL.items():
        add(f"--{split}", type=int, default=count, help=f"scenarios of {split}, four puzzles each")
    add("--size", type=int, help=f"cells a side, {tokens.SIZES[0]} to {tokens.SIZES[-1]}; default: 40")
    add("--hours", type=int, nargs="+", metavar="H",
        help=f"hours of the day to draw from; default: {' '.join(map(str, law.HOURS))}")  # fmt: skip
    add("--jam", type=float, metavar="P",
        help="chance of a jam on a cell of a large road, less than 1; default: by the hour")  # fmt: skip
    add("--apart", type=building.interval, metavar="A:B",
        help="Manhattan distance of start and goal; default: by the size, 15:50 of 40 cells")  # fmt: skip
    add("--vocab", type=int, choices=(tokens.VOCABULARY, tokens.ORIGINAL_VOCABULARY),
        help="10: the original's tokens, jams on large roads alone; default: 12")  # fmt: skip
    add("--label-format", choices=("grid", "path_only"),
        help="the input with its path, or the path and zeros; default: grid, of fixed path_only")  # fmt: skip
    building.add_parts(parser)


def build(options: argparse.Namespace) -> None:
    """Build the data set that the options ask for."""
    at_least(options, train=(1, MOST), test=(1, MOST))
    fixed = options.layout == "fixed"
    settings = {
        "kind": "city",
        "layout": options.layout,
        "train": options.train,
        "test": options.test,
        "label_format": options.label_format or ("path_only" if fixed else "grid"),
    }
    settings |= _fixed(options) if fixed else _law(options)._asdict()
    make = functools.partial(part, settings)
    if sharing.asked(options, settings, part, lambda: _count(settings)):
        return

    def fill(work: Path, whole: Path) -> None:
        pieces = _stream(work, make, options.jobs, settings)
        for split in SPLITS:
            chosen = [piece for piece in pieces if piece["split"] == SPLITS.index(split)]
            names = ("inputs", "labels", *EXTRA)
            arrays = {name: np.concatenate([piece[name] for piece in chosen]) for name in names}
            _write(whole, split, settings, arrays)

    made = building.produce(options.out, settings, RULES, fill)
    print(f"{options.out}: {'done' if made else 'there already'}")


def _fixed(options: argparse.Namespace) -> dict:
    """What the original has settled."""
    given = [name for name in ONLY_REPAIRED if getattr(options, name) is not None]
    if given or options.seed:
        raise RequestError(f"--{(given or ['seed'])[0]}: the fixed layout is the original's, which has none")
    return {"size": original.SIDE, "vocabulary": tokens.ORIGINAL_VOCABULARY}


def _law(options: argparse.Namespace) -> law.Law:
    size = 40 if options.size is None else options.size
    if size not in tokens.SIZES:
        raise RequestError(f"--size {size}: {tokens.SIZES[0]} to {tokens.SIZES[-1]} are allowed")
    hours = list(law.HOURS) if options.hours is None else options.hours
    if not all(0 <= hour <= 23 for hour in hours):
        raise RequestError(f"--hours {' '.join(map(str, hours))}: hours are from 0 to 23")
    if options.jam is not None and not 0 <= options.jam < 1:
        raise RequestError(f"--jam {options.jam}: from 0 on, and less than 1")
    most = 2 * (size - 1 - 2 * law.measures(size).margin)
    low, high = options.apart or (1, most)
    if high < 1 or low > most:
        raise RequestError(f"--apart {low}:{high}: start and goal are 1 to {most} apart")
    vocabulary = options.vocab or tokens.VOCABULARY
    return law.Law(size, options.seed, hours, options.jam, vocabulary, options.apart)


# ---------------------------------------------------------------- scenarios


def first_id(split: str, train: int) -> int:
    """The id of a split's first scenario; those of test come after all of train, as in the original."""
    if split == "train":
        return 0
    return original.FIRST_ID["test"] if train <= original.FIRST_ID["test"] else MOST


def _step(settings: dict) -> int:
    """Scenarios of a part."""
    return max(1, CELLS // settings["size"] ** 2)


def _piece(settings: dict, number: int) -> tuple[str, range] | None:
    """The split and the ids of a part; None: there are no so many."""
    step = _step(settings)
    for split in SPLITS:
        first, count = first_id(split, settings["train"]), settings[split]
        if number * step < count:
            return split, range(first + number * step, first + min(number * step + step, count))
        number -= -(-count // step)
    return None


def _count(settings: dict) -> int:
    """Parts of a data set."""
    return sum(-(-settings[split] // _step(settings)) for split in SPLITS)


def _stream(work: Path, make, jobs: int, settings: dict) -> list[dict[str, np.ndarray]]:
    """All parts, in order, with a line of progress."""
    count, found = _count(settings), []
    stream = parts.stream(work, make, jobs)
    total = settings["train"] + settings["test"]
    with tqdm(total=total, desc="cities", unit="", disable=None) as progress, contextlib.closing(stream):
        for arrays in itertools.islice(stream, count):
            found.append(arrays)
            progress.update(len(arrays["hours"]))
    return found


def part(settings: dict, number: int) -> dict[str, np.ndarray]:
    """The scenarios of one part: inputs and labels uint8 [K, 4, S], `EXTRA` int32 [K]."""
    piece = _piece(settings, number)
    if piece is None:  # other processes run ahead
        return {}
    split, ids = piece
    path_only = settings["label_format"] == "path_only"
    if settings["layout"] == "fixed":
        drawn = [original.scenario(split, n) for n in ids]
        found = [original.examples(scenario) for scenario in drawn]
        inputs, marked = (np.stack(arrays) for arrays in zip(*found, strict=True))
        labels = tokens.label(inputs, marked, path_only)
        hours = [scenario.hour for scenario in drawn]
    else:
        ours = law.Law(**{name: settings[name] for name in law.Law._fields})
        grids, hours = zip(*(law.draw(ours, split, n) for n in ids), strict=True)
        inputs, labels = examples(np.stack(grids), path_only)
    return {
        "split": np.array(SPLITS.index(split)),
        "inputs": inputs,
        "labels": labels,
        "scenario_ids": np.array(ids, np.int32),
        "hours": np.array(hours, np.int32),
    }


def examples(grids: np.ndarray, path_only: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, labels) uint8 [K, 4, S] of scenarios [K, H, W], for each of the four vehicles."""
    count = len(tokens.VEHICLES)
    inputs = np.repeat(grids, count, axis=0)
    vehicles = np.tile(np.arange(1, count + 1), len(grids))
    labels = answers.solved(inputs, vehicles, path_only)
    return inputs.reshape(len(grids), count, -1), labels.reshape(len(grids), count, -1)


def _write(folder: Path, split: str, settings: dict, arrays: dict[str, np.ndarray]) -> None:
    groups, count, length = arrays["inputs"].shape
    said = settings["layout"] != "fixed"  # whether identifiers name the vehicles
    offsets = np.arange(groups * count + 1)
    dataset.write(
        folder,
        split,
        "city",
        arrays["inputs"].reshape(-1, length),
        arrays["labels"].reshape(-1, length),
        np.tile(np.arange(1, count + 1) * said, groups),
        offsets,
        offsets[::count],
        settings["vocabulary"],
        height=settings["size"],
        width=settings["size"],
        names=(BLANK, *tokens.VEHICLES) if said else (BLANK,),
        extra={name: arrays[name] for name in EXTRA},
        ignored=None if settings["label_format"] == "path_only" else PAD,
    )
