"""Puzzle data sets in the original's own layout: written by our builders, read from anybody's.

    <folder>/identifiers.json                  names, by identifier; entry 0 is "<blank>"
    <folder>/{train,test}/dataset.json         the keys of `Meta`
    <folder>/{train,test}/all__inputs.npy      uint8 [N, S] tokens, 0 = PAD; all__labels.npy likewise
        all__puzzle_identifiers.npy            int32 [P]
        all__puzzle_indices.npy                int32 [P + 1], the examples of puzzle p are from [p] to [p + 1]
        all__group_indices.npy                 int32 [G + 1], the puzzles of group g likewise

A group is one base puzzle, its puzzles are that and its augmentations, a puzzle has one or more examples
(docs/puzzles.md#data-sets). Our builders add "kind", "height" and "width" to dataset.json, and TRM's
"total_puzzles"; the original tools ignore what they do not know.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError

KINDS = ("maze", "sudoku", "arc", "city")
SPLITS = ("train", "test")
PAD = 0
BLANK = "<blank>"
ARRAYS = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")


@dataclass(frozen=True)
class Meta:
    """dataset.json. `ignore_label_id`: labels of this value count nowhere; None: all labels count."""

    pad_id: int
    ignore_label_id: int | None
    blank_identifier_id: int
    vocab_size: int
    seq_len: int
    num_puzzle_identifiers: int
    total_groups: int
    mean_puzzle_examples: float
    sets: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PuzzleSet:
    """One split of a data set; inputs and labels are memory-mapped."""

    kind: str  # "maze", "sudoku", "arc", "city", or "" where dataset.json does not say and nothing is certain
    folder: Path
    split: str
    inputs: np.ndarray  # uint8 [N, S]
    labels: np.ndarray  # uint8 [N, S]
    identifiers: np.ndarray  # int32 [P]
    puzzle_indices: np.ndarray  # int32 [P + 1]
    group_indices: np.ndarray  # int32 [G + 1]
    meta: Meta
    height: int  # cells; height * width = S where the puzzle is a grid, else height is 1
    width: int

    @property
    def puzzle_of_example(self) -> np.ndarray:
        """int32 [N]: the puzzle identifier of every example."""
        return np.repeat(self.identifiers, np.diff(self.puzzle_indices))


# ---------------------------------------------------------------- writing


def write(
    folder: Path,
    split: str,
    kind: str,
    inputs: np.ndarray,
    labels: np.ndarray,
    identifiers: np.ndarray,
    puzzle_indices: np.ndarray,
    group_indices: np.ndarray,
    vocab_size: int,
    num_puzzle_identifiers: int = 1,
    *,
    height: int,
    width: int,
    ignore_label_id: int | None = PAD,
    names: list[str] | None = None,
    extra: dict[str, np.ndarray] | None = None,
) -> None:
    """Write one split; shapes as in `PuzzleSet`. dataset.json comes last: a split without it is no data set.

    `names` are the identifiers' (written to identifiers.json; without them, only the blank one must exist),
    `extra` further arrays {name: array}, kept as all__<name>.npy, which no original tool reads.
    """
    place = Path(folder) / split
    (place / "dataset.json").unlink(missing_ok=True)
    arrays = {
        "inputs": np.asarray(inputs, np.uint8),
        "labels": np.asarray(labels, np.uint8),
        "puzzle_identifiers": np.asarray(identifiers, np.int32),
        "puzzle_indices": np.asarray(puzzle_indices, np.int32),
        "group_indices": np.asarray(group_indices, np.int32),
        **(extra or {}),
    }
    for name, array in arrays.items():
        with files.written_whole(place / f"all__{name}.npy", "wb") as file:
            np.save(file, array)
    names = [BLANK] * num_puzzle_identifiers if names is None else names
    with files.written_whole(Path(folder) / "identifiers.json") as file:
        json.dump(names, file)
    examples, puzzles = len(inputs), len(identifiers)
    described = {
        "pad_id": PAD,
        "ignore_label_id": ignore_label_id,
        "blank_identifier_id": 0,
        "vocab_size": int(vocab_size),
        "seq_len": int(inputs.shape[1]),
        "num_puzzle_identifiers": int(num_puzzle_identifiers),
        "total_groups": len(group_indices) - 1,
        "mean_puzzle_examples": examples / puzzles,
        "sets": ["all"],
        "total_puzzles": puzzles,
        "kind": kind,
        "height": int(height),
        "width": int(width),
    }
    with files.written_whole(place / "dataset.json") as file:
        json.dump(described, file)


def write_groups(
    folder: Path,
    split: str,
    kind: str,
    inputs: np.ndarray,
    labels: np.ndarray,
    vocab_size: int,
    *,
    height: int,
    width: int,
    extra: dict[str, np.ndarray] | None = None,
) -> None:
    """`write` for inputs and labels [G, A, S]: G groups of A puzzles of one example each, without names."""
    groups, copies, length = inputs.shape
    write(
        folder,
        split,
        kind,
        inputs.reshape(-1, length),
        labels.reshape(-1, length),
        np.zeros(groups * copies, np.int32),
        np.arange(groups * copies + 1),
        np.arange(groups + 1) * copies,
        vocab_size,
        height=height,
        width=width,
        extra=extra,
    )


# ---------------------------------------------------------------- reading


def load(folder: Path | str, split: str) -> PuzzleSet:
    """One split of a data set, ours or the original tools'; a `RequestError` says what is wrong with it."""
    folder = Path(folder)
    place = folder / split
    if not place.is_dir():
        there = [name for name in SPLITS if (folder / name).is_dir()]
        allowed = f"it has {' and '.join(there)}" if there else "a data set is a folder with train/ and test/"
        raise RequestError(f"{folder} has no split {split}/: {allowed}")
    described = _described(place / "dataset.json")
    meta = _meta(described, place / "dataset.json")
    arrays = {name: _array(place / f"{meta.sets[0]}__{name}.npy") for name in ARRAYS}
    _check_shapes(arrays, meta, place)
    used = {name: _tokens(arrays[name], meta.vocab_size, place, name) for name in ("inputs", "labels")}
    _check_ignored(meta, used, place)
    kind = _kind(described, meta, used, place)
    height, width = _frame(described, meta.seq_len, place)
    return PuzzleSet(
        kind,
        folder,
        split,
        _as(arrays["inputs"], np.uint8),
        _as(arrays["labels"], np.uint8),
        _as(arrays["puzzle_identifiers"], np.int32),
        _as(arrays["puzzle_indices"], np.int32),
        _as(arrays["group_indices"], np.int32),
        meta,
        height,
        width,
    )


