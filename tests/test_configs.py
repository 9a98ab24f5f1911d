"""Every experiment builds, has the published size and length, and says how it is run."""

import dataclasses
import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks import NETWORKS
from hrm_jax.tasks import TASKS, build, diffusion, forecast, lattice, prediction
from hrm_jax.training import configs, cost, experiment, optimizer
from hrm_jax.training.optimizer import OptimizerConfig
from hrm_jax.worlds.world import WORLDS, World, of_config

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
NAMES = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if not p.stem.startswith("base"))
PUZZLES = [name for name in NAMES if name.startswith(("act_", "trm_"))]  # their data are a folder
MAZES = [name for name in NAMES if name.startswith(("poh", "pot_"))]
PATHS = [name for name in NAMES if name.startswith("diffusion")]  # denoisers of paths; their data are a file

# docs/models.md#parameter-counts: parameters, updates, batch, peak rate, episodes, history, clip
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
# Of the model group, what the published scripts set beyond the sizes.
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


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(PATHS) - set(PUZZLES) - set(MAZES)))
def test_a_config_builds(name, meshes):
    config = _config(name)
    task = TASKS[config.task](config.to_dict(), meshes[1])
    batch = jax.eval_shape(task.batch, 0)
    params, carry = jax.eval_shape(task.init, jax.random.key(0), batch)
    assert batch.history.shape[0] * batch.history.shape[1] == config.batch_size
    assert batch.history.shape[2:] == (config.data.history, 2)
    assert all(leaf.dtype == "float32" for leaf in jax.tree.leaves(params)) and carry == ()
    steps = experiment.count_steps(config, task)
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
    world = {"n_static": 20, "history": history}
    world |= {"distinct_static": False, "connected": False, "safe_start": False}
    assert task.world == of_config(world)


@pytest.mark.parametrize("name", SWITCHES)
def test_the_switches_of_the_published_scripts(name):
    config = _config(name)
    assert {field: config.model[field] for field in SWITCHES[name]} == SWITCHES[name]
    o = config.optimizer
    if name == "hrm_8gpu_v2":
        assert (o.name, o.schedule, o.final_learning_rate) == ("lamb", "cosine", 1e-6)
        assert (o.bias_correction, o.eps) == (False, 1e-6)
    else:
        constant = name.startswith("lstm") or name == "hrm_small_v2"
        assert (o.name, o.schedule) == ("adamw", "constant" if constant else "onecycle")
        assert (o.eps, o.cycle_b1) == (1e-8, True)
    assert (o.b1, o.b2, o.weight_decay) == (0.9, 0.999, 0.01)
    assert o.batch_scaling == "none"


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
    if config.task == "puzzle":
        base.puzzle(complete, "", vocabulary=1, sequence=1)
    elif config.task != "prediction":
        getattr(base, config.task)(complete, *([8] if config.task == "lattice" else []))
    if config.task not in ("puzzle", "lattice"):  # whose model group belongs to its data
        complete.model = getattr(base, config.model.name)()
    assert set(_flat(config)) == set(_flat(complete))


def test_base_names_every_field_there_is():
    from configs import base

    def names(config, *but):
        return {field.name for field in dataclasses.fields(config)} - set(but)

    c = base.get_config()
    assert set(c.optimizer) == names(OptimizerConfig)
    assert set(c.data) == names(prediction.DataConfig)
    assert set(c.data.world) == names(World, "name", "generator")
    base.forecast(c)
    assert set(c.data) == names(forecast.DataConfig)
    base.diffusion(c)
    assert set(c.data) == names(diffusion.DataConfig)
    base.lattice(c, 8)
    assert set(c.data) == names(lattice.DataConfig)
    assert set(c.objective) == names(lattice.ObjectiveConfig)
    for group in (base.path_unet(), base.path_convnet(), base.poh(8)):
        assert set(group) - {"name"} == names(NETWORKS[group.name].config)
    for group in (base.hrm(), base.lstm(), base.gru(), base.transformer(), base.hrm_8gpu_v2()):
        # The world's size is said once, in data.world.
        assert set(group) - {"name"} == names(NETWORKS[group.name].config, "size")


