"""Lattice mazes: boards with walls between cells, labelled with an optimal move for every cell.

    python -m hrm_jax.puzzles lattice --out data/lattice12 --size 12 --train 10000 --test 2000
    python -m hrm_jax.puzzles lattice --out data/long --size 12 --shortest 50 --generator dfs --test 2000
    python -m hrm_jax.puzzles lattice --out data/pot --published
    python -m hrm_jax.puzzles lattice --out data/theirs --zanj train.zanj test.zanj

A cell's token is 1 + its open edges (1 north, 2 south, 4 west, 8 east) + 16 at the start, 32 at the goal.
Its label is 1 north, 2 south, 3 west or 4 east, the first of these on a shortest way to the goal; 5 at the
goal; and 0, which does not count, where there is no way. --shortest is the least length of the path from
start to goal, in cells, both ends included. Train and test share no lattice, unless two files of --zanj do,
which is said. The laws are in docs/puzzles.md.

--published: the 389 and 81 mazes of the published Pointer-over-Heads runs. --zanj: files of maze-dataset,
that of train and that of test; or one, whose lattices are divided between them by their hash.
`python -m hrm_jax.puzzles convert FOLDER --out FILE.zanj` is the way back.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from hrm_jax.artefacts import json_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import at_least
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import sharing
from hrm_jax.puzzles.dataset import SPLITS, PuzzleSet, digest, write_groups
from hrm_jax.puzzles.lattice import answers, files, law, published
from hrm_jax.puzzles.lattice.generators import GENERATORS, SHARE
from hrm_jax.puzzles.lattice.law import Mazes
from hrm_jax.worlds.lattice import LARGEST, VOCABULARY, connections

MAZES, CELLS = 2**11, 2**18  # in a part, at most: a second's work
PATIENCE = 64
USUAL = dict.fromkeys(SPLITS, building.USUAL)
DEFAULTS: dict[str, Any] = {"size": 12, "generator": "dfs", "shortest": 2, "share": SHARE} | USUAL
RULES = building.Rules(
    "lattice",
    answers.vocabulary,
    answers.wrong,
    "needs open edges with two sides, one start, one goal, a way between them, and the first optimal move as "
    "the label of every cell",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m hrm_jax.puzzles lattice`."""
    add = parser.add_argument
    for split in SPLITS:
        add(f"--{split}", type=int, help=f"mazes of {split}; default: {building.USUAL:,}")
    add("--size", type=int, help="cells a side; default: 12")
    add("--generator", choices=GENERATORS, help="the law of lattices; default: dfs")
    add("--shortest", type=int, help="cells of the shortest path, at least; default: 2")
    add("--share", type=float, help=f"of edges that percolation opens; default: {SHARE}")
    building.add_parts(parser)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--published", action="store_true", help="the published mazes, not to generate")
    given.add_argument("--zanj", type=Path, nargs="+", metavar="FILE", help="files of maze-dataset")


def build(options: argparse.Namespace) -> None:
    """Build the data set that the options ask for."""
    if options.published or options.zanj:
        return _given(options)
    if options.share is not None and "percolation" not in (options.generator or DEFAULTS["generator"]):
        raise RequestError("--share: only percolation and dfs_percolation open a share of edges")
    for name, usual in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, usual)
    at_least(options, train=(1, building.MOST), test=(1, building.MOST), size=(2, LARGEST))
    if not 2 <= options.shortest <= options.size**2:
        most = f"2 to {options.size**2} cells are possible at {options.size}x{options.size}"
        raise RequestError(f"--shortest {options.shortest}: {most}")
    if not 0 < options.share <= 1:
        raise RequestError(f"--share {options.share}: more than 0, at most 1")
    settings = {"kind": "lattice"} | {name: getattr(options, name) for name in (*DEFAULTS, "seed")}
    wanted, what = (options.train, options.test), f"{options.size}x{options.size} lattice mazes"
    if sharing.asked(options, settings, part, lambda: building.expected(settings, part, wanted)):
        return

    def fill(work: Path, whole: Path) -> None:
        found = building.gather(work, settings, part, wanted, options.jobs, what, PATIENCE)
        for split, arrays in zip(SPLITS, found, strict=True):
            write(whole, split, **{name: arrays[name] for name in ("inputs", "labels", "rating")})

    made = building.produce(options.out, settings, RULES, fill)
    print(f"{options.out}: {'done' if made else 'there already'}")


