"""Puzzle data sets in the layout of HRM's own tools: written by our builders, read from any tool.

    <folder>/identifiers.json                  names, by identifier; entry 0 is "<blank>"
    <folder>/{train,test}/dataset.json         `Description`
    <folder>/{train,test}/all__inputs.npy      uint8 [N, S] tokens, 0 = PAD; all__labels.npy likewise
        all__puzzle_identifiers.npy            int32 [P]
        all__puzzle_indices.npy                int32 [P + 1], the examples of puzzle p are from [p] to [p + 1]
        all__group_indices.npy                 int32 [G + 1], the puzzles of group g likewise

A group is one base puzzle, its puzzles are that and its augmentations, a puzzle has one or more examples
(docs/puzzles.md#data-sets).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError

SPLITS = ("train", "test")
PAD = 0
BLANK = "<blank>"
TYPES = {
    "inputs": np.uint8,
    "labels": np.uint8,
    "puzzle_identifiers": np.int32,
    "puzzle_indices": np.int32,
    "group_indices": np.int32,
}  # of the arrays

Count = Annotated[int, msgspec.Meta(ge=0)]
Side = Annotated[int, msgspec.Meta(ge=1)]


class Meta(msgspec.Struct, frozen=True):
    """The original's keys of dataset.json. Labels that are `ignore_label_id` do not count; None: all do."""

    pad_id: Count
    ignore_label_id: Count | None
    blank_identifier_id: Count
    vocab_size: Annotated[int, msgspec.Meta(ge=2, le=256)]
    seq_len: Count
    num_puzzle_identifiers: Count
    total_groups: Count
    mean_puzzle_examples: Annotated[float, msgspec.Meta(gt=0)]
    sets: tuple[str]


class Description(Meta, frozen=True):
    """dataset.json: TRM's further key, and ours, where they are known."""

    total_puzzles: Count | None = None
    kind: str = ""  # a name of `kinds.KINDS`
    height: Side | None = None
    width: Side | None = None


@dataclass(frozen=True, eq=False)
class PuzzleSet:
    """One split of a data set; inputs and labels are memory-mapped."""

    kind: str  # as dataset.json says, "" where it does not: see `kinds.load`
    folder: Path
    split: str
    inputs: np.ndarray  # uint8 [N, S]
    labels: np.ndarray  # uint8 [N, S]
    identifiers: np.ndarray  # int32 [P]
    puzzle_indices: np.ndarray  # int32 [P + 1]
    group_indices: np.ndarray  # int32 [G + 1]
    meta: Meta
    height: int  # cells, as dataset.json says, else of a square, else one row: height * width = S
    width: int

    @property
    def puzzle_of_example(self) -> np.ndarray:
        """int32 [N]: the puzzle identifier of every example."""
        return np.repeat(self.identifiers, np.diff(self.puzzle_indices))

    @property
    def first_of_group(self) -> np.ndarray:
        """int [G]: the first example of every group, which is no augmentation."""
        return self.puzzle_indices[self.group_indices[:-1]]

    @property
    def group_of_example(self) -> np.ndarray:
        """int [N]: the group of every example."""
        of_puzzle = np.repeat(np.arange(len(self.group_indices) - 1), np.diff(self.group_indices))
        return np.repeat(of_puzzle, np.diff(self.puzzle_indices))


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
    *,
    height: int,
    width: int,
    names: Sequence[str] = (BLANK,),
    extra: dict[str, np.ndarray] | None = None,
) -> None:
    """Write one split; shapes as in `PuzzleSet`. dataset.json comes last: a split without it is no data set.

    `names` are the identifiers' (written to identifiers.json; by default only the blank one must exist),
    `extra` further arrays {name: array}, kept as all__<name>.npy, which no original tool reads.
    """
    place = Path(folder) / split
    (place / "dataset.json").unlink(missing_ok=True)
    given = (inputs, labels, identifiers, puzzle_indices, group_indices)
    arrays = {name: np.asarray(array, TYPES[name]) for name, array in zip(TYPES, given, strict=True)}
    for name, array in (arrays | (extra or {})).items():
        with files.atomic_write(place / f"all__{name}.npy", "wb") as file:
            np.save(file, array)
    with files.atomic_write(Path(folder) / "identifiers.json") as file:
        json.dump(names, file)
    description = Description(
        pad_id=PAD,
        ignore_label_id=PAD,
        blank_identifier_id=0,
        vocab_size=int(vocab_size),
        seq_len=int(inputs.shape[1]),
        num_puzzle_identifiers=len(names),
        total_groups=len(group_indices) - 1,
        mean_puzzle_examples=len(inputs) / len(identifiers),
        sets=("all",),
        total_puzzles=len(identifiers),
        kind=kind,
        height=int(height),
        width=int(width),
    )
    with files.atomic_write(place / "dataset.json") as file:
        json.dump(msgspec.to_builtins(description), file)


def write_groups(
    folder: Path, split: str, kind: str, inputs: np.ndarray, labels: np.ndarray, vocab_size: int, **more: Any
) -> None:
    """`write` for inputs and labels [G, A, S]: G groups of A puzzles of one example each, without names.

    `more`: the height, the width and `extra`, as in `write`.
    """
    groups, copies, length = inputs.shape
    offsets = np.arange(groups * copies + 1)
    cells = inputs.reshape(-1, length), labels.reshape(-1, length)
    none = np.zeros(groups * copies, np.int32)
    write(folder, split, kind, *cells, none, offsets, offsets[::copies], vocab_size, **more)