def test_the_corrected_world_is_the_default():
    from configs import base

    assert of_config(base.get_config().data.world) == of_config({})
    assert base.get_config().data.world.to_dict() == {
        "size": 20, "n_static": 12, "n_obstacles": 6, "speed": 0.7, "history": 20,
        "distinct_static": True, "connected": True, "safe_start": True,
        "kinds": ("bounce",), "interacting": False, "noise": 0.0, "drop": 0.0, "layout": "cells",
    }  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_a_config_may_train_in_every_declared_world(name):
    from configs import base

    simulated = dataclasses.replace(WORLDS[name], name="data.world", generator="jax")
    assert of_config(base.world(name)) == simulated


def test_the_quickstart_has_both_models_and_refuses_a_third():
    quickstart = importlib.import_module("configs.quickstart")
    assert quickstart.get_config().model.name == "hrm"
    assert quickstart.get_config("lstm").model.name == "lstm"
    with pytest.raises(ValueError, match="hrm, lstm"):
        quickstart.get_config("gru")


# ---------------------------------------------------------------- mazes


@pytest.mark.parametrize(("name", "count"), [("pot_baseline", 7_210_896), ("pot_poh", 7_040_825)])
def test_the_published_mazes_have_the_published_sizes_and_length(name, count, meshes):
    config = _config(name)
    task = TASKS["lattice"](config.to_dict(), meshes[1], dry=True)
    assert cost.count(jax.eval_shape(task.init, jax.random.key(0), task.batch(0))[0]) == count
    assert f"{count:,}" in importlib.import_module(f"configs.{name}").__doc__
    task.samples_per_epoch = 389
    assert experiment.count_steps(config, task) == 650


@pytest.mark.parametrize("choice", [f"8,{model}" for model in ("soft", "looped", "blind", "transformer")])
def test_models_of_mazes_have_as_many_parameters(choice, meshes):
    from configs import poh

    task = TASKS["lattice"](poh.get_config(choice).to_dict(), meshes[1], dry=True)
    count = cost.count(jax.eval_shape(task.init, jax.random.key(0), task.batch(0))[0])
    assert abs(count / 86_636 - 1) < 0.02, count


# ---------------------------------------------------------------- denoisers of paths

# Published denoisers: parameters, paths, updates, clip, decay of the average; steps, samples, refinements
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
            world='{"size": 64, "speed": 0.75, "n_obstacles": 8}',
            search=f'{{"published": {str(published).lower()}}}',
            ids=np.arange(count),
            static=np.zeros((count, 64, 64), bool),
            positions=np.zeros((count, 8, 2), np.float32),
            velocities=np.zeros((count, 8, 2), np.float32),
            start=np.zeros((count, 2), np.int64),
            goal=np.zeros((count, 2), np.int64),
            points=np.zeros((count, 64, 2), np.float32),
            length=np.zeros(count, np.int64),
        )
    return paths


@pytest.mark.parametrize("name", PATHS)
def test_a_denoiser_builds_and_says_when_its_data_are_missing(name, experts, meshes):
    config = _config(name)
    with pytest.raises(RequestError, match="data.path is empty"):
        build(config, meshes[1])
    config.data.path = experts[name in DENOISED]
    built = build(config, meshes[1])
    task, steps = built.task, built.steps
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
    o = config.optimizer
    assert (o.learning_rate, o.final_learning_rate) == (1e-3, 1e-5)
    assert (o.schedule, o.warmup_steps, o.weight_decay) == ("cosine", 0, 1e-4)
    assert f"{paths:,}" in importlib.import_module(f"configs.{name}").__doc__


