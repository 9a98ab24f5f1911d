"""Files at the door: what is damaged or too large is refused in one line; what is written is whole."""

import io
import json
import multiprocessing
import os
import pickle
import resource
import zipfile

import numpy as np
import pytest

from hrm_jax.artefacts import archive, files, json_file, parts
from hrm_jax.artefacts.errors import RequestError, WriteError


@pytest.fixture
def full_disk():
    """A disk on which no file grows beyond 1000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _refusal(read, *arguments):
    with pytest.raises(RequestError) as error:
        read(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- writing


def test_two_writers_of_one_file_do_not_spoil_each_other(tmp_path):
    out = tmp_path / "new" / "out.json"
    with files.atomic_write(out) as first:
        first.write("first")
        with files.atomic_write(out) as second:
            second.write("second ½")
        assert out.read_text(encoding="utf-8") == "second ½"
    assert out.read_text() == "first" and os.listdir(out.parent) == ["out.json"]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("before")
    with pytest.raises(ZeroDivisionError), files.atomic_write(out) as file:
        file.write("half")
        _ = 1 / 0
    assert out.read_text() == "before" and os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_full_disk_is_one_line_and_nothing_is_half_written(save, tmp_path, full_disk):
    numbers = np.random.default_rng(0).random(10_000)
    assert "cannot be written" in _refusal(archive.write, tmp_path / "a.npz", {"numbers": numbers}, save)
    with pytest.raises(WriteError), files.atomic_write(tmp_path / "a.json") as file:
        file.write(500 * "text ")  # which appears at the end, when the file is closed
    assert os.listdir(tmp_path) == []


def test_parts_outlive_a_full_disk(tmp_path):
    with pytest.raises(WriteError), parts.work_folder(tmp_path / "out", {"seed": 1}) as folder:
        (folder / "000000.npz").touch()
        raise WriteError("no room")
    assert sorted(os.listdir(folder)) == ["000000.npz", "lock", "request.json"]
    assert list(parts.stream(folder, _one, 1).__next__()) == ["one"]  # the empty part was made again


def _one(number):
    return {"one": np.ones(1)}


NO_PLACES = {
    "a folder": (".", "not a file that can be written"),
    "a device": ("/dev/null", "not a file that can be written"),
    "a name that is too long": (300 * "a", "File name too long"),
    "a path that is too long": ("/".join(3000 * ["a"]), "too long"),
    "a NUL": ("a\0b", "a NUL in its name"),
    "where nobody may write": ("/proc/version2", "cannot be written"),
    "below a file": ("file/out.json", "its folder cannot be made"),
}


@pytest.mark.parametrize("place", NO_PLACES)
def test_a_place_is_proven_before_the_work(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    path, complaint = NO_PLACES[place]
    assert complaint in _refusal(files.check_writable, path)
    assert os.listdir(tmp_path) == ["file"] and os.path.exists("/dev/null")


def test_no_file_is_written_over_another_of_the_request(tmp_path):
    (tmp_path / "in.npz").touch()
    (tmp_path / "link.npz").symlink_to("in.npz")
    for other in (tmp_path / "in.npz", tmp_path / "." / "in.npz", tmp_path / "link.npz"):
        assert "written over another" in _refusal(files.check_writable, tmp_path / "in.npz", [None, other])
    files.check_writable(tmp_path / "out.npz", [None, tmp_path / "in.npz"])
    assert sorted(os.listdir(tmp_path)) == ["in.npz", "link.npz"]


def _hold(path, held, done):
    with files.alone(path, "it"):
        held.set()
        done.wait(60)


def test_one_process_at_a_time(tmp_path):
    spawned = multiprocessing.get_context("spawn")
    held, done = spawned.Event(), spawned.Event()
    other = spawned.Process(target=_hold, args=(tmp_path / "lock", held, done))
    other.start()
    assert held.wait(60)
    with (
        pytest.raises(RequestError, match="it: another process is at work"),
        files.alone(tmp_path / "lock", "it"),
    ):
        pass
    other.kill()
    other.join()
    with files.alone(tmp_path / "lock", "it"):
        pass


def test_home_is_known_everywhere(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        files.expanded("~/a") == tmp_path / "a" and str(files.expanded("~nobody-here/a")) == "~nobody-here/a"
    )
    (tmp_path / "a").touch()
    assert files.is_meant("~/a") and not files.is_meant(300 * "a") and not files.is_meant("oracle")


# ---------------------------------------------------------------- archives


def _npy(array=None, header=None, content=None):
    """The bytes of an .npy, whose header may lie."""
    file = io.BytesIO()
    if header is None:
        np.save(file, array, allow_pickle=True)
        return file.getvalue()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + (content or b"")


def _zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)


GOOD = ("good.npy", _npy(np.arange(5)))


def _claim(shape, dtype="<f8"):
    return {"descr": dtype, "fortran_order": False, "shape": shape}


ARCHIVES = {
    "pickle": ([("a.npy", _npy(np.array([{}], object)))], "pickled objects, which are never loaded"),
    "raw pickle": ([("a.npy", pickle.dumps({}))], "damaged"),
    "more than there is": ([("a.npy", _npy(header=_claim((10**12,))))], "as it says"),
    "less than there is": ([("a.npy", _npy(header=_claim((1,)), content=bytes(80)))], "as it says"),
    "negative": ([("a.npy", _npy(header=_claim((-1, -5)), content=bytes(40)))], "as it says"),
    "many of nothing": ([("a.npy", _npy(header=_claim((10**15, 0))))], "of nothing"),
    "texts of nothing": ([("a.npy", _npy(header=_claim((10**15,), "<U0")))], "of nothing"),
    "no array": ([("a.txt", b"hello")], "is no array"),
    "twice": ([GOOD, GOOD], "2 times"),
    "no header": ([("a.npy", b"\x93NUMPY\x01\x00\xff\xff")], "damaged"),
    "a header that nests": ([("a.npy", b"\x93NUMPY\x01\x00\x00\x20" + 8192 * b"(")], "damaged"),
    "another version": ([("a.npy", b"\x93NUMPY\x09\x00" + bytes(90))], "version"),
}


def _read(path):
    with archive.reading(path, "absent", "damaged") as arrays:
        return arrays


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", ARCHIVES)
def test_archives_that_lie(case, tmp_path):
    members, complaint = ARCHIVES[case]
    _zip(tmp_path / "a.npz", members)
    assert complaint in _refusal(_read, tmp_path / "a.npz")


def test_a_bomb_is_not_unpacked(tmp_path):
    _zip(tmp_path / "a.npz", [(f"{i}.npy", bytes(2**20)) for i in range(5)])
    content = (tmp_path / "a.npz").read_bytes()
    declared = (2**20).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content.replace(declared, (2**30).to_bytes(4, "little")))
    assert "unpacks to 5,368,709,120 bytes; at most 4,294,967,296" in _refusal(_read, tmp_path / "a.npz")
    _zip(tmp_path / "a.npz", [("a.npy", bytes(1000))], zipfile.ZIP_STORED)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(
        content.replace((1000).to_bytes(4, "little"), (2**30).to_bytes(4, "little"))
    )
    assert "damaged" in _refusal(_read, tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_is_seen(save, tmp_path):
    """Wherever it is: no exception of zlib, struct or zipfile, and no other number."""
    arrays = {"a": np.arange(40.0), "b": np.ones((2, 3), np.float32)}
    archive.write(tmp_path / "a.npz", arrays, save)
    content = (tmp_path / "a.npz").read_bytes()
    refused = 0
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            found = _read(tmp_path / "a.npz")
        except RequestError:
            refused += 1
            continue
        for name in found.keys() & arrays.keys():  # a bit of a date or an attribute
            np.testing.assert_array_equal(found[name], arrays[name])
    assert refused > len(content) / 8


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        assert "not a file" in _refusal(_read, path) and "not a file" in _refusal(json_file.read, path, "x")
    assert "absent" in _refusal(_read, tmp_path / (300 * "a"))


# ---------------------------------------------------------------- JSON

TEXTS = {
    "NaN": '{"a": NaN}',
    "infinity": '{"a": 1e999}',
    "deep": 500 * "[" + 500 * "]",
    "deeper": 10**5 * '{"a":',
    "twice": '{"a": 1, "a": 2}',
    "not UTF-8": b'{"a": "\xff"}',
    "digits": '{"a": ' + 5000 * "9" + "}",
    "too large for a number": '{"a": ' + 400 * "9" + "}",
    "a text": '{"a": "1"}',
    "a flag": '{"a": true}',
    "a list": "[1]",
    "cut": '{"a": 1',
    "empty": "",
}


@pytest.mark.parametrize("case", TEXTS)
def test_json_that_is_none(case, tmp_path):
    text = TEXTS[case]
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "a.json" in _refusal(json_file.load, path, dict[str, float], "file of numbers")
    path.write_text('{"a": 1}')
    assert json_file.load(path, dict[str, float], "file of numbers") == {"a": 1.0}


def test_lines_may_end_in_the_middle_and_nowhere_else(tmp_path):
    path, whole = tmp_path / "a.jsonl", "".join(json.dumps({"step": i}) + "\n" for i in range(3))
    for rest, count in (("", 3), ('{"st', 3), ('{"step": "x"}', 3), ('{"step": 3}', 4), (10**4 * "[", 3)):
        path.write_text(whole + rest)
        assert len(json_file.lines(path, dict[str, int], "record")) == count
    for row in ("", '{"st', '{"step": 1.5}', "[1]", 10**4 * "["):
        path.write_text(f"{whole}{row}\n{whole}")
        assert "line 4 is not a record" in _refusal(json_file.lines, path, dict[str, int], "record")


def test_names_of_the_file_system_are_shown_whatever_they_are():
    assert files.printable(os.fsdecode(b"a\x1b/\xff/b c")) == r"a\x1b/\udcff/b c"