def _described(path: Path) -> dict:
    try:
        described = json.loads(path.read_text())
    except FileNotFoundError:
        raise RequestError(f"{path} is missing: no data set, or one whose writing was not finished") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None
    if not isinstance(described, dict):
        raise RequestError(f"{path}: an object of keys is expected")
    return described


def _meta(described: dict, path: Path) -> Meta:
    """The keys of the original, with their types, checked."""
    missing = [name for name in Meta.__annotations__ if name not in described]
    if missing:
        raise RequestError(f"{path} lacks {', '.join(missing)}")
    values = {name: described[name] for name in Meta.__annotations__}
    for name, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if name == "sets":
            fits = isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)
            wanted = "one set, a list of one name"
        elif name == "mean_puzzle_examples":
            fits, wanted = isinstance(value, int | float) and value > 0, "a number above 0"
        elif name == "ignore_label_id":
            fits, wanted = whole or value is None, "a token or null"
        else:
            fits, wanted = whole, "an integer from 0 on"
        if not fits:
            raise RequestError(f"{path}: {name} is {value!r}; allowed: {wanted}")
    if not 2 <= values["vocab_size"] <= 256:
        raise RequestError(f"{path}: vocab_size is {values['vocab_size']}; allowed: 2 to 256")
    return Meta(**values | {"sets": tuple(values["sets"])})


def _array(path: Path) -> np.ndarray:
    """An array of integers, memory-mapped."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise RequestError(f"{path} is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise RequestError(f"{path} is no .npy array that can be read: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise RequestError(f"{path}: integers are expected")
    return array


def _as(array: np.ndarray, kind: type) -> np.ndarray:
    """The array itself where its type is the layout's, else a copy of it in that type."""
    return array if array.dtype == kind else array.astype(kind)


