"""Long work in parts: in order on many processes or machines, kept when interrupted, never mixed."""

import contextlib
import functools
import itertools
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hrm_jax.artefacts import parts, workers
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import __main__ as puzzles
from hrm_jax.puzzles.lattice import build as lattice


def squares(folder, number):
    """A part that leaves a line in a file for every time that it is made."""
    with open(folder / "made", "a") as file:
        file.write(f"{number}\n")
    return {"square": np.array([number**2]), "process": np.array([os.getpid()])}


def first(stream, count):
    found = list(itertools.islice(stream, count))
    stream.close()
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_parts_come_in_order_and_are_made_once(tmp_path, jobs):
    (tmp_path / "request.json").touch()
    make = functools.partial(squares, tmp_path)
    found = first(parts.stream(tmp_path, make, jobs), 12)
    assert [int(part["square"][0]) for part in found] == [n**2 for n in range(12)]
    assert (os.getpid() in {int(part["process"][0]) for part in found}) == (jobs == 1)
    kept = sorted(path.name for path in tmp_path.glob("*.npz"))
    assert len(kept) >= 12 and kept[:2] == ["000000.npz", "000001.npz"]
    assert not list(tmp_path.glob("*.partial"))  # what was being made when the stream closed was finished
    again = first(parts.stream(tmp_path, make, 1), 12)
    assert [part["process"] for part in again] == [part["process"] for part in found]
    made = (tmp_path / "made").read_text().split()
    assert len(made) == len(set(made)) == len(kept)


def _rewritten(folder, change):
    """The second part's arrays, changed and written again, as a slip of some tool would have it."""
    path = folder / "000001.npz"
    with np.load(path) as arrays:
        arrays = dict(arrays)
    change(arrays)
    np.savez(path, **arrays)


CHANGES = {
    "an array is gone": lambda f: _rewritten(f, lambda a: a.pop("square")),
    "an array is added": lambda f: _rewritten(f, lambda a: a.update(more=np.ones(3))),
    "a shape": lambda f: _rewritten(f, lambda a: a.update(square=a["square"].repeat(2))),
    "a type": lambda f: _rewritten(f, lambda a: a.update(square=a["square"].astype(np.float64))),
    "a value": lambda f: _rewritten(f, lambda a: a.update(square=a["square"] + 1)),
    "no seal": lambda f: _rewritten(f, lambda a: a.pop("seal")),
    "no array": lambda f: np.savez(f / "000001.npz"),
    "no archive": lambda f: (f / "000001.npz").write_text("x"),
    "another part": lambda f: shutil.copy(f / "000000.npz", f / "000001.npz"),
    "of another request": lambda f: (f / "request.json").write_text('{"seed": 2}'),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_part_that_is_not_as_it_was_made_is_made_again(tmp_path, name, capsys):
    (tmp_path / "request.json").write_text('{"seed": 1}')
    make = functools.partial(squares, tmp_path)
    found = first(parts.stream(tmp_path, make, 1), 2)
    CHANGES[name](tmp_path)
    assert not capsys.readouterr().err
    assert first(parts.stream(tmp_path, make, 1), 2) == found
    made = (tmp_path / "made").read_text().split()
    again = ["0", "1"] if name == "of another request" else ["1"]
    assert made == ["0", "1", *again]
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said] == [f"{tmp_path}/00000{n}.npz" for n in again]
    assert all(line.endswith("; it is made again") for line in said)
    assert first(parts.stream(tmp_path, make, 1), 2) == found
    assert (tmp_path / "made").read_text().split() == made  # the new ones are kept


def negative(number):
    if number == 5:
        raise ValueError("five")
    return -number


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_are_in_the_order_of_the_items_and_errors_arrive(jobs):
    assert list(workers.ordered(negative, [3, 1, 2], jobs)) == [-3, -1, -2]
    results = workers.ordered(negative, itertools.count(), jobs)
    assert [next(results) for _ in range(5)] == [0, -1, -2, -3, -4]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_a_work_folder_stays_when_it_is_interrupted_and_belongs_to_one_request(tmp_path):
    out = tmp_path / "deep" / "result"
    for error in (KeyboardInterrupt, OSError):
        with pytest.raises(error), parts.work_folder(out, {"seed": 1, "range": (2, 3)}) as folder:
            (folder / "000000.npz").touch()
            raise error
        assert folder.parent == out.parent
        assert sorted(os.listdir(folder)) == ["000000.npz", "lock", "request.json"]
    with pytest.raises(
        RequestError, match=r"was begun with other settings \(seed 1, now 2, deep None, now 3"
    ):
        with parts.work_folder(out, {"seed": 2, "range": (2, 3), "deep": 3}):
            pass
    assert (folder / "000000.npz").exists()
    with pytest.raises(RequestError, match=r"seed 1, now True"):
        with parts.work_folder(out, {"seed": True, "range": (2, 3)}):
            pass
    with parts.work_folder(out, {"seed": 1, "range": (2, 3)}):
        pass
    assert os.listdir(out.parent) == []
    with pytest.raises(RequestError, match="no such thing"), parts.work_folder(out, {}):
        raise RequestError("no such thing")
    assert os.listdir(out.parent) == []


