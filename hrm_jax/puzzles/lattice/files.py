"""maze-dataset's files of solved mazes, read in all three of their forms and written in one, without it.

A .zanj file is a ZIP: `__zanj__.json`, and in it or beside it as .npy the arrays of every maze, which are
connection_list bool [2, n, n] (open down, open right) and solution int [L, 2] (row, column; ends included).
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from hrm_jax.artefacts import files as paths
from hrm_jax.artefacts import json_file
from hrm_jax.artefacts.errors import RequestError, naming, one_line
from hrm_jax.puzzles.lattice import law
from hrm_jax.puzzles.lattice.law import Mazes
from hrm_jax.worlds import lattice
from hrm_jax.worlds.lattice import LARGEST

MAIN, META = "__zanj__.json", "__zanj_meta__.json"
FORMAT = "__muutils_format__"
MOST = 2**30  # bytes of a file in the ZIP, as it says before it is unpacked
FULL, MINIMAL, JOINED = "MazeDataset", "MazeDataset:minimal", "MazeDataset:minimal_soln_cat"
INLINE, EXTERNAL = "numpy.ndarray:array_list_meta", "numpy.ndarray:external"

Node = dict[str, Any]


class Inline(msgspec.Struct, rename={"format": FORMAT}):
    """An array written out."""

    format: Literal["numpy.ndarray:array_list_meta"]
    data: list[Any]


class External(msgspec.Struct, rename={"format": FORMAT, "name": "$ref"}):
    """An array in a file of its own."""

    format: Literal["numpy.ndarray:external"]
    name: Annotated[str, msgspec.Meta(pattern=r"\A[\w./-]+\.npy\Z")]


Array = Inline | External


class Maze(msgspec.Struct):
    """One maze of the full form."""

    connection_list: Node
    solution: Node


class Full(msgspec.Struct):
    """Fewer than 100 mazes."""

    mazes: Annotated[list[Maze], msgspec.Meta(min_length=1)]


class Minimal(msgspec.Struct):
    """From 100 mazes on; the solutions are cut by their lengths, what follows is no number."""

    maze_connection_lists: Node
    maze_solution_lengths: Node
    maze_solutions: Node | None = None
    maze_solutions_concat: Node | None = None  # of the joined form


# ---------------------------------------------------------------- reading


def read(path: Path) -> Mazes:
    """The mazes of a file; a `RequestError` in one line says what is wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive, naming(path):
            return _mazes(archive)
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file") from None
    except RequestError:
        raise
    except Exception as error:  # a damaged archive fails with whatever its parts raise
        raise RequestError(f"{path} is no .zanj file that can be read: {one_line(error)}") from None


def _mazes(archive: zipfile.ZipFile) -> Mazes:
    content = json_file.parse(_member(archive, MAIN).decode("utf-8", errors="replace"), MAIN)
    form = content.get(FORMAT) if isinstance(content, dict) else None
    if form == FULL:
        json_file.fit(content, Full, MAIN)
        full = msgspec.convert(content, Full)
        lists = [_array(archive, maze.connection_list) for maze in full.mazes]
        solutions = [_array(archive, maze.solution) for maze in full.mazes]
        if len({array.shape for array in lists}) > 1:
            raise RequestError("its mazes are of several sizes; a data set has one")
        return _checked(np.stack(lists), solutions)
    if form not in (MINIMAL, JOINED):
        raise RequestError(f"{MAIN} is of the format {form!r}; allowed: {FULL}, {MINIMAL}, {JOINED}")
    json_file.fit(content, Minimal, MAIN)
    minimal = msgspec.convert(content, Minimal)
    lists, lengths = (
        _array(archive, node) for node in (minimal.maze_connection_lists, minimal.maze_solution_lengths)
    )
    name = "maze_solutions" if form == MINIMAL else "maze_solutions_concat"
    solved = _array(archive, getattr(minimal, name) or {})
    if lengths.shape != lists.shape[:1] or lengths.dtype.kind not in "iu" or (lengths < 1).any():
        raise RequestError("maze_solution_lengths: a length of every maze is needed")
    if form == JOINED:
        if lengths.sum() != len(solved):
            raise RequestError(f"{name} has {len(solved)} cells; the lengths say {lengths.sum()}")
        return _checked(lists, np.split(solved, lengths.cumsum()[:-1]))
    if solved.ndim != 3 or len(solved) != len(lengths) or lengths.max() > solved.shape[1]:
        raise RequestError(f"{name} is of the shape {list(solved.shape)}, which the lengths do not fit")
    return _checked(lists, [cells[:length] for cells, length in zip(solved, lengths, strict=True)])


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if name not in archive.namelist():
        raise RequestError(f"{name} is missing in it")
    if (size := archive.getinfo(name).file_size) > MOST:
        raise RequestError(f"{name} is of {size:,} bytes; at most {MOST:,}")
    return archive.read(name)


