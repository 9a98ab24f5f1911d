"""expert.npz: an expert's paths and the worlds that they cross; its writer and its reader.

`world` and `search` are JSON: the world that the scenarios are drawn from, and how the expert planned
(`search` has "published": whether the paths are the original's, stretched over all points). The rest is
`Paths`. NumPy only.
"""

import json
import math
import os
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import numpy as np
from msgspec import Meta

from hrm_jax.artefacts import archive, json_file
from hrm_jax.artefacts.errors import RequestError


class Paths(NamedTuple):
    """M paths of P points. Lengths in cells, times in steps; time 0 is that of a path's first point."""

    ids: np.ndarray  # int64 [M], of the scenarios
    static: np.ndarray  # bool [M, R, R]
    positions: np.ndarray  # float32 [M, N, 2], of the obstacles at time 0
    velocities: np.ndarray  # float32 [M, N, 2], cells a step
    start: np.ndarray  # int64 [M, 2]
    goal: np.ndarray  # int64 [M, 2]
    points: np.ndarray  # float32 [M, P, 2], at times 0 to P - 1; the last one repeated once it is reached
    length: np.ndarray  # int64 [M], moves until the path ends


class World(TypedDict):
    """Of the world that the paths cross, what readers ask."""

    size: int
    speed: NotRequired[Annotated[float, Meta(ge=0)]]  # of an obstacle along an axis, cells a step
    n_obstacles: NotRequired[int]


class Search(TypedDict):
    """Of how the expert planned, what readers ask."""

    published: bool


LONGEST = math.sqrt(2)  # cells; a move of the expert
END = {False: 0.5, True: 2.0}  # cells from the goal at which a path may end, by whether it is published
ROUNDING = 1e-3  # cells
KINDS = ("iu", "b", "f", "f", "iu", "iu", "f", "iu")  # of the arrays' data types


def write(out: str | os.PathLike, paths: Paths, world: dict[str, Any], search: dict[str, Any]) -> None:
    """Write an `expert.npz`."""
    archive.write(out, {"world": json.dumps(world), "search": json.dumps(search), **paths._asdict()})


def read(path: str | os.PathLike) -> tuple[Paths, bool]:
    """The paths of an `expert.npz`, all of it checked, and whether they are stretched (published).

    A file that is not there, not complete or not possible is a `RequestError` of one line.
    """
    absent = "no such file (python -m hrm_jax.paths makes one)"
    with archive.reading(path, absent, "not a complete expert.npz") as arrays:
        paths = Paths(*(arrays[name] for name in Paths._fields))
        search = json_file.parse(str(arrays["search"]), "search")
        json_file.fit(search, Search, "search of an expert.npz")
        world = json_file.parse(str(arrays["world"]), "world")
        json_file.fit(world, World, "world of an expert.npz")
        archive.check_names(arrays, (*Paths._fields, "search", "world"), "expert.npz")
        _check(paths, world)
        _check_ways(paths, search["published"])
    return paths, search["published"]


def _check(paths: Paths, world: World) -> None:
    """Refuse arrays that no expert's paths have in such a world."""
    for name, array, kinds in zip(Paths._fields, paths, KINDS, strict=True):
        if array.dtype.kind not in kinds:
            raise RequestError(f"{name} holds {array.dtype}")
        if not np.isfinite(array).all():
            raise RequestError(f"{name} is not finite")
    count, size = len(paths.ids) if paths.ids.ndim else 0, paths.static.shape[-1:]
    obstacles, points = paths.positions.shape[1:2], paths.points.shape[1:2]
    if not count or not size or not points:
        raise RequestError("it holds no path")
    shapes = ((), (*size, *size), *2 * [(*obstacles, 2)], (2,), (2,), (*points, 2), ())
    for name, array, shape in zip(Paths._fields, paths, shapes, strict=True):
        if array.shape != (count, *shape):
            raise RequestError(f"{name} has shape {list(array.shape)}; wanted is {[count, *shape]}")
    for name, found, wanted in (
        ("static", size[0], world["size"]),
        ("positions", obstacles[0], world.get("n_obstacles", obstacles[0])),
    ):
        if found != wanted:
            raise RequestError(f"{name} is of {found}; its world is of {wanted}")
    if (paths.ids < 0).any() or len(np.unique(paths.ids)) < count:
        raise RequestError("ids hold a negative one, or one twice")
    speed, most = np.abs(paths.velocities).max(initial=0), world.get("speed", size[0] / 2)
    if speed > most + ROUNDING:
        raise RequestError(f"velocities go up to {speed:g}; its world allows {most:g}")
    ranges = {"positions": size[0], "start": size[0] - 1, "goal": size[0] - 1, "points": size[0] - 1,
              "length": points[0] - 1}  # fmt: skip
    for name, most in ranges.items():
        array = getattr(paths, name)
        if array.size and (array.min() < 0 or array.max() > most):
            raise RequestError(
                f"{name} goes from {array.min():g} to {array.max():g}; allowed are 0 to {most}"
            )


def _check_ways(paths: Paths, published: bool) -> None:
    """Refuse paths that no expert goes. Where it is stretched, a path has its points between the cells."""
    worlds, points = np.arange(len(paths.ids)), paths.points
    for name, cells in (("start", paths.start), ("goal", paths.goal)):
        if paths.static[worlds, *cells.T].any():
            raise RequestError(f"{name} is a static cell in places")
    steps = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    cells = np.rint(points).astype(np.int64)
    after = np.arange(points.shape[1]) >= paths.length[:, None]
    there = np.linalg.norm(points - points[:, -1:], axis=-1) < ROUNDING
    of_cells = np.array(not published)
    faults = {
        "begin elsewhere than at their start": np.abs(points[:, 0] - paths.start) > ROUNDING,
        "end elsewhere than at their goal": np.linalg.norm(points[:, -1] - paths.goal, axis=-1)
        > END[published],
        f"go further than {LONGEST:.3f} cells in a step": steps > LONGEST + ROUNDING,
        "are longer than their length": steps.sum(axis=1)
        > LONGEST * paths.length + points.shape[1] * ROUNDING,
        "enter static cells": of_cells & paths.static[worlds[:, None], *np.moveaxis(cells, -1, 0)],
        "are not at their end from their length on, or sooner": of_cells & (there != after),
    }
    for fault, found in faults.items():
        if found.any():
            raise RequestError(f"points of path {np.argwhere(found)[0][0]} {fault}")
