"""The evaluation command under the protocols of paths: reports, traces, and what it refuses."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import base, benchmark
from hrm_jax import evaluate
from hrm_jax.artefacts import model_file, traces_file
from hrm_jax.artefacts import scenarios as scenario_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import statistics
from hrm_jax.models import predictors as models
from hrm_jax.models.denoisers import networks as diffusion
from hrm_jax.referee import drawing
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.paths import expert
from hrm_jax.referee.paths.planners import ALWAYS, PLANNERS
from hrm_jax.referee.protocols import PATH_PROTOCOLS
from hrm_jax.tasks.diffusion import Diffusion
from hrm_jax.tasks.forecast import Forecast
from hrm_jax.worlds.world import WORLDS

ROOT = Path(__file__).resolve().parent.parent


def _drawn(initial):
    """Parameters of the shapes of `initial(key)`, of about the size of initial ones; without compiling it."""
    rng = np.random.default_rng(0)

    def leaf(shape):
        fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 4
        return (rng.standard_normal(shape.shape) / np.sqrt(fan_in)).astype(np.float32)

    return jax.tree.map(leaf, jax.eval_shape(initial, jax.random.key(0)))


def _denoiser(path, plan=(), **fields):
    """A denoiser with initial parameters, as `hrm_jax.export` writes it."""
    c = base.get_config()
    base.diffusion(c)
    c.model.update({"width": 8, "groups": 8, "heads": 2, **fields})
    c.plan.update({"steps": 2, "samples": 2, "refine": 10, **dict(plan)})
    model = diffusion.build(c.model.to_dict())
    params = _drawn(functools.partial(diffusion.initial_params, model))
    model_file.write(path, params, {**Diffusion.describe(c.to_dict()), "config": c.to_dict()})


def _lstm(path, size):
    config = benchmark.get_config("standard,lstm").to_dict()
    config["model"]["width"] = 8
    described = Forecast.describe(config)
    described["world"]["size"] = described["model"]["size"] = size
    model = models.build(described["model"])
    context = models.Context(*(np.zeros(s, np.float32) for s in ((1, 6, 4), (1, 4, 2), (1, 20, 20))))
    params = _drawn(lambda key: model.init(key, np.zeros((1, 6, 4, 2), np.float32), None, context)["params"])
    model_file.write(path, params, {**described, "history": 10, "step": 0, "config": config})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Model files and scenarios; what `main` writes goes elsewhere."""
    folder = tmp_path_factory.mktemp("files")
    _denoiser(folder / "once.npz", plan={"map_guidance": 2.0})
    guided = {"forecast": "predictor", "cost_guidance": 1, "map_guidance": 2.0, "replan": 20}
    _denoiser(folder / "asks.npz", guided, name="path_convnet", channels=("static", "forecast"))
    _denoiser(folder / "points.npz", points=32, name="path_convnet")
    _denoiser(folder / "small.npz", size=32, name="path_convnet")
    _lstm(folder / "lstm20.npz", 20)
    _lstm(folder / "lstm64.npz", 64)
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04 and then nothing")
    for name in ("truncated.npz", "unlike.npz", "unsaid.npz", "unsized.npz"):
        with np.load(folder / "once.npz") as file:
            arrays = {key: file[key] for key in file.files}
        config = json.loads(str(arrays["config"]))
        if name == "truncated.npz":
            del arrays["params/out/bias"]
        elif name == "unlike.npz":
            config["model"]["channels"] = ["static"]
        elif name == "unsaid.npz":
            del config["plan"]["warm"]
        else:
            del config["model"]["points"]
        np.savez(folder / name, **{**arrays, "config": json.dumps(config)})
    drawn = drawing.draw(WORLDS["discs"], range(7, 10))
    scenario_file.save(folder / "discs.npz", drawn)
    scenario_file.save(folder / "cells.npz", drawing.draw(WORLDS["standard"], range(3)))
    with np.load(folder / "discs.npz") as file:
        whole = dict(file)
    for end in ("start", "goal"):
        cell = np.argwhere(drawn.static[1])[0]
        ends = getattr(drawn, end).copy()
        ends[1] = cell
        np.savez(folder / f"{end}.npz", **{**whole, end: ends})
    corners = dict(start=np.zeros((3, 2), np.int64), goal=np.full((3, 2), 63))
    aside = dict(positions=np.full_like(drawn.positions, (60.0, 5.0)), velocities=0 * drawn.velocities)
    empty = np.zeros_like(drawn.static)
    scenario_file.save(folder / "far.npz", dataclasses.replace(drawn, static=empty, **aside, **corners))
    return folder


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    """Evaluates in the folder of files, under `paths` by default; the report."""
    monkeypatch.chdir(folder)

    def evaluated(*arguments, out="r.json"):
        words = [str(a) for a in arguments]
        words += [] if "--protocol" in words else ["--protocol", "paths"]
        assert evaluate.main([*words, "--out", str(tmp_path / out)]) is None
        return json.loads((tmp_path / out).read_text())

    return evaluated


