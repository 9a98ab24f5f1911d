"""The forecast task: whole scenes as data, the free run as objective, the success rate as evaluation."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base, benchmark
from hrm_jax.artefacts import health
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee import drawing as referee_drawing
from hrm_jax.tasks import build
from hrm_jax.tasks.forecast import DISCOUNT, MARGIN, Forecast
from hrm_jax.training import sharding, step
from hrm_jax.worlds.world import WORLDS


def _config(**fields):
    c = base.get_config()
    base.forecast(c)
    c.batch_size = 24
    c.data.update(dict(history=4, horizon=5, windows_per_episode=2, eval_episodes=8, closed_loop_episodes=8))
    c.data.world.update(dict(size=8, n_static=4, n_obstacles=3, history=6))
    c.model = base.lstm()
    c.model.update(dict(width=8, layers=1, features="scene", rollout="carry"))
    c.update_from_flattened_dict(fields)
    return c.to_dict()


def test_batches_are_functions_of_seed_and_step_on_any_number_of_devices(meshes):
    one, eight = (Forecast(_config(), meshes[n]) for n in (1, 8))
    first, again, spread = (jax.tree.map(np.asarray, task.batch(3)) for task in (one, one, eight))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), first, spread)
    assert first.history.shape == (8, 3, 4, 2) and first.future.shape == (8, 3, 5, 2)
    assert (np.asarray(one.batch(4).history) != first.history).any()
    other = Forecast({**_config(), "seed": 1}, meshes[1])
    assert (np.asarray(other.batch(3).history) != first.history).any()


def test_the_loss_is_the_discounted_pseudo_huber_error_in_cells(meshes, monkeypatch):
    task = Forecast(_config(), meshes[1])
    batch = task.batch(0)
    off = jnp.array([3.0, 4.0]) / 8  # 5 cells
    wrong = jnp.moveaxis(batch.future, 2, 0)
    wrong = wrong.at[2].add(off)
    monkeypatch.setattr(task, "forecast", lambda *_: wrong)
    weight = DISCOUNT ** np.arange(5)
    expected = (np.sqrt(25 + MARGIN**2) - MARGIN) * weight[2] / weight.sum()
    assert float(task.loss({}, (), batch, None)[0]) == pytest.approx(expected, rel=1e-5)


def test_evaluation_closes_the_loop(meshes):
    task = Forecast(_config(), meshes[1])
    params, carry = task.init(jax.random.key(0), task.batch(0))
    assert carry == ()
    results = {name: float(value) for name, value in task.evaluate(params).items()}
    rates = [results[f"eval/{name}"] for name in ("success", "baseline/reflection/success")]
    assert 0 <= min(rates) and max(rates) <= results["eval/baseline/oracle/success"] <= 1
    # Untrained, the predictor is constant velocity: its head starts at zero.
    for h in (1, 5):
        straight = results[f"eval/constant_velocity/error_{h}"]
        assert results[f"eval/error_{h}"] == pytest.approx(straight, rel=1e-4)
    assert "eval/error_10" not in results  # beyond the horizon
    (fault,) = health.faults(health.measured(results))
    assert fault.startswith("has not learned more than constant velocity: held-out error at 5 steps")
    assert 0 < results["eval/state_growth"] < 10 and "eval/gates_saturated" not in results
    task.data = dataclasses.replace(task.data, closed_loop_episodes=0)
    assert "eval/success" not in task.evaluate(params)


@pytest.mark.parametrize(("k_step", "told"), [(2, True), (7, True), (8, False)])
def test_evaluation_says_how_much_is_heard_of_a_slow_stream(k_step, told, meshes):
    """With k = 8 it runs only at t = 0: 4 steps are seen, and the first 4 of 5 predictions read."""
    fields = dict(width=8, heads=2, blocks=1, features="scene", rollout="carry", k_step=k_step, h_gain=0.1)
    config = _config(**{"data.closed_loop_episodes": 0})
    config["model"] = {**base.hrm().to_dict(), **fields}
    task = Forecast(config, meshes[1])
    params, _ = task.init(jax.random.key(0), task.batch(0))
    assert np.all(params["message"]["gain"] == np.float32(0.1))
    results = task.evaluate(params)
    assert ("eval/h_heard" in results) == told
    if told:
        assert 0 < results["eval/h_heard"] < 1


def test_it_learns_the_walls(meshes):
    """Known answer: after 150 small updates the free run errs less than half as much as going straight."""
    task = Forecast(
        _config(**{"batch_size": 192, "model.width": 24, "data.closed_loop_episodes": 0}), meshes[1]
    )
    params, _ = task.init(jax.random.key(0), task.batch(0))
    tx = optax.adam(optax.cosine_decay_schedule(2e-2, 150))

    @jax.jit
    def update(params, moments, batch):
        gradients = jax.grad(lambda p: task.loss(p, (), batch, None)[0])(params)
        updates, moments = tx.update(gradients, moments)
        return optax.apply_updates(params, updates), moments

    moments = tx.init(params)
    for i in range(150):
        params, moments = update(params, moments, task.batch(i))
    results = task.evaluate(params)
    assert results["eval/error_5"] < 0.5 * results["eval/constant_velocity/error_5"]
    assert health.faults(health.measured(results)) == []


def test_runs_of_other_seeds_are_the_same_program():
    """So that a sweep over seeds compiles once."""
    texts = []
    for seed in (0, 1):
        config = benchmark.get_config("standard,lstm")
        config.seed = seed
        experiment = build(config, sharding.make_mesh(1))
        _, layout = step.initializer(experiment)
        update, batch = step.make_update(experiment, layout), jax.eval_shape(experiment.task.batch, 0)
        texts.append(update.lower(layout, batch).as_text())
    assert texts[0] == texts[1]


REFUSED = {
    "batch_size": (25, "batch_size = 25 is not divisible by the 3 obstacles of a world"),
    "data.history": (7, "at most the 6 steps that the agent waits"),
    "data.horizon": (0, "data.horizon = 0: at least 1"),
    "data.closed_loop_episodes": (-1, "closed_loop_episodes = -1"),
    "model.patch": (4, "0 or an odd number"),
}


@pytest.mark.parametrize("field", REFUSED)
def test_wrong_fields_are_one_line(field, meshes):
    value, complaint = REFUSED[field]
    with pytest.raises(RequestError, match=complaint):
        Forecast(_config(**{field: value}), meshes[1])


def test_a_world_whose_obstacles_are_always_at_the_start_is_refused(meshes, monkeypatch):
    """The simulator would draw them again for ever."""
    monkeypatch.setattr(referee_drawing, "MAX_START_DRAWS", 20)
    world = {"kinds": ("pursuit",), "size": 5, "n_static": 0, "history": 100}
    with pytest.raises(RequestError, match="obstacles come near the start in each of 20 draws"):
        Forecast(_config(**{f"data.world.{name}": value for name, value in world.items()}), meshes[1])


# ---------------------------------------------------------------- the benchmark's configs


def test_the_configs_train_in_the_worlds_that_the_referee_draws():
    for name in benchmark.WORLDS:
        world = benchmark.get_config(f"{name},hrm").data.world.to_dict()
        assert {field: getattr(WORLDS[name], field) for field in world} == world, name


@pytest.mark.parametrize(
    ("world", "size"), [("swarm", ""), ("mixed", ""), ("interacting", ""), ("mixed", ",wide")]
)
def test_models_are_equal_in_size_data_and_steps(world, size):
    configs = {name: benchmark.get_config(f"{world},{name}{size}") for name in benchmark.MODELS}
    counts = {}
    for name, config in configs.items():
        task = Forecast(config.to_dict(), sharding.make_mesh(1))
        shapes = jax.eval_shape(task.init, jax.random.key(0), jax.eval_shape(task.batch, 0))[0]
        counts[name] = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert max(counts.values()) <= 1.05 * min(counts.values()), counts
    same = [{**copy.deepcopy(c.to_dict()), "model": None} for c in configs.values()]
    assert all(config == same[0] for config in same)


@pytest.mark.parametrize("choice", ["swarm", "swam,hrm", "swarm,rnn", "swarm,lstm,k1", "swarm,hrm,k3"])
def test_wrong_choices_name_what_is_allowed(choice):
    with pytest.raises(ValueError, match="one of"):
        benchmark.get_config(choice)


@pytest.mark.parametrize("name", benchmark.ABLATIONS)
def test_every_ablation_builds(name):
    for world in ("swarm", "interacting"):
        Forecast(benchmark.get_config(f"{world},hrm,{name}").to_dict(), sharding.make_mesh(1))
