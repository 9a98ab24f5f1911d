"""Every experiment builds, has the published size and length, and says how it is run."""

import dataclasses
import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from hrm_jax import cost, models, train
from hrm_jax.errors import RequestError
from hrm_jax.gridworld.types import WorldConfig
from hrm_jax.models.diffusion import DENOISERS
from hrm_jax.optimizer import OptimizerConfig
from hrm_jax.tasks import TASKS, diffusion, forecast, prediction

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
NAMES = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem not in ("base", "__init__"))
PATHS = [name for name in NAMES if name.startswith("diffusion")]  # denoisers of paths; their data are a file

# cloud.md §1.1 and §1.2: parameters, updates, batch, peak rate, episodes, history, clip
PUBLISHED = {
    "hrm_small_v2": (1_550_082, 52_750, 1024, 3e-4, 3_000, 10, 1.0),
    "hrm_small": (388_226, 263_700, 2048, 1e-3, 30_000, 20, 1.0),
    "hrm_mid": (3_624_194, 87_920, 8192, 4e-4, 60_000, 20, 1.0),
    "hrm_fullscale": (24_771_074, 219_750, 4096, 1e-4, 60_000, 20, 1.0),
    "hrm_full_split": (28_969_474, 87_900, 4096, 3e-4, 60_000, 20, 1.0),
    "hrm_full": (28_969_474, 32_970, 16_384, 6e-4, 60_000, 20, 1.0),
    "hrm_8gpu_v2": (29_411_842, 52_740, 4096, 3e-4, 60_000, 20, 1.0),
    "lstm_128": (199_938, 131_850, 2048, 1e-3, 30_000, 20, 0.0),
    "lstm_256": (793_090, 65_940, 8192, 4e-4, 60_000, 20, 0.0),
    "lstm_512": (3_159_042, 131_850, 4096, 6e-4, 60_000, 20, 0.0),
}
# Of the model group, what §1.1 says beyond the sizes.
SWITCHES = {
    "hrm_small_v2": dict(width=256, blocks=1, heads=4, k_step=3, block="recurrent", detach=False, init_std=0),
    "hrm_small": dict(width=128, blocks=1, heads=4, k_step=2, block="recurrent", detach=True, init_std=0),
    "hrm_mid": dict(width=256, blocks=2, heads=4, k_step=2, block="gated", detach=True, init_std=0.01),
    "hrm_fullscale": dict(width=512, blocks=4, heads=8, block="recurrent", init_std=0.02, norm_eps=1e-12),
    "hrm_full_split": dict(width=512, blocks=4, heads=8, block="gated", init_std=0.01, norm_eps=1e-6),
    "hrm_full": dict(width=512, blocks=4, heads=8, block="gated", init_std=0.01, norm="published"),
    "hrm_8gpu_v2": dict(width=512, blocks=4, heads=8, k_step=2, norm_eps=1e-6, init_std=0.01),
    "lstm_128": dict(width=128, layers=2, dropout=0),
    "lstm_256": dict(width=256, layers=2, dropout=0),
    "lstm_512": dict(width=512, layers=2, dropout=0),
}


def _config(name):
    return importlib.import_module(f"configs.{name}").get_config()


def _flat(config, prefix=""):
    fields = {}
    for name, value in config.items():
        fields |= _flat(value, f"{prefix}{name}.") if hasattr(value, "items") else {prefix + name: value}
    return fields