def _outcomes(report):
    return {name: model["outcomes"] for name, model in report["models"].items()}


# ---------------------------------------------------------------- reports and traces


@pytest.mark.parametrize("name, episodes", [("paths", "0:6"), ("diffusion/2025-12", "1000:1006")])
def test_the_report_of_a_path_protocol(run, name, episodes, capsys):
    planners = ("straight_line", "stand_still", "frozen_astar")
    words = [w for planner in planners for w in ("--model", planner)]
    report = run(*words, "--model", "once.npz", "--protocol", name, "--episodes", 6)
    assert list(report) == ["protocol", "world", "seeds", "versions", "commit", "models", "pairs"]
    rules, first = PATH_PROTOCOLS[name], int(episodes.split(":")[0])
    assert (report["protocol"], report["world"]) == (name, rules.world)
    assert report["seeds"] == [first, first + 6]
    assert list(report["models"]) == [*planners, "once", *(n for n in ALWAYS if n not in planners)]
    drawn = drawing.draw(WORLDS[rules.world], range(first, first + 6))
    for planner in planners:
        expected = path_episode.run(drawn, rules, PLANNERS[planner](rules)).outcomes
        assert report["models"][planner]["outcomes"] == expected
    for model in report["models"].values():
        outcomes = model["outcomes"]
        assert (model["n"], len(outcomes)) == (6, 6) and set(outcomes) <= set("10T")
        counts = [model[key] for key in ("success", "collisions", "timeouts")]
        assert counts == [outcomes.count(letter) for letter in "10T"] and sum(counts) == 6
        assert model["rate"] == pytest.approx(counts[0] / 6)
        assert model["interval"] == pytest.approx(list(statistics.wilson(counts[0], 6)))
        assert "failures" not in model and "prediction" not in model
    with np.load("once.npz") as file:
        count = sum(file[key].size for key in file.files if key != "config")
    assert report["models"]["once"]["parameters"] == count
    assert "parameters" not in report["models"]["stand_still"]
    assert len(report["pairs"]) == 7 * 6 / 2
    for pair in report["pairs"]:
        solved = [[o == "1" for o in _outcomes(report)[pair[side]]] for side in "ab"]
        assert pair["a_only"] == sum(a and not b for a, b in zip(*solved, strict=True))
        assert pair["b_only"] == sum(b and not a for a, b in zip(*solved, strict=True))
        assert pair["p_holm"] >= pair["p_value"] == statistics.mcnemar(pair["a_only"], pair["b_only"])
    printed = capsys.readouterr().out
    assert (
        f"protocol {name}, world {rules.world}, seeds {episodes}" in printed
        and ("within 63 steps" in printed) != rules.published
    )