def _array(archive: zipfile.ZipFile, node: Node) -> np.ndarray:
    form = node.get(FORMAT)
    kind: Any = {INLINE: Inline, EXTERNAL: External}.get(form) if isinstance(form, str) else None
    if kind is None:
        raise RequestError(f"an array of the format {form!r}; allowed: {INLINE}, {EXTERNAL}")
    json_file.fit(node, kind, MAIN)
    if kind is External:
        return np.load(io.BytesIO(_member(archive, node["$ref"])), allow_pickle=False)
    return np.array(node["data"])


def _checked(lists: np.ndarray, solutions: list[np.ndarray]) -> Mazes:
    """Mazes of connection lists [M, 2, n, n] and solutions [L, 2], which must be ways through them."""
    size = lists.shape[-1]
    if lists.ndim != 4 or lists.shape[1:] != (2, size, size) or not 2 <= size <= LARGEST or not len(lists):
        found = f"connection lists of the shape {list(lists.shape)}"
        raise RequestError(f"{found}; [mazes, 2, n, n] is needed, n from 2 to {LARGEST}")
    if lists.dtype != bool or lists[:, 0, -1].any() or lists[:, 1, :, -1].any():
        raise RequestError("connection lists must be true or false, and false where an edge leaves the board")
    open = lattice.masks(np, lists[:, 0], lists[:, 1])
    ends = []
    for number, (mask, solution) in enumerate(zip(open, solutions, strict=True)):
        if fault := _fault(mask, solution, size):
            raise RequestError(f"maze {number}: {fault}")
        ends.append(solution[[0, -1]].astype(int) @ (size, 1))
    start, goal = np.array(ends).T
    return Mazes(open, start, goal)


def _fault(open: np.ndarray, solution: np.ndarray, size: int) -> str:
    """What is wrong with a solution, or empty."""
    if solution.ndim != 2 or solution.shape[1] != 2 or solution.dtype.kind not in "iu":
        return f"its solution is of the shape {list(solution.shape)}; [cells, 2] integers are needed"
    if (solution < 0).any() or (solution >= size).any():
        return "its solution leaves the board"
    cells = solution.astype(int) @ (size, 1)
    if cells[0] == cells[-1]:
        return "it starts at its goal"
    moves = np.diff(cells)[:, None] == lattice.shifts(size)
    legal = (moves & lattice.edges(np, open)[cells[:-1]]).any(axis=1)
    return "" if legal.all() else f"step {1 + int((~legal).argmax())} of its solution meets a wall"


# ---------------------------------------------------------------- writing


def write(
    path: Path, mazes: Mazes, generator: str = "dfs", share: float | None = None, seed: int = 0
) -> None:
    """The mazes in the minimal form, with the shortest paths of their labels, as maze-dataset reads it."""
    size = lattice.side(mazes.open)
    cells, lengths = law.paths(mazes)
    arrays = {
        "maze_connection_lists": lattice.connections(np, mazes.open),
        "maze_solution_lengths": lengths.astype(np.int32),
        "maze_solutions": np.stack(np.divmod(cells, size), axis=-1).astype(np.int8),
    }
    config = {
        FORMAT: "MazeDatasetConfig(SerializableDataclass)",
        "name": "hrm_jax",
        "seq_len_min": 1,
        "seq_len_max": 512,
        "seed": seed,
        "applied_filters": [],
        "grid_n": size,
        "n_mazes": len(lengths),
        "maze_ctor": {"__name__": f"gen_{generator}", "__module__": "maze_dataset.generation.generators"},
        "maze_ctor_kwargs": {} if share is None else {"p": share},
        "endpoint_kwargs": {},
        "fname": f"hrm_jax-g{size}-n{len(lengths)}",
        "versions": {"config": "1.0", "maze_dataset": "1.4.2"},
    }
    nodes = {
        name: {
            FORMAT: EXTERNAL,
            "$ref": f"{name}.npy",
            "shape": array.shape,
            "dtype": str(array.dtype),
            "n_elements": array.size,
        }
        for name, array in arrays.items()
    }
    content = {FORMAT: MINIMAL, "cfg": config, "fname": config["fname"], "generation_metadata_collected": {}}
    about = {
        f"{name}.npy": {"item_type": "npy", "path": [name], "type(data)": "ndarray", "len(data)": len(array)}
        for name, array in arrays.items()
    }
    parts = {META: json.dumps({"externals_info": about}).encode(), MAIN: json.dumps(content | nodes).encode()}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        parts[f"{name}.npy"] = buffer.getvalue()
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    with paths.atomic_write(path, "wb") as file:
        file.write(whole.getvalue())
