"""Long work in parts: in order on any number of processes, kept when interrupted, never mixed."""

import functools
import itertools
import os
import shutil

import numpy as np
import pytest

from hrm_jax.artefacts import parts
from hrm_jax.artefacts.errors import RequestError


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
def test_a_part_that_is_not_as_it_was_made_is_made_again(tmp_path, name):
    (tmp_path / "request.json").write_text('{"seed": 1}')
    make = functools.partial(squares, tmp_path)
    found = first(parts.stream(tmp_path, make, 1), 2)
    CHANGES[name](tmp_path)
    assert first(parts.stream(tmp_path, make, 1), 2) == found
    made = (tmp_path / "made").read_text().split()
    assert made == ["0", "1", "0", "1"] if name == "of another request" else ["0", "1", "1"]
    assert first(parts.stream(tmp_path, make, 1), 2) == found
    assert (tmp_path / "made").read_text().split() == made  # the new ones are kept


def negative(number):
    if number == 5:
        raise ValueError("five")
    return -number


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_are_in_the_order_of_the_items_and_errors_arrive(jobs):
    assert list(parts.ordered(negative, [3, 1, 2], jobs)) == [-3, -1, -2]
    results = parts.ordered(negative, itertools.count(), jobs)
    assert [next(results) for _ in range(5)] == [0, -1, -2, -3, -4]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_a_work_folder_stays_when_it_is_interrupted_and_belongs_to_one_request(tmp_path):
    out = tmp_path / "deep" / "result"
    for error in (KeyboardInterrupt, OSError):
        with pytest.raises(error), parts.work_folder(out, {"seed": 1, "range": (2, 3)}) as folder:
            (folder / "000000.npz").touch()
            raise error
        assert folder.parent == out.parent and sorted(os.listdir(folder)) == ["000000.npz", "request.json"]
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
