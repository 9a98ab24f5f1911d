"""The evaluation command from outside: reports, refusals, no jax."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import benchmark
from hrm_jax import evaluate, report
from hrm_jax.artefacts import model_file
from hrm_jax.artefacts import networks as networks_of_files
from hrm_jax.artefacts import scenarios as scenario_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.models import predictors as models
from hrm_jax.referee import drawing
from hrm_jax.referee.inference import networks
from hrm_jax.tasks.forecast import Forecast
from hrm_jax.worlds.world import WORLDS, World

ROOT = Path(__file__).resolve().parent.parent


def _process(command, *arguments, cwd, env=None):
    return subprocess.run(
        [sys.executable, "-m", f"hrm_jax.{command}", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Evaluates in an empty folder, in this process; the report, by default r.json."""
    monkeypatch.chdir(tmp_path)

    def evaluated(*arguments, out="r.json"):
        assert evaluate.main([*map(str, arguments), "--out", out]) is None
        return json.loads(Path(out).read_text())

    return evaluated


def test_report_of_a_published_protocol(run, tmp_path, capsys):
    models = ("--model", "oracle", "--model", "frozen", "--model", "blind")
    report = run(*models, "--protocol", "hrm-cloud/2025-12", out="new/report.json")
    printed = capsys.readouterr()
    assert list(report) == ["protocol", "world", "seeds", "versions", "commit", "models", "pairs"]
    assert (report["protocol"], report["world"]) == ("hrm-cloud/2025-12", "hrm-cloud")
    assert report["seeds"] == [100, 150]
    assert list(report["models"]) == ["oracle", "frozen", "blind"]
    oracle = report["models"]["oracle"]
    assert oracle["outcomes"].replace("T", "0") == ("01011111111111110111101000100101001101010111111001")
    assert (oracle["n"], oracle["success"], oracle["rate"]) == (50, 33, 0.66)
    assert oracle["interval"] == pytest.approx([0.5215, 0.7756], abs=1e-4)
    assert oracle["collisions"] + oracle["timeouts"] == 17
    pair = report["pairs"][0]
    assert (pair["a"], pair["b"], len(report["pairs"])) == ("oracle", "frozen", 3)
    assert pair["a_only"] - pair["b_only"] == 33 - 22
    assert 0 < pair["p_value"] < 1
    assert os.listdir(tmp_path / "new") == ["report.json"]
    row = next(line for line in printed.out.splitlines() if line.startswith("| oracle"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:5] == ["50", "33", "66.0", "[52.2, 77.6]"]
    assert "fault" in printed.out
    progress = [re.fullmatch(r"(.*): 50 episodes in [0-9.]+ s", line) for line in printed.err.splitlines()]
    assert [line[1] for line in progress] == ["oracle", "frozen", "blind"]


def test_seeds_are_half_open_and_the_same_scenarios_again(run, tmp_path):
    def outcomes(*arguments):
        report = run("--model", "frozen", *arguments)
        return report["seeds"], report["models"]["frozen"]["outcomes"]

    seeds, first_20 = outcomes("--episodes", 20)
    assert seeds == [0, 20] and len(first_20) == 20
    assert outcomes("--seeds", "5:12") == ([5, 12], first_20[5:12])
    scenario_file.save(tmp_path / "scenarios.npz", drawing.draw(WORLDS["standard"], range(5, 12)))
    assert outcomes("--world", "scenarios.npz") == ([5, 12], first_20[5:12])
    assert outcomes("--world", "scenarios.npz", "--seeds", "6:9") == ([6, 9], first_20[6:9])
    assert outcomes("--world", "scenarios.npz", "--episodes", 2) == ([5, 7], first_20[5:7])


@pytest.mark.parametrize("change", ["none", "a start of its own", "a field of the world"])
def test_scenarios_that_are_not_a_worlds_own_do_not_go_by_its_name(run, tmp_path, change):
    world = WORLDS["standard"]
    scenarios = drawing.draw(replace(world, speed=0.8) if "field" in change else world, range(5, 8))
    if "start" in change:
        scenarios = replace(scenarios, start=scenarios.goal)
    scenario_file.save(tmp_path / "scenarios.npz", scenarios)
    report = run("--model", "blind", "--world", "scenarios.npz", "--seeds", "6:8")
    assert report["world"] == ("standard" if change == "none" else "standard, changed")


REFUSED = {
    "unknown model": (["--model", "reflexion"], 'did you mean "reflection"'),
    "no model": ([], "--model"),
    "absent file": (["--model", "absent.npz"], "absent.npz"),
    "damaged file": (["--model", "damaged.npz"], "damaged.npz"),
    "file named as a baseline": (["--model", "oracle=damaged.npz"], "cannot name"),
    "file named to hide": (["--model", "a\x1b[0m=damaged.npz"], "cannot name a model file"),
    "file called as a baseline": (["--model", "oracle.npz"], '"oracle" cannot name a model file'),
    "same name twice": (["--model", "oracle", "--model", "oracle"], "two models"),
    "unknown protocol": (["--model", "oracle", "--protocol", "standart"], "hrm-cloud/2025-12"),
    "unknown world": (["--model", "oracle", "--world", "standrad"], 'did you mean "standard"'),
    "world of another protocol": (
        ["--model", "oracle", "--protocol", "hrm-cloud/small", "--world", "standard"],
        'defined on world "hrm-cloud/small"',
    ),
    "damaged scenarios": (["--model", "oracle", "--world", "damaged.npz"], "damaged.npz"),
    "too many for the file": (
        ["--model", "oracle", "--world", "scenarios.npz", "--episodes", "4"],
        "0:4",
    ),
    "not in the file": (["--model", "oracle", "--world", "scenarios.npz", "--seeds", "2:9"], "2:9"),
    "seeds out of order": (["--model", "oracle", "--seeds", "9:3"], "9 is not before 3"),
    "negative seeds": (["--model", "oracle", "--seeds=-3:3"], "A:B"),
    "seeds of 20 digits": (["--model", "oracle", "--seeds", f"0:{10**20 - 1}"], f"go beyond {2**32}"),
    "seeds of 5000 digits": (["--model", "oracle", "--seeds", "0:" + 5000 * "9"], "A:B is needed"),
    "no jobs": (["--model", "oracle", "--jobs", "0"], "--jobs 0: at least 1"),
    "too many jobs": (["--model", "oracle", "--jobs", "100000"], "--jobs 100000: at most"),
    "seeds of fractions": (["--model", "oracle", "--seeds", "0:1e3"], "A:B is needed"),
    "seeds of another script": (["--model", "oracle", "--seeds", "0:\u0663"], "A:B is needed"),
    "more than memory holds": (["--model", "oracle", "--episodes", f"{10**6 + 1}"], "at most 1,000,000"),
    "episodes of 20 digits": (["--model", "oracle", "--episodes", f"{10**20}"], f"go beyond {2**32}"),
    "episodes of 5000 digits": (["--model", "oracle", "--episodes", 5000 * "9"], "invalid int value"),
    "negative episodes": (["--model", "oracle", "--episodes", "-3"], "at least 1"),
    "malformed seeds": (["--model", "oracle", "--seeds", "3"], "A:B"),
    "huge seeds": (["--model", "oracle", "--seeds", f"0:{2**40}"], str(2**32)),
    "contradiction": (["--model", "oracle", "--seeds", "0:5", "--episodes", "6"], "6"),
    "no episodes": (["--model", "oracle", "--episodes", "0"], "at least 1"),
    "not a number": (["--model", "oracle", "--episodes", "many"], "many"),
    "unknown option": (["--model", "oracle", "--episods", "3"], "--episods"),
    "unknown backend": (["--model", "oracle", "--backend", "torch"], "numpy"),
    "negative recording": (["--model", "oracle", "--record", "-1"], "0 or more"),
    "jit under published rules": (
        ["--model", "oracle", "--backend", "jit", "--protocol", "hrm-cloud/2025-12"],
        'rules of "standard"',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_requests_are_one_line(run, tmp_path, capsys, case):
    arguments, complaint = REFUSED[case]
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and then nothing")
    scenario_file.save(tmp_path / "scenarios.npz", drawing.draw(WORLDS["standard"], range(3)))
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(RequestError) as error:
        run(*arguments)
    assert complaint in str(error.value) and "\n" not in str(error.value)
    assert capsys.readouterr() == ("", "") and sorted(os.listdir(tmp_path)) == before


def test_exit_code_of_a_refusal(tmp_path):
    done = _process("evaluate", "--model", "reflexion", "--out", "r.json", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and os.listdir(tmp_path) == []
    assert done.stderr.count("\n") == 1 and 'did you mean "reflection"' in done.stderr


@pytest.mark.parametrize("out", [".", "file/report.json"])
def test_an_unusable_target_is_found_before_the_run(run, tmp_path, capsys, out):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError):
        run("--model", "oracle", out=out)
    assert capsys.readouterr().err == "" and os.listdir(tmp_path) == ["file"]


class _Model:
    """A model file's stand-in: keeps every obstacle where it is."""

    def __init__(self, size=20, history=20, offset=0.0, **config):
        self.world, self.history, self.offset = {"size": size}, history, offset

        self.parameters, self.config = 7, config

    def predict(self, seen, horizon):
        return np.repeat(seen.history[:, -1:], horizon, axis=1) + self.offset


def _evaluate_model(monkeypatch, folder, model, *arguments):
    monkeypatch.setattr(networks, "load", lambda path, kind: model)
    (folder / "mine").mkdir(exist_ok=True)
    path, out = str(folder / "mine/model.npz"), str(folder / "r.json")
    evaluate.main(["--model", path, "--model", "frozen", *arguments, "--out", out])
    return json.loads(Path(out).read_text())["models"]


def test_a_model_file_is_called_after_its_folder(monkeypatch, tmp_path):
    models = _evaluate_model(monkeypatch, tmp_path, _Model(), "--episodes", "9")
    assert list(models) == ["mine", "frozen"] and models["mine"] == {**models["frozen"], "parameters": 7}


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (_Model(size=30), "trained in a world of size 30"),
        (_Model(history=21), "needs 21 observed steps"),
        (_Model(offset=np.nan), 'model "mine".*not finite'),
    ],
)
def test_a_model_that_does_not_fit_is_refused(monkeypatch, tmp_path, model, complaint):
    with pytest.raises(RequestError, match=complaint):
        _evaluate_model(monkeypatch, tmp_path, model, "--episodes", "3")
    assert os.listdir(tmp_path) == ["mine"]


def test_it_runs_where_jax_is_not_installed(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('jax', 'jaxlib', 'flax', 'optax'):\n"
        "            raise ImportError(f'{name} is blocked')\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    blocked = subprocess.run([sys.executable, "-c", "import jax"], env={**os.environ, **path},
                             capture_output=True, text=True)  # fmt: skip
    assert "blocked" in blocked.stderr
    done = _process("evaluate", "--model", "kalman", "--episodes", "5", "--out", "r.json", cwd=tmp_path,
                    env=path)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_several_processes_judge_alike(run, capsys):
    words = [f"--model={name}" for name in ("reflection", "frozen", "oracle")]
    one, two = (run(*words, "--episodes", 30, "--jobs", jobs) for jobs in (1, 2))
    assert list(one["models"]) == list(two["models"]) and one == two
    assert sorted(re.findall(r"(\w+): 30 episodes in", capsys.readouterr().err)) == sorted(
        2 * ["reflection", "frozen", "oracle"]
    )


def test_a_model_that_diverges_in_another_process_is_one_line(tmp_path):
    config = benchmark.get_config("standard,lstm").to_dict()
    config["model"]["width"] = 8
    description = Forecast.describe(config)
    shapes = networks_of_files.NETWORKS["lstm"].shapes(networks_of_files.config(description["model"]))
    weights = {name: np.full(shape, 1e30, np.float32) for name, shape in shapes.items()}
    model_file.write(tmp_path / "wild.npz", model_file.unflatten(weights), {**description, "config": config})
    words = ["--model=wild.npz", "--model=oracle", "--episodes=3", "--jobs=2", "--out=r.json"]
    done = _process("evaluate", *words, cwd=tmp_path)
    assert done.returncode == 2 and 'error: model "wild": predicts positions that' in done.stderr
    assert "Traceback" not in done.stderr and os.listdir(tmp_path) == ["wild.npz"]


def test_functions_are_judged_in_this_process(run, tmp_path):
    still = "def still(seen, horizon):\n    return seen.history[:, -1:].repeat(horizon, axis=1)\n"
    (tmp_path / "mine.py").write_text(still)
    report = run("--model", "mine.py:still", "--model", "frozen", "--episodes", 4, "--jobs", 2)
    assert report["models"]["still"]["outcomes"] == report["models"]["frozen"]["outcomes"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupting_leaves_no_report(tmp_path, jobs):
    slow = World("slow", n_obstacles=60)
    scenario_file.save(tmp_path / "scenarios.npz", drawing.draw(slow, range(300)))
    process = subprocess.Popen(
        [sys.executable, "-m", "hrm_jax.evaluate", "--model", "frozen", "--model", "reflection",
         "--model", "kalman", "--model", "constant_velocity", "--model", "oracle",
         "--world", "scenarios.npz", "--out", "r.json", "--jobs", jobs],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A suite that runs in the background ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    first = process.stderr.readline()
    assert re.match("frozen:" if jobs == "1" else r"\w+: 300 episodes", first)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in errors and output == ""
    assert os.listdir(tmp_path) == ["scenarios.npz"]


def test_models_trained_several_times_are_one_group(monkeypatch, tmp_path):
    models = {"a.npz": _Model(offset=0.0), "b.npz": _Model(offset=0.3)}
    monkeypatch.setattr(networks, "load", lambda path, kind: models[Path(path).name])
    words = [f"--model={name}" for name in ("x/0=a.npz", "x/1=b.npz", "y/0=b.npz", "y/1=b.npz", "frozen")]
    evaluate.main([*words, "--episodes", "30", "--out", str(tmp_path / "r.json")])
    report = json.loads((tmp_path / "r.json").read_text())
    rates = [report["models"][name]["rate"] for name in ("x/0", "x/1")]
    assert report["groups"]["x"]["rates"] == rates and report["groups"]["x"]["max"] == max(rates)
    assert report["groups"]["y"]["std"] == 0 and "frozen" not in report["groups"]
    (pair,) = report["group_pairs"]
    assert pair["difference"] == pytest.approx(np.mean(rates) - report["models"]["y/0"]["rate"])
    assert 0 <= pair["p_episodes"] <= 1
    assert [p["p_holm"] >= p["p_value"] for p in report["pairs"]] == [True] * 10


def test_a_model_that_has_not_trained_is_marked_wherever_it_is_shown(monkeypatch, tmp_path, capsys):
    figures = {"steps": 10, "error": 2.4, "constant_velocity": 2.4, "gates_saturated": 0.97}
    well, shut = dict(figures, error=0.1, gates_saturated=0.1), dict(figures, error=0.1)
    known = {"ill": figures, "well": well, "shut": shut, "old": None}
    models = {name: _Model(health=found) for name, found in known.items()}
    monkeypatch.setattr(networks, "load", lambda path, kind: models[Path(path).stem])
    monkeypatch.chdir(tmp_path)
    named = {"net/0": "ill", "net/1": "well", "net/2": "shut", "old": "old"}
    words = [f"--model={name}={stem}.npz" for name, stem in named.items()]
    evaluate.main([*words, "--episodes", "3", "--out", "r.json"])
    table = capsys.readouterr().out
    note = (
        "\N{DAGGER} net/0: has not learned more than constant velocity: held-out error at 10 steps 2.4 cells "
        "against 2.4; has more than half of its gates saturated (97 %)."
    )
    assert "| net/0 \N{DAGGER} " in table and note in table and table.count("\N{DAGGER}") == 3
    assert "| 3, 1 of them \N{DAGGER}, 1 of them \N{DOUBLE DAGGER} " in table  # of the group
    assert "| net/2 \N{DOUBLE DAGGER} " in table
    assert "\N{DOUBLE DAGGER} net/2: has more than half of its gates saturated (97 %)." in table
    report.main(["--report", "r.json"])
    table = capsys.readouterr().out
    assert note in table and table.count("\N{DAGGER}") == 2
    report.main(["--report", "r.json", "--out", "page"])
    page = Path("page/index.html").read_text()
    assert note in page and page.count('class="untrained"') == page.count('class="warned"') == 1
    assert page.count("1 of them \N{DAGGER}, 1 of them \N{DOUBLE DAGGER}") == 1  # seeds of the group
    judged = json.loads(Path("r.json").read_text())
    judged["models"]["net/0"]["health"]["error"] = "much"
    Path("r.json").write_text(json.dumps(judged))
    with pytest.raises(RequestError, match="models.net/0.health.error"):
        report.main(["--report", "r.json"])


def test_failures_are_counted_by_cause(run):
    report = run("--model", "frozen", "--model", "oracle", "--world", "swarm", "--episodes", "20")
    for result in report["models"].values():
        assert sum(result["failures"].values()) == result["n"] - result["success"]
        boxed_in, mistaken = result["failures"]["boxed_in"], result["failures"]["prediction_error"]
        assert boxed_in + mistaken == result["collisions"]
    assert result["failures"]["prediction_error"] == 0 and "prediction" not in result  # the oracle's


def test_recorded_episodes_are_those_played(run, tmp_path):
    models = ("--model", "frozen", "--model", "blind", "--model", "oracle")
    report = run(*models, "--episodes", "12", "--record", "3")
    with np.load(tmp_path / report["traces"]) as file:
        index = json.loads(str(file["index"]))
        assert index["models"] == ["frozen", "blind", "oracle"] and len(index["episodes"]) == 3
        for e, recorded in enumerate(index["episodes"]):
            for m, name in enumerate(index["models"]):
                outcome = report["models"][name]["outcomes"][recorded["id"]]
                assert recorded["outcomes"][name] == outcome
                agent, plan = file[f"agent/{e}/{m}"], file[f"plan/{e}/{m}"]
                assert (agent[-1] == 19).all() == (outcome == "1")
                np.testing.assert_array_equal(plan[:, 1], agent[1:])
            assert file[f"predicted/{e}/1"].shape[2] == 0  # blind
    assert report["models"]["frozen"]["outcomes"] != report["models"]["oracle"]["outcomes"]


def test_the_jitted_backend_gives_the_same_report(tmp_path):
    for backend in ("numpy", "jit"):
        done = _process("evaluate", "--model", "kalman", "--model", "blind", "--episodes", "30", "--backend",
                        backend, "--out", f"{backend}.json", cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
    reports = [json.loads((tmp_path / f"{backend}.json").read_text()) for backend in ("numpy", "jit")]
    for name in ("kalman", "blind"):
        assert reports[0]["models"][name]["outcomes"] == reports[1]["models"][name]["outcomes"]
    assert "failures" not in reports[1]["models"]["kalman"]  # they are the referee's to count


def test_a_model_plays_alike_on_every_backend(tmp_path):
    """A small random LSTM that sees the scene: as good as the same outcome in every episode."""
    config = benchmark.get_config("noisy,lstm").to_dict()
    config["model"]["width"] = 8
    description = Forecast.describe(config)
    model = models.build(description["model"])
    context = models.Context(*(np.zeros(s, np.float32) for s in ((1, 12, 10), (1, 10, 2), (1, 20, 20))))
    params = model.init(jax.random.key(0), np.zeros((1, 12, 10, 2), np.float32), None, context)["params"]
    params["head"]["bias"] += 0.05
    model_file.write(tmp_path / "m.npz", params, {**description, "step": 0, "config": config})
    outcomes = {}
    for backend in ("numpy", "jax", "jit"):
        out = tmp_path / f"{backend}.json"
        evaluate.main(["--model", str(tmp_path / "m.npz"), "--world", "noisy", "--episodes", "40",
                       "--backend", backend, "--out", str(out)])  # fmt: skip
        outcomes[backend] = json.loads(out.read_text())["models"]["m"]["outcomes"]
    assert {"0", "1"} <= set(outcomes["numpy"])
    for backend in ("jax", "jit"):
        pairs = zip(outcomes["numpy"], outcomes[backend], strict=True)
        assert sum(a == b for a, b in pairs) >= 39


def test_reports_side_by_side(run, capsys):
    for protocol, requested, name in (
        ("standard", ["--model", "reflection", "--model", "oracle"], "a.json"),
        ("hrm-cloud/2025-12", ["--model", "oracle"], "b.json"),
    ):
        run(*requested, "--protocol", protocol, "--episodes", "50", out=name)
    capsys.readouterr()
    report.main(["--report", "a.json", "--report", "b.json"])
    printed = capsys.readouterr().out
    heading, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if line.startswith("|")
    )
    assert heading == ["model", "standard, seeds 0:50", "hrm-cloud/2025-12, seeds 100:150"]
    assert [row[0] for row in rows] == ["reflection", "oracle"]
    assert rows[0][2] == "-" and rows[1][2] == "33/50  66.0 % [52.2, 77.6]"
    assert printed.count("It measures that fault") == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"protocol": 1, "models": {"a": {}}}'])
def test_a_file_that_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(RequestError, match="bad.json: not a re") as error:
        report.main(["--report", str(tmp_path / "bad.json")])
    assert "\n" not in str(error.value)