def test_every_published_run_has_a_config():
    assert set(PUBLISHED) <= set(NAMES)
    assert "quickstart" in NAMES


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(PATHS)))
def test_a_config_builds(name, meshes):
    config = _config(name)
    task = TASKS[config.task](config.to_dict(), meshes[1])
    batch = jax.eval_shape(task.batch, 0)
    params, carry = jax.eval_shape(task.init, jax.random.key(0), batch)
    assert batch.history.shape[0] * batch.history.shape[1] == config.batch_size
    assert batch.history.shape[2:] == (config.data.history, 2)
    assert all(leaf.dtype == "float32" for leaf in jax.tree.leaves(params)) and carry == ()
    steps = train.count_steps(config, task)
    OptimizerConfig(**config.optimizer)
    if name not in PUBLISHED:
        assert steps > 0
        return
    count, updates, batch_size, rate, episodes, history, clip = PUBLISHED[name]
    assert (cost.count(params), steps, config.batch_size) == (count, updates, batch_size)
    assert task.samples_per_epoch == episodes * (360 if history == 10 else 300)
    assert (config.data.history, config.data.world.history) == (history, history)
    assert (config.optimizer.learning_rate, config.optimizer.clip) == (rate, clip)
    assert config.eval_every == config.checkpoint.every == -(-task.samples_per_epoch // batch_size)
    expected = WorldConfig(
        n_static=20, history=history, distinct_static=False, connected=False, safe_start=False
    )
    assert task.world == expected


@pytest.mark.parametrize("name", SWITCHES)
def test_the_switches_of_the_published_scripts(name):
    config = _config(name)
    assert {field: config.model[field] for field in SWITCHES[name]} == SWITCHES[name]
    optimizer = config.optimizer
    if name == "hrm_8gpu_v2":
        assert (optimizer.name, optimizer.schedule, optimizer.final_learning_rate) == ("lamb", "cosine", 1e-6)
        assert (optimizer.bias_correction, optimizer.eps) == (False, 1e-6)
    else:
        constant = name.startswith("lstm") or name == "hrm_small_v2"
        assert (optimizer.name, optimizer.schedule) == ("adamw", "constant" if constant else "onecycle")
        assert (optimizer.eps, optimizer.cycle_b1) == (1e-8, True)
    assert (optimizer.b1, optimizer.b2, optimizer.weight_decay) == (0.9, 0.999, 0.01)
    assert optimizer.batch_scaling == "none"


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_has_the_command_and_the_facts(name):
    text = importlib.import_module(f"configs.{name}").__doc__
    assert f"python -m hrm_jax.train --config configs/{name}.py" in text
    assert "--workdir runs/" in text
    if name in PUBLISHED:
        assert f"{PUBLISHED[name][0]:,}" in text and f"{PUBLISHED[name][1]:,}" in text


@pytest.mark.parametrize("name", NAMES)
def test_no_config_invents_a_field(name):
    from configs import base

    config = _config(name)
    complete = base.get_config()
    if config.task != "prediction":
        getattr(base, config.task)(complete)
    complete.model = getattr(base, config.model.name)()
    assert set(_flat(config)) == set(_flat(complete))


def test_base_names_every_field_there_is():
    from configs import base

    def names(config, *but):
        return {field.name for field in dataclasses.fields(config)} - set(but)

    c = base.get_config()
    assert set(c.optimizer) == names(OptimizerConfig)
    assert set(c.data) - {"world"} == names(prediction.DataConfig)
    assert set(c.data.world) == names(WorldConfig)
    base.forecast(c)
    assert set(c.data) - {"world"} == names(forecast.DataConfig)
    base.diffusion(c)
    assert set(c.data) == names(diffusion.DataConfig)
    for group in (base.path_unet(), base.path_convnet()):
        assert set(group) - {"name"} == names(DENOISERS[group.name][1])
    for group in (base.hrm(), base.lstm(), base.gru(), base.transformer(), base.hrm_8gpu_v2()):
        # The world's size is said once, in data.world.
        assert set(group) - {"name"} == names(models.PREDICTORS[group.name][1], "size")


def test_the_corrected_world_is_the_default():
    from configs import base

    assert WorldConfig(**base.get_config().data.world) == WorldConfig()
    assert dataclasses.asdict(WorldConfig()) == {
        "size": 20, "n_static": 12, "n_obstacles": 6, "speed": 0.7, "history": 20,
        "distinct_static": True, "connected": True, "safe_start": True,
        "kinds": ("bounce",), "interacting": False, "noise": 0.0, "drop": 0.0, "layout": "cells",
    }  # fmt: skip


def test_the_quickstart_has_both_models_and_refuses_a_third():
    quickstart = importlib.import_module("configs.quickstart")
    assert quickstart.get_config().model.name == "hrm"
    assert quickstart.get_config("lstm").model.name == "lstm"
    with pytest.raises(ValueError, match="hrm, lstm"):
        quickstart.get_config("gru")


# ---------------------------------------------------------------- denoisers of paths

# cloud.md §4.1 and §4.2: parameters, paths, updates, clip, decay of the average; steps, samples, refinements
DENOISED = {
    "diffusion_v2": (4_128_258, 5_000, 2_000, 1.0, 0.999, (100, 10, 40)),
    "diffusion_v1": (546_402, 2_500, 1_000, 0.0, 0.0, (50, 5, 20)),
    "diffusion_v0": (546_402, 500, 100, 0.0, 0.0, (50, 5, 20)),
}


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """{published: expert.npz} of as many empty paths as the published runs want."""
    folder, count, paths = tmp_path_factory.mktemp("experts"), 5_256, {}
    for published in (False, True):
        paths[published] = str(folder / f"{published}.npz")
        np.savez_compressed(
            paths[published],
            search=f'{{"published": {str(published).lower()}}}',
            static=np.zeros((count, 64, 64), bool),
            positions=np.zeros((count, 8, 2), np.float32),
            velocities=np.zeros((count, 8, 2), np.float32),
            goal=np.zeros((count, 2), np.int64),
            points=np.zeros((count, 64, 2), np.float32),
            length=np.full(count, 63),
        )
    return paths


@pytest.mark.parametrize("name", PATHS)
def test_a_denoiser_builds_and_says_when_its_data_are_missing(name, experts, meshes):
    config = _config(name)
    with pytest.raises(RequestError, match="data.path is empty"):
        train.build(config, meshes[1])
    config.data.path = experts[name in DENOISED]
    task, steps, _, _ = train.build(config, meshes[1])
    batch = jax.eval_shape(task.batch, 0)
    params, _ = jax.eval_shape(task.init, jax.random.key(0), batch)
    assert batch.map.shape == (config.batch_size, 64, 64, task.fields.map_channels)
    assert batch.path.shape == (config.batch_size, 64, 2)
    if name not in DENOISED:
        assert task.samples_per_epoch == 5_000 and steps == 30_000
        return
    count, paths, updates, clip, decay, plan = DENOISED[name]
    assert (cost.count(params), task.samples_per_epoch, steps) == (count, paths, updates)
    assert config.batch_size == paths  # every update sees all of them
    assert (config.optimizer.clip, config.ema_decay) == (clip, decay)
    assert (config.plan.steps, config.plan.samples, config.plan.refine) == plan
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.final_learning_rate) == (1e-3, 1e-5)
    assert (optimizer.schedule, optimizer.warmup_steps, optimizer.weight_decay) == ("cosine", 0, 1e-4)
    assert f"{paths:,}" in importlib.import_module(f"configs.{name}").__doc__


