"""Somebody's own predictors and recorded obstacles: judged as ours are, on every backend alike."""

import csv
import json
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import hrm_jax
from hrm_jax import evaluate
from hrm_jax.artefacts import scenarios as scenario_file
from hrm_jax.artefacts import traces_file, tracks_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import entrants, on_device
from hrm_jax.referee.cells import episode
from hrm_jax.referee.protocols import PROTOCOLS
from hrm_jax.reporting import recorded
from hrm_jax.worlds.baselines import BASELINES
from hrm_jax.worlds.geometry import FAR_AWAY, known_ends, swept_distance

ROOT = Path(__file__).resolve().parent.parent
Scenarios = hrm_jax.Scenarios
STANDARD = PROTOCOLS["standard"]
CASES, TIMES, OBSTACLES, HISTORY = 24, 70, 8, 6
ROWS, COLUMNS = 10, 14
STATIC = np.zeros((ROWS, COLUMNS), bool)
STATIC[4, 2:9] = True


def _tracks(seed=0):
    """Crooked walks across a map of ROWS x COLUMNS; some come late, leave early, or are away."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, (ROWS, COLUMNS), (CASES, 1, OBSTACLES, 2))
    steps = rng.normal(0, 0.35, (CASES, 1, OBSTACLES, 2)) + rng.normal(0, 0.15, (CASES, TIMES, OBSTACLES, 2))
    tracks = start + np.cumsum(steps, axis=1)
    tracks = np.abs(tracks - 2 * np.maximum(tracks - (ROWS, COLUMNS), 0))  # back from the borders
    tracks[:, : HISTORY + 3, 0] = tracks[:, HISTORY + 8 :, 1] = np.nan
    tracks[:, 15:20, 2] = tracks[:, 2:4, 3] = np.nan
    return tracks


def _scenarios(seed=0, **more):
    return Scenarios.from_tracks(_tracks(seed), STATIC, goal=(ROWS - 1, COLUMNS - 1), history=HISTORY, **more)


def constant_velocity(seen, horizon):
    """As a user would write it."""
    now = seen.history[:, -1]
    ahead = np.arange(1, horizon + 1)[:, None, None]
    return now[:, None] + ahead * (now - seen.history[:, -2])[:, None]


def _results(scenarios, name):
    entered = entrants.read_predictor(name, None, "numpy").enter(scenarios.world)
    return [
        episode.run(scenarios, STANDARD, entered.play),
        on_device.run(scenarios, STANDARD, entered.source),
    ]


# ---------------------------------------------------------------- recorded obstacles


@pytest.mark.parametrize("name", ["kalman", "oracle", "blind"])
def test_both_loops_replay_a_record_alike(name):
    referee, jitted = _results(_scenarios(), name)
    assert referee.outcomes == jitted.outcomes


def test_the_oracle_knows_the_record_and_others_meet_it():
    solved = {
        name: episode.run(_scenarios(1), STANDARD, name).outcomes.count("1") for name in ("oracle", "blind")
    }
    assert solved["oracle"] > CASES - 4 and solved["blind"] < solved["oracle"] - 4


def test_obstacles_are_where_they_were_recorded():
    scenarios, tracks = _scenarios(), _tracks()
    for time, step in enumerate(episode.play(scenarios, STANDARD, "oracle"), HISTORY):
        np.testing.assert_array_equal(step.obstacles, tracks[step.episodes, time])
        known = tracks[step.episodes, time : time + STANDARD.horizon + 1]
        np.testing.assert_array_equal(step.tracks[:, : known.shape[1]], known)
    first = next(episode.play(scenarios, STANDARD, constant_velocity))
    assert np.isnan(first.tracks[:, :, 0]).all(), "nobody but the oracle knows of whom they have not seen"
    assert not np.isnan(first.tracks[:, :, 1]).any()


def test_who_appears_is_met_where_it_appears_and_not_on_its_way_there():
    """One obstacle, away until the agent's first step, from (0, 0) to (0, 1): there, near, far beyond."""
    tracks = np.full((3, 30, 1, 2), np.nan)
    tracks[:, 3:, 0] = np.array([(0.0, 1.0), (0.7, 1.2), (9.0, 9.0)])[:, None]
    tracks[1, 4:] = np.nan  # and away again
    scenarios = Scenarios.from_tracks(tracks[:, :], goal=(0, 9), history=2)
    assert [result.outcomes for result in _results(scenarios, "blind")] == ["001", "001"]
    later = np.roll(tracks, 1, axis=1)
    later[:, 3] = np.nan
    assert (
        episode.run(Scenarios.from_tracks(later, goal=(0, 9), history=2), STANDARD, "blind").outcomes[2]
        == "1"
    )


