"""Training from Python: the process stays as it was, in any thread; and what loggers are told."""

import json
import logging
import os
import signal
import sys
import threading
import types

import jax
import jax.numpy as jnp
import pytest
from absl import logging as absl_logging

from configs import base
from hrm_jax import tasks
from hrm_jax import train as command
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import run_command
from hrm_jax.train import train
from hrm_jax.training import configs, loggers, metrics
from hrm_jax.training.loop import NonFinite
from hrm_jax.training.task import Task


class Parabola(Task):
    """A task of one parameter, which descends from 3 to 1; an infinite `goal` ruins it."""

    data_fields = tasks.Prediction.data_fields
    goal = 1.0

    def __init__(self, *_):
        """No data."""

    def batch(self, step):
        return jnp.full((8,), self.goal)

    def init(self, key, batch):
        return {"group": {"w": jnp.array([3.0])}}, ()

    def loss(self, params, carry, batch, key):
        return jnp.mean((params["group"]["w"] - batch) ** 2), (carry, {})

    def evaluate(self, params):
        return {"eval/loss": (params["group"]["w"][0] - 1.0) ** 2}


@pytest.fixture(autouse=True)
def parabola(monkeypatch):
    """The task `parabola`, for this test."""
    monkeypatch.setitem(tasks.TASKS, "parabola", Parabola)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    return Parabola


SHORT = {"steps": 6, "batch_size": 8, "log_every": 1, "eval_every": 3, "checkpoint.every": 3}


def config():
    c = base.get_config()
    c.task = "parabola"
    c.update_from_flattened_dict(SHORT)
    return c


