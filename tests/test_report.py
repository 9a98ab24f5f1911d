"""The report page from outside: its numbers, its refusals, its figures, and its player in a browser."""

import base64
import copy
import html.parser
import json
import math
import os
import re
import select
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path
from statistics import NormalDist

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from hrm_jax.artefacts import report_file, traces_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import reports, statistics, tables
from hrm_jax.report import main
from hrm_jax.reporting import charts, inputs, packing, page, verdict
from hrm_jax.reporting.collisions import CollisionRule, contact
from hrm_jax.reporting.curves import Curve, Panel
from hrm_jax.reporting.names import Style
from hrm_jax.reporting.tables import by_kind, training_seeds

ROOT = Path(__file__).resolve().parent.parent
SIZE, HORIZON, OBSTACLES = 20, 20, 5
WICKED = '<script>alert("1")</script>&'  # a model's name may be anything
RECORDED = [WICKED, "reflection", "blind"]
COLLIDED, ARRIVED = 12, 38  # steps that WICKED and the others make


# ---------------------------------------------------------------- synthetic inputs


def recorded(path, ids, observed=True):
    """Write a traces.npz in which WICKED collides with obstacle 1 and the others arrive."""
    arrays, episodes = {}, []
    for e, scenario in enumerate(ids):
        arrays[f"static/{e}"] = np.random.default_rng(scenario).random((SIZE, SIZE)) < 0.03
        arrays[f"static/{e}"][:2] = arrays[f"static/{e}"][:, -1] = False
        for m, name in enumerate(RECORDED):
            arrays |= _trace(f"{e}/{m}", scenario, name, observed)
        outcomes = {name: "0" if name == WICKED else "1" for name in RECORDED}
        episodes.append({"id": scenario, "outcomes": outcomes})
    index = {"world": {"size": SIZE}, "models": RECORDED, "episodes": episodes}
    np.savez_compressed(path, index=json.dumps(index), **arrays)


def _trace(key, scenario, name, observed):
    """Right along row 0 and down the last column, among obstacles that move straight on."""
    steps = COLLIDED if name == WICKED else ARRIVED
    rng = np.random.default_rng(scenario)
    velocity = rng.uniform(-0.2, 0.2, (OBSTACLES, 2))
    velocity[0] = -0.5, 0.0  # straight up column 12, which the agent enters in step 12
    start = rng.uniform(6, 14, (OBSTACLES, 2))
    start[0] = 6.2, 12.0
    truth = start + velocity * np.arange(steps + HORIZON + 1)[:, None, None]
    truth = SIZE - 1 - np.abs(SIZE - 1 - np.abs(truth) % (2 * SIZE - 2))  # reflected
    ahead = np.arange(1, HORIZON + 1)
    predicted = np.stack([truth[t + ahead] for t in range(steps)])
    if name == WICKED:
        predicted[..., 1] += 0.01 * ahead[:, None] ** 2
    walk = np.minimum(np.arange(steps + HORIZON + 1), ARRIVED)
    agent = np.stack([np.maximum(walk - SIZE + 1, 0), np.minimum(walk, SIZE - 1)], axis=1)
    out = {
        f"agent/{key}": agent[: steps + 1].astype(np.int16),
        f"obstacles/{key}": _hundredths(truth[: steps + 1]),
        f"predicted/{key}": _hundredths(predicted[:, :, : 0 if name == "blind" else OBSTACLES]),
        f"plan/{key}": np.stack([agent[t : t + HORIZON + 1] for t in range(steps)]).astype(np.int16),
    }
    if observed:
        out[f"observed/{key}"] = _hundredths(truth[:steps, : 0 if name == "blind" else OBSTACLES] + 0.3)
    return out


def _hundredths(cells):
    return np.round(100 * cells).astype(np.int16)


def wilson(success, n):
    """The 95 % interval of a rate, from the textbook."""
    z, rate = NormalDist().inv_cdf(0.975), success / n
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return [
        max(0.0, (rate + z * z / (2 * n) - half) / (1 + z * z / n)),
        (rate + z * z / (2 * n) + half) / (1 + z * z / n),
    ]


def result(success, n=1000, collisions=None, letters="10T", **more):
    """One model's part of a report.json; its outcomes are in the order of `letters`."""
    collisions = max(0, n - success - 7) if collisions is None else collisions
    counts = {"1": success, "0": collisions, "T": n - success - collisions}
    outcomes = "".join(letter * counts[letter] for letter in letters)
    return {
        "n": n, "success": success, "rate": success / n, "interval": wilson(success, n),
        "collisions": collisions, "timeouts": counts["T"], "outcomes": outcomes, **more,
    }  # fmt: skip


def errors(scale):
    """Prediction errors that grow with the steps ahead."""
    ahead = np.arange(1, HORIZON + 1)
    near = {key: np.exp(-scale * ahead / float(key)).tolist() for key in ("0.2", "0.5", "1.0")}
    median = scale * ahead
    return {
        "mean": (1.3 * median).tolist(),
        "median": median.tolist(),
        "p90": (2.5 * median).tolist(),
        "within": near,
    }


def causes(success, no_static_path=0):
    """Why the other of 1,000 episodes failed, of which 7 were timeouts."""
    met = 1000 - success - 7 - no_static_path - 30
    return {"no_static_path": no_static_path, "boxed_in": 30, "prediction_error": met, "horizon": 7}


def full_report():
    """A report.json with everything that one may hold."""

    def judged(success, scale=None, **more):
        return result(success, failures=causes(success), prediction=scale and errors(scale), **more)

    models = {
        f"hrm/s{seed}": judged(success, 0.021 - 0.001 * seed, group="hrm", seed=seed, parameters=41_234)
        for seed, success in enumerate((812, 797, 820))
    } | {
        WICKED: judged(744, 0.05, parameters=52_000, letters="0T1"),
        "constant_velocity": judged(655, 0.11),
        "reflection": judged(781, 0.025),
        "oracle": result(951, failures=causes(951, no_static_path=12), prediction=None),
        "blind": judged(371),
    }
    return {
        "protocol": "standard", "world": "standard", "seeds": [0, 1000], "commit": "1e2d3fa",
        "versions": {"hrm_jax": "0.1.0", "numpy": "2.4.6"}, "models": models, "pairs": compared(models),
        "traces": "standard.traces.npz",
    }  # fmt: skip


def compared(models):
    """Paired tests of all models."""
    return statistics.pairs({name: statistics.solved(one["outcomes"]) for name, one in models.items()})


def old_report():
    """A report.json as it was before there were failures, predictions, groups and traces."""
    models = {"oracle": result(33, 50, 17), "frozen": result(20, 50, 30)}
    pairs = [{key: value for key, value in pair.items() if key != "p_holm"} for pair in compared(models)]
    return {
        "protocol": "hrm-cloud/2025-12", "world": "hrm-cloud", "seeds": [100, 150], "versions": {},
        "commit": None, "models": models, "pairs": pairs,
    }  # fmt: skip