# Published HRM-ACT, TRM: parameters, updates, batch, rate, weight decay, those of the puzzle table
ACT = {
    "act_maze": (27_270_146, 26_041, 768, 1e-4, 1.0, 1e-4, 1.0),
    "act_sudoku": (27_275_266, 26_041, 768, 1e-4, 1.0, 1e-4, 1.0),
    "act_arc1": (27_276_290, None, 768, 1e-4, 0.1, 1e-2, 0.1),
    "act_arc2": (27_276_290, None, 768, 1e-4, 0.1, 1e-2, 0.1),
    "act_city": (27_276_290, 31_250, 384, 1e-4, 0.1, 1e-2, 0.1),
    "act_city_small": (2_100_482, 23_430, 64, 1e-4, 0.1, 1e-2, 0.1),
    "act_maze_v2port": (27_270_146, 3_200, 32, 1e-4, 1.0, None, None),
    "trm_maze": (6_822_914, 65_104, 768, 1e-4, 1.0, 1e-4, 1.0),
    "trm_sudoku": (5_028_866, 65_104, 768, 1e-4, 1.0, 1e-4, 1.0),
}


def test_every_puzzle_run_of_the_issue_has_a_config():
    assert {
        *ACT,
        "act_sudoku4",
        "act_sudoku6",
        "act_sudoku9",
        "act_maze8",
        "act_maze10",
        "act_city8",
        "act_lattice8",
    } == set(PUZZLES)


@pytest.mark.parametrize("name", PUZZLES)
def test_a_puzzle_config_builds_and_says_when_its_data_are_missing(name, meshes):
    config = _config(name)
    config.data.path = "nowhere"
    with pytest.raises(RequestError, match="no such folder; python -m hrm_jax.puzzles"):
        build(config, meshes[1])
    built = build(config, meshes[1], dry=True)
    task, steps = built.task, built.steps
    params, carry = jax.eval_shape(task.init, jax.random.key(0), jax.eval_shape(task.batch, 0))
    trained, _ = task.groups.split(params)
    if name not in ACT:
        assert cost.count(trained) < 300_000 and steps <= 10_000
        return
    count, updates, batch, *rates = ACT[name]
    assert (cost.count(trained), config.batch_size) == (count, batch)
    o = config.optimizer
    given = [o.learning_rate, o.weight_decay, o.table_learning_rate, o.table_weight_decay]
    assert [a for a, b in zip(given, rates, strict=True) if b is not None] == [
        b for b in rates if b is not None
    ]
    assert (o.b1, o.b2, config.act.segments, config.act.exploration) == (0.9, 0.95, 16, 0.1)
    if updates is None:
        assert config.epochs == 100_000
    else:
        assert steps == updates
    if name == "act_maze_v2port":
        assert carry == () and (o.name, o.clip, o.schedule_steps) == ("adamw", 1.0, 10_000)
        assert optimizer.learning_rate(OptimizerConfig(**o), steps, batch)(3_199) == pytest.approx(
            0.83e-4, rel=0.01
        )
        return
    assert (o.name, o.clip, o.warmup_steps, o.final_ratio) == ("adam_atan2", 0.0, 2_000, 1.0)
    assert carry.state.high.dtype == "bfloat16" and carry.steps.shape == (batch,)
    assert config.ema_decay == (0.999 if name.startswith("trm") else 0)


def test_the_repaired_port_has_the_compute_of_the_port():
    """In calls of a module: 16 segments of 6 and their Q targets and one backward pass, against 16."""
    module = importlib.import_module("configs.act_maze_v2port")
    port, repaired = (module.get_config(choice) for choice in module.CHOICES)
    assert port.steps * (16 * (6 + 6) + 4) == repaired.steps * (6 + 6 + 4)
    assert repaired.act.supervision == "every" and repaired.batch_size == port.batch_size == 32
    with pytest.raises(ValueError, match="as_it_was, repaired"):
        module.get_config("other")


def test_the_published_denoisers_have_the_published_faults():
    from hrm_jax.models.denoisers.networks import PUBLISHED as faults

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


# ---------------------------------------------------------------- config files of one's own


