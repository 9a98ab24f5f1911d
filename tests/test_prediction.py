"""The prediction task: epochs, streams, held-out worlds, the loss, and what it refuses."""

import copy
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld.rollout import Windows
from hrm_jax.referee import drawing
from hrm_jax.referee import dynamics as numpy_dynamics
from hrm_jax.tasks import build
from hrm_jax.tasks.prediction import Prediction
from hrm_jax.worlds.world import WORLDS

OBSTACLES, HISTORY, STEPS, EPISODES = 3, 4, 9, 5
SAMPLES = EPISODES * (STEPS - HISTORY) * OBSTACLES


def _config(batch_size=16, source="fixed", attention=None, **data):
    """A small world in which nothing is redrawn, and a small LSTM."""
    c = base.get_config()
    c.batch_size = batch_size
    c.data.update(
        source=source, episodes=EPISODES, episode_steps=STEPS, history=HISTORY, windows_per_episode=2
    )
    c.data.world.update(
        size=9, n_static=5, n_obstacles=OBSTACLES, history=HISTORY, connected=False, safe_start=False
    )
    c.data.update(data)
    c.model = base.lstm()
    c.model.width = 4
    if attention:
        c.model = base.hrm()
        c.model.update(width=8, heads=2, blocks=1, attention=attention)
    return c.to_dict()


@functools.cache
def _numbers(mesh, **change):
    """(task, batch -> NumPy) once for equal arguments: compiling is what costs."""
    task = Prediction(_config(**change), mesh)
    return task, lambda step: jax.tree.map(np.asarray, task.batch(step))


def _rows(batch, present_only=True):
    """History and target of every sample as one tuple, to know it again."""
    flat = np.concatenate(
        [batch.history.reshape(len(batch.history), -1), batch.target.reshape(len(batch.target), -1)], 1
    )
    return [tuple(row) for row in flat[batch.weight > 0]] if present_only else [tuple(row) for row in flat]


def test_an_epoch_visits_every_sample_once_and_each_shuffles_anew(meshes):
    task, batch = _numbers(meshes[1])
    assert task.samples_per_epoch == SAMPLES == 75
    epochs = []
    for epoch in range(3):
        batches = [batch(5 * epoch + i) for i in range(5)]  # 16 x 4 + 11
        assert all(b.history.shape == (16, 1, HISTORY, 2) and b.target.shape == (16, 1, 2) for b in batches)
        for b in batches[:-1]:
            np.testing.assert_array_equal(b.weight, 1)
        last = batches[-1].weight
        np.testing.assert_allclose(last, np.where(np.arange(16) < 11, 16 / 11, 0), rtol=1e-6)
        assert last.mean() == pytest.approx(1)
        epochs.append([row for b in batches for row in _rows(b)])
    assert [len(set(rows)) for rows in epochs] == [75] * 3
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_fixed_data_is_what_the_originals_collect(meshes):
    _, batch = _numbers(meshes[1])
    windows = [row for i in range(5) for row in _rows(batch(i))]
    path = np.array(windows).reshape(75, HISTORY + 1, 2)
    path[:, -1] += path[:, -2]
    path *= 9
    # Five episodes of three obstacles: chains of five windows, each continuing the one before by a step.
    follows = np.abs(path[:, None, 1:] - path[None, :, :-1]).max(axis=(2, 3)) < 1e-4
    assert follows.sum() == OBSTACLES * EPISODES * (STEPS - HISTORY - 1)
    assert follows.sum(axis=0).max() == follows.sum(axis=1).max() == 1
    length = np.linalg.norm(np.diff(path, axis=1), axis=-1)
    assert np.median(length) == pytest.approx(0.7, rel=1e-4)


@pytest.mark.parametrize("source", ["fixed", "stream"])
def test_batches_are_functions_of_the_step_and_not_of_the_devices(source, meshes):
    _, batch = _numbers(meshes[1], source=source)
    one, eight = batch(3), jax.tree.map(np.asarray, Prediction(_config(source=source), meshes[8]).batch(3))
    jax.tree.map(np.testing.assert_array_equal, one, eight)
    jax.tree.map(np.testing.assert_array_equal, one, batch(3))
    assert not set(_rows(one)) & set(_rows(batch(4)))
    if source == "stream":
        np.testing.assert_array_equal(one.weight, 1)
        assert len(set(_rows(one))) == 16


def _worlds(histories):
    """Worlds [G, N, T, 2] by their obstacles' |velocity| along the rows, which no bounce changes."""
    moved = np.abs(np.diff(histories[..., 0], axis=-1))
    return {tuple(world) for world in np.median(moved, axis=-1).round(5)}