def training(folder, name, final):
    """A workdir of a run that is still going: its last line is half written."""
    workdir = folder / "runs" / name
    workdir.mkdir(parents=True)
    lines = []
    for step in range(10, 8001, 10):
        loss = final * (1 + 30 * np.exp(-step / 900)) * (1 + 0.2 * np.sin(step))
        lines.append({"step": step, "loss": loss, "learning_rate": 1e-3, "samples_per_second": 41_000.0})
        if step % 1000 == 0:
            share = 0.8 * (1 - np.exp(-step / 2000))
            lines.append({
                "step": step, "eval/success": share, "eval/baseline/reflection/success": 0.78,
                "eval/loss": 2 * loss, "eval/constant_velocity/loss": 4e-4, "eval/error_1": 0.1,
                "eval/error_20": 3 - 2 * share, "eval/constant_velocity/error_20": 9.65,
            })  # fmt: skip
    text = "\n".join(map(json.dumps, lines))
    (workdir / "metrics.jsonl").write_text(text + '\n{"step": 8010, "lo')
    (workdir / "config.json").write_text(json.dumps({"batch_size": 1536, "model": {"name": name}}))


def dense():
    """density.json of three speeds and four densities."""
    decay = {"hrm": 0.016, "reflection": 0.02, "oracle": 0.005, "blind": 0.06}
    cells = [
        {"n_obstacles": n, "speed": speed,
         "models": {name: result(int(200 * np.exp(-d * n * speed)), 200) for name, d in decay.items()}}
        for speed in (0.4, 0.8, 1.2) for n in (6, 10, 16, 24)
    ]  # fmt: skip
    return {"protocol": "standard", "seeds": [5000, 5200], "cells": cells}


def synthetic(folder, ids=(3, 5), observed=True):
    """All inputs in one folder."""
    recorded(folder / "standard.traces.npz", ids, observed)
    for name, content in (("a.json", full_report()), ("b.json", old_report()), ("density.json", dense())):
        (folder / name).write_text(json.dumps(content))
    training(folder, "hrm", 1.4e-6)
    training(folder, "lstm", 3e-6)


EVERYTHING = ["--report", "a.json", "--report", "b.json", "--workdir", "runs/hrm", "--workdir", "runs/lstm",
              "--density", "density.json", "--out", "out"]  # fmt: skip


