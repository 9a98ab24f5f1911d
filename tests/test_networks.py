"""The NumPy forward passes of exported models: equal to flax's, strict with files, and free of jax."""

import functools
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts import networks as network_configs
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks import NETWORKS
from hrm_jax.judging.entrants import read_predictor
from hrm_jax.models import predictors as models
from hrm_jax.referee.inference import networks
from hrm_jax.worlds.features import Observation

ROOT = Path(__file__).resolve().parent.parent
HRM = dict(name="hrm", width=12, heads=3, blocks=2, unroll=1)
SCENE = dict(features="scene", patch=3, neighbours=3, agent=True)
TRANSFORMER = dict(name="transformer", width=12, heads=3)
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
    "scene": dict(HRM, **SCENE),
    "normed messages": dict(HRM, norm="rms", context_norm="messages"),
    "quiet messages, carry": dict(
        HRM, features="motion", rollout="carry", k_step=3, context_norm="messages", h_gain=0.1
    ),
    "a gain without H": dict(HRM, h_stream=False, h_gain=0.1),
    "normed candidate, scene, carry": dict(HRM, **SCENE, rollout="carry", k_step=3, context_norm="candidate"),
    "scene, carry": dict(HRM, **SCENE, rollout="carry", blocks=1, k_step=3),
    "obstacles, scene, carry": dict(HRM, features="scene", rollout="carry", attention="obstacles", k_step=0),
    "no H stream, carry": dict(HRM, features="motion", rollout="carry", h_stream=False),
    "lstm, scene, carry": dict(name="lstm", width=6, **SCENE, rollout="carry"),
    "lstm, scene, direct": dict(name="lstm", width=6, **SCENE, rollout="direct"),
    "gru": dict(name="gru", width=5, layers=3),
    "gru, scene, carry": dict(name="gru", width=6, **SCENE, rollout="carry"),
    "transformer, motion": dict(TRANSFORMER, features="motion"),
    "transformer, scene, carry": dict(TRANSFORMER, **SCENE, rollout="carry"),
    "transformer, direct": dict(TRANSFORMER, rollout="direct", layers=1),
}
TIME, SIZE, HORIZON = 5, 13, 20


def _write(path, model, params, history=TIME):
    model_file.write(
        path, params, {"model": models.describe(model), "world": {"size": SIZE}, "history": history}
    )
    return path


@pytest.fixture
def exported(tmp_path, random_params):
    model = models.build(dict(name="lstm", width=4, layers=1, size=SIZE))
    return _write(tmp_path / "model.npz", model, random_params(model))


def _observe(history, seed=0):
    """An observation around a history [E, H, N, 2] in cells."""
    rng, (episodes, steps, members, _) = np.random.default_rng(seed), history.shape
    return Observation(
        history.astype(np.float64),
        rng.random((episodes, steps, members)) < 0.7,
        rng.uniform(0, SIZE, (episodes, steps, 2)),
        rng.random((episodes, SIZE, SIZE)) < 0.2,
    )


def _context(observation):
    """Its last TIME steps as a predictor in jax sees them."""
    return models.Context(
        np.moveaxis(observation.observed[:, -TIME:], 1, 2).astype(np.float32),
        observation.agent[:, -TIME:].astype(np.float32) / np.float32(SIZE),
        observation.static.astype(np.float32),
    )


def _draw(random_params, model, scale=0.5):
    """`random_params` of a model that may need a context."""
    context = _context(_observe(np.zeros((1, TIME, 1, 2))))
    init = functools.partial(model.init, context=context)
    return random_params(types.SimpleNamespace(init=init), time=TIME, scale=scale)


@pytest.mark.parametrize("family", FAMILIES)
def test_numpy_equals_flax(family, tmp_path, random_params, walks):
    model = models.build(dict(FAMILIES[family], size=SIZE))
    # A free-running model of random weights amplifies rounding: weights small enough that it stays put.
    params = _draw(random_params, model)
    shapes = {name: leaf.shape for name, leaf in model_file.flatten(params).items()}
    assert NETWORKS[FAMILIES[family]["name"]].shapes(model.config) == shapes  # which a file must have
    predictor = networks.load(_write(tmp_path / "model.npz", model, params))
    history = walks(4, 3, TIME)
    # In cells, and more steps of them than the model looks back on.
    seen = _observe(np.moveaxis(np.concatenate([walks(4, 3, 3, seed=1), history], axis=2), 1, 2) * SIZE)
    context = _context(seen)

    @jax.jit
    def both(history):
        step = model.apply({"params": params}, history, context=context)
        return step, models.forecast(model, params, history, HORIZON, context=context)

    step, tracks = map(np.asarray, both(history))
    ours = predictor.network.displacement(history.copy(), context)
    assert ours.shape == step.shape and ours.dtype == np.float32
    assert np.abs(ours - step).max() <= 1e-5 * np.abs(step).max()

    found = predictor.predict(seen, HORIZON)
    expected = np.moveaxis(tracks, 0, 1) * SIZE
    assert found.shape == (4, HORIZON, 3, 2)
    assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()
    assert np.abs(np.diff(found, axis=1)).max() > 1e-3


