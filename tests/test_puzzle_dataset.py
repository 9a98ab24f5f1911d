"""Puzzle data sets on disk: the bytes of the original's layout, and what is refused."""

import ast
import json
import shutil
import struct
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import run_command
from hrm_jax.puzzles import __main__ as command
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import dataset, kinds

KEYS = [
    "pad_id",
    "ignore_label_id",
    "blank_identifier_id",
    "vocab_size",
    "seq_len",
    "num_puzzle_identifiers",
    "total_groups",
    "mean_puzzle_examples",
    "sets",
]


def _npy(path):
    """(dtype string, shape, data bytes) of a .npy file, read from the format's description alone."""
    raw = path.read_bytes()
    assert raw[:8] == b"\x93NUMPY\x01\x00"
    (length,) = struct.unpack("<H", raw[8:10])
    header = ast.literal_eval(raw[10 : 10 + length].decode("latin1"))
    assert (10 + length) % 64 == 0 and not header["fortran_order"]
    return header["descr"], header["shape"], raw[10 + length :]


def _by_hand(folder, split="train", **changed):
    """A directory in the original's layout: 2 groups; the first of 2 puzzles (2 and 1 examples), S = 4."""
    place = folder / split
    place.mkdir(parents=True)
    arrays = {
        "inputs": np.array([[1, 2, 2, 0], [1, 3, 3, 0], [2, 1, 1, 0], [3, 2, 1, 0]], np.uint8),
        "labels": np.array([[1, 2, 3, 0], [1, 3, 2, 0], [2, 1, 3, 0], [3, 2, 1, 0]], np.uint8),
        "puzzle_identifiers": np.array([1, 2, 3], np.int32),
        "puzzle_indices": np.array([0, 2, 3, 4], np.int32),
        "group_indices": np.array([0, 2, 3], np.int32),
    }
    described = {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": 4,
        "seq_len": 4,
        "num_puzzle_identifiers": 4,
        "total_groups": 2,
        "mean_puzzle_examples": 4 / 3,
        "sets": ["all"],
    }
    for name, value in changed.items():
        (arrays if name in arrays else described)[name] = value
    for name, array in arrays.items():
        if array is not None:
            np.save(place / f"all__{name}.npy", array)
    (place / "dataset.json").write_text(
        json.dumps({k: v for k, v in described.items() if not (isinstance(v, str) and v == "gone")})
    )
    (folder / "identifiers.json").write_text('["<blank>", "a", "a_t1", "b"]')
    return folder


# ---------------------------------------------------------------- the layout


def test_what_is_written_are_the_bytes_of_the_original_layout(tmp_path):
    inputs = np.array([[1, 2, 3], [2, 2, 4], [4, 1, 1]])
    labels = np.array([[1, 5, 3], [2, 5, 4], [4, 1, 5]])
    dataset.write(tmp_path, "test", "maze", inputs, labels, [0, 1], [0, 2, 3], [0, 1, 2], 6,
                  height=1, width=3, names=["<blank>", "x"])  # fmt: skip
    place = tmp_path / "test"
    assert sorted(p.name for p in place.iterdir()) == [
        "all__group_indices.npy",
        "all__inputs.npy",
        "all__labels.npy",
        "all__puzzle_identifiers.npy",
        "all__puzzle_indices.npy",
        "dataset.json",
    ]
    assert _npy(place / "all__inputs.npy") == ("|u1", (3, 3), bytes([1, 2, 3, 2, 2, 4, 4, 1, 1]))
    assert _npy(place / "all__labels.npy") == ("|u1", (3, 3), bytes([1, 5, 3, 2, 5, 4, 4, 1, 5]))
    assert _npy(place / "all__puzzle_identifiers.npy") == ("<i4", (2,), b"\0\0\0\0\1\0\0\0")
    assert _npy(place / "all__puzzle_indices.npy") == ("<i4", (3,), b"\0\0\0\0\2\0\0\0\3\0\0\0")
    assert _npy(place / "all__group_indices.npy") == ("<i4", (3,), b"\0\0\0\0\1\0\0\0\2\0\0\0")
    described = json.loads((place / "dataset.json").read_text())
    assert list(described)[:9] == KEYS
    assert [described[key] for key in KEYS] == [0, 0, 0, 6, 3, 2, 2, 1.5, ["all"]]
    assert {k: described[k] for k in list(described)[9:]} == {
        "total_puzzles": 2,
        "kind": "maze",
        "height": 1,
        "width": 3,
    }
    assert json.loads((tmp_path / "identifiers.json").read_text()) == ["<blank>", "x"]