def report(*arguments, cwd):
    """Run the command line."""
    command = [sys.executable, "-m", "hrm_jax.report", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Inputs, and `out` made of all of them."""
    folder = tmp_path_factory.mktemp("report")
    synthetic(folder)
    done = report(*EVERYTHING, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def text(folder):
    """The page."""
    return (folder / "out/index.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------- reading the page


class Reader(html.parser.HTMLParser):
    """Tables by id, each a list of rows (attributes, {data-key: data-value}); links, tags and texts."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.tags, self.references, self.texts, self.table = {}, [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.references += [value for key, value in attributes.items() if key in ("src", "href")]
        if tag == "table":
            self.table = self.tables.setdefault(attributes["id"], [])
        elif tag == "tr":
            self.table.append((attributes, {}))
        elif tag == "td" and "data-value" in attributes:
            self.table[-1][1][attributes["data-key"]] = attributes["data-value"]

    def handle_data(self, data):
        self.texts.append(data)

    def row(self, table, **attributes):
        """The numbers of the one row with these data attributes."""
        wanted = {f"data-{key}": str(value) for key, value in attributes.items()}
        (found,) = [cells for given, cells in self.tables[table] if wanted.items() <= given.items()]
        return found


@pytest.mark.parametrize("index, source", [(0, full_report()), (1, old_report())])
def test_tables_hold_the_numbers_of_the_report(text, index, source):
    page = Reader(text)
    for name, result in source["models"].items():
        cells = page.row(f"results-{index}", model=name)
        for key in ("n", "success", "collisions", "timeouts"):
            assert int(cells[key]) == result[key]
        assert float(cells["rate"]) == result["rate"]
        assert list(map(float, cells["interval"].split())) == result["interval"]
        assert cells.get("parameters") == (str(result["parameters"]) if "parameters" in result else None)
        for key, count in (result.get("failures") or {}).items():
            assert int(cells[key]) == count


@pytest.mark.parametrize("index, source", [(0, full_report()), (1, old_report())])
def test_tables_hold_the_tests_of_the_report(text, index, source):
    page = Reader(text)
    for pair in source["pairs"]:
        tables = [f"pairs-{index}", f"pairs-{index}-rest"]
        (cells,) = [
            cells
            for name in tables
            for given, cells in page.tables.get(name, [])
            if (given.get("data-a"), given.get("data-b")) == (pair["a"], pair["b"])
        ]
        for key in ("a_only", "b_only", "p_value", "p_holm"):
            assert float(cells.get(key, "nan")) == pytest.approx(
                pair.get(key, math.nan), rel=0, abs=0, nan_ok=True
            )
        n = source["models"][pair["a"]]["n"]
        assert float(cells["difference"]) == (pair["a_only"] - pair["b_only"]) / n


def test_training_seeds_are_spread_apart_from_episodes(text):
    cells = Reader(text).row("groups-0", group="hrm")
    assert {key: round(float(value), 4) for key, value in cells.items()} == {
        "seeds": 3, "mean": 0.8097, "lowest": 0.797, "highest": 0.82, "std": 0.0117, "half_width": 0.0243,
    }  # fmt: skip


def test_groups_are_compared_over_episodes_and_over_seeds(tmp_path):
    models = {
        f"{group}/{seed}": result(count, 50, 50 - count, group=group, seed=seed)
        for group, counts in (("hrm", (30, 31)), ("lstm", (34, 33)), ("gru", (20, 20)))
        for seed, count in enumerate(counts)
    }
    told = {"protocol": "standard", "world": "standard", "seeds": [0, 50], "models": models}
    (tmp_path / "r.json").write_text(json.dumps(told))
    shown = Reader(page.build([inputs.load_report(tmp_path / "r.json")], [], None))
    cells = shown.row("group-pairs-0", a="hrm", b="lstm")
    assert float(cells["difference"]) == -0.06 and 0 < float(cells["p_episodes"]) < 0.5
    assert float(cells["p_seeds"]) == pytest.approx(2 / 6) and float(cells["p_seeds_holm"]) == 1
    alike = shown.row("group-pairs-0", a="hrm", b="gru")  # seeds of one rate are tested, too
    assert float(alike["p_seeds"]) == pytest.approx(2 / 6)
    low, high = map(float, alike["interval"].split())
    assert low < float(
        alike["difference"]
    ) < high and "over the 3 pairs of groups shown, of this report" in str(shown.texts)


def grouped(models, first=0):
    """A report of models x and y, of three seeds each."""
    rows = {f"{group}/{seed}": result(success, 50, 50 - success, group=group, seed=seed)
            for group, counts in models.items() for seed, success in enumerate(counts)}  # fmt: skip
    told = {"protocol": "standard", "world": "standard", "seeds": [first, first + 50], "models": rows}
    return told | statistics.groups(rows)


def test_several_reports_are_held_together_on_a_page_and_in_the_console(tmp_path, capsys):
    for index, counts in enumerate([(40, 41, 42), (20, 21, 22)]):
        told = grouped({"x": (30, 31, 32), "y": counts}, 50 * index)
        (tmp_path / f"{index}.json").write_text(json.dumps(told))
    words = [f"--report={tmp_path / name}" for name in ("0.json", "1.json")]
    main(words)
    shown = capsys.readouterr().out
    assert "over the 2 pairs of groups shown, of 2 reports together" in shown
    assert re.search(r"\| standard \| x - y +\| -20.0 +\| \[-\d+\.\d, -\d+\.\d\] .*\| 0.1 +\| 0.2 +\|", shown)
    main([*words, "--out", str(tmp_path / "page")])
    assert "shown, of 2 reports together" in capsys.readouterr().out
    seen = Reader((tmp_path / "page" / "index.html").read_text())
    for index in (0, 1):
        cells = seen.row(f"group-pairs-{index}", a="x", b="y")
        assert float(cells["p_seeds"]) == pytest.approx(0.1) and float(
            cells["p_seeds_holm"]
        ) == pytest.approx(0.2)
    assert "shown, of 2 reports together" in str(seen.texts)


def test_the_console_shows_groups_of_answers_to_puzzles(tmp_path, capsys):
    def model(group, right):
        rate = statistics.rate(right, 20)
        return {"n": 20, **rate, "outcomes": "1" * right + "0" * (20 - right), "group": group}

    models = {
        f"{group}/{seed}": model(group, 3 * seed + more)
        for group, more in (("x", 1), ("y", 9))
        for seed in (0, 1, 2)
    }
    told = {
        "protocol": report_file.PUZZLES,
        "world": "w",
        "seeds": [0, 20],
        "kind": "",
        "segments": 1,
        "models": models,
    }
    (tmp_path / "r.json").write_text(json.dumps(told | statistics.puzzle_groups(models)))
    main(["--report", str(tmp_path / "r.json")])
    shown = capsys.readouterr().out
    assert "| x - y " in shown and "over the one pair of groups shown, of this report" in shown


def test_reports_of_before_have_their_tests_computed_anew(tmp_path):
    """Pairs of groups without an interval, whose test over seeds was Welch's, or no such tests at all."""
    told = grouped({"x": (30, 31, 32), "y": (40, 41, 42), "z": (40, 40)})
    now = json.loads(json.dumps(told["group_pairs"]))
    old = [{key: pair[key] for key in ("a", "b", "difference", "p_episodes")} for pair in now]
    for pairs in ([old[0] | {"p_seeds": 0.0077}], [], None):  # those of z, of other sizes, were left out
        (tmp_path / "r.json").write_text(json.dumps(told | {"group_pairs": pairs}))
        assert reports.load(tmp_path / "r.json")["group_pairs"] == now
    (tmp_path / "r.json").write_text(
        json.dumps(told | {"group_pairs": [old[0] | {"p_seeds": 0.1, "difference": 0.3}]})
    )
    with pytest.raises(
        RequestError, match=re.escape("group_pairs[0].difference is 0.3; the rest of the file")
    ):
        reports.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("difference", 0.5, "group_pairs[0].difference is 0.5; the rest of the file makes it -0.2"),
        ("interval", [-0.5, -0.1], "group_pairs[0].interval[0] is -0.5; the rest"),
        ("interval", [-0.2], "group_pairs[0].interval is [-0.2]"),
        ("interval", [-2, 0.1], "group_pairs[0].interval[0] is -2"),
        ("p_episodes", 0.5, "group_pairs[0].p_episodes is 0.5; the rest"),
        ("p_episodes_holm", 0.5, "group_pairs[0].p_episodes_holm is 0.5; the rest"),
        ("p_seeds", 0.0077, "group_pairs[0].p_seeds is 0.0077; the rest of the file makes it 0.1"),
        ("p_seeds_holm", 0.01, "group_pairs[0].p_seeds_holm is 0.01; the rest of the file makes it 0.1"),
        ("p_seeds_holm", 1.5, "group_pairs[0].p_seeds_holm is 1.5"),
    ],
)
def test_tests_between_groups_that_the_outcomes_contradict_are_refused(tmp_path, key, value, complaint):
    told = grouped({"x": (30, 31, 32), "y": (40, 41, 42)})
    told["group_pairs"][0][key] = value
    (tmp_path / "r.json").write_text(json.dumps(told))
    with pytest.raises(RequestError, match=re.escape(complaint)):
        reports.load(tmp_path / "r.json")


def test_numbers_behind_the_charts(text):
    page, source = Reader(text), full_report()["models"]["reflection"]["prediction"]
    for step in (1, 20):
        cells = page.row("prediction-0", model="reflection", step=step)
        assert float(cells["median"]) == source["median"][step - 1]
        assert float(cells["within-0.5"]) == source["within"]["0.5"][step - 1]
    assert "reflection: 0.5 at 20" in page.texts  # the name of a point of the chart
    rows = [cells for given, cells in page.tables["density-table"] if given.get("data-model") == "hrm"]
    assert [int(cells["success"]) for cells in rows] == [
        field["models"]["hrm"]["success"] for field in dense()["cells"]
    ]
    run = page.row("runs", run="hrm")
    assert (run["steps"], run["batch_size"]) == ("8000", "1536")
    assert float(run["eval/success"]) == pytest.approx(80 * (1 - math.exp(-4)))


def test_the_page_needs_no_network(text):
    page = Reader(text)
    assert page.references and all(ref.startswith("#") or ref == "data:," for ref in page.references)
    shown = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|XMLHttpRequest", shown)


def test_names_from_files_are_escaped(text):
    assert WICKED not in text
    assert Reader(text).tags.count("script") == 2  # the player and its data
    assert text.count("&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&amp;") > 10


def test_the_verdict_says_what_the_numbers_say(text):
    said = " ".join("".join(Reader(text).texts).split())
    for words in (
        "hrm is the best of 2 learned models: it reaches the goal in 81.0 % of 1,000 episodes (the mean of 3 "
        "training seeds, from 79.7 to 82.0 %).",
        f"Behind it, by more than chance: {WICKED} (74.4 %).",
        "A model that was trained once may rank otherwise when it is trained again.",
        "reflection, which learns nothing, reaches the goal in 78.1 %: 2.9 points below hrm, more than "
        "chance explains for all 3 training seeds.",
        "reaches the goal in 95.1 %: 14.1 points above hrm, more than chance explains",
        "No learned model was judged.",
        "frozen reaches the goal in 40.0 % of 50 episodes (95 % interval 27.6 to 53.8 %).",
        "The oracle, which is given the true future, reaches the goal in 66.0 %: 26.0 points above frozen",
        "It measures that fault, not the predictor.",  # hrm-cloud/2025-12
    ):
        assert words in said


