"""The sweep and the density grid: one command each, killed and resumed, refused in one line."""

import itertools
import json
import math
import re
from pathlib import Path

import jax
import pytest

from configs import benchmark
from hrm_jax import density, sweep
from hrm_jax.artefacts import model_file, networks, report_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import reports
from hrm_jax.models import predictors as models
from hrm_jax.puzzles import __main__ as puzzles
from hrm_jax.tasks.forecast import Forecast
from hrm_jax.training import runs
from hrm_jax.training.runs import Run


@pytest.fixture
def calls(monkeypatch):
    """Replace training by a random model: [(command, its flags)] in order. Seed 1 fails at first."""
    made = []

    def call(command, log, cores):
        words = dict(word[2:].split("=", 1) for word in command if word.startswith("--") and "=" in word)
        made.append((command[0], words))
        if command[0] == "export":
            out = Path(command[command.index("--out") + 1])
            choice = f"standard,{out.parent.parent.name}"
            config = benchmark.get_config(choice).to_dict()
            config["seed"] = int(out.parent.name)
            description = Forecast.describe(config)
            model = models.build(description["model"])
            context = models.Context(*(jax.numpy.zeros(s) for s in ((1, 6, 10), (1, 10, 2), (1, 20, 20))))
            history = jax.numpy.zeros((1, 6, 10, 2))
            params = model.init(jax.random.key(config["seed"]), history, None, context)["params"]
            model_file.write(out, params, {**description, "step": 1, "config": config})
            return True
        else:
            folder = Path(words["workdir"])
            (folder / "config.json").write_text('{"steps": 9, "early_stopping": 0}')
            # Seed 1 of the LSTM is interrupted at first: its training saves and ends well.
            first = sum(c == ("train", words) for c in made) == 1
            step = 4 if words["config.seed"] == "1" and folder.parent.name == "lstm" and first else 9
            (folder / "metrics.jsonl").write_text(f'{{"step": {step}, "loss": 0.5, "eval/success": 0.8}}\n')
            if "lengths" in folder.parts:
                _reach_loss(folder, int(words["config.steps"]))
            if rate := words.get("config.optimizer.learning_rate"):
                _tell_loss(folder, words["config"].partition(",")[2], float(rate))
        if words.get("config.seed") == "1" and "hrm" in words["workdir"] and first:
            log.write("killed\n")
            return False
        return True

    monkeypatch.setattr(runs, "call", call)
    return made