def test_what_is_written_is_read(tmp_path):
    inputs = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 5 + 1
    dataset.write_groups(tmp_path, "train", "maze", inputs, inputs[..., ::-1], 6, height=2, width=2)
    found = dataset.load(tmp_path, "train")
    np.testing.assert_array_equal(found.inputs, inputs.reshape(6, 4))
    np.testing.assert_array_equal(found.labels, inputs[..., ::-1].reshape(6, 4))
    assert found.puzzle_indices.tolist() == list(range(7)) and found.group_indices.tolist() == [0, 3, 6]
    assert found.identifiers.tolist() == [0] * 6
    assert (found.kind, found.height, found.width, found.meta.total_groups) == ("maze", 2, 2, 2)


def test_a_directory_of_the_original_tools_is_read(tmp_path):
    found = dataset.load(_by_hand(tmp_path), "train")
    assert isinstance(found.inputs, np.memmap) and found.inputs.dtype == np.uint8
    assert found.inputs.tolist() == [[1, 2, 2, 0], [1, 3, 3, 0], [2, 1, 1, 0], [3, 2, 1, 0]]
    assert found.puzzle_of_example.tolist() == [1, 1, 2, 3]
    assert found.puzzle_of_example.dtype == np.int32
    assert found.kind == "" and (found.height, found.width) == (2, 2)
    assert found.meta == dataset.Description(0, 0, 0, 4, 4, 4, 2, 4 / 3, ("all",))


def test_trms_further_key_null_to_ignore_and_other_integers_are_fine(tmp_path):
    wide = np.array([[1, 2, 2, 0], [1, 3, 3, 0], [2, 1, 1, 0], [3, 2, 1, 0]], np.int64)
    found = dataset.load(_by_hand(tmp_path, total_puzzles=3, ignore_label_id=None, inputs=wide), "train")
    assert found.meta.ignore_label_id is None and found.inputs.dtype == np.uint8
    np.testing.assert_array_equal(found.inputs, wide)


def _rows(length, given, answer):
    """Four equal examples: what begins with the given and the answer's tokens, and goes on with 2."""
    cells = np.full((2, 4, length), 2, np.uint8)
    cells[0, :, : len(given)], cells[1, :, : len(answer)] = given, answer
    return {"inputs": cells[0], "labels": cells[1], "seq_len": length, "ignore_label_id": None}