def test_a_missing_end_is_the_other_one():
    start, end = np.array([[1.0, 2.0], [np.nan, np.nan], [np.nan, np.nan]]), np.array([[np.nan] * 2] * 3)
    end[1] = 3.0, 4.0
    first, last = known_ends(start, end)
    assert first.tolist() == [[1, 2], [3, 4], [-FAR_AWAY] * 2] and (first == last).all()
    assert swept_distance(first, last)[0] == pytest.approx(np.hypot(1, 2))


def test_an_episode_ends_with_its_record():
    wall = np.zeros((5, 9), bool)
    wall[:, 4] = True  # no way: only the clock ends it
    scenarios = Scenarios.from_tracks(np.zeros((1, 20, 1, 2)) + (4.0, 8.0), wall, history=4)
    trace = episode.trace(scenarios, STANDARD, "blind")
    assert trace.outcome == "T" and len(trace.plan) == 20 - 1 - 4
    assert [result.outcomes for result in _results(scenarios, "blind")] == ["T", "T"]


def test_a_map_that_is_no_square_has_walls_beyond_it():
    scenarios = _scenarios()
    assert scenarios.world.size == COLUMNS and scenarios.world.shape == (ROWS, COLUMNS)
    assert scenarios.static[:, ROWS:].all() and (scenarios.static[:, :ROWS] == STATIC).all()
    seen = episode.Observation(np.array([[[[0.5, 3.0]], [[8.9, 3.0]]]]), np.ones((1, 2, 1), bool), None, None)
    reflected = BASELINES["reflection"](seen, 1, world=scenarios.world)
    assert reflected[0, 0, 0, 0] <= ROWS, "its wall is the map's"


def test_records_are_kept(tmp_path):
    scenarios = _scenarios()
    scenario_file.save(tmp_path / "s.npz", scenarios)
    assert scenario_file.load(tmp_path / "s.npz").equal(scenarios)
    assert not scenarios.equal(_scenarios(1))
    np.savez(tmp_path / "recorded.npz", tracks=_tracks(), static=STATIC, goal=(9, 13), history=HISTORY)
    assert tracks_file.load(tmp_path / "recorded.npz").equal(scenarios)


def _write_csv(path, header=("episode", "time", "obstacle", "row", "column", "kind"), lines=None):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *(_lines() if lines is None else lines)])
    return path


def _lines():
    tracks = _tracks()
    there = np.argwhere(~np.isnan(tracks[..., 0]))
    lines = [[e, t, n, *map(repr, tracks[e, t, n].tolist()), ""] for e, t, n in there.tolist()]
    lines += [["", "", "", *cell, "wall"] for cell in np.argwhere(STATIC).tolist()]
    return [*lines, ["", "", "", 9, 13, "map"], ["", "", "", 9, 13, "goal"]]


def test_a_csv_says_the_same(tmp_path):
    found = tracks_file.load(_write_csv(tmp_path / "recorded.csv"), HISTORY)
    assert found.equal(_scenarios()) and found.world.name == "recorded"


WRONG_LINES = {
    "twice": ([[0, 1, 0, 1, 1, ""], [0, 1, 0, 2, 1, ""]], "obstacle 0 is at time 1 of episode 0 twice"),
    "no number": ([[0, 1, 0, "x", 1, ""]], 'line 2: row is "x"; a number is needed'),
    "infinite": ([[0, 1, 0, "inf", 1, ""]], 'row is "inf"'),
    "half a step": ([[0, 1.5, 0, 1, 1, ""]], "time 1.5; whole steps"),
    "kind": ([[0, 1, 0, 1, 1, "tree"]], 'kind "tree"; allowed: obstacle'),
    "short": ([[0, 1, 0, 1]], "line 2: 4 columns; its header has 6"),
    "none": ([["", "", "", 1, 1, "wall"]], "no line is of an obstacle"),
    "unnamed": ([[0, 1, "", 1, 1, ""]], "line 2: obstacle is empty"),
    "wall between cells": ([[0, 1, 0, 1, 1, ""], ["", "", "", 0.5, 1, "wall"]], "a cell of the map"),
    "strange episode": ([[0, 1, 0, 1, 1, ""], [7, "", "", 1, 1, "wall"]], "no obstacle is in an episode 7"),
    "short record": ([[0, 1, 0, 1, 1, ""]], "recorded = 1 positions of a track: at least history + 2 = 8"),
    "underscore": ([[0, 1, 0, "1_0", 1, ""]], 'row is "1_0"'),
    "ages apart": (
        [[0, 0, 0, 1, 1, ""], [0, 2 * 10**7, 0, 1, 1, ""]],
        "20,000,001 steps from the first time",
    ),
    "two goals": ([[0, 1, 0, 1, 1, ""], *2 * [["", "", "", 1, 1, "goal"]]], "line 4: a second goal"),
    "goal beyond": (
        [[0, 1, 0, 1, 1, ""], ["", "", "", 3, 3, "map"], ["", "", "", 5, 1, "goal"]],
        "beyond the map, whose last cell is (3, 3)",
    ),
    "two maps": (
        [[0, 1, 0, 1, 1, ""], *(["", "", "", n, 3, "map"] for n in (3, 4))],
        "another map than in line 3",
    ),
    "map of nothing": ([[0, 1, 0, 1, 1, ""], [7, "", "", 3, 3, "map"]], "no obstacle is in an episode 7"),
    "endless wall": ([[0, 1, 0, 1, 1, ""], ["", "", "", "1e300", 1, "wall"]], "a map of 1000001x2 cells"),
    "far": ([[0, t, 0, 700, 1, ""] for t in range(9)], "701x2 cells; the planner handles up to 64x64"),
}


