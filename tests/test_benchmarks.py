"""Every benchmark runs from its command line at its smallest size and prints its figures."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIGURE = r"\d[\d,]*\.?\d*"


def run(*command, **environment):
    """What a benchmark prints."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_world():
    out = run(sys.executable, "benchmarks/world.py", "--episodes", "2", "--plain", "1", "--rounds", "1")
    for world in ("standard", "published"):
        assert re.search(rf"^{world} +{FIGURE} +{FIGURE} +\d+$", out, re.MULTILINE), out


@pytest.mark.slow
def test_planner_jit():
    out = run(sys.executable, "benchmarks/planner_jit.py", "--episodes", "4")
    for planner in ("NumPy", "jit, cpu, float32", "jit, cpu, float64"):
        assert out.count(planner) == 2, out
    assert out.count("100.0%") >= 2, out  # float64 plans are NumPy's


@pytest.mark.slow
def test_closed_loop():
    out = run(sys.executable, "benchmarks/closed_loop.py", "--world", "standard", "--episodes", "4")
    assert out.count("| 4/4 |") == 6, out


@pytest.mark.parametrize("model", ["hrm", "lstm"])
def test_training(model):
    pytest.importorskip("torch")
    out = run(
        *(sys.executable, "benchmarks/training.py", "--models", model, "--widths", "8"),
        *("--batch", "4", "--rounds", "1", "--threads", "1", "--no_compile"),
    )
    times = rf"^{model} +8 +{FIGURE} +{FIGURE} +{FIGURE} \({FIGURE}\) +- +- "
    assert re.search(times, out, re.MULTILINE), out


@pytest.mark.slow
def test_slow_stream(tmp_path):
    changes = ("H normed", "H must differ", "H never")
    options = f"--train --world swarm --updates 2 --seeds 0 --out {tmp_path} --only".split()
    out = run(sys.executable, "benchmarks/slow_stream.py", *options, *changes)
    rows = {name: re.search(rf"^{name}, seed 0 (.*)$", out, re.M)[1].split() for name in changes}
    differs = [float(rows[name][3].rstrip("%")) for name in changes[:2]]
    assert 0 < differs[0] < 80 < differs[1] <= 100, out
    assert [len(row) for row in rows.values()] == [8, 8, 4], out  # H never: its cells are empty


@pytest.mark.slow
def test_plateau():
    small = "--rates 1e-2 --updates 40 --batch 16 --width 4 --episodes 64 --only".split()
    out = run(sys.executable, "benchmarks/plateau.py", *small, "published", "state weighs 0", "LSTM")
    still, repeated = (
        float(re.search(rf"^{name} +(\S+)", out, re.M)[1]) for name in ("stands still", "repeats.*step")
    )
    assert 4e-4 < still < 9e-4 and repeated < still / 8, out
    losses = re.findall(r"^(?:published|state weighs 0|LSTM) +1e-02 +(\S+)", out, re.M)
    assert len(set(losses)) == 3, out  # what is changed is changed


@pytest.mark.slow
@pytest.mark.parametrize("model", ["hrm", "trm", "mixer"])
def test_act(model):
    pytest.importorskip("torch")
    out = run(
        *(sys.executable, "benchmarks/act.py", "--models", model, "--widths", "8"),
        *("--batch", "4", "--rounds", "1", "--threads", "1", "--no_compile"),
    )
    times = rf"^{model} +8 +{FIGURE} +{FIGURE} +{FIGURE} \({FIGURE}\) +- +- "
    assert re.search(times, out, re.MULTILINE), out


def test_sampling():
    pytest.importorskip("torch")
    out = run(sys.executable, "benchmarks/sampling.py", *"--episodes 1 --loop 1 --width 8".split())
    for row in ("the documents loop", "one call, 10 steps", "one call, 100 steps"):
        assert re.search(rf"^{row} +{FIGURE} +{FIGURE} +{FIGURE}$", out, re.MULTILINE), out


@pytest.mark.slow
def test_startup():
    small = ("--config.batch_size=6", "--config.model.width=4", "--config.data.history=3")
    command = (sys.executable, "benchmarks/startup.py", "--config", "configs/quickstart.py:lstm")
    out = run(*command, "--rounds", "1", "--", *small)
    for cache in ("no cache", "cold", "warm"):
        assert re.search(rf"^{cache}( +{FIGURE}){{5}}$", out, re.MULTILINE), out


@pytest.mark.slow
def test_planner():
    command = (sys.executable, "benchmarks/planner.py", "--episodes", "1", "--plain", "1")
    out = run(*command, PYTHONPATH=str(ROOT))
    assert re.search(rf"^ratio: +{FIGURE}", out, re.MULTILINE), out


def test_gpu_explains_itself():
    done = subprocess.run(["bash", "benchmarks/gpu.sh"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "OUT_DIR" in done.stdout


@pytest.mark.slow
def test_gpu(tmp_path):
    out = run("bash", "benchmarks/gpu.sh", str(tmp_path), "3", "all", "--tiny", PYTHON=sys.executable)
    assert re.search(r"^matmul rate +\S+ TFLOP/s", out, re.MULTILINE)
    assert re.search(rf"^default +{FIGURE} +{FIGURE}%", out, re.MULTILINE), out
    assert "done: 8 steps" in out and (tmp_path / "model.npz").exists()


@pytest.mark.slow
def test_gpu_of_mazes(tmp_path):
    command = ("bash", "benchmarks/gpu.sh", str(tmp_path), "2", "measure", "--tiny", "--config", "act_maze")
    out = run(*command, PYTHON=sys.executable)
    assert re.search(rf"^cudnn +{FIGURE} +{FIGURE}%", out, re.MULTILINE), out
    assert (tmp_path / "gpu_act_maze.json").exists()


@pytest.mark.slow
def test_mazes():
    pytest.importorskip("torch")
    out = run(sys.executable, "benchmarks/mazes.py", "--rolled", "2", "--draws", "1024", "--depth", "1")
    assert float(re.search(r"fast: (\d+\.\d) in training", out)[1]) > 2, out
    assert float(re.search(r"^dfs +([\d,]+)", out, re.MULTILINE)[1].replace(",", "")) > 2_000, out
