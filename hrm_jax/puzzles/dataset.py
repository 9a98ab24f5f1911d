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

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError, one_line

SPLITS = ("train", "test")
PAD = 0
BLANK = "<blank>"
NAMES = "identifiers.json"
PARTLY_LABELLED = ("lattice",)  # kinds by whose own rules some cells have no label, padding or not
TYPES = {
    "inputs": np.uint8,
    "labels": np.uint8,
    "puzzle_identifiers": np.int32,
    "puzzle_indices": np.int32,
    "group_indices": np.int32,
}  # of the arrays

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
SetName = Annotated[str, msgspec.Meta(pattern=r"^[\w-]+\Z")]  # part of the names of files


class Meta(msgspec.Struct, frozen=True):
    """The original's keys of dataset.json. Labels that are `ignore_label_id` do not count; None: all do."""

    pad_id: Count
    ignore_label_id: Count | None
    blank_identifier_id: Count
    vocab_size: Annotated[int, msgspec.Meta(ge=2, le=256)]
    seq_len: Positive
    num_puzzle_identifiers: Positive
    total_groups: Positive
    mean_puzzle_examples: Annotated[float, msgspec.Meta(gt=0)]
    sets: tuple[SetName]


class Description(Meta, frozen=True):
    """dataset.json: TRM's further key, and ours, where they are known."""

    total_puzzles: Count | None = None
    kind: str = ""  # a name of `kinds.KINDS`
    height: Positive | None = None
    width: Positive | None = None


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
    digest: str | None = None  # of what its identifiers mean (`digest`); None: identifiers.json is not there

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
    ignored: int | None = PAD,
) -> None:
    """Write one split; shapes as in `PuzzleSet`. dataset.json comes last: a split without it is no data set.

    `names` are the identifiers' (written to identifiers.json; by default only the blank one must exist),
    `extra` further arrays {name: array}, kept as all__<name>.npy, which no original tool reads; labels
    `ignored` do not count.
    """
    place = Path(folder) / split
    (place / "dataset.json").unlink(missing_ok=True)
    given = (inputs, labels, identifiers, puzzle_indices, group_indices)
    arrays = {name: np.asarray(array, TYPES[name]) for name, array in zip(TYPES, given, strict=True)}
    description = Description(
        pad_id=PAD,
        ignore_label_id=ignored,
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
    content = msgspec.to_builtins(description)
    json_file.check(place / "dataset.json", content, Description, "dataset.json")
    _check(arrays, description, place)  # what is written can be read
    for name, array in (arrays | (extra or {})).items():
        with files.atomic_write(place / f"all__{name}.npy", "wb") as file:
            np.save(file, array)
    with files.atomic_write(Path(folder) / NAMES) as file:
        json.dump(names, file)
    with files.atomic_write(place / "dataset.json") as file:
        json.dump(content, file)


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
    _check(arrays, meta, place)
    named = folder / NAMES
    known = None
    if named.exists():
        known = digest(names(named, meta.num_puzzle_identifiers, meta.blank_identifier_id))
    inputs, labels, identifiers, puzzles, groups = (
        array.astype(TYPES[name], copy=False) for name, array in arrays.items()
    )
    side = math.isqrt(meta.seq_len)
    height, width = (side, side) if side * side == meta.seq_len else (1, meta.seq_len)
    if meta.height and meta.width:
        height, width = meta.height, meta.width
    shape = height, width, known
    return PuzzleSet(meta.kind, folder, split, inputs, labels, identifiers, puzzles, groups, meta, *shape)


def names(path: Path, count: int | None = None, blank: int = 0) -> list[str]:
    """The names by identifier in an identifiers.json, which must be so many if that is said.

    Both original builders give every name one identifier, and the blank one's is `BLANK`.
    """
    found = json_file.load(path, list[str], "list of names")
    if count is not None and len(found) != count:
        raise RequestError(f"{path}: {len(found):,} names; there are {count:,} puzzle identifiers")
    if blank >= len(found) or found[blank] != BLANK:
        raise RequestError(f'{path}: identifier {blank} is the blank one; its name must be "{BLANK}"')
    if len(set(found)) < len(found):
        name, times = Counter(found).most_common(1)[0]
        raise RequestError(f"{path}: {name!r} is there {times} times; a name has one identifier")
    return found


def digest(named: Sequence[str]) -> str:
    """A text that is the same for the same names by identifier alone, written HRM's way or TRM's.

    It travels with a model, whose table of puzzle embeddings means nothing under other identifiers.
    """
    text = json.dumps([name.replace("|||", "_") for name in named])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def extra(puzzles: PuzzleSet, name: str) -> np.ndarray | None:
    """The further array [G] all__<name>.npy of a data set, a value a group; None where there is none."""
    path = puzzles.folder / puzzles.split / f"all__{name}.npy"
    if not path.exists():
        return None
    array, groups = _array(path), puzzles.meta.total_groups
    if array.shape != (groups,):
        raise RequestError(f"{path}: shape {list(array.shape)}; it must be [{groups}], a value a group")
    return array


def _array(path: Path) -> np.ndarray:
    """An array of integers, memory-mapped."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise RequestError(f"{path} is missing") from None
    except Exception as error:  # a damaged header fails with whatever Python's own parser raises
        raise RequestError(f"{path} is no .npy array that can be read: {one_line(error)}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise RequestError(f"{path}: integers are expected")
    return array


def _check(arrays: dict[str, np.ndarray], meta: Description, place: Path) -> None:
    """Refuse a split in `place` whose arrays do not fit together, or not to dataset.json, by the first fault.

    Each check takes for granted that those before it found nothing.
    """
    for check in (_shapes, _offsets, _counts, _tokens):
        for fault in check(arrays, meta):
            raise RequestError(f"{place}: {fault}")


def _shapes(arrays: dict[str, np.ndarray], meta: Description) -> Iterator[str]:
    inputs, labels = arrays["inputs"], arrays["labels"]
    if inputs.ndim != 2 or labels.shape != inputs.shape or not len(inputs):
        yield f"inputs {list(inputs.shape)} and labels {list(labels.shape)}; both must be [N, S], N > 0"
    if inputs.shape[1] != meta.seq_len:
        yield f"seq_len is {meta.seq_len} but the inputs are {inputs.shape[1]} long: they must agree"
    for name in list(TYPES)[2:]:
        if arrays[name].ndim != 1:
            yield f"{name} has shape {list(arrays[name].shape)}; one axis is allowed"
    if (meta.height or meta.width) and (meta.height or 0) * (meta.width or 0) != meta.seq_len:
        yield f"height {meta.height} x width {meta.width} must be seq_len, {meta.seq_len}"


def _offsets(arrays: dict[str, np.ndarray], meta: Description) -> Iterator[str]:
    examples, puzzles = len(arrays["inputs"]), len(arrays["puzzle_identifiers"])
    for name, of, last in (("puzzle_indices", "examples", examples), ("group_indices", "puzzles", puzzles)):
        offsets = arrays[name]
        # Compared, not subtracted: what falls has a large positive difference where integers have no sign.
        ends = len(offsets) > 1 and offsets[0] == 0 and offsets[-1] == last
        if not ends or (offsets[1:] <= offsets[:-1]).any():
            yield f"{name} must rise from 0 to the number of {of}, {last}, with no empty stretch"
    if len(arrays["puzzle_indices"]) != puzzles + 1:
        needed = f"{puzzles + 1} puzzle_indices, not {len(arrays['puzzle_indices'])}"
        yield f"{puzzles} puzzle identifiers need {needed}"


def _counts(arrays: dict[str, np.ndarray], meta: Description) -> Iterator[str]:
    """What dataset.json counts, and identifiers beyond what it allows."""
    identifiers, groups = arrays["puzzle_identifiers"], len(arrays["group_indices"]) - 1
    examples, puzzles = len(arrays["inputs"]), len(identifiers)
    if groups != meta.total_groups:
        yield f"total_groups is {meta.total_groups} but group_indices has {groups} groups"
    if not math.isclose(meta.mean_puzzle_examples, examples / puzzles, rel_tol=1e-6):
        yield f"mean_puzzle_examples is {meta.mean_puzzle_examples}; {examples} examples of {puzzles} puzzles"
    if meta.total_puzzles not in (None, puzzles, groups):  # TRM's builders of sudokus and mazes count groups
        yield f"total_puzzles is {meta.total_puzzles} but there are {puzzles} puzzles"
    last = meta.num_puzzle_identifiers - 1
    for name, low, high in (
        ("puzzle identifiers", identifiers.min(), identifiers.max()),
        ("blank_identifier_id", meta.blank_identifier_id, meta.blank_identifier_id),
    ):
        if low < 0 or high > last:
            found = f"{low} to {high}" if low < high else f"{high}"
            yield f"{name} {found}; num_puzzle_identifiers allows 0 to {last}"


def _tokens(arrays: dict[str, np.ndarray], meta: Description) -> Iterator[str]:
    """Tokens beyond the vocabulary, and answers that cannot be judged.

    Padding may be ignored, nothing else: not a token of the answer, not token 0 where the sequences are not
    padded (there it is a cell like others), and never so much that one constant would be right everywhere.
    """
    inputs, labels = (tokens_of(arrays[name], meta.vocab_size) for name in ("inputs", "labels"))
    for name, tokens in (("inputs", inputs), ("labels", labels), ("rows of pad_id", {meta.pad_id})):
        if beyond := sorted(tokens - set(range(meta.vocab_size))):
            yield f"{name} hold the token {beyond[0]}, outside the vocabulary of 0 to {meta.vocab_size - 1}"
    ignored = meta.ignore_label_id
    hidden = f"ignore_label_id {ignored} hides the answer: " if ignored in labels else ""
    if hidden and ignored != meta.pad_id:
        allowed = f"it is not pad_id {meta.pad_id}; allowed: pad_id or null"
        yield f"{hidden}labels of this value occur and {allowed}"
    if hidden and meta.pad_id not in inputs and meta.kind not in PARTLY_LABELLED:
        yield f"{hidden}labels of this value occur but no input is padded; allowed here: null"
    left = labels - {ignored}
    if len(left) < 2:
        found = f"the labels that count are all {left.pop()}" if left else "no label counts"
        yield f"{hidden}{found}; allowed: two values or more"


def tokens_of(array: np.ndarray, vocabulary: int) -> set[int]:
    """The tokens that occur in an array [N, S]; of those beyond the vocabulary, some."""
    known, missing, beyond = set(range(vocabulary)), set(range(vocabulary)), set()
    step = max(1, 2**20 // array.shape[1])  # about a megabyte: data may be larger than the memory
    for first in range(0, len(array), step):
        block = np.asarray(array[first : first + step])
        beyond |= {int(block.min()), int(block.max())} - known
        missing -= {token for token in missing if (block == token).any()}
    return known - missing | beyond
