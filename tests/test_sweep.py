"""The sweep and the density grid: one command each, killed and resumed, refused in one line."""

import io
import itertools
import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import benchmark
from hrm_jax import density, report, sweep
from hrm_jax.artefacts import model_file, networks, report_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import reports, tables
from hrm_jax.judging.evaluation import evaluate
from hrm_jax.judging.request import Request
from hrm_jax.puzzles import __main__ as puzzles
from hrm_jax.tasks.forecast import Forecast
from hrm_jax.training import configs, runs, tuning, workdir
from hrm_jax.training.runs import Run
from hrm_jax.training.tuning import Trial


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
            kind = networks.NETWORKS[description["model"]["name"]]
            shapes = kind.shapes(networks.config(description["model"]))
            rng = np.random.default_rng(config["seed"])
            weights = {name: 0.05 * rng.standard_normal(shape) for name, shape in shapes.items()}
            description |= {"step": int(words["step"]), "config": config}
            model_file.write(out, model_file.unflatten(weights), description)
            return True
        else:
            folder = Path(words["workdir"])
            folder.mkdir(parents=True, exist_ok=True)
            fields = [f"--{word}={value}" for word, value in words.items() if word.startswith("config.")]
            config = configs.read(words["config"], fields)
            (folder / "config.json").write_text(json.dumps(workdir.as_json(config.to_dict())))
            # Seed 1 of the LSTM is interrupted at first: its training saves and ends well.
            first = sum(c == ("train", words) for c in made) == 1
            cut = words["config.seed"] == "1" and folder.parent.name == "lstm" and first
            step = 4 if cut else config.steps
            (folder / "metrics.jsonl").write_text(f'{{"step": {step}, "loss": 0.5, "eval/success": 0.8}}\n')
            if "lengths" in folder.parts:
                _reach_loss(folder, int(words["config.steps"]))
            if rate := words.get("config.optimizer.learning_rate"):
                _tell_loss(folder, words["config"].partition(",")[2], float(rate), config.steps)
        if words.get("config.seed") == "1" and "hrm" in words["workdir"] and first:
            log.write("killed\n")
            return False
        return True

    monkeypatch.setattr(runs, "call", call)
    return made


def _tell_loss(folder, model, rate, steps):
    """The loss of a trial, least at each model's own rate; at 1 all diverge."""
    best = {"hrm": 1e-3, "hrm,k4": 5e-3, "lstm": 1e-2, "lstm,shallow": 5e-3}[model]
    records = [{"step": 5, "loss": None}] if rate == 1 else [{"step": steps, "eval/loss": abs(rate - best)}]
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
    with pytest.raises(RequestError, match="was trained with steps = 800, not 5; give another --out"):
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


def test_only_the_best_of_a_first_trial_get_the_others(calls, tmp_path):
    rates = ("--tune", "optimizer.learning_rate=1e-3,1e-2,1", "--finalists", "2", "--seeds", "1")
    assert _sweep(tmp_path, *rates) == 0
    seeds = [words["config.seed"] for command, words in calls if command == "train"]
    assert seeds == ["100"] * 12 + ["101"] * 4 + ["0"] * 2
    path = tmp_path / "standard.report.json"
    told = json.loads(path.read_text())
    ours = [(row["choice"], *row["fields"]) for row in told["tuning"] if len(row["losses"]) == 2]
    rate = "optimizer.learning_rate="
    best = {"hrm": "1e-3", "hrm,k4": "1e-3", "lstm": "1e-2", "lstm,shallow": "1e-3"}
    assert ours == [(choice, rate + value) for choice, value in best.items()]
    for row in told["tuning"]:  # a first loss that the finalists' mean is above
        row["losses"] = [loss or 1e-3 for loss in row["losses"]]
        row["losses"][1:] = [9.0] * len(row["losses"][1:])
    path.write_text(json.dumps(told))
    assert reports.load(path)
    table = tables.before(reports.load(path))
    assert re.search(r"\| hrm +\| optimizer.learning_rate=1e-3 +\| 4.5 +\| 0.001, 9 +\| yes", table)
    assert re.search(r"\| hrm +\| optimizer.learning_rate=1e-2 +\| - +\| 0.009 ", table)
    report.main(["--report", str(path), "--out", str(tmp_path / "page")])
    assert "was not tried again" in (tmp_path / "page" / "index.html").read_text()
    for row in told["tuning"][:3]:
        row["chosen"] = row["fields"] == [f"{rate}1e-2"]
    path.write_text(json.dumps(told))
    with pytest.raises(RequestError, match="tuning: of hrm the one of the least loss"):
        reports.load(path)