# ---------------------------------------------------------------- reading


def load(folder: Path | str, split: str) -> PuzzleSet:
    """One split of a data set, ours or the original tools'; a `RequestError` says what is wrong with it."""
    folder = Path(folder)
    place = folder / split
    if not place.is_dir():
        there = [name for name in SPLITS if (folder / name).is_dir()]
        allowed = f"it has {' and '.join(there)}" if there else "a data set is a folder with train/ and test/"
        raise RequestError(f"{folder} has no split {split}/: {allowed}")
    path = place / "dataset.json"
    if not path.exists():
        raise RequestError(f"{path} is missing: no data set, or one whose writing was not finished")
    meta = json_file.load(path, Description, "dataset.json")
    arrays = {name: _array(place / f"{meta.sets[0]}__{name}.npy") for name in TYPES}
    for fault in _faults(arrays, meta, place):
        raise RequestError(f"{place}: {fault}")
    inputs, labels, names, puzzles, groups = (
        array.astype(TYPES[name], copy=False) for name, array in arrays.items()
    )
    side = round(meta.seq_len**0.5)
    height, width = (side, side) if side * side == meta.seq_len else (1, meta.seq_len)
    if meta.height and meta.width:
        height, width = meta.height, meta.width
    return PuzzleSet(meta.kind, folder, split, inputs, labels, names, puzzles, groups, meta, height, width)


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


def _faults(arrays: dict[str, np.ndarray], meta: Description, place: Path) -> Iterator[str]:
    """What is wrong with a split in `place`; each check takes for granted that those before it found nothing.

    Shapes, offsets, identifiers and tokens fit together and to dataset.json.
    """
    inputs, labels, names, puzzles, groups = (arrays[name] for name in TYPES)
    if inputs.ndim != 2 or labels.shape != inputs.shape or not len(inputs):
        yield f"inputs {list(inputs.shape)} and labels {list(labels.shape)}; both must be [N, S], N > 0"
    if inputs.shape[1] != meta.seq_len:
        yield f"seq_len is {meta.seq_len} but the inputs are {inputs.shape[1]} long: they must agree"
    for name in list(TYPES)[2:]:
        if arrays[name].ndim != 1:
            yield f"{name} has shape {list(arrays[name].shape)}; one axis is allowed"
    for name, of, last in (
        ("puzzle_indices", "examples", len(inputs)),
        ("group_indices", "puzzles", len(names)),
    ):
        offsets = arrays[name]
        if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != last or (np.diff(offsets) <= 0).any():
            yield f"{name} must rise from 0 to the number of {of}, {last}, with no empty stretch"
    if len(puzzles) != len(names) + 1:
        needed = len(names) + 1
        yield f"{len(names)} puzzle identifiers need {needed} puzzle_indices, not {len(puzzles)}"
    if len(groups) - 1 != meta.total_groups:
        yield f"total_groups is {meta.total_groups} but group_indices has {len(groups) - 1} groups"
    if names.min() < 0 or names.max() >= meta.num_puzzle_identifiers:
        allowed = f"num_puzzle_identifiers allows 0 to {meta.num_puzzle_identifiers - 1}"
        yield f"puzzle identifiers {names.min()} to {names.max()}; {allowed}"
    of_inputs, of_labels = (
        tokens_of(arrays[name], meta.vocab_size, f"{place}: {name}") for name in ("inputs", "labels")
    )
    yield from _hidden_answers(meta, of_inputs, of_labels)
    if (meta.height or meta.width) and (meta.height or 0) * (meta.width or 0) != meta.seq_len:
        yield f"height {meta.height} x width {meta.width} must be seq_len, {meta.seq_len}"


def _hidden_answers(meta: Meta, inputs: set[int], labels: set[int]) -> Iterator[str]:
    """How `ignore_label_id` keeps a model from being judged by the answer, whose tokens these are.

    Padding may be ignored, nothing else: not a token of the answer, not token 0 where the sequences are not
    padded (there it is a cell like others), and never so much that one constant would be right everywhere.
    """
    ignored = meta.ignore_label_id
    hidden = f"ignore_label_id {ignored} hides the answer: " if ignored in labels else ""
    if hidden and ignored != meta.pad_id:
        allowed = f"it is not pad_id {meta.pad_id}; allowed: pad_id or null"
        yield f"{hidden}labels of this value occur and {allowed}"
    if hidden and meta.pad_id not in inputs:
        yield f"{hidden}labels of this value occur but no input is padded; allowed here: null"
    left = labels - {ignored}
    if len(left) < 2:
        found = f"the labels that count are all {left.pop()}" if left else "no label counts"
        yield f"{hidden}{found}; allowed: two values or more"


def tokens_of(array: np.ndarray, vocabulary: int, where: str) -> set[int]:
    """The tokens that occur in an array [N, S]; a `RequestError` where one is beyond the vocabulary."""
    missing = set(range(vocabulary))
    step = max(1, 2**20 // max(1, array.shape[1]))  # about a megabyte: data may be larger than the memory
    for first in range(0, len(array), step):
        block = np.asarray(array[first : first + step])
        low, high = int(block.min()), int(block.max())
        if low < 0 or high >= vocabulary:
            wrong = low if low < 0 else high
            raise RequestError(
                f"{where} hold the token {wrong}, outside the vocabulary of 0 to {vocabulary - 1}"
            )
        missing -= {token for token in missing if (block == token).any()}
    return set(range(vocabulary)) - missing
