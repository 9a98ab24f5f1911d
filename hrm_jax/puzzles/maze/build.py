"""Mazes of loose walls with a long way through, labelled with the canonical shortest route.

    python -m hrm_jax.puzzles maze --out data/maze30 --size 30 --train 1000 --test 1000
    python -m hrm_jax.puzzles maze --out data/maze10 --size 10 --shortest 12 --train 10000 --test 1000
    python -m hrm_jax.puzzles maze --out data/hub --csv FOLDER

Tokens: wall 1, free 2, start 3, goal 4, route 5 (the alphabet "# SGo"); the label is the input with its route
marked. The law is that of maze-hard (docs/puzzles.md): 30 % to 50 % of the cells are walls, and the shortest
route has at least --shortest cells, both ends included. Train and test share no wall map, nor any of a map's
turns and reflections. --augment N (at most 15): after every training maze N further ones, turned or reflected
or with start and goal exchanged, and solved anew: a turned route is not the canonical one of the turned maze.
"""

import argparse

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import at_least
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import flood, routes
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.maze import grids, law
from hrm_jax.puzzles.maze.grids import ALPHABET, FREE, GOAL, ROUTE, START

SIZES = range(4, 65)
PATIENCE = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m hrm_jax.puzzles maze`."""
    building.add_arguments(parser)
    add = parser.add_argument
    add("--size", type=int, default=30, help="cells a side; default: 30")
    add("--shortest", type=int,
        help="cells of the shortest route, ends included; default: 110 for 30x30, else size + 2")  # fmt: skip
    add("--augment", type=int, default=0,
        help="further aspects of every training maze, solved anew; at most 15")  # fmt: skip
    add("--tries", type=int,
        help="random pairs tried per map; default: 8 where long routes are rare, else 1")  # fmt: skip


def build(options: argparse.Namespace) -> None:
    """Build the data set that the options ask for."""
    building.check(options)
    size = options.size
    if size not in SIZES:
        raise RequestError(f"--size {size}: {SIZES[0]} to {SIZES[-1]} are allowed")
    shortest = options.shortest
    if shortest is None:
        shortest = 110 if size == 30 else size + 2
    most = size * size - law.walls(size)[0]
    if not 3 <= shortest <= most:
        raise RequestError(f"--shortest {shortest}: 3 to {most} cells are possible at {size}x{size}")
    if options.csv is not None and (options.shortest, options.tries) != (None, None):
        raise RequestError("--shortest and --tries: the mazes of --csv are as they are")
    if options.augment > 15:
        raise RequestError("--augment: a maze has 15 other aspects at most")
    at_least(options, tries=(1, 1000))
    names = ("size", "train", "test", "seed", "augment", "subsample")
    settings = {"kind": "maze"} | {name: getattr(options, name) for name in names}
    maps, usual = law.effort(size, shortest)
    settings |= {"shortest": shortest, "tries": options.tries or usual, "maps": maps}
    maker = building.Maker(
        rules=RULES,
        part=part,
        patience=PATIENCE,
        augment=grids.augmented,
        alphabet=ALPHABET,
    )
    building.make(options, settings, maker)


def _wrong(inputs: np.ndarray, labels: np.ndarray, height: int, width: int, *_: object) -> np.ndarray:
    """Which rows [N] are no maze with a shortest route marked."""
    fit = np.isin(inputs, (grids.WALL, FREE, START, GOAL)).all(axis=1)
    fit &= ((inputs == START).sum(axis=1) == 1) & ((inputs == GOAL).sum(axis=1) == 1)
    if fit.any():
        asked, answered = (tokens[fit].reshape(-1, height, width) for tokens in (inputs, labels))
        fit[fit] = grids.shortest_routes(asked, answered)
    return ~fit


RULES = building.Rules(
    "maze",
    lambda height, width: grids.VOCABULARY,
    _wrong,
    "needs one S, one G, no o, and an answer that differs by o on the free cells of a shortest route",
)


def part(settings: dict, number: int) -> dict[str, np.ndarray]:
    """The mazes of one part of the stream (`build.gather`)."""
    size = settings["size"]
    rng = np.random.default_rng([settings["seed"], number])
    maps = law.draw(size, settings["maps"], rng)
    which, start, goal = law.sample(maps, settings["shortest"], settings["tries"], rng)
    free = flood.unpack(maps[:, which], size)
    inputs, labels = grids.tokens(free, start, goal)
    split = building.split_of(grids.map_keys(free), settings["train"], settings["test"])
    rating = (labels >= START).sum(axis=1).astype(np.int32)
    return {"split": split, "inputs": inputs, "labels": labels, "rating": rating}


def statistics(puzzles: PuzzleSet, other: PuzzleSet | None) -> dict[str, float | int]:
    """What the mazes of a split are like; `other` is the other split, where there is one (docs/puzzles.md).

    Of every group the first puzzle counts: augmentations say nothing new.
    """
    base = puzzles.first_of_group
    inputs, labels = puzzles.inputs[base], puzzles.labels[base]
    free, start, goal = grids.read(inputs.reshape(-1, puzzles.height, puzzles.width))
    steps = routes.at(routes.distances(free, start), goal)
    ways = routes.number(free, start, goal)
    walls = 1 - free.mean(axis=(1, 2))
    route = (labels == ROUTE).sum(axis=1)
    least = int(route.min())
    ends = divmod(start, puzzles.width), divmod(goal, puzzles.width)
    apart = sum(abs(a - b) for a, b in zip(*ends, strict=True))
    _, canonical = grids.tokens(free, start, goal)
    keys = grids.map_keys(free)
    found = {
        "mazes (groups)": len(base),
        "examples": len(puzzles.inputs),
        "wall maps": len(set(keys)),
        "wall fraction, mean": float(walls.mean()),
        "wall fraction, least": float(walls.min()),
        "wall fraction, most": float(walls.max()),
        "free cells, mean": float(free.sum(axis=(1, 2)).mean()),
        "route cells 'o', mean": float(route.mean()),
        "route cells 'o', least": least,
        "route cells 'o', most": int(route.max()),
        f"share with {least} or {least + 1} 'o'": float((route <= least + 1).mean()),
        "shortest routes, least": float(ways.min()),
        "shortest routes, median": float(np.median(ways)),
        "shortest routes, most": float(ways.max()),
        "Manhattan distance, median": float(np.median(apart)),
        "Manhattan distance, 5 %": float(np.quantile(apart, 0.05)),
        "Manhattan distance, 95 %": float(np.quantile(apart, 0.95)),
        "labels that are the canonical route, %": float(100 * (canonical == labels).all(axis=1).mean()),
        "labels that are as short as can be, %": float(100 * (route == steps - 1).mean()),
        "tokens right by copying the input, %": float(100 * (inputs == labels).mean()),
    }
    if other is not None:
        theirs = other.inputs[other.first_of_group].reshape(-1, other.height, other.width)
        shared = set(keys) & set(grids.map_keys(theirs != grids.WALL))
        found[f"wall maps shared with {other.split}"] = len(shared)
    return found