@pytest.mark.parametrize("fields", [{}, dict(SCENE, neighbours=2, rollout="carry")])
def test_many_rows_are_cut_in_blocks_and_put_together_in_order(fields, tmp_path, random_params):
    model = models.build(dict(name="lstm", width=4, layers=1, size=SIZE, **fields))
    predictor = networks.load(_write(tmp_path / "model.npz", model, _draw(random_params, model)))
    episodes = 700  # times 3 obstacles: several blocks
    seen = _observe(np.random.default_rng(0).uniform(0, SIZE, (episodes, TIME, 3, 2)))
    before = [a.copy() for a in seen]
    whole = predictor.predict(seen, 2)
    chosen = range(0, episodes, 97)
    parts = np.concatenate([predictor.predict(Observation(*(a[i : i + 1] for a in seen)), 2) for i in chosen])
    np.testing.assert_allclose(whole[::97], parts, rtol=1e-5, atol=1e-5)
    for a, b in zip(seen, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_file_of_before_says_less_and_means_the_published(random_params, tmp_path, walks):
    model = models.build(dict(FAMILIES["gated"], size=SIZE))
    path = _write(tmp_path / "model.npz", model, random_params(model, scale=0.5))
    seen = _observe(np.moveaxis(walks(4, 3, TIME), 1, 2) * SIZE)
    expected = networks.load(path).predict(seen, 3)
    new = ("patch", "neighbours", "agent", "rollout", "horizon", "h_stream", "context_norm", "h_gain")
    _change(path, lambda c: {**c, "model": {k: v for k, v in c["model"].items() if k not in new}})
    np.testing.assert_array_equal(networks.load(path).predict(seen, 3), expected)


@pytest.mark.parametrize("family", ["scene, carry", "gru", "8gpu_v2"])
def test_the_backend_of_jax_predicts_the_same(family, random_params, tmp_path, walks):
    model = models.build(dict(FAMILIES[family], size=SIZE))
    path = _write(tmp_path / "model.npz", model, _draw(random_params, model))
    seen = _observe(np.moveaxis(walks(5, 3, TIME), 1, 2) * SIZE)
    np.testing.assert_allclose(
        read_predictor("", path, "jax").model.predict(seen, 4),
        networks.load(path).predict(seen, 4),
        rtol=1e-4,
        atol=1e-4,
    )


def test_more_steps_than_the_model_can_predict(random_params, tmp_path, walks):
    for fields in (dict(rollout="direct", horizon=4), dict(rollout="carry", positions=TIME + 3)):
        model = models.build(dict(TRANSFORMER, size=SIZE, **fields))
        predictor = networks.load(_write(tmp_path / "model.npz", model, _draw(random_params, model)))
        seen = _observe(np.moveaxis(walks(2, 3, TIME), 1, 2) * SIZE)
        assert predictor.predict(seen, 4).shape == (2, 4, 3, 2)
        with pytest.raises(RequestError, match="model.horizon = 4|model.positions = 8"):
            predictor.predict(seen, 5)


def test_a_missing_file(tmp_path):
    with pytest.raises(RequestError, match="no such file"):
        networks.load(tmp_path / "none.npz")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file(share, exported):
    content = exported.read_bytes()
    exported.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RequestError, match="model.npz"):
        networks.load(exported)


def _change(path, config=lambda c: c, arrays=lambda a: a):
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    described = config(json.loads(str(content.pop("config"))))
    np.savez(path, config=json.dumps(described), **arrays(content))


@pytest.mark.parametrize(
    "change, complaint",
    [
        (dict(config=lambda c: {**c, "model": {**c["model"], "name": "elman"}}), "elman"),
        (dict(config=lambda c: {**c, "model": {**c["model"], "layers": 2}}), "layer1|hh_kernel"),
        (dict(config=lambda c: {k: v for k, v in c.items() if k != "model"}), "model"),
        (dict(config=lambda c: {k: v for k, v in c.items() if k != "world"}), "world"),
        (dict(config=lambda c: {k: v for k, v in c.items() if k != "history"}), "history"),
        (dict(config=lambda c: [1, 2]), "model.npz"),
        (dict(arrays=lambda a: {k: v for k, v in a.items() if "hh_kernel" not in k}), "hh_kernel"),
        (dict(arrays=lambda a: {k: v for k, v in a.items() if "head" not in k}), "head"),
        (dict(arrays=lambda a: {k: v[:3] for k, v in a.items()}), r"is float32 .* wants floats"),
        (dict(config=lambda c: {**c, "model": {**c["model"], "features": "motion"}}), "ih_kernel is"),
    ],
)
def test_a_file_that_is_something_else(change, complaint, exported):
    _change(exported, **change)
    with pytest.raises(RequestError, match=complaint) as error:
        networks.load(exported)
    assert "\n" not in str(error.value)


