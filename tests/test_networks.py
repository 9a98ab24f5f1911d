"""The NumPy forward passes of exported models: equal to flax's, strict with files, and free of jax."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from hrm_jax import export, models
from hrm_jax.errors import RequestError
from hrm_jax.planning import networks

ROOT = Path(__file__).resolve().parent.parent
HRM = dict(name="hrm", width=12, heads=3, blocks=2, unroll=1)
FAMILIES = {
    "gated": HRM,
    "gated, k 3, one block": dict(HRM, blocks=1, k_step=3),
    "gated, rms, motion": dict(HRM, norm="rms", features="motion"),
    "recurrent": dict(HRM, block="recurrent", norm_eps=1e-12),
    "recurrent, motion, k 3": dict(HRM, block="recurrent", blocks=1, features="motion", k_step=3, norm="rms"),
    "obstacles": dict(HRM, attention="obstacles", norm="rms"),
    "obstacles, motion, recurrent": dict(
        HRM, attention="obstacles", features="motion", block="recurrent", blocks=1
    ),
    "8gpu_v2": dict(name="hrm_8gpu_v2", width=12, heads=3, blocks=2, k_step=2),
    "lstm 1": dict(name="lstm", width=7, layers=1),
    "lstm 3, motion": dict(name="lstm", width=5, layers=3, features="motion"),
}
TIME, SIZE, HORIZON = 5, 13, 20


def _write(path, model, params, history=TIME):
    export.write_model(
        path, params, {"model": models.describe(model), "world": {"size": SIZE}, "history": history}
    )
    return path


@pytest.fixture
def model_file(tmp_path, random_params):
    model = models.build(dict(name="lstm", width=4, layers=1, size=SIZE))
    return _write(tmp_path / "model.npz", model, random_params(model))


@pytest.mark.parametrize("family", FAMILIES)
def test_numpy_equals_flax(family, tmp_path, random_params, walks):
    model = models.build(dict(FAMILIES[family], size=SIZE))
    # A free-running model of random weights amplifies rounding: weights small enough that it stays put.
    params = random_params(model, scale=0.5)
    predictor = networks.load(_write(tmp_path / "model.npz", model, params))
    history = walks(4, 3, TIME)

    @jax.jit
    def both(history):
        apply = functools.partial(model.apply, {"params": params})
        return apply(history), models.roll_out(apply, history, HORIZON)

    step, tracks = map(np.asarray, both(history))
    ours = predictor.displacement(history.copy())
    assert ours.shape == step.shape and ours.dtype == np.float32
    assert np.abs(ours - step).max() <= 1e-5 * np.abs(step).max()

    # From observations in cells, more of them than the model looks back on.
    seen = (
        np.moveaxis(np.concatenate([walks(4, 3, 3, seed=1), history], axis=2), 1, 2).astype(np.float64) * SIZE
    )
    found = predictor.predict(seen, HORIZON)
    expected = np.moveaxis(tracks, 0, 1) * SIZE
    assert found.shape == (4, HORIZON, 3, 2)
    assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()
    assert np.abs(np.diff(found, axis=1)).max() > 1e-3


def test_many_rows_are_cut_in_blocks_and_put_together_in_order(model_file):
    predictor = networks.load(model_file)
    episodes = 700  # times 3 obstacles: several blocks
    history = np.random.default_rng(0).uniform(0, SIZE, (episodes, TIME, 3, 2))
    whole = predictor.predict(history, 2)
    parts = np.concatenate([predictor.predict(history[i : i + 1], 2) for i in range(0, episodes, 97)])
    np.testing.assert_allclose(whole[::97], parts, rtol=1e-5, atol=1e-5)
    before = history.copy()
    predictor.predict(history, 2)
    np.testing.assert_array_equal(history, before)


def test_a_missing_file(tmp_path):
    with pytest.raises(RequestError, match="no such file"):
        networks.load(tmp_path / "none.npz")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file(share, model_file):
    content = model_file.read_bytes()
    model_file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RequestError, match="model.npz"):
        networks.load(model_file)


def _change(path, config=lambda c: c, arrays=lambda a: a):
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    described = config(json.loads(str(content.pop("config"))))
    np.savez(path, config=json.dumps(described), **arrays(content))


@pytest.mark.parametrize(
    "change, told",
    [
        (dict(config=lambda c: {**c, "model": {**c["model"], "name": "gru"}}), "gru"),
        (dict(config=lambda c: {**c, "model": {**c["model"], "layers": 2}}), "layer1|hh_kernel"),
        (dict(config=lambda c: {k: v for k, v in c.items() if k != "model"}), "model"),
        (dict(config=lambda c: {k: v for k, v in c.items() if k != "world"}), "world"),
        (dict(config=lambda c: {k: v for k, v in c.items() if k != "history"}), "history"),
        (dict(config=lambda c: [1, 2]), "model.npz"),
        (dict(arrays=lambda a: {k: v for k, v in a.items() if "hh_kernel" not in k}), "hh_kernel"),
        (dict(arrays=lambda a: {k: v for k, v in a.items() if "head" not in k}), "kernel"),
        (dict(arrays=lambda a: {k: v[:3] for k, v in a.items()}), "do not fit"),
        (dict(config=lambda c: {**c, "model": {**c["model"], "features": "motion"}}), "do not fit"),
    ],
)
def test_a_file_that_is_something_else(change, told, model_file):
    _change(model_file, **change)
    with pytest.raises(RequestError, match=told) as error:
        networks.load(model_file)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_archive(tmp_path):
    for name, content in (("text.npz", b"hello"), ("array.npz", None)):
        path = tmp_path / name
        if content is None:
            with open(path, "wb") as file:
                np.save(file, np.zeros(3))
        else:
            path.write_bytes(content)
        with pytest.raises(RequestError, match=name):
            networks.load(path)


BLOCKED = """
import sys
for name in ("jax", "jaxlib", "flax", "optax", "orbax", "chex", "ml_collections"):
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
from hrm_jax.planning import baselines, episode, networks, protocols, statistics, world
history = np.load(sys.argv[1])
for path in sys.argv[2:]:
    np.save(path + ".out.npy", networks.load(path).predict(history, 3))
assert not any(name.split(".")[0] in ("jax", "flax") and module for name, module in sys.modules.items())
"""


def test_planning_reads_and_runs_models_where_jax_is_blocked(tmp_path, random_params, walks):
    history = np.moveaxis(walks(2, 3, TIME), 1, 2).astype(np.float64) * SIZE
    np.save(tmp_path / "history.npy", history)
    files, expected = [], []
    for i, family in enumerate(("gated", "8gpu_v2", "lstm 1")):
        model = models.build(dict(FAMILIES[family], size=SIZE))
        files.append(_write(tmp_path / f"{i}.npz", model, random_params(model, scale=0.5)))
        expected.append(networks.load(files[-1]).predict(history, 3))
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(tmp_path / "history.npy"), *map(str, files)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for file, numbers in zip(files, expected, strict=True):
        np.testing.assert_allclose(np.load(f"{file}.out.npy"), numbers, rtol=1e-5)
