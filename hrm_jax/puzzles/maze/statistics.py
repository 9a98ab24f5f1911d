"""What the mazes of a data set are like."""

import numpy as np

from hrm_jax.puzzles import routes
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.maze.grids import ROUTE, map_keys, read, tokens


def statistics(puzzles: PuzzleSet, other: PuzzleSet | None) -> dict[str, float | int]:
    """What the mazes of a split are like; `other` is the other split, where there is one (docs/puzzles.md).

    Of every group the first puzzle counts: augmentations say nothing new.
    """
    base = puzzles.first_of_group
    inputs, labels = puzzles.inputs[base], puzzles.labels[base]
    open_, start, goal = read(inputs)
    free = open_.reshape(-1, puzzles.height, puzzles.width)
    steps = routes.distances(free, start).reshape(len(free), -1)[np.arange(len(free)), goal]
    ways = routes.number(free, start, goal)
    walls_ = 1 - open_.mean(axis=1)
    route = (labels == ROUTE).sum(axis=1)
    least = int(route.min())
    apart = abs(start // puzzles.width - goal // puzzles.width) + abs(
        start % puzzles.width - goal % puzzles.width
    )
    _, canonical = tokens(free, start, goal)
    keys = map_keys(free)
    found = {
        "mazes (groups)": len(base),
        "examples": len(puzzles.inputs),
        "wall maps": len(set(keys)),
        "wall fraction, mean": float(walls_.mean()),
        "wall fraction, least": float(walls_.min()),
        "wall fraction, most": float(walls_.max()),
        "free cells, mean": float(open_.sum(axis=1).mean()),
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
        theirs = map_keys(read(other.inputs[other.first_of_group])[0].reshape(-1, other.height, other.width))
        found[f"wall maps shared with {other.split}"] = len(set(keys) & set(theirs))
    return found