def test_recorded_episodes_are_those_that_were_played(run, tmp_path):
    report = run("--model", "straight_line", "--model", "once.npz", "--model", "asks.npz", "--model",
                 "frozen_astar", "--predictor", "reflection", "--episodes", 6, "--record", 2)  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == ["r.json", "r.traces.npz"] and report["traces"] == "r.traces.npz"
    shown = traces_file.load(tmp_path / report["traces"])
    assert shown.kind == "paths" and len(shown.episodes) == 2
    assert shown.models == ["straight_line", "once", "asks", "frozen_astar"]
    for episode in shown.episodes:
        drawn = drawing.draw(WORLDS["discs"], [episode.id])
        np.testing.assert_array_equal(episode.static, drawn.static[0])
        assert episode.ends == [drawn.start[0].tolist(), drawn.goal[0].tolist()]
        for name, trace in episode.traces.items():
            assert trace.outcome == _outcomes(report)[name][episode.id]
        once, asks = episode.traces["once"], episode.traces["asks"]
        assert once.samples.shape == (1, 2, 64, 2) and once.planned_at.tolist() == [0]
        assert asks.planned_at.tolist() == list(range(0, len(asks.agent) - 1, 20))
        assert asks.believed.shape == (len(asks.planned_at), 64, 8, 2)


def test_a_file_of_scenarios_gives_the_outcomes_of_their_ids(run):
    words = ("--model", "straight_line", "--model", "once.npz")
    whole = run(*words, "--seeds", "5:12")
    stored = run(*words, "--world", "discs.npz")
    assert stored["seeds"] == [7, 10]
    assert _outcomes(stored) == {name: o[2:5] for name, o in _outcomes(whole).items()}
    assert _outcomes(run(*words, "--world", "discs.npz", "--seeds", "8:9")) == {
        name: o[3] for name, o in _outcomes(whole).items()
    }


def test_the_predictor_of_a_planner_is_in_the_report_and_decides(run):
    asked, outcomes = ("--model", "asks.npz", "--episodes", 12), {}
    for predictor in ("reflection", "lstm64.npz"):
        report = run(*asked, "--model", "once.npz", "--predictor", predictor)
        assert report == run(*asked, "--model", "once.npz", "--predictor", predictor, "--jobs", 3)
        assert report["models"]["asks"]["predictor"] == predictor
        assert "predictor" not in report["models"]["once"]
        outcomes[predictor] = _outcomes(report)
    assert outcomes["reflection"]["asks"] != outcomes["lstm64.npz"]["asks"]
    assert outcomes["reflection"]["once"] == outcomes["lstm64.npz"]["once"]


def test_jax_draws_the_paths_that_numpy_draws(run):
    words = ("--model", "asks.npz", "--predictor", "reflection", "--seeds", "3:6")
    reports = [run(*words, "--backend", backend) for backend in ("numpy", "jax")]
    assert _outcomes(reports[0]) == _outcomes(reports[1])


def test_ends_as_far_apart_as_the_map_allows_are_in_reach(run):
    report = run("--model", "oracle", "--model", "straight_line", "--world", "far.npz")
    drawn = scenario_file.load("far.npz")
    assert np.abs(drawn.start - drawn.goal).max() == 63
    assert _outcomes(report)["oracle"] == _outcomes(report)["straight_line"] == "111"
    with pytest.raises(RequestError, match="makes 40 moves; start and goal are 63 apart"):
        expert.check_reach(expert.Search(points=41), drawn.start, drawn.goal)
    shorter = dataclasses.replace(PATH_PROTOCOLS["paths"], points=41)
    with pytest.raises(RequestError, match="63 apart"):
        path_episode.run(drawn, shorter, PLANNERS["oracle"](shorter))


# ---------------------------------------------------------------- refusals