BASE = (
    "from configs import base\nfrom ml_collections import ConfigDict, FrozenConfigDict\n"
    "from ml_collections.config_dict import required_placeholder\n"
    "def get_config():\n    c = base.get_config()\n"
)


@pytest.mark.parametrize("made", ["c", "FrozenConfigDict(c)"])
def test_a_config_file_may_freeze_its_config(made, tmp_path):
    (tmp_path / "mine.py").write_text(f"{BASE}    return {made}")
    assert configs.read(str(tmp_path / "mine.py"), ["--config.steps=7"]).steps == 7


def test_a_field_without_a_name_is_one_line():
    with pytest.raises(RequestError, match="--config quickstart: "):
        configs.read("quickstart", ["--config.=3"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def get_config(:", "SyntaxError: invalid syntax .*line 1"),
        ("x = 1", "get_config"),
        ("def get_config(): return {}", "get_config must return a ConfigDict; it returns a dict"),
        ("def get_config(): return None", "it returns a NoneType"),
        ("def get_config(): return 1 / 0", "ZeroDivisionError, line 1: division by zero"),
        ("import nothing_of_this_name", "ModuleNotFoundError, line 1: No module named"),
        ("def get_config(a, b): pass", "missing 2 required positional arguments"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("class E(Exception):\n    __str__ = None\nraise E", "E, line 3: E"),
        (f"{BASE}    c.steps = required_placeholder(int); return c", "None value found in required"),
        (f"{BASE}    c.data = ConfigDict({{1: 2}}); return c", "field data.1: the name of a field is a"),
        (f"{BASE}    c.data.me = c; return c", "a group of the config holds itself"),
        ("\0", "null bytes"),
    ],
)
def test_a_config_file_that_makes_no_config_is_one_line(text, complaint, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(RequestError, match=f"--config {path}: .*{complaint}"):
        configs.read(str(path))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ("del c.optimizer", "optimizer = None: a group of the fields name, learning_rate"),
        ("c.optimizer = 3", "optimizer = 3: a group of the fields"),
        ("del c.seed", "the config lacks seed"),
        ("c.stepps = 3", 'unknown config field stepps; did you mean "steps"'),
        ("c.seed = 10 ** 20", "seed = 100000000000000000000: a whole number up to 2,147,483,647"),
        ("c.checkpoint.every = 0", "checkpoint.every = 0: at least 1"),
        ("c.log_every = -1", "log_every = -1: at least 1"),
        ("c.mesh.fsdp = 0", "mesh.fsdp = 0: at least 1"),
        ("c.steps = float('nan')", "steps = nan: a whole number"),
        ("c.ema_decay = 1.0", "ema_decay = 1.0: at least 0 and less than 1"),
        ("c.optimizer.onecycle_start = 0", "optimizer.onecycle_start = 0.0: above 0, 1e-38 to 1e+38"),
        ("c.optimizer.warmup_steps = -1", "optimizer.warmup_steps = -1: at least 0"),
        ("c.optimizer.weight_decay = float('nan')", "optimizer.weight_decay = nan: a finite number"),
        ("c.optimizer.learning_rate = float('inf')", "optimizer.learning_rate = inf: a finite number"),
        ("c.data = None", "the group data is missing"),
        ("c.data.world.kinds = ('bounce', 'patrol')", "data.world: in windows obstacles only bounce"),
        ("c.data.world.noise = 0.1", "data.world: in windows obstacles only bounce"),
    ],
)
def test_a_config_with_a_field_that_cannot_be_meant_is_one_line(changes, complaint, tmp_path, meshes):
    path = tmp_path / "mine.py"
    lines = ("from configs import quickstart", "def get_config():", "    c = quickstart.get_config()",
             "    with c.unlocked(), c.ignore_type():", f"        {changes}", "    return c")  # fmt: skip
    path.write_text("\n".join(lines))
    with pytest.raises(RequestError) as error:
        build(configs.read(str(path)), meshes[1])
    assert complaint in str(error.value)