def _sudoku(*changed):
    """A sudoku of one clue: its solution with cells {index: token} changed, as the rows of `_rows`."""
    row, column = np.divmod(np.arange(81), 9)
    answer = (3 * row + row // 3 + column) % 9 + 2
    for cell, token in changed:
        answer[cell] = token
    return _rows(81, [1] * 80 + [(3 * 8 + 2 + 8) % 9 + 2], answer)


CERTAIN = {
    "maze": (6, _rows(900, [3, 2, 4, 1], [3, 5, 4, 1]), "maze"),
    "maze with another token": (6, _rows(900, [3, 2, 4, 0], [3, 5, 4, 0]), ""),
    "maze with two starts": (6, _rows(900, [3, 2, 4, 3], [3, 5, 4, 3]), ""),
    "maze with a route given": (6, _rows(900, [3, 5, 4, 1], [3, 5, 4, 1]), ""),
    "maze whose answer is its question": (6, _rows(900, [3, 2, 4, 1], [3, 2, 4, 1]), ""),
    "maze whose answer is a way round": (
        6,
        _rows(900, [3, 2, 4, 1], [3, 2, 4, 1] + 26 * [2] + [5, 5, 5]),
        "",
    ),
    "maze whose answer marks more": (6, _rows(900, [3, 2, 4, 1], [3, 5, 4, 1, 5]), ""),
    "maze without a way": (6, _rows(900, [3, 1, 4] + 27 * [2] + [1], [3, 1, 4] + 27 * [2] + [1]), ""),
    "maze of one row": (6, {**_rows(900, [3, 2, 4, 1], [3, 5, 4, 1]), "height": 1, "width": 900}, "maze"),
    "maze with the wrong rows": (
        6,
        {**_rows(900, [3, 1, 4] + 27 * [2], [3, 1, 4] + 27 * [2] + 3 * [5]), "height": 9, "width": 100},
        "",
    ),
    "maze whose answer moves a wall": (6, _rows(900, [3, 2, 4, 1], [3, 5, 4, 2]), ""),
    "sudoku": (11, _sudoku(), "sudoku"),
    "sudoku whose answer changes a clue": (11, {**_sudoku(), "labels": 12 - _sudoku()["labels"]}, ""),
    "sudoku whose answer has a gap": (11, _sudoku((0, 1)), ""),
    "sudoku whose answer is wrong in a row": (11, _sudoku((0, 3)), ""),
    "sudoku whose answer is wrong in its boxes": (
        11,
        _sudoku(*((n, (n + n // 9) % 9 + 2) for n in range(81))),
        "",
    ),
    "arc": (12, _rows(900, [0, 1, 2, 11], [0, 1, 2, 11]), "arc"),
    "other": (9, _rows(36, [1, 2, 7], [3, 2, 7]), ""),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_the_kind_is_recognised_only_where_it_is_certain(tmp_path, name):
    vocabulary, changed, kind = CERTAIN[name]
    assert kinds.load(_by_hand(tmp_path, vocab_size=vocabulary, **changed), "train").kind == kind


@pytest.mark.parametrize("name", CERTAIN)
def test_a_kind_whose_rules_the_data_break_is_refused(tmp_path, name):
    """Whatever dataset.json says: answers would be scored and drawn as what they are not."""
    vocabulary, changed, right = CERTAIN[name]
    for kind in kinds.KINDS:
        folder = _by_hand(tmp_path / kind, vocab_size=vocabulary, kind=kind, **changed)
        if kind == right:
            assert kinds.load(folder, "train").kind == kind
            continue
        with pytest.raises(RequestError, match=rf"dataset.json: kind is '{kind}', but (example 0|there are)"):
            kinds.load(folder, "train")


# ---------------------------------------------------------------- refusals

LABELS = np.array([[1, 2, 3, 0], [1, 3, 2, 0], [2, 1, 3, 0], [3, 2, 1, 0]], np.uint8)
REFUSED = {
    "no inputs": ({"inputs": None}, "all__inputs.npy is missing"),
    "no offsets": ({"group_indices": None}, "all__group_indices.npy is missing"),
    "a key": ({"vocab_size": "gone"}, "dataset.json: .*missing required field vocab_size"),
    "a type": ({"seq_len": 4.5}, "seq_len is 4.5; expected int"),
    "two sets": ({"sets": ["a", "b"]}, r"sets is \[.*; expected array of length 1"),
    "label": ({"labels": LABELS + np.uint8(1)}, "labels hold the token 4, outside the vocabulary of 0 to 3"),
    "input": ({"inputs": LABELS * np.uint8(9)}, "inputs hold the token 27, outside"),
    "negative": ({"inputs": LABELS.astype(int) - 1}, "inputs hold the token -1, outside"),
    "length": ({"seq_len": 5}, "seq_len is 5 but the inputs are 4 long"),
    "rows": ({"labels": LABELS[:3]}, r"inputs \[4, 4\] and labels \[3, 4\]"),
    "fractions": ({"labels": LABELS / 2}, "all__labels.npy: integers are expected"),
    "identifier": ({"puzzle_identifiers": np.array([1, 2, 4], np.int32)}, "1 to 4; .* allows 0 to 3"),
    "end": ({"puzzle_indices": np.array([0, 2, 3, 5], np.int32)}, "puzzle_indices must rise from 0 .*, 4"),
    "order": ({"group_indices": np.array([0, 3, 3], np.int32)}, "group_indices must rise from 0 .*, 3"),
    "number": ({"puzzle_indices": np.array([0, 2, 4], np.int32)}, "3 puzzle identifiers need 4"),
    "groups": ({"total_groups": 3}, "total_groups is 3 but group_indices has 2 groups"),
    "ignored token": ({"ignore_label_id": 3}, "ignore_label_id 3 hides the answer: .*it is not pad_id 0"),
    "no padding": (
        {"inputs": np.maximum(LABELS, 1), "labels": LABELS},
        "ignore_label_id 0 hides the answer: .*no input is padded; allowed here: null",
    ),
    "one value": ({"labels": LABELS // 3 * np.uint8(2)}, "ignore_label_id 0 hides .* are all 2"),
    "constant": ({"labels": LABELS * 0 + 1}, "the labels that count are all 1"),
    "kind": ({"kind": "chess"}, "kind is 'chess'; allowed: maze, sudoku, arc"),
    "frame": ({"height": 3, "width": 2}, "height 3 x width 2 must be seq_len, 4"),
    "half a frame": ({"height": 4}, "height 4 x width None must be seq_len, 4"),
    "falling": (
        {"puzzle_indices": np.array([0, 3, 2, 4], np.uint32)}, "puzzle_indices must rise from 0 .*, 4",
    ),
    "no length": ({"seq_len": 0}, "seq_len is 0; expected int >= 1"),
    "nothing": ({"inputs": LABELS[:0], "labels": LABELS[:0]}, r"inputs \[0, 4\] and labels"),
    "one axis": ({"inputs": LABELS[0], "labels": LABELS[0]}, r"inputs \[4\] and labels \[4\]"),
    "two axes": ({"puzzle_identifiers": np.ones((3, 1), np.int32)}, r"has shape \[3, 1\]; one axis"),
    "pad": ({"pad_id": 4}, "rows of pad_id hold the token 4, outside the vocabulary of 0 to 3"),
    "blank": ({"blank_identifier_id": 4}, "blank_identifier_id 4; num_puzzle_identifiers allows 0 to 3"),
    "mean": ({"mean_puzzle_examples": 1.5}, "mean_puzzle_examples is 1.5; 4 examples of 3 puzzles"),
    "no mean": ({"mean_puzzle_examples": float("nan")}, "NaN is no number"),
    "puzzles": ({"total_puzzles": 4}, "total_puzzles is 4 but there are 3 puzzles"),
    "names": ({"num_puzzle_identifiers": 5}, "identifiers.json: 4 names; there are 5 puzzle identifiers"),
    "name of the set": ({"sets": ["../all"]}, r'sets\[0\] is "../all"; expected str matching'),
    "truth": ({"vocab_size": True}, "vocab_size is true; expected int, got bool"),
    "objects": ({"labels": np.array([[None] * 4] * 4)}, "all__labels.npy is no .npy array"),
    "words": ({"labels": np.array([["1"] * 4] * 4)}, "all__labels.npy: integers are expected"),
    "complex": ({"labels": LABELS.astype(complex)}, "all__labels.npy: integers are expected"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_would_mislead_are_refused_in_one_line(tmp_path, name):
    changed, message = REFUSED[name]
    with pytest.raises(RequestError, match=message) as error:
        kinds.load(_by_hand(tmp_path, **changed), "train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["<blank>", "a", "b", "a"], "'a' is there 2 times; a name has one identifier"),
        (["a", "<blank>", "a_t1", "b"], 'identifier 0 is the blank one; its name must be "<blank>"'),
        (["<blank>", "<blank>", "a", "b"], "'<blank>' is there 2 times"),
        (["<blank>", "a", None, "b"], r"\[2\] is null; expected str"),
    ],
)
def test_names_that_neither_original_builder_writes_are_refused(tmp_path, names, message):
    _by_hand(tmp_path)
    (tmp_path / "identifiers.json").write_text(json.dumps(names))
    with pytest.raises(RequestError, match=f"identifiers.json: .*{message}"):
        dataset.load(tmp_path, "train")


def mutations(folder):
    """Ways to spoil a folder, as a strategy of functions of it: bytes, arrays and values of other kinds."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    arrays = [path for path in files if path.suffix == ".npy"]

    def bytes_at(path, place, new, keep):
        def spoil(folder):
            old = (folder / path).read_bytes()
            at = place % (len(old) + 1)
            (folder / path).write_bytes(old[:at] + new + old[at + len(new) * keep :][: 10**6 * keep or None])

        return spoil

    def array_of(path, dtype, shape, low, high):
        def spoil(folder):
            values = np.random.default_rng(low % 7).integers(low, max(low + 1, high), shape)
            with np.errstate(invalid="ignore"):
                np.save(folder / path, values.astype(dtype))

        return spoil

    def value_of(name, value):
        def spoil(folder):
            path = folder / "train/dataset.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

        return spoil

    number = st.integers(-(2**70), 2**70)
    small, flag = st.integers(-3, 9), st.booleans()
    dtypes = st.sampled_from(
        ["i1", "u1", "i4", "u4", "i8", "u8", "f4", "f8", "c8", "U2", "?", ">i4", "M8[s]"]
    )
    shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)
    values = st.recursive(
        st.none() | flag | small | number | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=4,
    )
    described = json.loads((folder / "train/dataset.json").read_text())
    keys = st.sampled_from([*described, "kind", "height", "width", "total_puzzles"])
    return st.one_of(
        st.builds(
            bytes_at, st.sampled_from(files), st.integers(0, 999), st.binary(max_size=9), st.booleans()
        ),
        st.builds(array_of, st.sampled_from(arrays), dtypes, shapes, small, small),
        st.builds(value_of, keys, values),
    )


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return _by_hand(tmp_path_factory.mktemp("valid"))


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.slow)])
def test_what_is_spoilt_is_refused_in_one_line_or_is_still_a_data_set(valid, count):
    """Mutated at random: whatever loads keeps to all that its readers take for granted."""

    @hypothesis.settings(max_examples=count, deadline=None, derandomize=True, database=None)
    @hypothesis.given(st.lists(mutations(valid), min_size=1, max_size=2))
    def check(mutations):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(shutil.copytree(valid, Path(place) / "x"))
            try:
                for spoil in mutations:
                    spoil(folder)
            except (ValueError, TypeError):
                return  # the file was spoilt beyond being spoilt again
            try:
                found = kinds.load(folder, "train")
            except RequestError as error:
                assert "\n" not in str(error) and str(folder) in str(error)
                return
            _assert_sound(found)

    check()


def _assert_sound(found):
    meta, count = found.meta, len(found.inputs)
    assert found.inputs.shape == found.labels.shape == (count, meta.seq_len) and count
    assert found.height * found.width == meta.seq_len and meta.pad_id < meta.vocab_size <= 256
    for tokens in (found.inputs, found.labels):
        assert tokens.dtype == np.uint8 and tokens.max() < meta.vocab_size
    for offsets, last in ((found.puzzle_indices, count), (found.group_indices, len(found.identifiers))):
        assert offsets.dtype == np.int32 and offsets[0] == 0 and offsets[-1] == last
        assert (np.diff(offsets.astype(int)) > 0).all()
    assert found.puzzle_of_example.shape == found.group_of_example.shape == (count,)
    assert 0 <= found.identifiers.min() <= found.identifiers.max() < meta.num_puzzle_identifiers
    assert meta.total_groups == len(found.group_indices) - 1 and meta.blank_identifier_id >= 0
    np.testing.assert_allclose(meta.mean_puzzle_examples * len(found.identifiers), count)


def test_missing_folders_and_broken_files_are_refused(tmp_path):
    with pytest.raises(RequestError, match="no split train/: a data set is a folder with"):
        dataset.load(tmp_path / "nothing", "train")
    _by_hand(tmp_path / "a")
    with pytest.raises(RequestError, match="no split test/: it has train"):
        dataset.load(tmp_path / "a", "test")
    (tmp_path / "a/train/all__labels.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(RequestError, match="all__labels.npy is no .npy array"):
        dataset.load(tmp_path / "a", "train")
    (tmp_path / "a/train/dataset.json").write_text('{"pad_id": 0,')
    with pytest.raises(RequestError, match="dataset.json: not a readable dataset.json"):
        dataset.load(tmp_path / "a", "train")
    (tmp_path / "a/train/dataset.json").unlink()
    with pytest.raises(RequestError, match="dataset.json is missing"):
        dataset.load(tmp_path / "a", "train")


def test_an_ignored_token_that_never_occurs_hides_nothing(tmp_path):
    cells = np.maximum(LABELS, 1)  # nothing is padded, and 0 is ignored: as in the published mazes
    assert dataset.load(_by_hand(tmp_path, inputs=cells, labels=cells), "train").meta.ignore_label_id == 0


# ---------------------------------------------------------------- what builders share


def _stream_part(settings, number):
    """Numbers 10 k to 10 k + 9 modulo 35 as puzzles of two cells; those over 25 are for the test."""
    values = (np.arange(10) + 10 * number) % 35
    inputs = np.stack([values, values], axis=1).astype(np.uint8)
    return {"split": (values > 25).astype(np.uint8), "inputs": inputs, "labels": inputs + np.uint8(1)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_stream_gives_the_first_distinct_puzzles_in_order(tmp_path, jobs):
    (tmp_path / "request.json").touch()
    train, test = building.gather(tmp_path, {}, _stream_part, (26, 7), jobs, "numbers", 9)
    assert train["inputs"][:, 0].tolist() == list(range(26))
    assert test["inputs"][:, 0].tolist() == list(range(26, 33))


def test_a_stream_that_runs_dry_says_how_far_it_came(tmp_path):
    (tmp_path / "request.json").touch()
    with pytest.raises(RequestError, match="26 of 27 train and 5 of 5 test numbers found, and no new one in"):
        building.gather(tmp_path, {}, _stream_part, (27, 5), 1, "numbers", 5)


def test_the_split_is_a_function_of_the_key_and_about_as_large_as_wanted():
    keys = [str(i).encode() for i in range(20000)]
    for train, test, share in ((3, 1, 0.25), (1, 1, 0.5), (10**6, 1, 0.02), (1, 10**6, 0.98)):
        split = building.split_of(keys, train, test)
        assert abs(split.mean() - share) < 5 * (share * (1 - share) / 20000) ** 0.5
        np.testing.assert_array_equal(building.split_of(keys[::-1], train, test)[::-1], split)


def test_a_folder_is_whole_or_absent_and_never_mixed(tmp_path):
    def half(parts, folder):
        folder.mkdir(exist_ok=True)
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    def whole(parts, folder):
        assert not (folder / "half").exists()
        for split in dataset.SPLITS:
            dataset.write_groups(folder, split, "", LABELS[None], LABELS[None], 4, height=2, width=2)

    out, rules = tmp_path / "set", building.Rules("", lambda height, width: 4)
    with pytest.raises(KeyboardInterrupt):
        building.produce(out, {"seed": 1}, rules, half)
    assert not out.exists()
    with pytest.raises(RequestError, match=r"set.parts was begun with other settings \(seed 1, now 2\)"):
        building.produce(out, {"seed": 2}, rules, whole)
    assert building.produce(out, {"seed": 1}, rules, whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]
    assert sorted(p.name for p in out.iterdir()) == ["build.json", "identifiers.json", "test", "train"]
    assert not building.produce(out, {"seed": 1}, rules, half)  # it is there
    with pytest.raises(
        RequestError, match=r"set was built with other settings \(seed 1, now None, a None, now 2"
    ):
        building.produce(out, {"a": 2}, rules, whole)
    for note, message in (("[1]", "; expected object"), ("{", "readable"), ("null", "; expected")):
        (out / "build.json").write_text(note)
        with pytest.raises(RequestError, match=f"build.json: not a .*{message}"):
            building.produce(out, {"seed": 1}, rules, whole)
    (out / "build.json").write_text('{"seed": 1}')
    (out / "test/all__labels.npy").write_bytes(b"")
    with pytest.raises(RequestError, match="all__labels.npy is no .npy array that can be read"):
        building.produce(out, {"seed": 1}, rules, whole)  # it was whole once
    (tmp_path / "mine").mkdir()
    with pytest.raises(RequestError, match="mine is there and is not of this builder"):
        building.produce(tmp_path / "mine", {}, rules, whole)
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="file: its folder cannot be made|file/set"):
        building.produce(tmp_path / "file" / "set", {}, rules, whole)


def test_the_command_line_refuses_in_one_line(tmp_path, capsys):
    out = ["--out", str(tmp_path / "x")]
    wrong = {
        ("mazes",): 'did you mean "maze"',
        ("maze",): "required: --out",
        ("maze", *out, "--size", "70"): "--size 70: 4 to 64",
        ("maze", *out, "--size", "6", "--shortest", "60"): "--shortest 60: 3 to 25 cells",
        ("maze", *out, "--augment", "16"): "15 other aspects",
        ("maze", *out, "--tries", "0"): "--tries 0: at least 1",
        ("maze", *out, "--tries", "1000000000"): "--tries 1000000000: at most 1,000",
        ("maze", *out, "--jobs", "0"): "--jobs 0: at least 1",
        ("maze", *out, "--jobs", "1000000000"): "--jobs 1000000000: at most ",
        ("maze", *out, "--size", "1000000000"): "--size 1000000000: 4 to 64",
        ("maze", *out, "--train", "1000000000"): "1,000,000,000 puzzles of a split",
        ("maze", *out, "--test", "1000000000"): "1,000,000,000 puzzles of a split",
        ("maze", *out, "--train", "9" * 5000): "invalid int value",
        ("sudoku", *out, "--train", "99999999", "--augment", "9"): "999,999,990 puzzles of a split",
        ("sudoku", *out, "--augment", "1000000000"): "--augment 1000000000: at most 100,000",
        ("sudoku", *out, "--augment", "-1"): "--augment -1: 0 or more",
        ("sudoku", *out, "--subsample", "0"): "--subsample draws rows of --csv",
        ("sudoku", *out, "--csv", "f", "--subsample", "0"): "--subsample 0: at least 1",
        ("maze", *out, "--train", "0"): "--train 0: at least 1",
        ("maze", *out, "--seed", "-1"): "--seed -1: 0 or more",
        ("maze", *out, "--subsample", "4"): "--subsample draws rows of --csv",
        ("maze", *out, "--csv", "f", "--train", "4"): "--train and --test do not go",
        ("maze", *out, "--csv", "f", "--tries", "4"): "the mazes of --csv are as they are",
        ("sudoku", *out, "--size", "5"): "invalid choice: 5",
        ("sudoku", *out, "--givens", "9"): "A:B with 0 <= A <= B",
        ("sudoku", *out, "--rating", "9:2"): "A:B with 0 <= A <= B",
        ("sudoku", *out, "--givens", "0:16"): "17 to 81 clues are possible at 9x9",
        ("sudoku", *out, "--size", "4", "--givens", "17:"): "4 to 16 clues",
        ("sudoku", *out, "--csv", str(tmp_path)): "train.csv is missing",
        ("statistics", str(tmp_path)): "no data set",
        ("statistics", "x" * 300): "xxx' is no path (File name too long)",
        ("maze", "--out", "x" * 300): "argument out: 'xxx",
        ("maze", "--out", "x\0y"): "is no path (",
        ("arc", *out, "--source", "x" * 300): "is no path (File name too long)",
    }
    for arguments, message in wrong.items():
        code = run_command(command.main, arguments)
        error = capsys.readouterr().err
        assert code == 2 and message in error and error.count("\n") == 1, (arguments, error)
    assert not (tmp_path / "x").exists()