def test_an_exact_future_is_the_oracles_alone():
    """Of a faulty protocol: no model stands for the oracle where that was not evaluated."""
    models = {"hrm": result(20, 50), "lstm": result(20, 50)}
    report = {"protocol": "hrm-cloud/2025-12", "world": "hrm-cloud", "seeds": [100, 150], "models": models}
    assert "fails often. It measures" in tables.fault_note(report)
    models["oracle"] = result(33, 50)
    assert "fails often (oracle: 33/50" in tables.fault_note(report)


# ---------------------------------------------------------------- requests that are wrong


def broken(path, *keys, value):
    """Change one value of a JSON file; `...` deletes it."""
    content = holder = json.loads(path.read_text())
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    if value is ...:
        del holder[keys[-1]]
    path.write_text(json.dumps(content))


FAULTS = {
    "rate": (("a.json", "models", "oracle", "rate"), 1.5, "models.oracle.rate is 1.5; expected float <= 1.0"),
    "interval": (
        ("a.json", "models", "oracle", "interval"), [0.9], "interval is [0.9]; expected array of length 2",
    ),
    "success": (("a.json", "models", "oracle", "success"), 10, "success is 10; the rest of the file"),
    "trials": (("a.json", "models", "oracle", "n"), 999, "models.oracle is of 999 n; seeds are 0 to 999"),
    "outcomes": (("a.json", "models", "oracle", "outcomes"), "1", "oracle is of 1 outcomes; seeds are 0"),
    "count": (("a.json", "models", "oracle", "collisions"), 10**400, "oracle.collisions is 1000"),
    "ends": (("a.json", "models", "oracle", "interval"), [0.9, 0.8], "interval[0] is 0.9; the rest of"),
    "cause": (("a.json", "models", "oracle", "failures"), {"bad luck": 1}, "no_static_path, boxed_in"),
    "curve": (
        ("a.json", "models", "reflection", "prediction", "median"), "no", 'median is "no"; expected array',
    ),
    "length": (("a.json", "models", "reflection", "prediction", "p90"), [1.0], "[1, 20]"),
    "pair": (("a.json", "pairs", 0, "p_value"), ..., "; object missing required field p_value"),
    "traces": (("a.json", "traces"), "gone.npz", "gone.npz: no such file"),
    "cells": (("density.json", "cells"), [], "cells is []; expected array of length >= 1"),
    "density's seeds": (("density.json", "seeds"), [0, 999], "models.hrm.n is 200; seeds are 0 to 998"),
    "density's interval": (
        ("density.json", "cells", 2, "models", "hrm", "interval"), [0, 1],
        "hrm.interval[0] is 0.0; the rest",
    ),
    "density's protocol": (("density.json", "protocol"), "paths", 'unknown protocol "paths"; allowed: '),
    "cell twice": (("density.json", "cells", 1, "n_obstacles"), 6, "cells[1] is the second of 6 obstacles"),
    "cell": (("density.json", "cells", 2, "models", "hrm", "n"), 0, "cells[2].models.hrm.n is 0; expected"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_files_are_refused(tmp_path, fault):
    (file, *keys), value, words = FAULTS[fault]
    synthetic(tmp_path)
    broken(tmp_path / file, *keys, value=value)
    _refused(words, *EVERYTHING, cwd=tmp_path)


HOSTILE = (
    None, True, -1, 0, 1, 2**31, 10**30, 10**400, -0.5, 0.5, 1.5, 1e308, "", "a", "<b>", "\ud800", "x\0y",
    "a" * 999, [], {}, [1], {"a": 1}, "NaN", [[1, 2]], ...,
)  # fmt: skip


def places(content, found=()):
    """The keys that lead to every value of a JSON file, of a long list to the first three."""
    parts = content.items() if isinstance(content, dict) else enumerate(content[:3])
    for key, value in parts:
        yield (*found, key)
        if isinstance(value, dict | list):
            yield from places(value, (*found, key))


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_what_is_spoilt_is_refused_in_one_line_or_makes_a_page(tmp_path, count):
    """Reports, densities, configs and records, of which a value is another, or missing."""
    synthetic(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "runs/hrm/metrics.jsonl").read_text().splitlines()[:40]]
    files = {name: json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json", "density.json")}
    files |= {"metrics.jsonl": lines, "config.json": {"model": {"name": "hrm"}, "batch_size": 8}}
    choices = [(name, keys) for name, content in files.items() for keys in places(content)]

    def written(name, content):
        path = tmp_path / ("runs/hrm" if name in ("metrics.jsonl", "config.json") else "") / name
        rows = content if name == "metrics.jsonl" else [content]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path

    @hypothesis.settings(max_examples=count, deadline=None, derandomize=True, database=None)
    @hypothesis.given(st.sampled_from(choices), st.sampled_from(HOSTILE))
    def check(choice, value):
        name, (*keys, last) = choice
        content = holder = copy.deepcopy(files[name])
        for key in keys:
            holder = holder[key]
        holder[last] = value
        if value is ...:
            del holder[last]
        path = written(name, content)
        try:
            told = [inputs.load_report(path)] if name in ("a.json", "b.json") else []
            density = reports.load_density(path) if name == "density.json" else None
            runs = inputs.load_runs([path.parent]) if path.parent != tmp_path else []
            page.build(told, runs, density).encode()
        except RequestError as error:
            assert "\n" not in str(error) and str(path) in str(error)
        finally:
            written(name, files[name])

    check()


REQUESTS = {
    "--workdir needs --out": ["--report", "a.json", "--workdir", "runs/hrm"],
    "--report FILE is needed": [],
    "nothing to report on": ["--out", "out"],
    "a.json: is a file; a folder is needed": ["--report", "a.json", "--out", "a.json"],
    "no such recorded episode; allowed: all, 3, 5": [*EVERYTHING, "--gif", "4"],
    'did you mean "reflection"?; allowed: ': [*EVERYTHING, "--gif", "3", "--gif-models", "reflections"],
    "none of the reports names recorded episodes": ["--report", "b.json", "--out", "out", "--gif", "all"],
    "runs/none/metrics.jsonl: not readable": ["--workdir", "runs/none", "--out", "out"],
    "--workdir names one folder twice": ["--workdir", "runs/hrm", "--workdir", "runs/hrm/.", "--out", "out"],
    "b.json: not a density.json of hrm_jax.density: the file is ": ["--density", "b.json", "--out", "out"],
}


@pytest.mark.parametrize("words", REQUESTS)
def test_impossible_requests_are_refused(tmp_path, words):
    synthetic(tmp_path)
    _refused(words, *REQUESTS[words], cwd=tmp_path)


def _refused(words, *arguments, cwd):
    """In this process: `RequestError` in one line that holds `words`, and nothing written."""
    before = sorted(cwd.rglob("*"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RequestError) as caught:
        patch.chdir(cwd)
        main(arguments)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(cwd.rglob("*")) == before


def test_exit_code_of_a_refusal(tmp_path):
    done = report("--report", "none.json", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "none.json" in done.stderr


def test_a_damaged_line_is_refused_but_not_the_last_one(tmp_path):
    training(tmp_path, "hrm", 1e-6)
    path = tmp_path / "runs/hrm/metrics.jsonl"
    assert path.read_text().endswith('"lo')  # `training` leaves a half line
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4][:9], *lines[5:]]))
    _refused("line 5 is not a record", "--workdir", "runs/hrm", "--out", "out", cwd=tmp_path)