@pytest.mark.parametrize("source", ["fixed", "stream"])
def test_held_out_worlds_are_never_training_worlds(source, meshes):
    task, batch = _numbers(meshes[1], source=source, batch_size=75, attention="obstacles")
    held_out, future = map(np.asarray, jax.jit(task.held_out)())
    assert held_out.shape == (512, OBSTACLES, HISTORY, 2) and future.shape == (20, 512, OBSTACLES, 2)
    seen = set().union(*(_worlds(batch(step).history) for step in range(40)))
    assert len(_worlds(held_out)) > 500 and len(seen) > (5 if source == "fixed" else 500) - 1
    assert not seen & _worlds(held_out)


@pytest.mark.parametrize("source", ["fixed", "stream"])
def test_a_group_is_a_world_at_one_time(source, meshes):
    _, alone = _numbers(meshes[1], source=source, batch_size=75)
    task, together = _numbers(meshes[1], source=source, batch_size=75, attention="obstacles")
    groups, samples = together(0), alone(0)
    assert groups.history.shape == (25, OBSTACLES, HISTORY, 2) and groups.weight.shape == (25,)
    assert task.samples_per_epoch == (SAMPLES if source == "fixed" else 0)
    members = groups.history.reshape(75, -1)
    if source == "stream":
        np.testing.assert_array_equal(members, samples.history.reshape(75, -1))
        return
    assert len(np.unique(members, axis=0)) == 75
    assert {tuple(m) for m in members} == {tuple(m) for m in samples.history.reshape(75, -1)}
    # One world at one time: where a member's track goes on by a step, all members' tracks do.
    follows = np.abs(groups.history[:, None, :, 1:] - groups.history[None, :, :, :-1]).max(axis=(3, 4)) < 1e-6
    np.testing.assert_array_equal(follows.any(axis=2), follows.all(axis=2))
    assert follows.all(axis=2).sum() == EPISODES * (STEPS - HISTORY - 1)


def test_the_loss_is_the_mean_squared_error_of_the_samples_that_weigh(meshes, random_params, walks):
    task, _ = _numbers(meshes[1])
    params, history = random_params(task.model), walks(4, 1, HISTORY)
    target = np.random.default_rng(0).normal(0, 0.03, (4, 1, 2)).astype(np.float32)
    predicted = np.asarray(task.model.apply({"params": params}, history))

    def loss(weight):
        value, (carry, scalars) = task.loss(params, (), Windows(history, target, jnp.array(weight)), None)
        assert (carry, scalars) == ((), {})
        return float(value)

    square = (predicted - target).astype(np.float64) ** 2
    assert loss([1.0, 1.0, 1.0, 1.0]) == pytest.approx(square.mean(), rel=1e-5)
    assert loss([4 / 3, 4 / 3, 4 / 3, 0.0]) == pytest.approx(square[:3].mean(), rel=1e-5)


def _constant_velocity_by_hand(worlds, start, horizon):
    """Its errors in the published NumPy world, `start` steps in: [E, horizon, N, 2] cells."""
    drawn = drawing.draw(WORLDS["hrm-cloud"], range(worlds))
    path = numpy_dynamics.roll(drawn, start + horizon)[1]
    last, step = path[:, start], path[:, start] - path[:, start - 1]
    ahead = np.arange(1, horizon + 1)[:, None, None]
    return last[:, None] + ahead * step[:, None] - path[:, start + 1 :]


def test_held_out_metrics_of_constant_velocity_are_the_measured_ones(meshes, random_params):
    c = base.get_config()
    base.published_data(c, episodes=10)
    c.data.eval_episodes = 3000
    c.batch_size = 8
    c.model = base.lstm()
    c.model.width = 2
    task = Prediction(c.to_dict(), meshes[1])
    zeros = jax.tree.map(np.zeros_like, random_params(task.model))  # an LSTM of zeros predicts no motion
    found = {name: float(value) for name, value in task.evaluate(zeros).items()}
    assert found.pop("eval/state_growth") >= 0
    assert set(found) == {
        prefix + name
        for prefix in ("eval/", "eval/constant_velocity/")
        for name in ("loss", "error_1", "error_5", "error_10", "error_20")
    }
    # docs/worlds.md#reference-losses. The relative standard errors of 36,000 coordinates are 3 % and 0.6 %.
    assert found["eval/constant_velocity/loss"] == pytest.approx(4.73e-5, rel=0.1)
    assert found["eval/loss"] == pytest.approx(6.01e-4, rel=0.02)
    errors = np.concatenate([_constant_velocity_by_hand(1000, start, 20) for start in (20, 30, 40)])
    for h in (1, 5, 10, 20):
        expected = np.linalg.norm(errors[:, h - 1], axis=-1).mean()
        assert found[f"eval/constant_velocity/error_{h}"] == pytest.approx(expected, rel=0.1)
    assert found["eval/error_1"] == pytest.approx(0.69, abs=0.01)  # 0.7 less what walls cut off
    assert found["eval/error_1"] < found["eval/error_5"] < found["eval/error_10"] < found["eval/error_20"]