# ---------------------------------------------------------------- several processes and machines


@contextlib.contextmanager
def another_process(lock, how):
    """Another process has the lock, as `how` (LOCK_EX, LOCK_SH) says."""
    hold = f"import fcntl, sys; f = open(sys.argv[1], 'a+'); fcntl.lockf(f, fcntl.{how}); print(); input()"
    command = [sys.executable, "-c", hold, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        yield
        other.communicate("\n")


def test_several_make_parts_at_once_and_one_alone_puts_them_together(tmp_path):
    out, request = tmp_path / "out", {"seed": 1}
    folder, lock = tmp_path / "out.parts", tmp_path / "out.parts" / "lock"

    def make(*numbers):
        return [int(part["square"][0]) for part in parts.make(out, request, part, numbers, 1)]

    part = functools.partial(squares, tmp_path)
    assert parts.missing(out, request, range(3)) == [0, 1, 2] and not folder.exists()
    assert make(1, 3) == [1, 9] and parts.missing(out, request, range(4)) == [0, 2]
    with another_process(lock, "LOCK_SH"):  # which makes others
        assert make(2) == [4]
        with pytest.raises(RequestError, match="out.parts: another process is at work on it"):
            with parts.work_folder(out, request):
                pass
    with another_process(lock, "LOCK_EX"):  # which puts them together
        with pytest.raises(RequestError, match="out.parts: another process is at work on it"):
            make(4)
    for other in (lambda: list(parts.make(out, {"seed": 2}, part, [0], 1)),
                  lambda: parts.missing(out, {"seed": 2}, [0])):  # fmt: skip
        with pytest.raises(RequestError, match="was begun with other settings"):
            other()
    with parts.work_folder(out, request):
        assert len(first(parts.stream(folder, part, 1), 4)) == 4
    assert sorted((tmp_path / "made").read_text().split()) == ["0", "1", "2", "3"] and not folder.exists()


def _contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["lattice", "sudoku", "city"])
def test_the_listed_commands_make_the_parts_of_the_same_data_set(tmp_path, kind, capsys, monkeypatch):
    monkeypatch.setattr(lattice, "MAZES", 64)
    size = {"lattice": "4", "sudoku": "4", "city": "16"}[kind]
    asked = [kind, "--size", size, "--train", "300", "--test", "100", "--jobs", "1"]
    whole, shared = tmp_path / "whole", tmp_path / "made by many"
    puzzles.main([*asked, "--out", str(whole)])
    asked += ["--out", str(shared)]

    def listed():
        capsys.readouterr()
        puzzles.main([*asked, "--list", "3"])
        shown = capsys.readouterr()
        assert shlex.join(asked) in shown.err
        return [line.split(" && ") for line in shown.out.splitlines()]

    lines = listed()
    assert 1 < len(lines) <= 3 and os.listdir(tmp_path) == ["whole"]
    commands = [shlex.split(command) for _, command in lines]
    assert all(shlex.split(place) == ["cd", str(Path.cwd())] for place, _ in lines)
    assert all(words[:-1] == [sys.executable, "-m", "hrm_jax.puzzles", *asked] for words in commands)
    for words in reversed(commands[1:]):
        puzzles.main(words[3:])
    assert [command for _, command in listed()] == [shlex.join(commands[0])]
    puzzles.main(commands[0][3:])
    assert not listed()
    damaged = sorted((tmp_path / "made by many.parts").glob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-50])
    capsys.readouterr()
    puzzles.main(asked)
    assert f"{damaged}: damaged" in capsys.readouterr().err
    assert _contents(shared) == _contents(whole) and not damaged.parent.exists()
    puzzles.main([*asked, "--list", "3"])
    shown = capsys.readouterr()
    assert not shown.out and shown.err == f"{shared}: there already\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["sudoku", "--list", "0"], "--list 0: at least 1"),
        (["sudoku", "--list", "3", "--parts", "0:1"], "not allowed with argument --list"),
        (["maze", "--parts", "0:"], "--parts 0:…: A:B with B below 1,000,000, both included"),
        (["maze", "--parts", "3:1"], "3:1: A:B with 0 <= A <= B"),
        (["maze", "--parts", "0:1", "--csv", "folder"], "the rows of --csv are read, not made"),
        (["lattice", "--list", "2", "--published"], "--published and --zanj are there, not made"),
        (["arc", "--source", "folder", "--list", "2"], "unrecognized arguments: --list 2"),
        (["sudoku", "--size", "4", "--rating", "50:", "--list", "2"], "no puzzle in the first 2 parts"),
    ],
)
def test_wrong_requests_of_parts_are_one_line(tmp_path, words, complaint):
    with pytest.raises(RequestError, match=complaint):
        puzzles.main([*words, "--out", str(tmp_path / "out")])
    assert not os.listdir(tmp_path)