CONTRADICTIONS = {
    "seeds": (lambda r: r.update(seeds=[0, 999]), "models.hrm/s0 is of 1000 n; seeds are 0 to 998"),
    "seeds of no generator": (lambda r: r.update(seeds=[2**40, 2**40 + 1000]), "seeds[1] is 1099511628776"),
    "successes": (
        lambda r: _hrm(r).update(outcomes="0" * 1000),
        "success is 812; the rest of the file makes it 0",
    ),
    "collisions": (
        lambda r: _hrm(r).update(collisions=3),
        "collisions is 3; the rest of the file makes it 181",
    ),
    "outcomes": (lambda r: _hrm(r).update(outcomes="X" * 1000), 'outcomes hold "X"; allowed: 0, 1, T'),
    "causes": (lambda r: _hrm(r)["failures"].update(boxed_in=7), "failures are"),
    "a cause of timeouts": (
        lambda r: _hrm(r).update(failures={"horizon": 188}),
        "failures.horizon is 188 of 7 timeouts",
    ),
    "causes of collisions": (
        lambda r: _hrm(r).update(failures={"boxed_in": 100, "prediction_error": 88}),
        "causes of 188 collisions; there are 181",
    ),
    "an interval": (
        lambda r: _hrm(r).update(interval=[0.1, 0.2]),
        "interval[0] is 0.1; the rest of the file",
    ),
    "a wide interval": (lambda r: _hrm(r).update(interval=[0, 1]), "interval[0] is 0; the rest of the file"),
    "a point for an interval": (
        lambda r: _hrm(r).update(interval=[0.812, 0.812]),
        "interval[0] is 0.812; the",
    ),
    "an error": (lambda r: _hrm(r)["prediction"]["median"].__setitem__(3, -1.0), "prediction holds -1.0"),
    "an infinite error": (
        lambda r: _hrm(r)["prediction"]["mean"].__setitem__(3, math.inf),
        "prediction holds inf",
    ),
    "a share": (lambda r: _hrm(r)["prediction"]["within"]["0.2"].__setitem__(3, 1.5), "prediction holds 1.5"),
    "quantiles": (lambda r: _hrm(r)["prediction"].update(median=[9.0] * 20), "median and p90: a quantile"),
    "shares": (lambda r: _hrm(r)["prediction"]["within"].update({"0.5": [0.0] * 20}), "within: a quantile"),
    "a distance": (lambda r: _hrm(r)["prediction"]["within"].update(near=[0.0] * 20), 'within holds "near"'),
    "a bound's prediction": (
        lambda r: r["models"]["blind"].update(prediction=errors(0.1)),
        "models.blind holds a prediction; it predicts nothing",
    ),
    "a pair": (lambda r: r["pairs"][0].update(a="nobody"), "unknown model in pairs[0]"),
    "a pair with itself": (
        lambda r: r["pairs"][0].update(b="hrm/s0"),
        "pairs[0] is of hrm/s0 and hrm/s0: of two",
    ),
    "a pair twice": (lambda r: r["pairs"].append(r["pairs"][0]), "pairs[28] is of hrm/s0 and hrm/s1: of two"),
    "discordant episodes": (
        lambda r: r["pairs"][0].update(a_only=0),
        "pairs[0].a_only is 0; the rest of the file",
    ),
    "more than there are": (
        lambda r: r["pairs"][0].update(b_only=10**6),
        "pairs[0] counts 15 + 1000000 of 1000",
    ),
    "a p-value": (
        lambda r: r["pairs"][0].update(p_value=0.9),
        "pairs[0].p_value is 0.9; the rest of the file",
    ),
    "an adjusted p-value": (lambda r: r["pairs"][0].update(p_holm=0.0), "pairs[0].p_holm is 0.0; the rest"),
    "a group of none": (
        lambda r: r.update(groups={"g": statistics.groups(r["models"])["groups"]["hrm"]}),
        "groups[0] is g; the rest of the file makes it hrm",
    ),
    "a group's mean": (
        lambda r: r.update(groups={"hrm": statistics.groups(r["models"])["groups"]["hrm"] | {"mean": 0.99}}),
        "groups.hrm.mean is 0.99; the rest of the file makes it 0.80966",
    ),
    "tests of no groups": (
        lambda r: r.update(
            group_pairs=[{"a": "x", "b": "y", "difference": 0.9, "p_episodes": 0, "p_seeds": 0}]
        ),
        "group_pairs is [{'a': 'x'",
    ),
    "no protocol": (lambda r: r.update(protocol="foo"), 'unknown protocol "foo"; allowed: standard, '),
    "another layout": (lambda r: r.update(protocol="paths"), 'protocol "paths" is for worlds of discs'),
    "another world": (
        lambda r: r.update(protocol="hrm-cloud/small", world="dense"),
        'world is "dense"; protocol "hrm-cloud/small" is defined on "hrm-cloud/small" alone',
    ),
    "a world that hides": (lambda r: r.update(world="x\x1b[2J"), "world is"),
    "a name that hides": (
        lambda r: r["models"].update({"\u202ex": _hrm(r)}),
        '"\\u202ex" is no key: printable',
    ),
    "no name": (lambda r: r["models"].update({"": _hrm(r)}), '"" is no key: printable text is needed'),
    "versions": (lambda r: r.update(versions={"a": {"b": 1}}), "versions.a is"),
    "traces elsewhere": (lambda r: r.update(traces="../secret.npz"), "traces is"),
}


def _hrm(report):
    return report["models"]["hrm/s0"]


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_report_that_contradicts_itself_is_refused(case, tmp_path):
    change, complaint = CONTRADICTIONS[case]
    told = json.loads(json.dumps(full_report()))
    path = tmp_path / "r.json"
    path.write_text(json.dumps(told))
    reports.load(path)
    change(told)
    path.write_text(json.dumps(told))
    with pytest.raises(RequestError) as error:
        reports.load(path)
    assert complaint in str(error.value) and "\n" not in str(error.value)


def test_a_world_of_a_file_may_be_called_as_one_of_ours_of_another_layout(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**full_report(), "world": f"discs{reports.CHANGED}"}))
    assert reports.load(path)["protocol"] == "standard"


