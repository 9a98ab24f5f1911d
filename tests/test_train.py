"""The loop as its users meet it: a command that resumes, scales, refuses and never loses a run."""

import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import AxisType

from configs import base, quickstart
from hrm_jax import train
from hrm_jax.artefacts import health, model_file, report_file
from hrm_jax.artefacts.networks import NETWORKS
from hrm_jax.console.parser import run_command
from hrm_jax.tasks import build, exporting
from hrm_jax.training import checkpoint, experiment, loop, sharding
from hrm_jax.training.step import initializer, make_update, moved_average
from hrm_jax.training.task import Task

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = {
    "model.width": 8,
    "model.heads": 2,
    "model.unroll": 1,
    "data.history": 4,
    "data.episode_steps": 12,
    "data.eval_episodes": 8,
    "batch_size": 48,
    "steps": 20,
    "log_every": 1,
    "eval_every": 10,
    "checkpoint.every": 10,
    "optimizer.learning_rate": 1e-3,
}


def words(**overrides):
    """The fields of a tiny run as a command line has them: `model__width=8` for model.width."""
    fields = {**TINY, **{name.replace("__", "."): value for name, value in overrides.items()}}
    return [f"--config.{name}={value}" for name, value in fields.items()]


def command(workdir, cache, *extra, devices=1, config="configs/quickstart.py", **overrides):
    fields = words(compile_cache=cache, **overrides)
    run = [sys.executable, "-m", "hrm_jax.train", "--config", config, *fields, *extra]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    return {"args": [*run, "--workdir", str(workdir)], "env": environment, "cwd": ROOT}