def _check_shapes(arrays: dict[str, np.ndarray], meta: Meta, place: Path) -> None:
    """Shapes, offsets and identifiers fit together and to dataset.json."""
    inputs, labels, names, puzzles, groups = (arrays[name] for name in ARRAYS)
    if inputs.ndim != 2 or labels.shape != inputs.shape or not len(inputs):
        raise RequestError(
            f"{place}: inputs {list(inputs.shape)} and labels {list(labels.shape)}; "
            "both must be [N, S], N > 0"
        )
    if inputs.shape[1] != meta.seq_len:
        raise RequestError(
            f"{place}: seq_len is {meta.seq_len} but the inputs are {inputs.shape[1]} long: they must agree"
        )
    for name in ARRAYS[2:]:
        if arrays[name].ndim != 1:
            raise RequestError(f"{place}: {name} has shape {list(arrays[name].shape)}; one axis is allowed")
    for name, offsets, last in (
        ("puzzle_indices", puzzles, len(inputs)),
        ("group_indices", groups, len(names)),
    ):
        of = "examples" if name == "puzzle_indices" else "puzzles"
        if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != last or (np.diff(offsets) <= 0).any():
            raise RequestError(
                f"{place}: {name} must rise from 0 to the number of {of}, {last}, with no empty stretch"
            )
    if len(puzzles) != len(names) + 1:
        raise RequestError(
            f"{place}: {len(names)} puzzle identifiers need {len(names) + 1} puzzle_indices, "
            f"not {len(puzzles)}"
        )
    if len(groups) - 1 != meta.total_groups:
        raise RequestError(
            f"{place}: total_groups is {meta.total_groups} but group_indices has {len(groups) - 1} groups"
        )
    if names.min() < 0 or names.max() >= meta.num_puzzle_identifiers:
        raise RequestError(
            f"{place}: puzzle identifiers {names.min()} to {names.max()}; "
            f"num_puzzle_identifiers allows 0 to {meta.num_puzzle_identifiers - 1}"
        )


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """The array in pieces of about a megabyte: a data set may be larger than the memory."""
    step = max(1, 2**20 // max(1, array.shape[1]))
    for first in range(0, len(array), step):
        yield np.asarray(array[first : first + step])


def _tokens(array: np.ndarray, vocabulary: int, place: Path, name: str) -> set[int]:
    """The tokens that occur; refused beyond the vocabulary."""
    missing = set(range(vocabulary))
    for block in _blocks(array):
        low, high = int(block.min()), int(block.max())
        if low < 0 or high >= vocabulary:
            wrong = low if low < 0 else high
            raise RequestError(
                f"{place}: {name} hold the token {wrong}, outside the vocabulary of 0 to {vocabulary - 1}"
            )
        missing -= {token for token in missing if (block == token).any()}
    return set(range(vocabulary)) - missing


def _check_ignored(meta: Meta, used: dict[str, set[int]], place: Path) -> None:
    """Refuse an `ignore_label_id` under which a model is not judged by the answer.

    Padding may be ignored, nothing else: not a token of the answer, not token 0 where the sequences are not
    padded (there it is a cell like others), and never so much that one constant would be right everywhere.
    """
    ignored = meta.ignore_label_id
    hidden = f"{place}: ignore_label_id {ignored} hides the answer"
    if ignored is not None and ignored in used["labels"]:
        if ignored != meta.pad_id:
            raise RequestError(
                f"{hidden}: labels of this value occur and it is not pad_id {meta.pad_id}; "
                "allowed: pad_id or null"
            )
        if meta.pad_id not in used["inputs"]:
            raise RequestError(
                f"{hidden}: labels of this value occur but no input is padded; allowed here: null"
            )
    left = used["labels"] - {ignored}
    if len(left) < 2:
        told = f"the labels that count are all {left.pop()}" if left else "no label counts"
        raise RequestError(
            f"{hidden if ignored in used['labels'] else place}: {told}; allowed: two values or more"
        )


def _kind(described: dict, meta: Meta, used: dict[str, set[int]], place: Path) -> str:
    """What the puzzles are: as dataset.json says, else where vocabulary and length leave no doubt."""
    kind = described.get("kind")
    if kind is not None:
        if kind not in (*KINDS, ""):
            raise RequestError(f"{place / 'dataset.json'}: kind is {kind!r}; allowed: {', '.join(KINDS)}")
        return kind
    shape = (meta.vocab_size, meta.seq_len)
    if shape == (6, 900) and used["inputs"] <= {1, 2, 3, 4} and used["labels"] <= {1, 2, 3, 4, 5}:
        return "maze"
    return {(11, 81): "sudoku", (12, 900): "arc"}.get(shape, "")


def _frame(described: dict, length: int, place: Path) -> tuple[int, int]:
    """Height and width in cells: as given, else those of a square, else one row."""
    if "height" in described or "width" in described:
        frame = described.get("height"), described.get("width")
        if not all(isinstance(n, int) and n > 0 for n in frame) or frame[0] * frame[1] != length:
            raise RequestError(f"{place}: height {frame[0]} x width {frame[1]} must be seq_len, {length}")
        return frame
    side = round(length**0.5)
    return (side, side) if side * side == length else (1, length)