def _given(options: argparse.Namespace) -> None:
    """The data set of mazes that are there already."""
    if told := [name for name in DEFAULTS if getattr(options, name) is not None]:
        raise RequestError(f"--{told[0]}: the mazes of --published and --zanj are as they are")
    if (options.list, options.parts) != (None, None):
        raise RequestError("--list and --parts: the mazes of --published and --zanj are there, not made")
    found = {split: published.load(split) for split in SPLITS} if options.published else _read(options.zanj)
    train, test = ({open.tobytes() for open in mazes.open} for mazes in found.values())
    if train & test:
        print(f"{len(train & test):,} lattices of test are in train, too", file=sys.stderr)
    prints = [digest([array.tobytes().hex() for array in mazes]) for mazes in found.values()]
    # What is to be made is known by what it is made of.
    settings = {"kind": "lattice", "given": prints}

    def fill(_: Path, whole: Path) -> None:
        for split, mazes in found.items():
            write(whole, split, *law.examples(mazes))

    made = building.produce(options.out, settings, RULES, fill)
    print(f"{options.out}: {'done' if made else 'there already'}")


def _read(names: list[Path]) -> dict[str, Mazes]:
    """The mazes of two files, or of one, divided; both splits have some."""
    if len(names) > 2:
        raise RequestError(f"--zanj: {len(names)} files; that of train and that of test, or one")
    read = [files.read(name) for name in names]
    if len(read) == 2:
        if len({mazes.open.shape[1] for mazes in read}) > 1:
            raise RequestError("--zanj: the two files have mazes of different sizes")
        return dict(zip(SPLITS, read, strict=True))
    number = building.split_of([open.tobytes() for open in read[0].open], 1, 1)
    if len(set(number.tolist())) < 2:
        raise RequestError(f"{names[0]}: too few lattices for both train and test")
    return {split: read[0].of(number == k) for k, split in enumerate(SPLITS)}


def part(settings: dict, number: int) -> dict[str, np.ndarray]:
    """The mazes of one part of the stream (`build.gather`)."""
    size = settings["size"]
    rng = np.random.default_rng([settings["seed"], number])
    asked = (settings["generator"], settings["shortest"], settings["share"])
    mazes = law.draw(rng, min(MAZES, CELLS // size**2), size, *asked)
    inputs, labels, rating = law.examples(mazes)
    split = building.split_of([open.tobytes() for open in mazes.open], settings["train"], settings["test"])
    return {"split": split, "inputs": inputs, "labels": labels, "rating": rating}


def write(folder: Path, split: str, inputs: np.ndarray, labels: np.ndarray, rating: np.ndarray) -> None:
    """Write one split of mazes [M, N]; `rating` [M] is the cells of their shortest paths."""
    size = int(inputs.shape[1] ** 0.5)
    pair = inputs[:, None], labels[:, None]
    more: dict = {"height": size, "width": size, "extra": {"ratings": rating}}
    write_groups(folder, split, "lattice", *pair, VOCABULARY, **more)


class Law(TypedDict, total=False):
    """What build.json says of the law of lattices; nothing of mazes that were there already."""

    generator: str
    share: float
    seed: int


def law_of(folder: Path) -> dict[str, Any]:
    """The law by which a data set was drawn, as far as it is told, in the words of `files.write`."""
    note = folder / "build.json"
    found = json_file.load(note, Law, "build.json") if note.exists() else {}
    told = ("generator", "seed", *(["share"] if "percolation" in found.get("generator", "") else []))
    return {name: found[name] for name in told if name in found}


def statistics(puzzles: PuzzleSet, other: PuzzleSet | None) -> dict[str, float | int]:
    """What the mazes of a split are like; `other` is the other split, where there is one."""
    mazes, labels = law.read(np.asarray(puzzles.inputs)), np.asarray(puzzles.labels)
    cells = answers.shortest(mazes, labels) + 1
    degrees = np.bincount(np.bitwise_count(mazes.open).reshape(-1), minlength=5) / mazes.open.size
    ends = (divmod(end, puzzles.width) for end in (mazes.start, mazes.goal))
    apart = sum(abs(a - b) for a, b in zip(*ends, strict=True))
    edges = connections(np, mazes.open).sum(axis=(1, 2, 3))
    lattices = {open.tobytes() for open in mazes.open}
    found: dict[str, float | int] = {
        "mazes": len(mazes.open),
        "lattices": len(lattices),
        "open edges, mean": float(edges.mean()),
        **{f"cells of {count} open edges, %": float(100 * share) for count, share in enumerate(degrees)},
        "path cells, mean": float(cells.mean()),
        "path cells, standard deviation": float(cells.std()),
        "path cells, least": int(cells.min()),
        **{f"path cells, {q} %": float(np.quantile(cells, q / 100)) for q in (5, 25, 50, 75, 95)},
        "path cells, most": int(cells.max()),
        "Manhattan distance, mean": float(apart.mean()),
        "cells without a way to the goal, %": float(100 * (labels == 0).mean()),
    }
    if other is not None:
        shared = lattices & {open.tobytes() for open in law.read(np.asarray(other.inputs)).open}
        found[f"lattices shared with {other.split}"] = len(shared)
    return found