def run(*args, **options):
    """What the command prints, in a process of its own."""
    done = subprocess.run(**command(*args, **options), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_here(workdir, mesh, **overrides):
    """The same run in this process."""
    config = quickstart.get_config()
    config.update_from_flattened_dict({**TINY, **{k.replace("__", "."): v for k, v in overrides.items()}})
    return loop.train(build(config, mesh), workdir)


def refused(capsys, *arguments):
    """The line with which the command, in this process, refuses a request."""
    assert run_command(train.main, arguments) == 2
    out, error = capsys.readouterr()
    lines = error.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and not out, (out, error)
    return lines[0]


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def losses(workdir):
    return {r["step"]: r["loss"] for r in records(workdir) if "loss" in r}


def params_of(workdir):
    step, tree = checkpoint.restore_params(workdir)
    return step, [np.asarray(leaf) for _, leaf in sorted(_leaves(tree))]


def _leaves(tree, prefix=""):
    for name, value in tree.items():
        yield from _leaves(value, f"{prefix}{name}/") if isinstance(value, dict) else [(prefix + name, value)]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def wait_for_step(process, workdir, step):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        path = workdir / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        if any(f'"step": {step},' in line for line in lines):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was never written")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One compilation cache: the same tiny programs are started many times."""
    return tmp_path_factory.mktemp("xla")


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Runs in this process share their programs, too."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("xla_here")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()  # it may have been found unused before
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def straight(tmp_path_factory, cache):
    """20 steps without interruption, on one device."""
    workdir = tmp_path_factory.mktemp("straight")
    run(workdir, cache)
    return workdir


def test_records_are_what_the_contract_says(straight):
    logged = [r for r in records(straight) if "loss" in r]
    assert [r["step"] for r in logged] == list(range(1, 21))
    assert {"step", "loss", "learning_rate", "samples_per_second", "grad_norm"} <= logged[0].keys()
    evaluated = [r for r in records(straight) if "eval/loss" in r]
    assert [r["step"] for r in evaluated] == [10, 20]
    assert {f"eval/error_{k}" for k in (1, 5, 10, 20)} <= evaluated[0].keys()
    config = json.loads((straight / "config.json").read_text())
    assert config["model"]["width"] == 8 and config["optimizer"]["learning_rate"] == 1e-3


@pytest.fixture(scope="module")
def here(tmp_path_factory, meshes):
    """The same in this process."""
    workdir = tmp_path_factory.mktemp("here")
    run_here(workdir, meshes[1])
    return workdir


def test_kill_and_resume_is_exact_to_the_last_bit(straight, tmp_path, cache):
    kill_at(12, tmp_path, cache)
    saved = checkpoint_steps(tmp_path)
    assert saved in ([], [10])  # written in the background: it may not have been done
    text = run(tmp_path, cache)
    assert ("resumed at step 10" in text) == (saved == [10]) and ("resumed" in text) == bool(saved)
    assert checkpoint_steps(tmp_path) == [10, 20]
    assert same(params_of(tmp_path)[1], params_of(straight)[1])
    assert losses(tmp_path) == losses(straight)


def checkpoint_steps(workdir):
    folder = workdir / "checkpoints"
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.exists() else []


def kill_at(step, workdir, cache, **options):
    """Start a run and kill it once `step` is written, before it can end by itself."""
    process = subprocess.Popen(
        **command(workdir, cache, **options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    wait_for_step(process, workdir, step)
    process.kill()
    assert b"Traceback" not in process.communicate()[1]
    assert process.returncode == -signal.SIGKILL and step <= max(losses(workdir)) < 20


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost(straight, tmp_path, cache):
    kill_often(tmp_path, cache, 10)
    run(tmp_path, cache, checkpoint__every=1)
    assert same(params_of(tmp_path)[1], params_of(straight)[1])
    assert losses(tmp_path) == losses(straight)


@pytest.mark.slow
@pytest.mark.hostile
def test_50_random_kills_and_no_run_is_lost(tmp_path, cache, counted):
    long = {"steps": 1_500, "checkpoint__every": 1, "eval_every": 1_500, "log_every": 1}
    folder, draw, saved, lost = tmp_path / "killed", random.Random(0), 0, 0
    for _ in range(50):
        with subprocess.Popen(**command(folder, cache, **long), stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith("step "):
                    break
            time.sleep(0.3 * draw.random())
            process.kill()
        steps = checkpoint_steps(folder)
        lost += not steps or max(steps) < saved
        saved = max(steps, default=0)
    long["checkpoint__every"] = 1_500
    run(folder, cache, **long)
    run(tmp_path / "straight", cache, **long)
    lost += not same(params_of(folder)[1], params_of(tmp_path / "straight")[1])
    counted(f"50 kills, the last at step {saved:,} of 1,500; {lost} lost")
    assert not lost and losses(folder) == losses(tmp_path / "straight")


def kill_often(workdir, cache, times):
    """Kill a run that saves every step at `times` moments, each later than the one before or equal to it."""
    for step in sorted(random.Random(0).choices(range(2, 15), k=times)):
        kill_at(step, workdir, cache, checkpoint__every=1)


def test_sigterm_saves_and_the_same_command_resumes(straight, tmp_path, cache):
    process = subprocess.Popen(**command(tmp_path, cache), stdout=subprocess.PIPE, text=True)
    wait_for_step(process, tmp_path, 2)
    process.send_signal(signal.SIGTERM)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    step = int(re.search(r"SIGTERM: saved at step ([\d,]+)", text)[1])
    assert step in checkpoint_steps(tmp_path) and 2 <= step < 20
    assert f"resumed at step {step}" in run(tmp_path, cache)
    assert same(params_of(tmp_path)[1], params_of(straight)[1])
    assert losses(tmp_path) == losses(straight)


def test_finished_run_started_again_changes_nothing(here, meshes, capsys):
    before = (here / "metrics.jsonl").read_text()
    run_here(here, meshes[1])
    assert "done: 20 steps" in capsys.readouterr().out
    assert (here / "metrics.jsonl").read_text() == before


def test_eight_devices_agree_with_one(here, tmp_path, meshes):
    run_here(tmp_path, meshes[8])
    assert losses(tmp_path) == pytest.approx(losses(here), rel=1e-5)


@pytest.mark.slow
def test_two_processes_agree_with_one(straight, tmp_path, cache):
    two_processes(tmp_path, cache)
    assert losses(tmp_path) == pytest.approx(losses(straight), rel=1e-5)


def two_processes(workdir, cache):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    started = [
        subprocess.Popen(
            **command(
                workdir,
                cache,
                f"--coordinator=127.0.0.1:{port}",
                "--num_processes=2",
                f"--process_id={i}",
                devices=2,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    texts = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], texts


def test_micro_batches_do_not_change_the_result(here, tmp_path, meshes):
    run_here(tmp_path, meshes[1], optimizer__accumulate=4)
    assert losses(tmp_path) == pytest.approx(losses(here), rel=1e-5)


@pytest.mark.slow
def test_sharing_parameters_does_not_change_the_result(tmp_path, meshes):
    large = {"steps": 5, "model__width": 64}  # enough for arrays to be sharded at all
    axes = (AxisType.Auto,) * 2
    pairs = jax.make_mesh((2, 2), sharding.BATCH, axis_types=axes, devices=jax.devices()[:4])
    for name, mesh in (("one", meshes[1]), ("pairs", pairs)):
        run_here(tmp_path / name, mesh, **large)
    assert losses(tmp_path / "pairs") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


@pytest.mark.slow
def test_checkpoint_moves_to_another_number_of_devices(straight, tmp_path, cache):
    process = subprocess.Popen(**command(tmp_path, cache), stdout=subprocess.DEVNULL)
    wait_for_step(process, tmp_path, 11)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    run(tmp_path, cache, devices=8, mesh__fsdp=2)
    assert list(losses(tmp_path).values()) == pytest.approx(list(losses(straight).values()), rel=1e-5)


@pytest.mark.slow
def test_it_learns_what_is_known(tmp_path, cache):
    """Constant velocity is wrong only at walls: a motion predictor must soon beat it on held-out worlds."""
    said = run(
        tmp_path, cache, steps=300, eval_every=300, log_every=100, batch_size=768, model__width=16,
        optimizer__learning_rate=1e-2, data__eval_episodes=256, checkpoint__every=300,
    )  # fmt: skip
    (last,) = [r for r in records(tmp_path) if "eval/loss" in r]
    assert last["eval/loss"] < 0.6 * last["eval/constant_velocity/loss"]
    assert last["eval/error_20"] < 0.8 * last["eval/constant_velocity/error_20"]
    assert "warning" not in said


def test_early_stopping_and_best_checkpoint(tmp_path, meshes, capsys):
    """A rate that destroys the network: the held-out loss only rises, and the first evaluation stays best."""
    run_here(
        tmp_path, meshes[1], steps=400, eval_every=5, checkpoint__every=5, early_stopping=3,
        optimizer__schedule="constant", optimizer__learning_rate=0.5,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "stopped early at step" in said
    assert "warning: this run has not learned more than constant velocity: held-out error at 10 steps" in said
    evaluated = {r["step"]: r["eval/loss"] for r in records(tmp_path) if "eval/loss" in r}
    best = min(evaluated, key=evaluated.get)
    assert max(evaluated) == best + 15
    assert checkpoint.restore_params(tmp_path, "best")[0] == best
    exporting.export_model(tmp_path, "best", tmp_path / "model.npz")
    exported, _ = model_file.read(tmp_path / "model.npz", NETWORKS)
    (record,) = [r for r in records(tmp_path) if r["step"] == best and "eval/loss" in r]
    assert exported["health"]["error"] == record["eval/error_10"]
    assert exported["health"]["gates_saturated"] == record["eval/gates_saturated"]


def test_ema_is_kept_exported_and_evaluated(here, tmp_path, meshes):
    run_here(tmp_path, meshes[1], ema_decay=0.5)
    averaged, raw = (checkpoint.restore_params(tmp_path, averaged=a)[1] for a in (True, False))
    averaged, raw = jax.tree.leaves(averaged), jax.tree.leaves(raw)
    assert not same(averaged, raw)
    for leaf, plain in zip(raw, params_of(here)[1], strict=True):  # another program: equal to rounding only
        np.testing.assert_allclose(leaf, plain, atol=1e-5)
    assert losses(tmp_path) == pytest.approx(losses(here), rel=1e-5)


class Parabola(Task):
    """A task of one parameter that descends to 1, whose every update is known."""

    def __init__(self, *_):
        """No data."""

    def batch(self, step):
        return jnp.ones((1,))

    def init(self, key, batch):
        return {"w": jnp.array([3.0])}, ()

    def loss(self, params, carry, batch, key):
        return jnp.mean((params["w"] - batch) ** 2), (carry, {})


@pytest.mark.parametrize("corrected", [True, False])
def test_the_average_is_the_closed_form_and_published_it_keeps_the_initial_parameters(corrected, meshes):
    """Fault F26 is that share of the initial parameters: 13.5 % after 2,000 updates at 0.999."""
    config, decay = base.get_config(), 0.9
    config.ema_decay, config.ema_correction, config.batch_size = decay, corrected, 1
    parabola = experiment.make(config, meshes[1], Parabola)
    init, layout = initializer(parabola)
    step, state = make_update(parabola, layout), init()
    past = []
    for i in range(1, 7):
        state, _ = step(state, jnp.ones((1,)))
        past.append(float(state.params["w"][0]))
        weights = (1 - decay) * decay ** np.arange(i - 1, -1, -1)
        expected = weights @ past
        expected = expected / (1 - decay**i) if corrected else expected + decay**i * 3.0
        assert float(state.averaged["w"][0]) == pytest.approx(expected, rel=1e-6)


def test_the_correction_is_exact_early_and_gone_late():
    """In float32, where 1 - 0.9999^t would lose half its digits at first."""
    for updates in (1, 2, 1_000, 2**31 - 1):
        got = moved_average(jnp.zeros(()), jnp.ones(()), 0.9999, jnp.int32(updates))
        assert float(got) == pytest.approx((1 - 0.9999) / (1 - 0.9999**updates), rel=1e-6)


def test_non_finite_updates_are_skipped_and_then_stop_the_run(tmp_path, capsys):
    """An infinite rate makes the second forward pass non-finite, and with it every gradient after it."""
    fields = words(
        compile_cache="", steps=100, checkpoint__every=1, optimizer__max_bad_steps=5,
        optimizer__schedule="constant", optimizer__learning_rate=1e38, optimizer__clip=0.0,
        optimizer__weight_decay=0.0, model__init_std=1.0,
    )  # fmt: skip
    jax.config.update("jax_enable_x64", True)  # as JAX_ENABLE_X64=1 does; a run is of float32
    try:
        assert train.main(["--config", "quickstart", "--workdir", str(tmp_path), *fields]) == 1
    finally:
        jax.config.update("jax_enable_x64", False)
    assert {leaf.dtype for leaf in params_of(tmp_path)[1]} == {np.dtype(np.float32)}
    error = capsys.readouterr().err
    assert re.search(r"stopped: step \d+: the last 5 updates were not finite", error), error
    assert all(np.isfinite(leaf).all() for leaf in params_of(tmp_path)[1])
    *_, last = report_file.load_records(tmp_path / "metrics.jsonl")
    assert last["bad_steps"] == 5
    exporting.export_model(tmp_path, "latest", tmp_path / "model.npz")
    config, _ = model_file.read(tmp_path / "model.npz", tuple(NETWORKS))
    assert health.untrained(config["health"])  # of a lost run, whatever it had learned by then


def test_dry_run_prints_the_cost_and_writes_nothing(tmp_path, cache):
    """From a folder, with a home and a workdir, that it could write into."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir(), here.mkdir()
    asked = command(tmp_path / "run", cache, "--dry_run")
    elsewhere = {"cwd": here, "env": {**asked["env"], "HOME": str(home), "PYTHONPATH": str(ROOT)}}
    done = subprocess.run(**asked | elsewhere, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for word in ("devices", "mesh", "parameters", "FLOPs", "bytes", "samples per epoch", "steps", "memory"):
        assert word in done.stdout
    assert sorted(tmp_path.rglob("*")) == [here, home]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"model__widht": 3}, ["model.widht", 'did you mean "model.width"']),
        ({"model__width": "abc"}, ["model.width", "abc"]),
        ({"data__history": 12}, ["data.history = 12", "data.episode_steps = 12"]),
        ({"steps": 0}, ["steps = 0", "epochs = 0"]),
        ({"optimizer__schedule": "onecylce"}, ["onecylce", "onecycle"]),
        ({"batch_size": 50}, ["50", "8 devices"]),
        ({"config": "configs/hrm_ful.py"}, ["hrm_ful", "hrm_full"]),
        ({"data__world__n_static": 399}, ["399", "99"]),
    ],
)
def test_wrong_requests_are_one_line(tmp_path, capsys, options, expected):
    options = {"config": "quickstart", "compile_cache": "", **options}
    workdir, config = tmp_path / "never", options.pop("config")
    error = refused(capsys, "--config", config, "--workdir", str(workdir), *words(**options))
    assert all(word in error for word in expected), error
    assert not workdir.exists()


def test_workdir_of_another_config_is_refused(here, capsys):
    before = (here / "config.json").read_text()
    fields = words(compile_cache="", model__width=16, model__heads=4)
    error = refused(capsys, "--config", "quickstart", "--workdir", str(here), *fields)
    assert "model.width (8 there, 16 here)" in error and "model.heads (2 there, 4 here)" in error
    assert (here / "config.json").read_text() == before


def test_missing_flags_and_stray_words_are_one_line(capsys):
    fields = words(compile_cache="")
    assert "--workdir" in refused(capsys, "--config", "quickstart", *fields)
    assert "stray" in refused(capsys, "--config", "quickstart", "stray", "--dry_run", *fields)
    assert "nonsense" in refused(capsys, "--config", "quickstart", "--nonsense", "--dry_run", *fields)


def test_a_wrong_request_is_exit_code_2(tmp_path, cache):
    done = subprocess.run(**command(tmp_path / "never", cache, steps=0), capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert re.fullmatch(r"error: steps = 0, epochs = 0: .*\n", done.stderr), done.stderr
    assert not (tmp_path / "never").exists()


@pytest.mark.slow
def test_profile_leaves_a_trace(tmp_path, cache):
    run(tmp_path, cache, profile_steps=2)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