@pytest.mark.parametrize("case", WRONG_LINES)
def test_a_wrong_csv_gets_a_line(case, tmp_path):
    lines, message = WRONG_LINES[case]
    with pytest.raises(RequestError) as refused:
        tracks_file.load(_write_csv(tmp_path / "t.csv", lines=lines), HISTORY)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_every_episode_begins_with_its_own_first_time_and_names_are_in_order(tmp_path):
    lines = [
        [e, e0 + t, 0, e, t / 10, ""] for e, e0 in ((2, 1000), (10, 0), ("9" * 5000, -7)) for t in range(9)
    ]
    found = tracks_file.load(_write_csv(tmp_path / "t.csv", lines=lines[:18]), 2)
    assert found.tracks[:, 0, 0].tolist() == [[2, 0], [10, 0]] and found.world.recorded == 9
    assert not np.isnan(found.tracks).any()
    lines = [[e, t, 0, int(e), t / 10, ""] for e in ("1", "01", "2") for t in range(9)]
    found = tracks_file.load(_write_csv(tmp_path / "t.csv", lines=lines), 2)
    assert found.tracks[:, 0, 0, 0].tolist() == [1, 1, 2]
    assert list(tracks_file._numbered(["2", "1", "01", "10"])) == ["01", "1", "2", "10"]
    assert list(tracks_file._numbered(["9" * 5000, "10", "2"])) == ["10", "2", "9" * 5000]


def test_a_csv_without_its_columns_names_them(tmp_path):
    path = _write_csv(tmp_path / "t.csv", ("episode", "time", "id", "row", "column"), [])
    with pytest.raises(RequestError, match='has "obstacle" 0 times; the columns are episode, time, obstacle'):
        tracks_file.load(path)