# ---------------------------------------------------------------- elsewhere


def _listed(capsys, folder, *extra):
    """The commands that a sweep lists, by line, and what it says of them."""
    capsys.readouterr()
    assert _sweep(folder, *extra, "--list") == 0
    shown = capsys.readouterr()
    lines = []
    for line in shown.out.splitlines():
        place, *commands = line.split(" && ")
        assert shlex.split(place) == ["cd", str(Path.cwd())]
        words = [shlex.split(command) for command in commands]
        assert all(found[:2] == [sys.executable, "-m"] for found in words)
        lines.append([(found[2].removeprefix("hrm_jax."), *found[3:]) for found in words])
    return lines, shown.err


def _run(lines):
    """Run lines as a shell would."""
    for commands in lines:
        all(runs.call(command, io.StringIO(), set()) for command in commands)


def test_runs_are_listed_as_commands_and_judged_when_they_are_done(calls, tmp_path, capsys, monkeypatch):
    out = tmp_path / "with a space & more"
    lines, said = _listed(capsys, out)
    assert not calls and not out.exists()
    assert [[command[0] for command in commands] for commands in lines] == [["train", "export"]] * 4
    assert "standard: training: 4 runs to start, 0 at work\n" in said and said.count("\n") == 2
    again = shlex.split(said.splitlines()[1].partition("to judge and report: ")[2])
    assert again[-2:] == ["--out", str(out)] and "--list" not in again
    _run(lines)  # of which one is killed, and one is interrupted
    lines, said = _listed(capsys, out)
    models = ("hrm", "lstm")
    assert [command[2] for command, _ in lines] == [f"--workdir={out}/standard/{m}/1" for m in models]
    _run(lines)
    lines, said = _listed(capsys, out)
    assert not lines and said.startswith("nothing is left to train; to judge and report: ")
    made, judged = len(calls), []
    monkeypatch.setattr(sweep, "_judge", lambda world, runs, *_: judged.append(runs) or Path(world))
    monkeypatch.setattr(sweep.writing, "write", judged.append)
    assert _sweep(out) == 0 and len(calls) == made
    assert [run.folder for run in judged[0]] == [out / "standard" / m / s for s in "01" for m in models]
    with pytest.raises(RequestError, match="was trained with steps = 800, not 5"):
        _sweep(out, "--set", "steps=5", "--list")


def test_what_trials_decide_is_listed_when_they_are_done(calls, tmp_path, capsys):
    asked = ("--lengths", "40,80,120", "--until", "20", "--seeds", "1", "--trials", "1",
             "--tune", "optimizer.learning_rate=1e-3,1e-2")  # fmt: skip
    found = []
    for kind in ("lengths", "tuning", "training"):
        lines, said = _listed(capsys, tmp_path, *asked)
        assert f"standard: {kind}: {len(lines)} runs to start, 0 at work" in said
        last = said.splitlines()[-1]
        assert last.endswith(" --list") == (kind != "training") and "when they are done" in last
        found.append([[command[0] for command in commands] for commands in lines])
        _run(lines)
    assert found == [[["train"]] * 6, [["train"]] * 8, [["train", "export"]] * 2]
    assert not _listed(capsys, tmp_path, *asked)[0]
    lines, _ = _listed(capsys, tmp_path / "bad", "--tune", "optimizer.learning_rate=1")
    _run(lines)
    lines, said = _listed(capsys, tmp_path / "bad", "--tune", "optimizer.learning_rate=1")
    assert not lines and "diverged at each of 2 settings" in said