def test_evaluation_does_not_depend_on_the_devices(meshes, random_params):
    config = {**_config(eval_episodes=16)}
    tasks = [Prediction(copy.deepcopy(config), meshes[n]) for n in (1, 8)]
    params = random_params(tasks[0].model)
    one, eight = (task.evaluate(params) for task in tasks)
    for name in one:
        assert float(one[name]) == pytest.approx(float(eight[name]), rel=1e-5)


def test_init_depends_on_the_key_only(meshes):
    task, batch = _numbers(meshes[1])
    a, b, c = (task.init(jax.random.key(k), batch(s))[0] for k, s in ((0, 0), (0, 1), (1, 0)))
    assert task.init(jax.random.key(0), batch(0))[1] == ()
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert all((x != y).any() for x, y in zip(*map(jax.tree.leaves, (a, c)), strict=True))


@pytest.mark.parametrize(
    "change, devices, words",
    [
        (dict(history=9), 1, ("history = 9", "episode_steps = 9")),
        (dict(history=20), 1, ("history = 20", "episode_steps = 9")),
        (dict(history=1), 1, ("history = 1",)),
        (dict(source="files"), 1, ("files", "stream", "fixed")),
        (dict(episodes=0), 1, ("episodes = 0",)),
        (dict(windows_per_episode=0), 1, ("windows_per_episode = 0",)),
        (dict(batch_size=20), 8, ("batch_size = 20", "8 devices")),
        (dict(batch_size=32, attention="obstacles"), 1, ("batch_size = 32", "3 obstacles")),
        (dict(batch_size=30, attention="obstacles"), 8, ("10", "8 devices")),
    ],
)
def test_an_impossible_request_names_both_numbers(change, devices, words, meshes):
    with pytest.raises(RequestError) as error:
        Prediction(_config(**change), meshes[devices])
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_micro_batches_must_divide_the_batch(meshes):
    config = _config(batch_size=48)
    config["optimizer"]["accumulate"] = 4
    with pytest.raises(RequestError, match=r"48 .* 8 devices x 4"):
        Prediction(config, meshes[8])


def test_describe_says_what_a_model_file_must_say():
    described = Prediction.describe(_config())
    assert described["history"] == HISTORY
    assert (described["world"]["size"], described["model"]["size"], described["model"]["name"]) == (
        9,
        9,
        "lstm",
    )
    assert sorted(described) == ["constants", "history", "model", "world"]


def test_neighbouring_seeds_and_steps_do_not_share_worlds(meshes):
    _, batch = _numbers(meshes[1], source="stream", batch_size=75, attention="obstacles")
    config = _config(source="stream", batch_size=75, attention="obstacles")
    other = Prediction({**config, "seed": 1}, meshes[1])
    seen = [_worlds(batch(step).history) for step in (0, 1, 2)]
    seen += [_worlds(np.asarray(other.batch(step).history)) for step in (0, 1, 2)]
    assert all(len(worlds) >= 13 for worlds in seen)
    for a, b in itertools.combinations(seen, 2):
        assert not a & b


def test_what_another_task_trains_on_is_refused_in_one_line(meshes):
    config = _config()
    config["model"]["features"] = "scene"
    with pytest.raises(RequestError, match="model.features = scene: .* needs task = forecast"):
        Prediction(config, meshes[1])
    for field, value in (
        ("kinds", ("bounce", "patrol")),
        ("interacting", True),
        ("noise", 0.1),
        ("drop", 0.1),
    ):
        config = _config()
        config["data"]["world"] = {**config["data"]["world"], "size": 20, field: value}
        with pytest.raises(RequestError, match="data.world: in windows obstacles only bounce"):
            Prediction(config, meshes[1])
    other = base.get_config()
    base.forecast(other)
    other.task = "prediction"
    with pytest.raises(RequestError, match="begin with configs/quickstart.py"):
        build(other, meshes[1])


def test_no_micro_batches_are_refused_before_the_batch_is_cut(meshes):
    config = base.get_config()
    config.optimizer.accumulate = 0
    with pytest.raises(RequestError, match="optimizer.accumulate = 0: at least 1"):
        build(config, meshes[1])
