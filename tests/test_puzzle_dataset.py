"""Puzzle data sets on disk: the bytes of the original's layout, and what is refused."""

import ast
import json
import struct

import numpy as np
import pytest

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


@pytest.mark.parametrize(
    "vocabulary,length,tokens,kind",
    [
        (6, 900, [1, 2, 3, 4], "maze"),
        (6, 900, [0, 2, 3, 4], ""),
        (11, 81, [1, 5, 10], "sudoku"),
        (12, 900, [0, 1, 2, 11], "arc"),
        (8, 36, [1, 2, 7], ""),
    ],
)
def test_the_kind_is_recognised_only_where_it_is_certain(tmp_path, vocabulary, length, tokens, kind):
    cells = np.resize(np.array(tokens, np.uint8), (4, length))
    changed = {"inputs": cells, "labels": cells, "vocab_size": vocabulary, "seq_len": length}
    assert kinds.load(_by_hand(tmp_path, **changed), "train").kind == kind


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
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_would_mislead_are_refused_in_one_line(tmp_path, name):
    changed, message = REFUSED[name]
    with pytest.raises(RequestError, match=message) as error:
        kinds.load(_by_hand(tmp_path, **changed), "train")
    assert "\n" not in str(error.value)


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
    train, test = building.gather(tmp_path, {}, _stream_part, (26, 7), jobs, "numbers", 9)
    assert train["inputs"][:, 0].tolist() == list(range(26))
    assert test["inputs"][:, 0].tolist() == list(range(26, 33))


def test_a_stream_that_runs_dry_says_how_far_it_came(tmp_path):
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
        folder.mkdir(exist_ok=True)
        (folder / "x").write_text("1")

    out = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        building.produce(out, {"seed": 1}, half)
    assert not out.exists()
    with pytest.raises(RequestError, match=r"set.parts was begun with other settings \(seed 1, now 2\)"):
        building.produce(out, {"seed": 2}, whole)
    assert building.produce(out, {"seed": 1}, whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]
    assert sorted(p.name for p in out.iterdir()) == ["build.json", "x"]
    assert not building.produce(out, {"seed": 1}, half)  # it is there
    with pytest.raises(
        RequestError, match=r"set was built with other settings \(seed 1, now None, a None, now 2"
    ):
        building.produce(out, {"a": 2}, whole)
    (tmp_path / "mine").mkdir()
    with pytest.raises(RequestError, match="mine is there and is not of this builder"):
        building.produce(tmp_path / "mine", {}, whole)
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="file: its folder cannot be made|file/set"):
        building.produce(tmp_path / "file" / "set", {}, whole)


def test_the_command_line_refuses_in_one_line(tmp_path, capsys):
    out = ["--out", str(tmp_path / "x")]
    wrong = {
        ("mazes",): 'did you mean "maze"',
        ("maze",): "required: --out",
        ("maze", *out, "--size", "70"): "--size 70: 4 to 64",
        ("maze", *out, "--size", "6", "--shortest", "60"): "--shortest 60: 3 to 25 cells",
        ("maze", *out, "--augment", "16"): "15 other aspects",
        ("maze", *out, "--tries", "0"): "--tries: at least 1",
        ("maze", *out, "--jobs", "0"): "--jobs: at least 1",
        ("maze", *out, "--train", "0"): "--train 0: at least 1",
        ("maze", *out, "--seed", "-1"): "--seed and --augment: 0 or more",
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
    }
    for arguments, message in wrong.items():
        code = run_command(command.main, arguments)
        error = capsys.readouterr().err
        assert code == 2 and message in error and error.count("\n") == 1, (arguments, error)
    assert not (tmp_path / "x").exists()