def test_finalists_that_all_diverge_later_are_told_from_settings_that_all_do(calls, tmp_path, monkeypatch):
    trials, seeds = tuning.grid(["optimizer.learning_rate=1e-3,1e-2,3e-2"]), (100, 101)
    losses = {("1e-3", 100): 0.1, ("1e-2", 100): 0.2, ("3e-2", 100): math.inf}
    monkeypatch.setattr(
        runs, "held_out", lambda run: losses.get((run.fields[0].partition("=")[2], run.seed), math.inf)
    )
    tried = [
        Trial("hrm", point, tuple(Run("benchmark", "standard", "hrm", s, point, tmp_path) for s in seeds))
        for point in trials
    ]
    # One that diverged is no finalist.
    assert [len(trial.runs) for trial in tuning.final(tried, 3)] == [2, 2, 1]
    with pytest.raises(RequestError, match="at each of 1 settings; other --tune values or more --finalists"):
        tuning.tried("hrm", tuning.final(tried, 1))
    with pytest.raises(RequestError, match="at each of 2 settings; other --tune values or more"):
        tuning.tried("hrm", tuning.final(tried, 3))


def test_an_ablation_is_tuned_to_no_other(calls, tmp_path, capsys):
    asked = ("--models", "hrm", "--ablations", "--tune", "optimizer.learning_rate=1e-3", "--trials", "1")
    lines, _ = _listed(capsys, tmp_path, *asked)
    found = [command[1].partition("standard,")[2] for (command,) in lines]
    assert found == ["hrm", *(f"hrm,{name}" for name in benchmark.ABLATIONS)]