REFUSED = {
    "a predictor as a planner": (["--model", "reflection"], 'unknown model under protocol "paths"'),
    "a bound of predictors": (["--model", "blind"], "straight_line"),
    "a planner as a predictor": (
        ["--model", "guided_line", "--protocol", "standard"],
        'unknown model under protocol "standard" "guided_line"',
    ),
    "a predictor for predictors": (
        ["--model", "oracle", "--protocol", "standard", "--predictor", "kalman"],
        '--predictor is for the protocols paths, diffusion/2025-12, not "standard"',
    ),
    "no predictor for who needs one": (["--model", "asks.npz"], "asks.npz.*--predictor NAME|FILE.npz"),
    "an unknown predictor": (["--model", "asks.npz", "--predictor", "kalmann"], "kalmann.*reflection"),
    "a bound as predictor": (["--model", "asks.npz", "--predictor", "oracle"], "--predictor oracle"),
    "a bad predictor, though unused": (["--model", "oracle", "--predictor", "damaged.npz"], "damaged.npz"),
    "a predictor of another world": (
        ["--model", "asks.npz", "--predictor", "lstm20.npz"],
        "lstm20.npz: trained in a world of size 20",
    ),
    "a denoiser as predictor": (["--model", "asks.npz", "--predictor", "once.npz"], 'holds a "path_unet"'),
    "a predictor's file as planner": (["--model", "lstm64.npz"], 'holds a "lstm".*path_unet, path_convnet'),
    "a denoiser's file as predictor": (
        ["--model", "once.npz", "--protocol", "standard"],
        'holds a "path_unet"',
    ),
    "a denoiser of another size": (["--model", "small.npz"], "small.npz: trained in a world of size 32"),
    "a denoiser of other points": (["--model", "points.npz"], "points.npz: plans 32 points.*wants 64"),
    "a damaged file": (["--model", "damaged.npz"], "damaged.npz"),
    "a file with a hole": (["--model", "truncated.npz"], "truncated.npz: lacks params/out/bias"),
    "parameters of another network": (["--model", "unlike.npz"], "unlike.npz: params/map/conv0_kernel is"),
    "a file that does not say how to plan": (["--model", "unsaid.npz"], "unsaid.npz.*plan.warm is missing"),
    "a file that does not say its points": (
        ["--model", "unsized.npz"],
        "unsized.npz.*points is missing",
    ),
    "episodes on the device": (["--model", "straight_line", "--backend", "jit"], "--backend jit"),
    "a denoiser on the device": (["--model", "once.npz", "--backend", "jit"], "--backend jit"),
    "a world of cells": (["--model", "oracle", "--world", "standard"], "worlds of discs.*one of cells"),
    "a file of cells": (["--model", "oracle", "--world", "cells.npz"], "worlds of discs.*one of cells"),
    "discs for planners of cells": (
        ["--model", "oracle", "--world", "discs.npz", "--protocol", "standard"],
        "worlds of cells.*paths",
    ),
    "another world than the published": (
        ["--model", "oracle", "--world", "discs.npz", "--protocol", "diffusion/2025-12"],
        'defined on world "diffusion"',
    ),
    "a start in a wall": (["--model", "oracle", "--world", "start.npz"], "every start must be a free cell"),
    "a goal in a wall": (["--model", "oracle", "--world", "goal.npz"], "every goal must be a free cell"),
    "scenarios that are not there": (["--model", "oracle", "--world", "discs.npz", "--seeds", "5:8"], "7:10"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_evaluated_is_refused_in_one_line(run, folder, tmp_path, case):
    arguments, complaint = REFUSED[case]
    before = sorted(os.listdir(folder))
    episodes = [] if "--world" in arguments else ["--episodes", "2"]
    with pytest.raises(RequestError, match=complaint) as error:
        run(*arguments, *episodes)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == [] and sorted(os.listdir(folder)) == before


def test_the_command_refuses_with_exit_2(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hrm_jax.evaluate", "--protocol", "paths", "--model", "asks.npz",
         "--out", str(tmp_path / "r.json")],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "--predictor" in done.stderr and os.listdir(tmp_path) == []