HOSTILE = {
    **{
        f"history {value!r}": (dict(config={"history": value}), "history is")
        for value in (-5, 0, 1.5, "5", 10**9, True)
    },
    **{
        f"model.{name} {value!r}": (dict(model={name: value}), f"model.{name} = ")
        for name, values in {
            "width": (0, -4, "4", 4.0, True, 10**12, None),
            "layers": (0, 10**9),
            "features": ("all", 3, None),
            "rollout": ("free", ["carry"]),
            "agent": (1, "yes"),
            "size": (0, float("nan")),
        }.items()
        for value in values
    },
    "an unknown field": (dict(model={"widht": 4}), "model.widht is no field of lstm; did you mean"),
    "another world": (dict(config={"world": {"size": 99}}), "model.size = 13, but world.size = 99"),
    "a world of text": (dict(config={"world": {"size": "13"}}), "world.size is"),
    "constants of text": (dict(config={"constants": {"far": "x"}}), "constants"),
    **{
        f"weights of {kind}": (dict(leaf=lambda a, kind=kind: a.astype(kind)), "wants floats")
        for kind in ("complex64", "int32", "U8", "bool")
    },
    **{
        f"weights {value}": (
            dict(leaf=lambda a, value=value: np.where(a == a.max(), value, a)),
            "not finite: 1 of",
        )
        for value in (np.nan, np.inf, -np.inf, 1e39)
    },
    "a weight that broadcasts": (dict(leaf=lambda a: a.ravel()[:1]), "wants floats [16]"),
    "no weights": (dict(leaf=lambda a: a[:0]), "wants floats [16]"),
    "weights nested": (dict(leaf=lambda a: a[None]), "wants floats [16]"),
    "weights that are pickled": (dict(leaf=lambda a: a.astype(object)), "pickled"),
    **{
        f"task {task}": (
            dict(config={"task": task}),
            f'task is "{task}", but its lstm is trained by prediction',
        )
        for task in ("nosuch", "puzzle", "diffusion", "")
    },
    "other constants": (dict(config={"constants": {"far": 3.0}}), "was trained with far = 3.0"),
    "more weights": (
        dict(more={"params/layer1/hh_bias": np.ones(4)}),
        "layer1/hh_bias, which its config does not",
    ),
    "more arrays": (dict(more={"notes": np.ones(4)}), 'holds "notes"'),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_no_writer_wrote_is_refused_by_name(case, exported):
    change, complaint = HOSTILE[case]
    _change(
        exported,
        lambda c: {**c, **change.get("config", {}), "model": {**c["model"], **change.get("model", {})}},
        lambda a: {k: change["leaf"](v) if "leaf" in change and k == "params/layer0/hh_bias" else v
                   for k, v in a.items()} | change.get("more", {}),
    )  # fmt: skip
    with pytest.raises(RequestError) as error:
        networks.load(exported)
    assert complaint in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(f"{exported}: ")


@pytest.mark.parametrize(
    ("name", "fields"),
    [(name, {field: value})
     for name, field in (("hrm", "norm_eps"), ("hrm_act", "norm_eps"), ("hrm_act", "theta"))
     for value in (0, 1e-300, 1e300, 10**400, 10**5000)]
    + [("hrm_act", {"prefix": 10**6}), ("hrm_act", {"sequence": 10**9})],
)  # fmt: skip
def test_numbers_that_float32_does_not_hold_and_boundless_lengths_are_refused(name, fields):
    given = {"vocabulary": 6, "sequence": 9} if name == "hrm_act" else {}
    with pytest.raises(RequestError, match=f"model.{next(iter(fields))} = ") as error:
        network_configs.config({"name": name, **given, **fields})
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_a_reader_would_refuse_is_not_written(value, random_params, tmp_path):
    model = models.build(dict(name="lstm", width=4, layers=1, size=SIZE))
    params = random_params(model)
    params["head"]["bias"] = np.array([0, value], np.float32)
    with pytest.raises(RequestError, match="params/head/bias is not finite: 1 of 2 numbers"):
        _write(tmp_path / "model.npz", model, params)
    assert os.listdir(tmp_path) == []


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
import hrm_jax.evaluate
from hrm_jax.referee.inference import networks
from hrm_jax.worlds.features import Observation
with np.load(sys.argv[1]) as file:
    seen = Observation(**file)
for path in sys.argv[2:]:
    np.save(path + ".out.npy", networks.load(path).predict(seen, 3))
assert not any(name.split(".")[0] in ("jax", "flax") and module for name, module in sys.modules.items())
"""


def test_planning_reads_and_runs_models_where_jax_is_blocked(tmp_path, random_params, walks):
    seen = _observe(np.moveaxis(walks(2, 3, TIME), 1, 2) * SIZE)
    np.savez(tmp_path / "seen.npz", **seen._asdict())
    files, expected = [], []
    for i, family in enumerate(("gated", "8gpu_v2", "lstm 1", "transformer, scene, carry")):
        model = models.build(dict(FAMILIES[family], size=SIZE))
        files.append(_write(tmp_path / f"{i}.npz", model, _draw(random_params, model)))
        expected.append(networks.load(files[-1]).predict(seen, 3))
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(tmp_path / "seen.npz"), *map(str, files)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for file, numbers in zip(files, expected, strict=True):
        np.testing.assert_allclose(np.load(f"{file}.out.npy"), numbers, rtol=1e-5)