def _tell_loss(folder, model, rate):
    """The loss of a trial, least at each model's own rate; at 1 all diverge."""
    best = {"hrm": 1e-3, "hrm,k4": 5e-3, "lstm": 1e-2, "lstm,shallow": 5e-3}[model]
    records = [{"step": 5, "loss": None}] if rate == 1 else [{"step": 9, "eval/loss": abs(rate - best)}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def _reach_loss(folder, steps):
    """The loss: 40 more updates halve it, the next 40 hardly change it; the HRM's is twice the LSTM's."""
    loss = {40: 0.5, 80: 0.25, 120: 0.24}[steps] * (2 if "hrm" in folder.parts else 1)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": steps, "eval/loss": loss}) + "\n")


def _sweep(folder, *extra):
    return sweep.main(
        ["--worlds", "standard", "--models", "hrm", "lstm", "--seeds", "2", "--episodes", "6",
         "--record", "1", "--out", str(folder), *extra]
    )  # fmt: skip


def test_a_sweep_goes_on_where_it_was_and_reports(calls, tmp_path, capsys):
    assert _sweep(tmp_path) == 1  # two runs failed; the others are there
    assert sum(command == "train" for command, _ in calls) == 4
    assert "not finished, see" in capsys.readouterr().out
    assert not (tmp_path / "report").exists()
    calls_before = len(calls)
    assert _sweep(tmp_path, "--jobs", "2") == 0
    assert sum(command == "train" for command, _ in calls[calls_before:]) == 2  # what was missing
    with pytest.raises(RequestError, match="was trained with nothing, not with steps=5; give another"):
        _sweep(tmp_path, "--set", "steps=5")
    report = json.loads((tmp_path / "standard.report.json").read_text())
    assert list(report["models"])[:4] == ["hrm/0", "lstm/0", "hrm/1", "lstm/1"]
    assert report["models"]["hrm/1"]["seed"] == 1 and report["models"]["hrm/1"]["group"] == "hrm"
    assert report["groups"]["hrm"]["seeds"] == 2 and report["models"]["hrm/0"]["parameters"] == 29_058
    (pair,) = report["group_pairs"]
    assert (pair["a"], pair["b"]) == ("hrm", "lstm") and 0 < pair["p_episodes"] <= 1
    page = (tmp_path / "report" / "index.html").read_text()
    assert "hrm" in page and report["traces"] == "standard.report.traces.npz"


def test_all_get_enough_updates_and_each_model_its_own_best_settings(calls, tmp_path, capsys):
    lengths = ("--lengths", "40,80,120", "--until", "20")
    rates = ("--tune", "optimizer.learning_rate=1e-3,1e-2,1", "--trials", "1", "--seeds", "1")
    assert _sweep(tmp_path, *lengths, *rates) == 0
    trained = [words for command, words in calls if command == "train"]
    assert [words["config.seed"] for words in trained] == ["100"] * (6 + 12) + ["0"] * 2
    assert {words["config.steps"] for words in trained[6:]} == {"80"}
    assert [words["config.optimizer.learning_rate"] for words in trained[18:]] == ["1e-3", "1e-2"]
    path = tmp_path / "standard.report.json"
    report = reports.load(path)
    found = report["lengths"]
    assert found["tried"][0] == {"steps": 40, "losses": {"hrm": 1.0, "lstm": 0.5}} and found["chosen"] == 80
    gains = [report_file.gain(*pair) for pair in itertools.pairwise(found["tried"])]
    assert gains == pytest.approx([100 * (1 - 0.5**5), 100 * (1 - 0.96**5)])
    told = {(row["choice"], *row["fields"]): (row["losses"], row["chosen"]) for row in report["tuning"]}
    assert told["hrm", "optimizer.learning_rate=1e-3"] == ([0.0], True)
    assert told["lstm", "optimizer.learning_rate=1e-3"] == ([pytest.approx(0.009)], False)
    assert told["lstm", "optimizer.learning_rate=1"] == ([None], False)
    choices = ("hrm", "hrm,k4", "lstm", "lstm,shallow")
    assert [row["choice"] for row in report["tuning"]] == [choice for choice in choices for _ in range(3)]
    shown = capsys.readouterr().out
    assert "| lstm,shallow optimizer.learning_rate=1    | inf" in shown
    assert re.search(r"\| 80 +\| 0.25 \(lstm\) +\| 18.5 % +\| yes", shown)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "settings that were tried before" in page and "How many updates" in page
    before = len(calls)
    assert _sweep(tmp_path, *lengths, *rates) == 0 and len(calls) == before  # nothing is tried again
    with pytest.raises(RequestError, match="was trained with"):  # where 18.5 % are enough to go on
        _sweep(tmp_path, *lengths[:2], "--until", "10", "--seeds", "1")
    with pytest.raises(RequestError, match="was trained with"):
        _sweep(tmp_path, *lengths, "--tune", "optimizer.learning_rate=2e-2", "--seeds", "1", "--trials", "1")
    assert [words["workdir"].split("/")[-5] for _, words in calls[before:]] == ["trials"] * 4
    told = json.loads(path.read_text())
    for row in told["tuning"]:
        row["chosen"] = not row["chosen"]
    told["lengths"]["chosen"] = 40
    path.write_text(json.dumps(told))
    with pytest.raises(RequestError, match=r"lengths\.chosen"):
        reports.load(path)
    told["lengths"]["chosen"] = 80
    path.write_text(json.dumps(told))
    with pytest.raises(RequestError, match="tuning: of hrm the one of the least loss"):
        reports.load(path)


@pytest.mark.parametrize("model", benchmark.VARIANTS)
@pytest.mark.parametrize("world", benchmark.WORLDS)
def test_what_a_model_may_be_tuned_to_has_its_size(world, model):
    sizes = []
    for choice in ("hrm", *benchmark.VARIANTS[model]):
        described = Forecast.describe(benchmark.get_config(f"{world},{choice}").to_dict())["model"]
        shapes = networks.NETWORKS[described["name"]].shapes(networks.config(described))
        sizes.append(sum(map(math.prod, shapes.values())))
    assert all(abs(size / sizes[0] - 1) < 0.05 for size in sizes)


def test_a_run_of_another_variant_is_not_taken_for_done(tmp_path):
    run = Run("benchmark", "standard", "lstm,shallow", 0, ("steps=5",), tmp_path, "lstm")
    assert run.settings == ["as lstm,shallow", "steps=5"] and run._replace(model="lstm").settings == [
        "steps=5"
    ]
    run.kept_settings.write_text(json.dumps(run.settings))
    run.check_settings()
    with pytest.raises(RequestError, match="was trained with as lstm,shallow steps=5, not with steps=5"):
        run._replace(model="lstm").check_settings()


def test_where_everything_diverges_nothing_is_chosen(calls, tmp_path):
    with pytest.raises(RequestError, match="hrm in standard diverged at each of 2 settings"):
        _sweep(tmp_path, "--tune", "optimizer.learning_rate=1")
    assert not (tmp_path / "standard").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--tune", "optimizer.learning_rate"], "FIELD=VALUE,VALUE"),
        (["--tune", "optimizer.learning_rate=1e-3,,1"], "FIELD=VALUE,VALUE"),
        (["--tune", "optimizer.lerning_rate=1e-3"], "did you mean"),
        (["--tune", "optimizer.learning_rate=fast"], "learning_rate"),
        (["--tune", "seed=" + ",".join(map(str, range(1001)))], "1,001 combinations; at most 1,000"),
        (["--trials", "0"], "--trials 0"),
        (["--lengths", "400,200"], "rising numbers"),
        (["--lengths", "400,800", "--until", "nan"], "--until nan: 0 to 100 per cent"),
        (["--lengths", "400,2e3"], "rising numbers"),
        (["--lengths", "400,800", "--set", "steps=5"], "steps=5: --lengths says how many"),
        (["--lengths", "400", "--seeds", "101"], "--seeds 101: at most 100"),
        (["--worlds", "swarn"], 'did you mean "swarm"'),
        (["--models", "hrm,k9"], "k1"),
        (["--seeds", "0"], "--seeds 0: at least 1"),
        (["--record", "-1"], "--record -1: 0 or more"),
        (["--record", "1000000000"], "--record 1000000000: at most 1,000"),
        (["--seeds", "1000000000"], "--seeds 1000000000: at most 1,000"),
        (["--jobs", "1000000000"], "--jobs 1000000000: at most "),
        (["--set", "stepps=3"], "steps"),
        (["--set", "model.width"], "FIELD=VALUE"),
        (["--config", "absent"], "no such file"),
        (["--config", "hrm_full"], "lists no WORLDS"),
        (["--config", "poh", "--worlds", "6", "--models", "looped"], "--data FOLDER is needed"),
        (["--config", "poh", "--worlds", "6", "--models", "looped,t3"], "t8"),
        (["--data", "data"], "no puzzles are judged by --config benchmark"),
        (["--worlds", "discs"], "predictors move among cells"),
    ],
)
def test_wrong_requests_are_one_line(tmp_path, words, complaint):
    out = tmp_path / "runs"
    with pytest.raises(RequestError, match=complaint):
        worlds = [] if "--worlds" in words else ["--worlds", "standard"]
        sweep.main([*worlds, "--out", str(out), *words])
    assert not out.exists()