def test_a_run_that_another_process_trains_is_left_to_it(calls, tmp_path, capsys):
    busy = tmp_path / "standard" / "hrm" / "0"
    busy.mkdir(parents=True)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
    command = [sys.executable, "-c", hold, str(busy / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        lines, said = _listed(capsys, tmp_path, "--seeds", "1")
        assert len(lines) == 1 and "standard: training: 1 runs to start, 1 at work" in said
        assert _sweep(tmp_path, "--seeds", "1") == 1
        assert {words["workdir"] for command, words in calls if command == "train"} == {
            f"{tmp_path}/standard/lstm/0"
        }
        assert f"not done yet, and not begun here: {busy} (at work)\n" in capsys.readouterr().out
        (busy / "metrics.jsonl").write_text('{"step": 5, "loss": null}\n')
        trial = Run("benchmark", "standard", "hrm", 0, (), busy, trial=True)
        assert runs.held_out(trial) == math.inf and not trial.done  # it may yet recover
        other.communicate("\n")
    made = len(calls)
    assert trial.done
    assert _sweep(tmp_path, "--seeds", "1", "--jobs", "0") == 1 and len(calls) == made
    assert f"not done yet, and not begun here: {busy}\n" in capsys.readouterr().out
    assert len(_listed(capsys, tmp_path, "--seeds", "1")[0]) == 1  # its process has ended


def test_what_was_exported_before_the_end_is_not_done(calls, tmp_path):
    fields = ("early_stopping=2", "steps=30")  # so that the last step is known at the end alone
    run = Run("benchmark", "standard", "lstm", 0, fields, tmp_path / "lstm" / "0")
    (train, export) = run.commands
    assert export[-1] == "--step=latest" and run._replace(fields=()).commands[1][-1] == "--step=800"
    run.folder.mkdir(parents=True)
    assert not run.done and runs.call(train, io.StringIO(), set())
    metrics = run.folder / "metrics.jsonl"
    runs.call((*export[:-1], "--step=10"), io.StringIO(), set())
    assert not run.done  # another step than that of the end
    metrics.write_text('{"step": 10, "loss": 0.5}\n')
    assert not run.done  # not at its end
    metrics.write_text("".join(f'{{"step": {n}, "eval/loss": {n}}}\n' for n in (8, 9, 10)))
    assert run.done


def test_a_name_that_is_no_line_is_refused(tmp_path):
    with pytest.raises(RequestError, match="a line break in a name"):
        _sweep(tmp_path / "two\nlines", "--list")


@pytest.mark.slow
def test_listed_commands_train_what_the_sweep_trains(tmp_path, capsys):
    """In a shell, by xargs, from another folder; the parameters are the same to the bit."""
    asked = ["--worlds", "standard", "--models", "lstm", "--seeds", "1", "--episodes", "4", "--record", "0",
             "--set", "steps=4", "eval_every=4", "data.closed_loop_episodes=0", "--out"]  # fmt: skip
    listed, alone = tmp_path / "by a list", tmp_path / "alone"
    assert sweep.main([*asked, str(listed), "--list"]) == 0
    lines = capsys.readouterr().out.replace("\n", "\0")
    subprocess.run(["xargs", "-0", "-n", "1", "bash", "-c"], input=lines, text=True, check=True, cwd=tmp_path)
    assert sweep.main([*asked, str(listed), "--jobs", "0"]) == 0 == sweep.main([*asked, str(alone)])
    found, wanted = (np.load(folder / "standard" / "lstm" / "0" / "model.npz") for folder in (listed, alone))
    parameters = [name for name in wanted if name.startswith("params/")]
    assert parameters and all((found[name] == wanted[name]).all() for name in parameters)


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
    run.check_settings()  # there is nothing yet
    config = configs.read(run.choice, ["--config.steps=5"]).to_dict()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(workdir.as_json({**config, "task_of_an_older_version": 1, "log_every": 7})))
    run.check_settings()
    with pytest.raises(RequestError, match="was trained with model.layers = 1, not 2; model.width = 80, not"):
        run._replace(model="lstm").check_settings()
    with pytest.raises(RequestError, match="was trained with seed = 0, not 1; give another --out"):
        run._replace(seed=1).check_settings()


def test_where_everything_diverges_nothing_is_chosen_and_the_next_world_is_begun(calls, tmp_path, capsys):
    assert _sweep(tmp_path, "--worlds", "standard", "swarm", "--tune", "optimizer.learning_rate=1") == 1
    said = capsys.readouterr()
    assert "standard: hrm in standard diverged at each of 2 settings" in said.err
    assert "swarm (2 of 2)" in said.out and "swarm: hrm in swarm diverged" in said.err
    assert not (tmp_path / "standard").exists() and not (tmp_path / "report").exists()


def test_a_lost_run_is_counted(calls, tmp_path, monkeypatch, capsys):
    """Too many of its updates were not finite: what it had learned by then is judged, as one that is lost."""
    well = runs.call

    def call(command, log, cores):
        if "--step=latest" in command:
            command = tuple("--step=5" if word == "--step=latest" else word for word in command)
        done = well(command, log, cores)
        if command[0] == "train" and f"--workdir={tmp_path}/standard/lstm/0" in command:
            records = [{"step": 3, "eval/loss": 0.1}, {"step": 5, "loss": 1.0, "bad_steps": 10.0}]
            lines = [json.dumps(record) + "\n" for record in records]
            (tmp_path / "standard/lstm/0/metrics.jsonl").write_text("".join(lines))
            return False
        return done

    monkeypatch.setattr(runs, "call", call)
    assert _sweep(tmp_path, "--seeds", "1") == 0
    made = len(calls)
    assert _sweep(tmp_path, "--seeds", "1") == 0 and len(calls) == made  # it is done
    (tmp_path / "standard/lstm/0/model.npz").unlink()
    ((export,),), _ = _listed(capsys, tmp_path, "--seeds", "1")  # it is not trained again
    assert export[0] == "export" and export[-1] == "--step=latest"
    assert _sweep(tmp_path, "--seeds", "1") == 0 and calls[made:] == [("export", {"step": "5"})]
    assert set(json.loads((tmp_path / "standard.report.json").read_text())["models"]) > {"hrm/0", "lstm/0"}
    trial = Run("benchmark", "standard", "lstm", 0, (), tmp_path / "standard/lstm/0", trial=True)
    assert runs.held_out(trial) == math.inf and trial.done
    (trial.folder / "metrics.jsonl").write_text('{"step": 5, "loss": null, "bad_steps": 9.0}\n')
    assert runs.held_out(trial) is None and not trial.done  # it was interrupted, and may recover
    (trial.folder / "metrics.jsonl").write_text(
        '{"step": 800, "loss": null, "bad_steps": 1.0}\n{"step": 800, "eval/loss": 0.5}\n'
    )
    assert runs.held_out(trial) == 0.5


def test_a_predictor_that_diverges_is_judged_by_a_sweep(calls, tmp_path, monkeypatch):
    """Cut off where predictions end; alone it is refused."""
    write = model_file.write

    def explode(out, weights, description):
        head = {**weights["head"], "bias": weights["head"]["bias"] + np.float32(1e9)}
        write(out, weights if "lstm" in out.parts else {**weights, "head": head}, description)

    monkeypatch.setattr(model_file, "write", explode)
    assert _sweep(tmp_path, "--seeds", "1") == 0
    models = json.loads((tmp_path / "standard.report.json").read_text())["models"]
    assert models["hrm/0"]["prediction"]["median"][0] > 20 > models["lstm/0"]["prediction"]["median"][0]
    with pytest.raises(RequestError, match="not finite, or over 1e.06 cells away"):
        evaluate(Request([str(tmp_path / "standard/hrm/0/model.npz")], tmp_path / "r.json", episodes=2))


def test_another_network_is_not_taken_for_the_same_run():
    """model.attention names a kernel of puzzle models, but of HRM what it attends to."""
    single, obstacles, auto, matmul = (
        {"init_from": "", "model": {"attention": name}} for name in ("single", "obstacles", "auto", "matmul")
    )
    assert workdir.differing(single, obstacles) == ["model.attention"]
    assert workdir.differing(auto, matmul) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--tune", "optimizer.learning_rate"], "FIELD=VALUE,VALUE"),
        (["--tune", "optimizer.learning_rate=1e-3,,1"], "FIELD=VALUE,VALUE"),
        (["--tune", "optimizer.lerning_rate=1e-3"], "did you mean"),
        (["--tune", "optimizer.learning_rate=fast"], "learning_rate"),
        (["--tune", "steps=" + ",".join(map(str, range(1001)))], "1,001 combinations; at most 1,000"),
        (["--tune", "seed=1,2"], "seed=1,2: --seeds says how many"),
        (["--set", "seed=7"], "seed=7: --seeds says how many"),
        (["--set", "epochs=3"], "epochs=3: a sweep counts in steps"),
        (["--tune", "data.horizon=5,20"], "held-out losses of another task cannot be compared"),
        (["--set", "data.eval_episodes=0"], "data.eval_episodes = 0"),
        (["--set", "steps=0"], "steps = 0: a sweep counts in steps"),
        (["--tune", "batch_size=8,16", "batch_size=32"], "batch_size is given twice"),
        (["--tune", "optimizer.learning_rate=1e-3,-1"], "optimizer.learning_rate = -1"),
        (["--set", "optimizer.schedule=foo"], "optimizer.schedule"),
        (["--set", "model.width=0"], "model.width = 0"),
        (["--episodes", "1000001"], "--episodes 1000001: at most 1,000,000"),
        (["--trials", "0"], "--trials 0"),
        (["--finalists", "0"], "--finalists 0"),
        (["--finalists", "2"], "--finalists 2: they are of --tune"),
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
        (["--jobs", "-1"], "--jobs -1: 0 or more"),
        (["--list", "--seeds", "0"], "--seeds 0: at least 1"),
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