def test_the_published_denoisers_have_the_published_faults():
    from hrm_jax.models.diffusion import PUBLISHED as faults

    for name in DENOISED:
        config, condition = _config(name), "published" if name == "diffusion_v2" else "full"
        expected = {**faults, "condition": condition}
        assert {field: config.model[field] for field in expected} == expected
        assert (config.data.symmetries, config.data.crop, config.plan.sampler) == (False, False, "published")
    assert not _config("diffusion_v2").ema_correction


def test_the_variants_differ_in_what_they_are_named_for():
    variants = importlib.import_module("configs.diffusion")
    flat = {name: _flat(variants.get_config(name)) for name in variants.VARIANTS}
    changed = {
        name: {field.split(".")[-1] for field, value in fields.items() if value != flat["once"][field]}
        for name, fields in flat.items()
    }
    assert changed == {
        "once": set(),
        "velocity": {"channels"},
        "receding": {"replan"},
        "forecast": {"channels", "forecast", "cost_guidance"},
        "hybrid": {"channels", "forecast", "cost_guidance", "replan"},
    }
    assert flat["hybrid"] == _flat(_config("diffusion_hybrid"))
    for name in variants.VARIANTS:
        small = variants.get_config(f"{name},small")
        assert (small.model.width, small.batch_size, small.steps) == (32, 64, 1_000)
        assert small.plan.to_dict() == variants.get_config(name).plan.to_dict()
    for wrong in ("twice", "once,large", "small"):
        with pytest.raises(ValueError, match="one of once, velocity"):
            variants.get_config(wrong)