def test_shares_of_the_cores_are_disjoint_while_there_are_enough():
    for jobs in (1, 2):
        shares = runs.shares_of_cores(jobs)
        assert len(shares) == jobs and all(shares)
        assert jobs == 1 or not shares[0] & shares[1] or len(shares[0]) == 1


def test_density_judges_every_cell_of_the_grid(tmp_path, capsys):
    density.main(["--model", "reflection", "--model", "oracle", "--obstacles", "2", "9", "--speeds", "0.5",
                  "--episodes", "8", "--out", str(tmp_path)])  # fmt: skip
    report = json.loads((tmp_path / "density.json").read_text())
    assert [(cell["n_obstacles"], cell["speed"]) for cell in report["cells"]] == [(2, 0.5), (9, 0.5)]
    assert all(cell["models"]["oracle"]["n"] == 8 for cell in report["cells"])
    assert "| obstacles | speed | reflection" in capsys.readouterr().out
    assert (tmp_path / "index.html").exists() and (tmp_path / "density.png").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--obstacles", "0"],
        ["--speeds", "3"],
        ["--speeds", "nan"],
        ["--episodes", "0"],
        ["--episodes", "1000000000"],
        ["--model", "oracel"],
    ],
)
def test_wrong_grids_are_refused_before_anything_is_written(tmp_path, words):
    with pytest.raises(RequestError):
        density.main(["--model", "oracle", *words, "--out", str(tmp_path / "d")])
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "has 49 tokens, sequences of 9; the models of world 6 want 49 and 36"),
        (["--set", "model.heads=3"], "model.heads = 3"),
        (["--episodes", "20"], "--episodes and --first are of scenarios"),
        (["--first", "5"], "--episodes and --first are of scenarios"),
        (["--ablations"], "--ablations: --config poh lists none"),
    ],
)
def test_what_no_model_of_mazes_would_accept_is_refused_before_the_first_run(tmp_path, words, complaint):
    data = [
        "--size",
        "3",
        "--train",
        "2",
        "--test",
        "2",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "data" / "6"),
    ]
    puzzles.main(["lattice", *data])
    asked = ["--config", "poh", "--worlds", "6", "--models", "looped", "--data", str(tmp_path / "data")]
    with pytest.raises(RequestError, match=complaint):
        sweep.main([*asked, "--out", str(tmp_path / "runs"), *words])
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_models_of_mazes_are_swept_judged_and_grouped(tmp_path, capsys):
    """From a config's choice to the table, with a data set a world; runs of two updates."""
    puzzles.main(
        ["lattice", "--size", "6", "--train", "2", "--test", "20", "--out", str(tmp_path / "data" / "6")]
    )
    small = ["steps=2", "model.width=16", "model.hidden=16", "model.passes=2", "data.eval_mazes=4"]
    wrong = ["--config", "poh", "--worlds", "6", "--models", "looped", "--out", str(tmp_path / "runs")]
    with pytest.raises(RequestError, match="--data FOLDER is needed"):
        sweep.main(wrong)
    assert sweep.main([*wrong[:5], "looped", "transformer", "--seeds", "2", "--record", "1", *wrong[-2:],
                       "--data", str(tmp_path / "data"), "--set", *small]) == 0  # fmt: skip
    report = reports.load(tmp_path / "runs" / "6.report.json")
    assert report["groups"]["looped"]["seeds"] == 2 and any("random walk" in name for name in report["walks"])
    assert (
        report["models"]["looped/1"]["lenient"]["outcomes"].count("1")
        == (report["models"]["looped/1"]["lenient"]["success"])
    )
    (pair,) = report["group_pairs"]
    assert {pair["a"], pair["b"]} == {"looped", "transformer"}
    assert "| looped | 2 " in capsys.readouterr().out