def records(workdir):
    """metrics.jsonl without the pace."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "samples_per_second"} for line in lines]


def state_of_process():
    """What a caller would notice."""
    return {
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "hook": sys.excepthook,
        "logs": (absl_logging.get_verbosity(), logging.root.level, list(logging.getLogger("absl").filters)),
        "jax": dict(jax.config.values),
        "environment": dict(os.environ),
        "threads": {thread for thread in threading.enumerate() if not thread.daemon},
    }


# ---------------------------------------------------------------- the process


@pytest.fixture
def unusual():
    """Settings that are not the defaults, to be kept."""
    handler, hook, before = signal.getsignal(signal.SIGTERM), sys.excepthook, jax.config.jax_enable_x64
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.excepthook = lambda *_: None
    jax.config.update("jax_enable_x64", True)
    yield
    signal.signal(signal.SIGTERM, handler)
    sys.excepthook = hook
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("ending", ["well", "diverged", "refused", "broken"])
def test_the_process_is_left_as_it_was(ending, unusual, tmp_path, monkeypatch):
    given, before = config(), state_of_process()
    text = given.to_json()
    if ending == "well":
        state = train(given, tmp_path)
        assert int(state.step) == 6 and state.params["group"]["w"].dtype == jnp.float32
    elif ending == "diverged":
        monkeypatch.setattr(Parabola, "goal", float("inf"))
        with pytest.raises(NonFinite, match="were not finite"):
            train(given, tmp_path, {"steps": 50, "optimizer.max_bad_steps": 2})
    elif ending == "refused":
        with pytest.raises(RequestError, match="unknown task"):
            train(given, tmp_path, {"task": "hyperbola"})
    else:
        monkeypatch.setattr(Parabola, "evaluate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(given, tmp_path)
    assert state_of_process() == before
    assert given.to_json() == text
    assert jnp.zeros(()).dtype == jnp.float64


def test_sigterm_in_the_main_thread_saves_and_returns(tmp_path):
    class Killer(loggers.Logger):
        def log(self, step, values):
            if step == 2 and "loss" in values:
                os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    stopped = int(train(config(), tmp_path, loggers=[Killer()]).step)
    assert 2 <= stopped < 6 and signal.getsignal(signal.SIGTERM) is before
    assert int(train(config(), tmp_path).step) == 6


def test_a_thread_trains_as_the_main_one_does(unusual, tmp_path):
    """Meanwhile it hears no signals and changes no setting for others; a second run is refused."""
    reached, looked, found = threading.Event(), threading.Event(), []

    class Waiting(loggers.Logger):
        def log(self, step, values):
            reached.set()
            looked.wait(60)

    def run():
        found.append(train(config(), tmp_path / "a", loggers=[Waiting()]))

    handler = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    assert reached.wait(60)
    assert signal.getsignal(signal.SIGTERM) is handler and jnp.zeros(()).dtype == jnp.float64
    with pytest.raises(RequestError, match="another training runs in this process"):
        train(config(), tmp_path / "second")
    looked.set()
    thread.join(60)
    here = train(config(), tmp_path / "b")
    assert jnp.array_equal(found[0].params["group"]["w"], here.params["group"]["w"])
    assert records(tmp_path / "a") == records(tmp_path / "b") and not (tmp_path / "second").exists()


def test_the_command_line_resumes_what_python_began(tmp_path, capsys):
    """The same function, by a name or a config; a run becomes longer."""
    (tmp_path / "mine.py").write_text(
        "from configs import base\n\n\ndef get_config():\n    c = base.get_config()\n"
        f"    c.task = 'parabola'\n    c.update_from_flattened_dict({SHORT})\n    return c\n"
    )
    train(tmp_path / "mine.py", str(tmp_path / "run"), {"steps": 3, "optimizer.schedule": "constant"})
    cache = ["--config.compile_cache=", "--config.optimizer.schedule=constant"]
    asked = ["--config", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run"), *cache]
    assert run_command(command.main, asked) == 0
    assert "resumed at step 3" in capsys.readouterr().out
    train(config(), tmp_path / "other", {"optimizer.schedule": "constant"})
    assert records(tmp_path / "run") == records(tmp_path / "other")


@pytest.mark.parametrize(
    "wrong, why",
    [
        (("nonsense", "x"), "nonsense: no such file; configs/ has"),
        (({"steps": 3}, "x"), "config is a dict; wanted is a ConfigDict, or the name of one"),
        ((config(), None), "workdir is a NoneType; wanted is the path of a folder"),
        ((config(), "gs://bucket/x"), "a folder of this machine is needed"),
        ((config(), "x", {"stepz": 3}), 'config: unknown config field stepz; did you mean "steps"'),
        ((config(), "x", {"steps": "many"}), "config: .*steps"),
        ((config(), "x", {"batch_size": -1}), "batch_size"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(wrong, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=why) as error:
        train(*wrong)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_package_configs_of_the_caller_stays_the_callers(monkeypatch):
    mine, part = types.ModuleType("configs"), types.ModuleType("configs.mine")
    monkeypatch.setitem(sys.modules, "configs", mine)
    monkeypatch.setitem(sys.modules, "configs.mine", part)
    before = {name: module for name, module in sys.modules.items() if name.startswith("configs")}
    assert configs.read("quickstart").steps == 1_000
    assert {name: module for name, module in sys.modules.items() if name.startswith("configs")} == before


# ---------------------------------------------------------------- loggers


class Recorder(loggers.Logger):
    """Remembers what it is told, and fails where it is told to."""

    def __init__(self, fails=""):
        self.told, self.fails = [], fails

    def _tell(self, name, *what):
        self.told.append((name, *what))
        if name == self.fails:
            raise ConnectionError("no\nnetwork")

    def begin(self, workdir, config):
        self._tell("begin", workdir.name, config["task"])
        return "Recorder: here"

    def log(self, step, values):
        self._tell("log", step, set(values))

    def close(self):
        self._tell("close")


def test_a_logger_is_told_all_that_metrics_has(tmp_path, capsys):
    logger = Recorder()
    train(config(), tmp_path / "run", loggers=[logger])
    assert logger.told[0] == ("begin", "run", "parabola") and logger.told[-1] == ("close",)
    assert [(step, names) for _, step, names in logger.told[1:-1]] == [
        (record["step"], set(record) - {"step"} | ({"samples_per_second"} if "loss" in record else set()))
        for record in records(tmp_path / "run")
    ]
    assert "\nRecorder: here\n" in capsys.readouterr().out


@pytest.mark.parametrize("fails", ["log", "close"])
def test_a_logger_that_fails_is_left_out_with_one_warning(fails, tmp_path, capsys):
    bad, good = Recorder(fails), Recorder()
    assert int(train(config(), tmp_path, loggers=[bad, good]).step) == 6
    out = capsys.readouterr().out
    assert out.count("warning: logger Recorder fails and is left out from now on: no network\n") == 1
    assert [name for name, *_ in bad.told].count(fails) == 1
    assert len(good.told) == 2 + len(records(tmp_path)) and good.told[-1] == ("close",)


def test_a_logger_that_does_not_begin_ends_the_run_before_it(tmp_path):
    first = Recorder()
    with pytest.raises(RequestError, match="logger Recorder does not begin: no network") as error:
        train(config(), tmp_path, loggers=[first, Recorder("begin")])
    assert isinstance(error.value.__cause__, ConnectionError)
    assert [name for name, *_ in first.told] == ["begin", "close"] and not records(tmp_path)


@pytest.mark.parametrize("wrong", [["wandb"], "wandb", None, [loggers.WandB], [None]])
def test_what_is_no_logger_is_refused_before_anything_is_made(wrong, tmp_path):
    with pytest.raises(RequestError, match=r"; those of services are made by .*loggers\.named"):
        train(config(), tmp_path / "run", loggers=wrong)
    assert not list(tmp_path.iterdir())


def test_all_processes_but_the_first_tell_no_logger(tmp_path):
    logger = Recorder()
    writer = metrics.Writer(tmp_path, 0, 10, enabled=False)
    writer.begin([logger], {"task": "x"})
    writer.write(1, {"loss": 1.0})
    writer.close()
    assert not logger.told and not list(tmp_path.iterdir())


class Calls:
    """A library, of which every call is remembered and returns what `returned` says, or itself."""

    def __init__(self, **returned):
        self.calls, self.returned = [], returned

    def __getattr__(self, name):
        def call(*args, **named):
            self.calls.append((name, args, named))
            return self.returned.get(name, self)

        return call

    def of(self, name):
        return [(args, named) for called, args, named in self.calls if called == name]


def test_weights_and_biases_goes_on_with_its_run(tmp_path, monkeypatch):
    wandb = Calls()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    train(config(), tmp_path, {"steps": 3}, loggers=loggers.named(["wandb"]))
    train(config(), tmp_path, loggers=loggers.named(["wandb"]))
    (_, first), (_, second) = wandb.of("init")
    assert first["id"] == second["id"] and first["resume"] == "allow" and first["project"] == "hrm_jax"
    assert first["config"]["steps"] == 3 and second["config"]["steps"] == 6
    assert [named["step"] for _, named in wandb.of("log")] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert len(wandb.of("finish")) == 2


def test_comet_goes_on_with_its_experiment(tmp_path, monkeypatch):
    comet = Calls()
    monkeypatch.setitem(sys.modules, "comet_ml", comet)
    monkeypatch.setenv("COMET_PROJECT_NAME", "mine")
    for _ in range(2):
        (logger,) = loggers.named(["comet"])
        logger.begin(tmp_path, {"model": {"width": 8}})
        logger.log(1, {"loss": 0.5})
        logger.close()
    (_, first), (_, second) = comet.of("start")
    assert first["experiment_key"] == second["experiment_key"] and len(first["experiment_key"]) == 32
    assert first["mode"] == "get_or_create" and first["project_name"] == "mine"
    assert comet.of("log_parameters")[0] == (({"model.width": 8},), {})
    assert comet.of("log_metrics")[0] == (({"loss": 0.5},), {"step": 1}) and len(comet.of("end")) == 2


def test_mlflow_goes_on_with_its_run_and_says_the_config_once(tmp_path, monkeypatch):
    made = types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))
    client = Calls(get_experiment_by_name=None, create_experiment="e1", create_run=made)
    entities = types.SimpleNamespace(Param=lambda *pair: pair, Metric=lambda *row: row)
    mlflow = types.SimpleNamespace(
        MlflowClient=lambda: client, entities=entities, get_tracking_uri=lambda: "http://x"
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    for _ in range(2):
        (logger,) = loggers.named(["mlflow"])
        line = logger.begin(tmp_path, {f"field{i}": i for i in range(150)})
        logger.log(7, {"loss": 0.5})
        logger.close()
    assert line == "MLflow: run r1 of http://x" and len(client.of("create_run")) == 1
    batches = [named for _, named in client.of("log_batch")]
    assert [len(batch["params"]) for batch in batches if "params" in batch] == [100, 50]
    (name, value, _, step), *_ = batches[-1]["metrics"]
    assert (name, value, step) == ("loss", 0.5, 7)
    assert client.of("update_run") == [(("r1",), {"status": "RUNNING"})]
    assert len(client.of("set_terminated")) == 2


def test_tensorboard_is_named_at_the_start(tmp_path, monkeypatch, capsys):
    board = Calls()
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=board.make))
    train(config(), tmp_path)
    folder = tmp_path / "tensorboard"
    assert f"\nTensorBoard: tensorboard --logdir {folder}\n" in capsys.readouterr().out
    assert board.of("make") == [((str(folder),), {})] and len(board.of("close")) == 1
    assert ("eval/loss", 3) in [(args[0], args[2]) for args, _ in board.of("add_scalar")]


def test_a_number_that_is_not_finite_is_not_logged(tmp_path):
    logger = Recorder()
    writer = metrics.Writer(tmp_path, 0, 10)
    writer.begin([logger], {"task": "x"})
    writer.write(1, {"loss": float("nan"), "grad_norm": 1.0})
    writer.close()
    assert logger.told[1] == ("log", 1, {"grad_norm"})


@pytest.mark.parametrize("name, module", [("wandb", "wandb"), ("mlflow", "mlflow"), ("comet", "comet_ml")])
def test_a_logger_that_is_not_installed_says_what_to_install(name, module, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    asked = ["--config", "quickstart", "--workdir", str(tmp_path / "x"), "--logger", name]
    assert run_command(command.main, asked) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --logger {name} needs {module}: pip install 'hrm_jax[{name}]'")
    assert error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_an_unknown_logger_and_a_damaged_memory_of_ids_are_one_line(tmp_path, monkeypatch, capsys):
    asked = ["--config", "quickstart", "--workdir", str(tmp_path / "x"), "--logger", "neptune"]
    assert run_command(command.main, asked) == 2
    assert "invalid choice: 'neptune'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "wandb", Calls())
    (tmp_path / "loggers.json").write_text("[]")
    with pytest.raises(RequestError, match=r"logger WandB does not begin: .*loggers\.json"):
        train(config(), tmp_path, loggers=loggers.named(["wandb"]))
