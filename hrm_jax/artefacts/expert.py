"""expert.npz: an expert's paths and the worlds that they cross; its writer and its reader.

`world` and `search` are JSON: the world that the scenarios are drawn from, and how the expert planned
(`search` has "published": whether the paths are the original's, stretched over all points). The rest is
`Paths`. NumPy only.
"""

import json
import os
from typing import Any, NamedTuple, TypedDict

import numpy as np

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


class Search(TypedDict):
    """Of how the expert planned, what readers ask."""

    published: bool


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
        _check(paths, world["size"])
    return paths, search["published"]


def _check(paths: Paths, cells: int) -> None:
    """Refuse arrays that no expert's paths have in a world of so many cells a side."""
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
    if size[0] != cells:
        raise RequestError(f"static is of {size[0]} cells a side; its world is of {cells}")
    if (paths.ids < 0).any():
        raise RequestError("ids hold a negative one")
    ranges = {"positions": size[0], "start": size[0] - 1, "goal": size[0] - 1, "points": size[0] - 1,
              "length": points[0] - 1}  # fmt: skip
    for name, most in ranges.items():
        array = getattr(paths, name)
        if array.size and (array.min() < 0 or array.max() > most):
            raise RequestError(
                f"{name} goes from {array.min():g} to {array.max():g}; allowed are 0 to {most}"
            )
