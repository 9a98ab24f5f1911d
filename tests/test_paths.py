"""The builder of the denoisers' training data: what is in the file, and that it survives being killed."""

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from hrm_jax import paths
from hrm_jax.artefacts import expert as expert_file
from hrm_jax.artefacts import parts as parts_library
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import run_command
from hrm_jax.referee import drawing
from hrm_jax.referee.paths import dataset, expert
from hrm_jax.referee.paths.planners import stretched
from hrm_jax.worlds.motion import bounce
from hrm_jax.worlds.world import WORLDS

ROOT = Path(__file__).resolve().parent.parent
COUNT = 14  # more than two chunks of six


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Chunks of six worlds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "CHUNK", 6)
        yield


def _build(out, *arguments, count=COUNT, jobs=1):
    return paths.main([f"--count={count}", f"--jobs={jobs}", "--out", str(out), *arguments])


def _arrays(out):
    with np.load(out, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _same(a, b):
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Files of ours and of the published data, by whether they are published."""
    folder = tmp_path_factory.mktemp("paths")
    files = {False: folder / "expert.npz", True: folder / "published.npz"}
    assert _build(files[False]) is None
    assert _build(files[True], "--published") is None
    assert sorted(os.listdir(folder)) == ["expert.npz", "published.npz"]
    return files


# ---------------------------------------------------------------- what is in the file


@pytest.mark.parametrize("published", [False, True])
def test_the_arrays_are_those_that_the_docstring_promises(built, published):
    arrays = _arrays(built[published])
    found = {name: (str(a.dtype), a.shape) for name, a in arrays.items() if a.ndim}
    assert found == {
        "ids": ("int64", (COUNT,)),
        "static": ("bool", (COUNT, 64, 64)),
        "positions": ("float32", (COUNT, 8, 2)),
        "velocities": ("float32", (COUNT, 8, 2)),
        "start": ("int64", (COUNT, 2)),
        "goal": ("int64", (COUNT, 2)),
        "points": ("float32", (COUNT, 64, 2)),
        "length": ("int64", (COUNT,)),
    }
    described = {name: json.loads(str(a)) for name, a in arrays.items() if not a.ndim}
    world = json.loads(json.dumps(asdict(WORLDS["diffusion" if published else "discs"])))
    search = expert.PUBLISHED if published else expert.Search()
    assert described == {"world": world, "search": asdict(search) | {"published": published}}
    assert (np.diff(arrays["ids"]) > 0).all() and arrays["ids"][0] >= dataset.FIRST
    assert expert_file.read(built[published])[1] is published  # as the task wants it


def test_our_paths_keep_their_timing_and_their_distance(built):
    arrays = _arrays(built[False])
    points, length = arrays["points"], arrays["length"]
    np.testing.assert_array_equal(points[:, 0], arrays["start"])
    np.testing.assert_array_equal(points[:, -1], arrays["goal"])
    np.testing.assert_array_equal(points, points.round())
    assert (np.abs(np.diff(points, axis=1)).max(axis=2) <= 1).all()
    there = (points == arrays["goal"][:, None]).all(axis=2)
    np.testing.assert_array_equal(there.argmax(axis=1), length)  # `length` moves, then the goal repeated
    assert all(there[i, n:].all() for i, n in enumerate(length))
    cells = points.astype(int)
    assert not arrays["static"][np.arange(COUNT)[:, None], cells[..., 0], cells[..., 1]].any()
    position, velocity = arrays["positions"].astype(float), arrays["velocities"].astype(float)
    for t in range(64):  # the obstacles as the referee moves them from time 0 of the path on
        gap = np.linalg.norm(points[:, t, None] - position, axis=2).min(axis=1)
        assert (gap[t <= length] >= expert.Search().radius - 1e-4).all() or t == 0
        position, velocity = bounce(position, velocity, 64)


@pytest.mark.parametrize("published", [False, True])
def test_the_obstacles_are_where_the_referee_has_them_after_the_history(built, published):
    arrays = _arrays(built[published])
    drawn = drawing.draw(WORLDS["diffusion" if published else "discs"], arrays["ids"])
    assert drawn.world.history == (0 if published else 10)
    for name in ("static", "start", "goal"):
        np.testing.assert_array_equal(arrays[name], getattr(drawn, name))
    position, velocity = drawn.positions, drawn.velocities
    for _ in range(drawn.world.history):
        moved = position + velocity
        velocity = np.where((moved < 0) | (moved >= 64), -velocity, velocity)
        position = np.clip(moved, 0, 63.99)
    np.testing.assert_array_equal(arrays["positions"], position.astype(np.float32))
    np.testing.assert_array_equal(arrays["velocities"], velocity.astype(np.float32))


def test_published_paths_are_stretched_over_all_points(built):
    arrays = _arrays(built[True])
    points, length = arrays["points"], arrays["length"]
    assert (length >= dataset.SHORTEST).all()
    np.testing.assert_array_equal(points[:, 0], arrays["start"])
    last = np.linalg.norm(points[:, -1] - arrays["goal"], axis=1)
    assert (last < expert.PUBLISHED.tolerance).all() and (last > 0).any()
    # The same share of the moves between any two points: there is no rest at the end.
    steps = np.abs(np.diff(points, axis=1)).max(axis=2)
    assert (steps <= length[:, None] / 63 + 1e-4).all()
    share = np.linspace(0, 1, 64) * length[0]
    at_moves = [int(np.argmin(np.abs(share - k))) for k in range(length[0] + 1)]
    plan = np.rint(points[0, at_moves]).astype(int)
    padded = np.concatenate([plan, np.repeat(plan[-1:], 64 - len(plan), axis=0)])
    np.testing.assert_allclose(stretched(padded[None], length[:1])[0], points[0], atol=1e-4)


def test_worlds_without_a_plan_are_left_out_and_others_take_their_place(monkeypatch, tmp_path, built):
    search = expert.plan

    def hopeless(*arguments):
        plans = search(*arguments)
        plans.length[::3] = -1
        return plans

    monkeypatch.setattr(expert, "plan", hopeless)
    _build(tmp_path / "e.npz")
    ids = _arrays(tmp_path / "e.npz")["ids"] - dataset.FIRST
    assert ids.tolist() == [i for i in range(24) if i % 6 % 3][:COUNT]


# ---------------------------------------------------------------- interruptions


def test_a_build_that_was_interrupted_goes_on_where_it_was(monkeypatch, tmp_path, built, capfd):
    out, plan, asked = tmp_path / "e.npz", dataset.chunk, []

    def until_the_third(published, first, size, number):
        asked.append(number * size)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return plan(published, first, size, number)

    monkeypatch.setattr(dataset, "chunk", until_the_third)
    assert run_command(lambda _: _build(out)) == 130 and not out.exists()
    message = capfd.readouterr().err
    assert "the same command goes on" in message and "Traceback" not in message
    parts = tmp_path / "e.npz.parts"
    assert sorted(os.listdir(parts)) == ["000000.npz", "000001.npz", "lock", "request.json"]
    (parts / "000002.npz.partial").write_bytes(b"PK\x03\x04")  # as of a process that was killed
    assert _build(out) is None
    assert asked == [0, 6, 12, 12] and os.listdir(tmp_path) == ["e.npz"]
    assert _same(_arrays(out), _arrays(built[False]))


def test_more_paths_may_be_asked_for_than_a_build_began_with(tmp_path, built):
    out = tmp_path / "e.npz"
    shutil.copy(built[False], out)  # an older file is no obstacle
    with (
        pytest.raises(KeyboardInterrupt),
        parts_library.work_folder(out, {"published": False, "first": dataset.FIRST}) as folder,
    ):
        chunks = parts_library.stream(folder, functools.partial(dataset.chunk, False, dataset.FIRST, 6), 1)
        list(itertools.islice(chunks, 4))  # more chunks than are needed, too
        raise KeyboardInterrupt
    _build(out, count=5)
    few = _arrays(out)
    assert _same(few, {k: a[:5] if a.ndim else a for k, a in _arrays(built[False]).items()})


@pytest.mark.parametrize("other", [["--published"], ["--first", "700"]])
def test_the_parts_of_another_request_are_left_alone(tmp_path, other):
    parts = tmp_path / "e.npz.parts"
    parts.mkdir()
    (parts / "request.json").write_text(json.dumps({"published": False, "first": dataset.FIRST}))
    before = (parts / "request.json").read_text()
    with pytest.raises(RequestError, match="was begun with other settings.*remove it") as error:
        _build(tmp_path / "e.npz", *other)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["e.npz.parts"] and (parts / "request.json").read_text() == before


def test_several_processes_make_the_same_file_as_one(tmp_path, built):
    script = (
        "import multiprocessing, sys; from hrm_jax import paths; from hrm_jax.referee.paths import dataset; "
        "dataset.CHUNK = 6; "
        "multiprocessing.set_start_method('fork'); paths.main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, f"--count={COUNT}", "--jobs=2", "--out=new/e.npz"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"new/e.npz: {COUNT} paths\n" and done.stderr == ""
    assert os.listdir(tmp_path / "new") == ["e.npz"]
    assert _same(_arrays(tmp_path / "new/e.npz"), _arrays(built[False]))


# ---------------------------------------------------------------- wrong requests


REFUSED = {
    "no paths": (["--count", "0"], "at least 1"),
    "endless paths": (["--count", "1000000000"], "--count 1000000000: at most 1,000,000"),
    "countless processes": (["--jobs", "1000000000"], "--jobs 1000000000: at most "),
    "no process": (["--jobs", "0"], "at least 1"),
    "a negative id": (["--first=-1"], "--first -1: 0 or more"),
    "an id that is no seed": (
        ["--published", "--first", str(2**32)],
        "--first 4294967296: at most 2,147",
    ),
    "not a number": (["--count", "many"], "many"),
    "an unknown option": (["--conut", "3"], "--conut"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_one_line_and_leave_nothing(tmp_path, case):
    arguments, complaint = REFUSED[case]
    with pytest.raises(RequestError, match=complaint) as error:
        paths.main(["--out", str(tmp_path / "e.npz"), *arguments])
    assert "\n" not in str(error.value) and os.listdir(tmp_path) == []


def test_the_command_says_what_is_wrong_and_exits_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hrm_jax.paths", "--out", "."],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "not a file that can be written" in done.stderr
    assert os.listdir(tmp_path) == []