METRICS = {
    "a text": ('{"step": 1, "eval/loss": "0.1"}', "record of step 1: eval/loss is"),
    "a truth": ('{"step": 1, "loss": true}', "record of step 1: loss is true"),
    "a list": ('{"step": 1, "eval/loss": [1]}', "record of step 1: eval/loss is [1]"),
    "no float": ('{"step": 1, "loss": 1%s}' % ("0" * 400), "record of step 1: loss is 1000"),  # noqa: UP031
    "a share above 1": (
        '{"step": 1, "eval/success": 7}',
        "step 1: eval/success is 7; a share is from 0 to 1",
    ),
    "a share below 0": ('{"step": 1, "eval/exact": -0.1}', "step 1: eval/exact is -0.1; a share"),
    "a segment's share": ('{"step": 1, "eval/exact_4": 9.0}', "step 1: eval/exact_4 is 9.0; a share"),
    "a baseline's share": (
        '{"step": 1, "eval/baseline/x/success": 2}',
        "eval/baseline/x/success is 2; a share",
    ),
    "a hidden key": ('{"step": 1, "eval/a\\u001bb/success": 0.5}', "is no key: printable text is needed"),
}


@pytest.mark.parametrize("case", METRICS)
def test_metrics_that_are_none_are_refused(case, tmp_path):
    line, complaint = METRICS[case]
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n")
    with pytest.raises(RequestError) as error:
        inputs.load_runs([tmp_path])
    assert complaint in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "config", ['{"model": 5}', '{"model": {"name": "\\u001b[2J"}}', '{"batch_size": -4}']
)
def test_a_config_that_no_page_can_show_is_refused(config, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(RequestError, match="not a config.json: "):
        inputs.load_runs([tmp_path])


@pytest.mark.parametrize("last", ["null", "NaN", "-Infinity"])
def test_a_loss_that_is_no_number_hides_no_older_one(last, tmp_path):
    lines = '{"step": 1, "loss": 2.0, "eval/success": null}', f'{{"step": 2, "loss": {last}}}', '{"step": 3}'
    (tmp_path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    runs = inputs.load_runs([tmp_path])
    assert "loss" not in Reader(page.build([], runs, None)).row("runs", run=runs[0].name)


def test_names_of_folders_and_of_metrics_are_shown_whatever_they_are(tmp_path):
    pytest.importorskip("resvg_py")
    line = {"step": 1, "loss": 1.0, f"eval/error_{'9' * 5000}": 1.0, f"eval/exact_{'9' * 5000}": 0.5}
    for number, name in enumerate((b"a\x1bb", b"z\xff", "é&<b>".encode())):
        folder = tmp_path / os.fsdecode(name)
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        main(["--workdir", str(folder), "--out", str(tmp_path / f"out{number}")])
    shown = Reader((tmp_path / "out0/index.html").read_text(encoding="utf-8"))
    assert shown.row("runs", run=r"a\x1bb")["steps"] == "1"


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.data())
def test_groups_of_one_mean_are_level(data):
    """Whatever their rates add up to when they are rounded one by one."""
    n = data.draw(st.integers(3, 100))
    first = data.draw(st.lists(st.integers(0, n), min_size=2, max_size=5))
    moved = data.draw(st.integers(0, min(n - first[0], first[1])))
    second = [first[0] + moved, first[1] - moved, *first[2:]]
    models = {
        f"{group}/{seed}": result(success, n, n - success, group=group)
        for group, counts in (("a", first), ("b", second))
        for seed, success in enumerate(data.draw(st.permutations(counts)))
    }
    told = inputs.Report({"protocol": "standard", "models": models})
    assert verdict.sentences(told)[0].startswith("a and b cannot be told apart: each reaches the goal in")
    assert statistics.groups(models)["group_pairs"][0]["difference"] == 0
    assert [name[0] for name in by_kind(models)["learned"]] == ["a"] * len(first) + ["b"] * len(first)


@pytest.mark.parametrize(
    ("more", "tests"), [({}, 1), ({"puzzles": 4}, 1), ({"puzzles": 2}, 0), ({"voting": {"pass@1": {}}}, 0)]
)
def test_groups_are_tested_where_examples_are_independent_alone(more, tests):
    models = {
        f"{group}/{seed}": {"group": group, "n": 4, "outcomes": "0110", "lenient": {"outcomes": "1110"}}
        | more
        for group in "ab"
        for seed in (0, 1)
    }
    found = statistics.puzzle_groups(models)
    assert found["groups"]["a"]["mean"] == 0.75 and len(found["group_pairs"]) == tests


def test_groups_of_puzzles_have_the_intervals_and_the_name_of_the_rate_that_they_are_of():
    rate = {"success": 2, "n": 4, "rate": 0.5, "interval": [0.0, 0.2]}
    lenient = {"success": 3, "rate": 0.75, "interval": [0.3, 0.9], "outcomes": "1110"}
    models = {f"a/{seed}": {**rate, "group": "a", "outcomes": "0110", "lenient": lenient} for seed in (0, 1)}
    told = inputs.Report(
        {"protocol": report_file.PUZZLES, "models": models, **statistics.puzzle_groups(models)}
    )
    assert told.data["group_pairs"] == []  # of one group
    shown = str(training_seeds(told, 0))
    assert "Mean lenient %" in shown and "30.0" in shown and "75.0" in shown
    assert "mean lenient %" in tables.groups(told.data)


# ---------------------------------------------------------------- recorded episodes


@pytest.mark.parametrize(
    "change",
    [
        {"world": {"size": math.nan}},
        {"world": {"size": SIZE + 1}},
        {"models": []},
        {"models": RECORDED + RECORDED[:1]},
        {"episodes": []},
        {"episodes": [{"id": "3", "outcomes": {}}]},
        {"episodes": [{"id": 3, "outcomes": {}, "ends": [[0, 0], [1.5, 2]]}]},
        {"protocol": 3},
    ],
)
def test_an_index_of_traces_that_cannot_be_meant_is_refused(change, tmp_path):
    recorded(tmp_path / "t.npz", (3,))
    with np.load(tmp_path / "t.npz") as file:
        arrays = dict(file)
    index = json.loads(str(arrays.pop("index")))
    np.savez(tmp_path / "t.npz", index=json.dumps(index | change), **arrays)
    with pytest.raises(RequestError, match="t.npz: "):
        traces_file.load(tmp_path / "t.npz")


def _told(change):
    """Of the index of traces, what `change` makes of its first episode."""
    return lambda index, arrays: change(index["episodes"][0])


def _array(name, change):
    return lambda index, arrays: arrays.update({name: change(arrays[name])})


AGAINST = {
    "models": (lambda i, a: i.update(models=["x", *RECORDED[1:]]), "models are x, reflection"),
    "an outcome": (
        _told(lambda e: e["outcomes"].update(blind="0")),
        'blind ends in "0"; the report says "1"',
    ),
    "an outcome of nobody": (_told(lambda e: e["outcomes"].update(x="1")), "blind, x; models are"),
    "an id": (_told(lambda e: e.update(id=1000)), "ids [1000, 5]: each once, from 0 to 999"),
    "an id twice": (_told(lambda e: e.update(id=5)), "ids [5, 5]: each once"),
    "the world": (lambda i, a: i["world"].update(name="dense"), "world.name is dense; the rest of the file"),
    "the rules": (
        lambda i, a: i.update(protocol={"goal_tolerance": 99}),
        "protocol.goal_tolerance is 99; the rest of the file makes it 0.5",
    ),
    "the start": (
        _told(lambda e: e.update(ends=[[3, 3], [19, 19]])),
        "begins at [0.0, 0.0]; its start is [3, 3]",
    ),
    "the goal": (
        _told(lambda e: e.update(ends=[[0, 0], [4, 4]])),
        "succeeds at [19.0, 19.0]; its goal is [4, 4]",
    ),
    "off the map": (
        _array("agent/0/1", lambda a: np.where(a > 5, 20, a)),
        "reflection leaves its map of 20x20",
    ),
    "a leap": (
        _array("agent/0/1", lambda a: a * (np.arange(39) > 1)[:, None]),
        "moves 2 cells in a step; 1 is",
    ),
    "an obstacle": (
        _array("obstacles/0/1", lambda a: a - 2000),
        "has an obstacle off its map of 20x20 cells",
    ),
    "no int16": (_array("plan/0/1", lambda a: a.astype(int) + 10**9), "plan/0/1 goes from 1000000000 to"),
    "no map": (_array("static/0", lambda a: a * 7), "static/0 holds 7; 0 and 1 are needed"),
    "a layout": (lambda i, a: i.update(kind="paths"), "is missing"),
}


@pytest.mark.parametrize("case", AGAINST)
def test_traces_that_contradict_their_report_are_refused(case, tmp_path):
    change, complaint = AGAINST[case]
    synthetic(tmp_path)
    path = tmp_path / "standard.traces.npz"
    with np.load(path) as file:
        arrays = dict(file)
    index = json.loads(str(arrays.pop("index")))
    change(index, arrays)
    np.savez(path, index=json.dumps(index), **arrays)
    with pytest.raises(RequestError) as error:
        inputs.load_report(tmp_path / "a.json")
    assert complaint in str(error.value) and "\n" not in str(error.value)


def test_traces_survive_reading_and_packing(tmp_path):
    recorded(tmp_path / "t.npz", (3, 5), observed=True)
    found = traces_file.load(tmp_path / "t.npz")
    assert (found.models, [episode.id for episode in found.episodes]) == (RECORDED, [3, 5])
    packed = packing.episodes(found, CollisionRule(0.8, True))
    for episode, shown in zip(found.episodes, packed["episodes"], strict=True):
        np.testing.assert_array_equal(unpacked(shown["static"]), episode.static)
        for name, trace in zip(RECORDED, shown["traces"], strict=True):
            assert (trace["observed"] is None) == (name == "blind")
            for key in ("agent", "obstacles", "predicted", "plan", *["observed"] * (name != "blind")):
                np.testing.assert_array_equal(unpacked(trace[key]), getattr(episode.traces[name], key))


def unpacked(packed):
    """What player.js does."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), "<i2").reshape(packed["shape"])
    return np.cumsum(steps, axis=packed["axis"], dtype=np.int16)


def test_the_moment_of_a_collision(tmp_path):
    recorded(tmp_path / "t.npz", (3,))
    trace = traces_file.load(tmp_path / "t.npz").episodes[0].traces[WICKED]
    found = contact(trace, swept=True)
    assert (found.number, found.agent.tolist(), found.distance) == (0, [0.0, 12.0], pytest.approx(0.2))
    assert found.obstacle == pytest.approx([0.2, 12.0])


@pytest.mark.parametrize("name", ["plan/1/2", "obstacles/0/0", "index"])
def test_incomplete_traces_are_refused(tmp_path, name):
    recorded(tmp_path / "whole.npz", (3, 5))
    with np.load(tmp_path / "whole.npz") as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(tmp_path / "part.npz", **{key: value for key, value in arrays.items() if key != name})
    with pytest.raises(RequestError, match=f"part.npz: incomplete, .*{name}"):
        traces_file.load(tmp_path / "part.npz")
    if name != "index":
        np.savez(tmp_path / "odd.npz", **{**arrays, name: arrays[name][:, :, :1]})
        with pytest.raises(RequestError, match=f"odd.npz: not a complete traces.npz .{name} is int16"):
            traces_file.load(tmp_path / "odd.npz")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "t.npz").write_text("traces")
    with pytest.raises(RequestError, match="not a complete traces.npz"):
        traces_file.load(tmp_path / "t.npz")


# ---------------------------------------------------------------- figures and charts


def test_figures_for_papers(folder):
    pytest.importorskip("resvg_py")
    found = sorted(path.name for path in (folder / "out").iterdir())
    assert found == ["density.png", "index.html", "prediction-1.png", "success.png", "training.png"]
    for path in (folder / "out").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_an_animation_has_a_frame_a_step(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    image = pytest.importorskip("PIL.Image")
    synthetic(tmp_path, ids=(3,))
    monkeypatch.chdir(tmp_path)
    main(["--report", "a.json", "--out", "out", "--gif", "all", "--gif-models", WICKED])
    with image.open("out/episode-3.gif") as animation:
        assert animation.n_frames == COLLIDED + 1


def test_without_the_extra_the_page_stands_alone(tmp_path, monkeypatch, capsys):
    synthetic(tmp_path)
    monkeypatch.setattr("hrm_jax.reporting.figures.available", lambda: False)
    monkeypatch.chdir(tmp_path)
    main(EVERYTHING)
    assert ": success.png, density.png, prediction-1.png, training.png." in capsys.readouterr().out
    assert os.listdir("out") == ["index.html"]
    _refused("--gif needs resvg-py", *EVERYTHING, "--gif", "3", cwd=tmp_path)


def test_round_ticks():
    assert charts.linear_ticks(0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert charts.log_ticks(1e-6, 1e-2) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    assert charts.log_ticks(3e-3, 2e-2) == pytest.approx([5e-3, 1e-2, 2e-2])


def test_seeds_share_a_name_where_there_is_no_room_for_all():
    def names(seeds):
        curves = [
            Curve(f"{group}/{seed}", Style("learned", colour, 0), [1, 2], [0.1, colour + seed / 100])
            for colour, group in enumerate(("hrm", "lstm"))
            for seed in range(seeds)
        ]
        (drawn,) = charts.draw([Panel("t", "x", "y", curves)])
        return re.findall(r">([a-z]+(?:/\d)?)</text>", drawn.svg)

    assert sorted(names(3)) == ["hrm/0", "hrm/1", "hrm/2", "lstm/0", "lstm/1", "lstm/2", "x", "y"]
    assert sorted(names(9)) == ["hrm", "lstm", "x", "y"]


def test_labels_are_moved_apart_and_stay_inside():
    places = charts.spread([10.0, 11.0, 98.0, 99.0], 13, 0, 100)
    assert np.diff(places).min() == 13 and min(places) >= 0 and max(places) <= 100


def test_one_point_makes_a_chart():
    curve = Curve("a", Style("learned", 0, 0), [5], [0.0])
    (drawn,) = charts.draw([Panel("t", "x", "y", [curve])])
    assert drawn.title == "t" and "<polyline" in drawn.svg


# ---------------------------------------------------------------- in a browser

CHROMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROME = next(filter(None, map(shutil.which, CHROMES)), None)
in_a_browser = pytest.mark.skipif(CHROME is None, reason="no chromium or chrome")
KEYS = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "End": 35,
    "Home": 36,
    "Tab": 9,
    " ": 32,
}


class Browser:
    """A tab of headless chromium, driven by its DevTools protocol over two pipes."""

    def __init__(self, profile):
        to_browser, from_browser = os.pipe(), os.pipe()
        flags = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=1300,1000"),
        ]
        pipes = f"3<&{to_browser[0]} 4>&{from_browser[1]}"  # where chromium looks for them
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" {pipes}', CHROME, *flags],
            pass_fds=(to_browser[0], from_browser[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser[0])
        os.close(from_browser[1])
        self.output, self.input, self.rest = to_browser[1], from_browser[0], b""
        self.complaints, self.session, self.count = [], None, 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """The result of one command; what the console says meanwhile is kept in `complaints`."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") in (
                "Runtime.exceptionThrown",
                "Runtime.consoleAPICalled",
                "Log.entryAdded",
            ):
                self.complaints.append(answer["params"])

    def _receive(self, seconds=20):
        while b"\0" not in self.rest:
            assert select.select([self.input], [], [], seconds)[0], "the browser does not answer"
            self.rest += os.read(self.input, 1 << 20)
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def evaluate(self, script):
        """The value of an expression on the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script, seconds=10):
        """Wait until an expression on the page is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(script):
            assert time.monotonic() < until, f"never true: {script}"
            time.sleep(0.02)

    def open(self, path, fragment=""):
        """Open a file and wait for its players."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.wait("document.readyState === 'complete' && !!document.querySelector('.player[data-step]')")

    def press(self, key):
        """A key as a person presses it."""
        about = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": " "} if key == " " else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.input)
        os.close(self.output)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


STEP = "Number(document.querySelector('.player').dataset.step)"
COUNTER = "document.querySelector('.player .counter').textContent"
PICTURES = "[...document.querySelectorAll('.player canvas')].map((c) => c.toDataURL())"


@in_a_browser
def test_the_player_is_driven_by_the_keyboard(folder, browser):
    browser.open(folder / "out/index.html")
    browser.press("Tab")  # the player is what the first one leads to
    assert browser.evaluate("document.activeElement.className") == "player"
    assert browser.evaluate(COUNTER) == f"step {COLLIDED - 3} of {ARRIVED}"  # where it matters
    browser.press("Home")
    assert browser.evaluate(COUNTER) == f"step 0 of {ARRIVED}"
    before = browser.evaluate(PICTURES)
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    browser.press("ArrowLeft")
    assert browser.evaluate(COUNTER) == f"step 1 of {ARRIVED}"
    after = browser.evaluate(PICTURES)
    assert len(after) == 2 and all(a != b for a, b in zip(before, after, strict=True))
    browser.press("End")
    assert browser.evaluate(STEP) == ARRIVED
    browser.press("ArrowRight")
    assert browser.evaluate(STEP) == ARRIVED
    states = browser.evaluate("[...document.querySelectorAll('.player .state')].map((p) => p.textContent)")
    assert states == [
        "Collision with obstacle 1 between steps 11 and 12: 0.20 cells apart, nearer than 0.8.",
        "Reached the goal after 38 steps.",
    ]
    browser.press("Home")
    assert browser.evaluate(STEP) == 0
    browser.press("ArrowDown")
    browser.wait("document.querySelector('.player').dataset.episode === '5'")
    browser.press("ArrowDown")
    browser.wait("document.querySelector('.player').dataset.episode === '3'")
    assert browser.complaints == []


@in_a_browser
def test_the_player_plays_and_pauses(folder, browser):
    browser.open(folder / "out/index.html", "#player?episode=5&step=10&left=blind&right=reflection")
    assert browser.evaluate(STEP) == 10
    assert (
        browser.evaluate("document.querySelector('.player .view select').selectedOptions[0].text") == "blind"
    )
    browser.evaluate("document.querySelector('.player').focus()")
    browser.press(" ")
    browser.wait(f"{STEP} >= 12")
    browser.press(" ")
    stopped = browser.evaluate(STEP)
    time.sleep(0.4)
    assert browser.evaluate(STEP) == stopped
    assert browser.complaints == []


@in_a_browser
def test_layers_and_dark_pages_are_drawn_anew(folder, browser):
    browser.open(folder / "out/index.html")
    pictures = [browser.evaluate(PICTURES)]
    for _ in range(3):  # predictions, future, plan
        browser.evaluate(
            f"document.querySelectorAll('.player input[type=checkbox]')[{len(pictures) - 1}].click()"
        )
        pictures.append(browser.evaluate(PICTURES))
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", features=dark)
    browser.wait(f"{PICTURES}[0] !== {json.dumps(pictures[-1][0])}")
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert len({picture[0] for picture in pictures}) == 4
    assert browser.complaints == []


@in_a_browser
def test_tables_as_a_reader_sees_them(folder, browser):
    browser.open(folder / "out/index.html")
    rows = browser.evaluate(
        "[...document.querySelectorAll('#results-0 tr[data-model]')].map((row) => [row.dataset.model,"
        " ...['success', 'n', 'rate', 'collisions'].map((key) =>"
        " row.querySelector(`[data-key=${key}]`).innerText)])"
    )
    expected = [
        [name, f"{r['success']}", f"/ {r['n']:,}", f"{100 * r['rate']:.1f}", f"{r['collisions']}"]
        for name, r in full_report()["models"].items()
    ]
    assert sorted(rows) == sorted(expected)
    kinds = browser.evaluate(
        "[...document.querySelectorAll('#results-0 tbody')].map((body) => body.className)"
    )
    assert kinds == ["learned", "baseline", "bound"]


@in_a_browser
@pytest.mark.parametrize("width", [360, 500, 1000, 1300])
def test_nothing_sticks_out_of_the_page(folder, browser, width):
    browser.open(folder / "out/index.html")
    size = {"width": width, "height": 900, "deviceScaleFactor": 2, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    try:
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        browser.wait(  # drawn for the pixels of the screen
            "[...document.querySelectorAll('.player canvas')].every((c) => c.width === 2 * c.clientWidth)"
        )
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