WRONG_ARRAYS = {
    "shape": ({"tracks": np.zeros((2, 30, 2))}, r"tracks have shape \[2, 30, 2\]; \[E, T, N, 2\]"),
    "three": ({"tracks": np.zeros((2, 30, 1, 3))}, r"shape \[2, 30, 1, 3\]; \[E, T, N, 2\] is needed"),
    "half": ({"tracks": np.full((1, 30, 1, 2), (np.nan, 1.0))}, "tracks holds nan"),
    "far": ({"tracks": np.full((1, 30, 1, 2), np.inf)}, "infinite positions"),
    "map": ({"static": np.zeros((3, 10, 10))}, r"static has shape \[3, 10, 10\]"),
    "ragged": ({"static": [[0, 1], [0]]}, r"static is no array of numbers; \[R, C\] or"),
    "line": ({"static": [0, 1]}, r"static has shape \[2\]"),
    "infinite start": ({"start": (np.inf, 1), "static": np.zeros((9, 9))}, "start holds"),
    "colours": ({"static": np.full((10, 10), 2)}, "static holds other numbers than 0 and 1"),
    "start": ({"start": (50, 1), "static": np.zeros((9, 9))}, "start holds 50"),
    "goal in a wall": ({"static": np.eye(10), "goal": (3, 3)}, "must be a free cell"),
    "history": ({"history": 29}, "at least history"),
    "text": ({"tracks": "abc"}, "tracks is no array of numbers"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_tracks_get_a_line(case):
    changed, message = WRONG_ARRAYS[case]
    given = {"tracks": np.ones((2, 30, 1, 2)), "history": HISTORY, "start": (0, 0)} | changed
    with pytest.raises(RequestError, match=message):
        Scenarios.from_tracks(given.pop("tracks"), **given)


# ---------------------------------------------------------------- own predictors


def test_a_function_is_judged_like_the_same_predictor_of_ours():
    reports = {
        backend: hrm_jax.judge(
            constant_velocity, world=_scenarios(), backend=backend, against=["constant_velocity"], record=0
        )
        for backend in ("numpy", "jit")
    }
    for report in reports.values():
        models = report.data["models"]
        assert models["model"]["outcomes"] == models["constant_velocity"]["outcomes"]
        assert "| model " in report.table() == str(report)
    assert reports["numpy"].data["pairs"] == reports["jit"].data["pairs"]


def test_a_short_script_goes_from_a_csv_to_a_page(tmp_path, monkeypatch, capsys):
    tracks, page = _write_csv(tmp_path / "own.csv"), tmp_path / "page"
    monkeypatch.setattr("sys.argv", ["your_own.py", str(tracks), str(page)])
    runpy.run_path(str(ROOT / "examples" / "your_own.py"))
    assert "| mine " in capsys.readouterr().out and "mine" in (page / "index.html").read_text()
    report = json.loads((page / "report.json").read_text())
    kept = recorded.load(page / report["traces"], report)
    gone = [np.isnan(traces_file.there(one.traces["mine"].obstacles)).any() for one in kept.episodes]
    assert any(gone)


def test_a_function_of_pytorch_works_the_same():
    torch = pytest.importorskip("torch")

    def learned(seen, horizon):
        history = torch.as_tensor(seen.history).requires_grad_()
        ahead = torch.arange(1, horizon + 1)[:, None, None]
        return history[:, -1:] + ahead * (history[:, -1:] - history[:, -2:-1])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = hrm_jax.judge(
            {"torch": learned}, world="standard", episodes=20, against=["constant_velocity"]
        )
    assert len({model["outcomes"] for model in report.data["models"].values()}) == 1


def test_what_a_function_is_given_is_its_own():
    def destroys(seen, horizon):
        found = constant_velocity(seen, horizon)
        for array in seen:
            array[:] = 0
        return found

    models = hrm_jax.judge({"mine": destroys}, episodes=20, record=0).data["models"]
    assert models["mine"]["outcomes"] == models["constant_velocity"]["outcomes"]


WRONG_FUNCTIONS = {
    "complex": "return seen.history[:, -1:].repeat(horizon, axis=1) + 0j",
    "shape": "return seen.history[:, :3]",
    "nan": "return np.nan * np.repeat(seen.history[:, -1:], horizon, axis=1)",
    "text": "return 'no'",
    "nothing": "pass",
}


@pytest.mark.parametrize("case, backend", [*((case, "numpy") for case in WRONG_FUNCTIONS), ("nan", "jit")])
def test_a_wrong_result_gets_a_line_that_says_what_was_expected(case, backend, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(f"import numpy as np\ndef predict(seen, horizon):\n    {WRONG_FUNCTIONS[case]}\n")
    with pytest.raises(RequestError) as refused:
        hrm_jax.judge(f"{file}:predict", episodes=3, backend=backend, against=())
    assert 'model "predict": returns' in str(refused.value)
    assert "positions [A, horizon, N, 2] in cells = [3, 20, 6, 2]" in str(refused.value)


def test_the_command_takes_functions_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.py").write_text("SPEED = 1\n")
    (tmp_path / "own.py").write_text(
        "import numpy as np\nfrom beside import SPEED\n"
        "def still(seen, horizon):\n    return SPEED * np.repeat(seen.history[:, -1:], horizon, axis=1)\n"
        "def fails(seen, horizon):\n    return seen.past\n"
    )
    evaluate.main(["--model", "mine=own.py:still", "--model", "own.py:still", "--model", "frozen",
                   "--episodes", "20", "--out", "r.json"])  # fmt: skip
    models = json.loads((tmp_path / "r.json").read_text())["models"]
    assert list(models) == ["mine", "still", "frozen"]
    assert len({model["outcomes"] for model in models.values()}) == 1
    for said, message in {
        "own.py:stil": 'no function stil; did you mean "still"?; functions there: still, fails',
        "none.py:still": "none.py: no such file",
        "frozen=own.py:still": '"frozen" cannot name a function',
        "own.py:fails": "AttributeError: 'Observation' object has no attribute 'past' (",
    }.items():
        with pytest.raises(RequestError) as refused:
            evaluate.main(["--model", said, "--episodes", "2", "--out", "x.json"])
        assert message in str(refused.value)
    assert not (tmp_path / "x.json").exists()


def test_files_of_one_name_have_their_own_neighbours(tmp_path, monkeypatch):
    code = "from beside import SIGN\ndef f(seen, horizon):\n    import late\n    return {}\n"
    body = "seen.history[:, -1:].repeat(horizon, axis=1) + SIGN * late.STEP"
    for folder, sign in (("a", 0), ("b", 30)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(code.format(body))
        (tmp_path / folder / "beside.py").write_text(f"SIGN = {sign}\n")
        (tmp_path / folder / "late.py").write_text("STEP = 1\n")
    files = {name: f"{tmp_path}/{name}/mine.py:f" for name in ("a", "b")}
    models = hrm_jax.judge(files, episodes=20, against=["frozen"], record=0).data["models"]
    assert models["a"]["outcomes"] == models["frozen"]["outcomes"] != models["b"]["outcomes"]
    assert not {"beside", "late"} & set(sys.modules) and str(tmp_path / "a") not in sys.path


@pytest.mark.parametrize("where", ["import sys; sys.exit(0)\n", ""])
def test_a_file_that_ends_the_program_gets_a_line(where, tmp_path):
    (tmp_path / "own.py").write_text(f"{where}def f(seen, horizon):\n    raise SystemExit(0)\n")
    with pytest.raises(RequestError, match="SystemExit: 0"):
        evaluate.main([f"--model={tmp_path}/own.py:f", "--episodes=2", f"--out={tmp_path}/r.json"])


def test_what_has_no_name_of_its_own_is_called_as_asked(tmp_path):
    (tmp_path / "own.py").write_text("import functools\nf = functools.partial(lambda a, b: 1 / 0)\n")
    with pytest.raises(RequestError, match='model "f": f raises ZeroDivisionError: division by zero'):
        evaluate.main([f"--model={tmp_path}/own.py:f", "--episodes=2", f"--out={tmp_path}/r.json"])


def test_nothing_is_written_over_what_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    csv_file, code = _write_csv(tmp_path / "own.csv"), tmp_path / "own.py"
    code.write_text("def f(seen, horizon):\n    return seen.history[:, -1:].repeat(horizon, axis=1)\n")
    held = csv_file.read_text(), code.read_text()
    for request in (
        ["--model=oracle", "--world=~/own.csv", "--history=6", f"--out={csv_file}"],
        [f"--model={code}:f", "--episodes=2", f"--out={code}"],
        [
            "--protocol=paths",
            "--episodes=1",
            "--model=stand_still",
            "--predictor=~/own.py:f",
            f"--out={code}",
        ],
    ):
        with pytest.raises(RequestError, match="would be written over another file of this request"):
            evaluate.main(request)
    report = hrm_jax.judge("blind", world=csv_file, history=HISTORY, against=(), record=0)
    with pytest.raises(RequestError, match="would be written over"):
        report.save(csv_file)
    assert (csv_file.read_text(), code.read_text()) == held


def test_what_a_function_raises_is_its_own():
    def fails(seen, horizon):
        raise KeyError("mine")

    for backend in ("numpy", "jit"):
        with pytest.raises(KeyError, match="mine"):
            hrm_jax.judge(fails, episodes=2, backend=backend, against=())


def test_requests_that_fit_nothing_are_refused(tmp_path):
    for message, request in {
        "a function that predicts": {"model": constant_velocity, "protocol": "paths"},
        "is built in, and keeps its name": {"model": {"a": "oracle"}},
        "is no predictor": {"model": {"a": 3}},
        "for a file of tracks": {"model": "oracle", "history": 3},
        'backend "torch"': {"model": "oracle", "backend": "torch"},
        'unknown world ""': {"model": "oracle", "world": ""},
        "world is of ndarray; a name, a file or Scenarios": {"model": "oracle", "world": np.zeros(3)},
        "seeds is of tuple": {"model": "oracle", "seeds": (0, 2)},
        "record is of NoneType": {"model": "oracle", "record": None},
        "3 cannot name a model": {"model": {3: constant_velocity}},
        "there is nothing to judge": {"model": {}, "against": ()},
        "published": {"model": "oracle", "world": _scenarios(), "protocol": "hrm-cloud/2025-12"},
    }.items():
        with pytest.raises(RequestError, match=message if message != "published" else "defined on world"):
            hrm_jax.judge(request.pop("model"), **{"episodes": 2} | request)
