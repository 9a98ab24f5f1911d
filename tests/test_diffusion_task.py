"""The task `diffusion`: examples that stay true when turned and cut, and a loss that is what it says."""

import copy
import dataclasses
import functools
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from hrm_jax.artefacts import expert as expert_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.tasks import diffusion
from hrm_jax.tasks.diffusion import Diffusion, Examples
from hrm_jax.training import sharding
from hrm_jax.worlds import noising, path_frame, raster

SIZE, POINTS, OBSTACLES = 16, 16, 3
ALL = ("occupancy", "static", "obstacles", "velocity", "forecast")
ARRAYS = ("static", "positions", "velocities", "start", "goal", "points", "length")


def write_expert(path, count=12, published=False, but=(), **changes):
    """Straight lines at a pace of one cell a step, king's moves, among a few static cells and obstacles."""
    rng = np.random.default_rng(0)
    start, goal = rng.integers(0, SIZE, (2, count, 2))
    moves = np.maximum(np.abs(goal - start).max(1), 1)
    share = np.minimum(np.arange(POINTS) / moves[:, None], 1)
    points = (start[:, None] + share[..., None] * (goal - start)[:, None]).astype(np.float32)
    static = rng.random((count, SIZE, SIZE)) < 0.1
    static[np.arange(count)[:, None], *np.moveaxis(np.rint(points).astype(int), -1, 0)] = False
    arrays = {
        "ids": np.arange(count),
        "static": static,
        "positions": rng.uniform(0, SIZE, (count, OBSTACLES, 2)).astype(np.float32),
        "velocities": rng.uniform(-0.75, 0.75, (count, OBSTACLES, 2)).astype(np.float32),
        "start": start,
        "goal": goal,
        "points": points,
        "length": moves,
        "world": json.dumps({"size": SIZE, "speed": 0.75, "n_obstacles": OBSTACLES}),
        "search": json.dumps({"published": published}),
    }
    arrays |= {name: new(arrays[name]) if callable(new) else new for name, new in changes.items()}
    np.savez(path, **{name: array for name, array in arrays.items() if name not in but})
    return path


def _walled(static):
    """A wall across the way of path 0, which leads from row 13 to row 6."""
    static = static.copy()
    static[0, 10] = True
    return static


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    return write_expert(tmp_path_factory.mktemp("expert") / "expert.npz")


def _config(path, **fields):
    c = base.get_config()
    base.diffusion(c)
    c.batch_size = 8
    c.data.path, c.data.held_out = str(path), 4
    c.model.update(dict(size=SIZE, points=POINTS, width=16, slices=4, channels=("static", "obstacles")))
    c.update_from_flattened_dict(fields)
    return c


def _task(path, mesh, **fields):
    return Diffusion(_config(path, **fields).to_dict(), mesh)


@pytest.fixture(scope="module")
def task(expert, meshes):
    """One task for many tests, which change copies of it: drawing is compiled once."""
    return _task(expert, meshes[1], **{"model.channels": ALL})


@pytest.fixture(scope="module")
def batch(task):
    return task.batch(3)


def _first(path, index=0, count=1):
    """An example of the file, as the task holds it, so many times."""
    arrays, _ = diffusion.read(str(path), SIZE, POINTS)
    return jax.tree.map(lambda a: jnp.asarray(np.repeat(a[index : index + 1], count, axis=0)), arrays)


@functools.cache
def _examples(fields):
    return jax.jit(functools.partial(diffusion.examples, fields, latest=POINTS - 1))


def _bounced(position, velocity, steps):
    """Positions [steps + 1, N, 2] and velocities, by the house's rule, in NumPy."""
    states = [(position, velocity)]
    for _ in range(steps):
        moved = states[-1][0] + states[-1][1]
        velocity = np.where((moved < 0) | (moved >= SIZE), -states[-1][1], states[-1][1])
        states.append((np.clip(moved, 0, SIZE - 0.01), velocity))
    return tuple(np.stack(a) for a in zip(*states, strict=True))


# ---------------------------------------------------------------- the image


def test_the_image_is_what_brute_force_draws_for_the_arrays_of_both():
    rng = np.random.default_rng(1)
    static = rng.random((SIZE, SIZE)) < 0.1
    tracks, radius = rng.uniform(0, SIZE, (8, OBSTACLES, 2)).astype(np.float32), 2.5
    position, ahead = tracks[0], tracks[[2, 6]]
    velocity = rng.uniform(-1, 1, (OBSTACLES, 2)).astype(np.float32)
    expected = np.zeros((SIZE, SIZE, 7), np.float32)
    for r, c in np.ndindex(SIZE, SIZE):
        away = [np.hypot(r - p[0], c - p[1]) for p in position]
        cell = min(np.hypot(r - int(p[0]), c - int(p[1])) for p in position)
        expected[r, c, 0] = static[r, c] or cell <= radius
        expected[r, c, 1] = static[r, c]
        expected[r, c, 2] = min(away) <= radius
        if min(away) <= radius:
            expected[r, c, 3:5] = velocity[np.argmin(away)]
        for i in range(2):
            expected[r, c, 5 + i] = min(np.hypot(r - p[0], c - p[1]) for p in ahead[i]) <= radius
    world = static[None], tracks[None], velocity[None], radius, 2
    world_on_device = [*map(jnp.asarray, world[:3]), *world[3:]]
    for arrays in (world, world_on_device):
        np.testing.assert_array_equal(raster.draw(ALL, *arrays)[0], expected)
        np.testing.assert_array_equal(
            raster.draw(("velocity", "static"), *arrays)[0], expected[..., [3, 4, 1]]
        )
    assert raster.slice_steps(8, 64) == [4, 12, 20, 28, 36, 44, 52, 60]


# ---------------------------------------------------------------- examples


def test_batches_are_functions_of_seed_and_step_on_any_number_of_devices(task, batch, expert, meshes):
    first, again = (jax.tree.map(np.asarray, b) for b in (batch, task.batch(3)))
    spread = _task(expert, meshes[8], **{"model.channels": ALL}).batch(3)
    assert spread.path.sharding.num_devices == 8
    for a, b, c in zip(first, again, spread, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=1e-6)
    assert first.path.shape == (8, POINTS, 2) and first.ends.shape == (8, 4)
    assert first.map.shape == (8, SIZE, SIZE, 5 + 4)
    assert (np.asarray(task.batch(4).path) != first.path).any()
    draw, _, *data = task.batch.func, *task.batch.args
    assert (np.asarray(draw(jax.random.key(1), *data, 3).path) != first.path).any()


def test_every_pass_shows_every_example_once_and_none_that_is_held_out(expert, meshes):
    plain = {"data.symmetries": False, "data.crop": False, "model.coordinates": "unit"}
    task = _task(expert, meshes[1], batch_size=4, **plain)
    assert task.samples_per_epoch == 8
    points = np.load(expert)["points"] / SIZE
    for epoch in (0, 1):
        paths = np.concatenate([task.batch(2 * epoch + i).path for i in range(2)])
        away = np.abs(paths[:, None] - points[None]).max((2, 3))
        assert sorted(away.argmin(1)) == list(range(8)) and away.min(1).max() < 1e-6
    assert _task(expert, meshes[1], **plain, **{"data.limit": 5}).samples_per_epoch == 5


def _in_cells(view):
    """Path [P, 2] and ends [2, 2] in cells, and the map, of one example."""
    offsets, sight, image, ends = (np.asarray(a) for a in view)
    line = SIZE * (sight[:, :2] + 1) / 2
    along = (line[-1] - line[0]) / max(np.linalg.norm(line[-1] - line[0]), 1e-9)
    path = line + path_frame.OFFSET * (offsets[:, :1] * along + offsets[:, 1:] * [-along[1], along[0]])
    return path, SIZE * (ends.reshape(2, 2) + 1) / 2, image


def test_symmetries_move_path_ends_map_and_velocities_together(task, expert):
    example = jax.tree.map(lambda a: a[0], _first(expert))
    views = _examples(task.fields)(_first(expert, count=8), jnp.zeros(8, int), jnp.arange(8))
    views = [jax.tree.map(lambda a, i=i: a[i], views) for i in range(8)]
    turn = jax.jit(jax.vmap(diffusion.turned_map, (None, 2), 2))
    plain, middle, seen = views[0], (SIZE - 1) / 2, set()
    for symmetry, view in enumerate(views):
        path, ends, image = _in_cells(view)
        expected = middle + np.asarray(diffusion.turned(symmetry, example.points - middle))
        np.testing.assert_allclose(path, expected, atol=1e-5)
        np.testing.assert_allclose(ends, path[[0, -1]], atol=1e-5)
        there = np.array(turn(symmetry, plain.map))
        there[..., 3:5] = diffusion.turned(symmetry, there[..., 3:5])
        np.testing.assert_allclose(image[..., 1:], there[..., 1:], atol=1e-6)
        # What lies on the path is what lay there before.
        at, before = np.rint(expected).astype(int), np.rint(np.asarray(example.points) - 1e-3).astype(int)
        whole = (np.asarray(example.points) == before).all(1)
        assert whole.any()
        np.testing.assert_array_equal(image[..., 1][*at[whole].T], plain.map[..., 1][*before[whole].T])
        seen.add(image.tobytes())
    assert len(seen) == 8


def test_a_symmetry_keeps_every_distance():
    rng = np.random.default_rng(0)
    path, obstacles = rng.uniform(0, SIZE, (2, 5, 2))
    distances = np.linalg.norm(path[:, None] - obstacles, axis=-1)
    for symmetry in range(8):
        a, b = diffusion.turned(symmetry, path - 7.5), diffusion.turned(symmetry, obstacles - 7.5)
        np.testing.assert_allclose(np.linalg.norm(a[:, None] - b, axis=-1), distances, rtol=1e-5)


def test_a_cut_path_goes_on_from_where_obstacles_are_by_then(task, expert):
    moments = (0, 5)
    cut = _examples(task.fields)(_first(expert, 1, 2), jnp.array(moments), jnp.zeros(2, int))
    example = jax.tree.map(lambda a: np.asarray(a[0]), _first(expert, 1))
    start = example.positions, example.velocities
    positions, velocities = _bounced(*start, 2 * POINTS)
    assert (velocities != velocities[0]).any()
    for i, moment in enumerate(moments):
        path, ends, image = _in_cells(jax.tree.map(lambda a, i=i: a[i], cut))
        world = example.static[None], positions[None, moment : moment + POINTS], velocities[None, moment]
        expected = raster.draw(ALL, *world, task.fields.obstacle_radius, 4)[0]
        assert np.isclose(image, expected, atol=1e-5).mean() > 0.999  # a rounding may move a disc's rim
        suffix = example.points[[min(moment + k, POINTS - 1) for k in range(POINTS)]]
        np.testing.assert_allclose(path, suffix, atol=1e-5)
        np.testing.assert_allclose(ends[0], suffix[0], atol=1e-5)


def test_no_path_begins_where_it_ends(task):
    """A moment is drawn before the goal is reached; the ends are those of the path that is left."""
    for step in range(4):
        for view in map(Examples._make, zip(*task.batch(step), strict=True)):
            path, ends, _ = _in_cells(view)
            np.testing.assert_allclose(ends, path[[0, -1]], atol=1e-5)
            assert np.abs(ends[0] - ends[1]).max() > 1e-3


# ---------------------------------------------------------------- the loss


def _spied(task, answer, **fields):
    """A task whose model answers so, and what the model was asked: filled at each call."""
    seen = {}

    def apply(params, *arguments, method=None):
        if method == "encode":
            return jnp.ones((len(arguments[0]), 8))
        noisy, seen["level"], seen["code"] = arguments
        seen["noisy"] = noisy[..., :2]
        return answer(seen["noisy"], *arguments[1:])

    task = copy.copy(task)
    task.model = types.SimpleNamespace(apply=apply)
    task.fields = dataclasses.replace(task.fields, **fields)
    return task, seen


def _keys(batch, seed=0):
    return jax.random.split(jax.random.key(seed), len(batch.path))


@pytest.mark.parametrize("ends", [True, False])
def test_given_ends_are_clean_and_weigh_nothing(task, batch, ends):
    off = jnp.full(batch.path.shape, 0.1).at[:, jnp.array([0, -1])].set(3.0)
    spied, seen = _spied(task, lambda *_: batch.path + off, ends=ends, map_dropout=0.0)
    loss, seen = jax.jit(lambda keys: (spied.loss({}, (), batch, keys)[0], seen))(_keys(batch))
    expected = 0.01 if ends else (0.01 * (POINTS - 2) + 9.0 * 2) / POINTS
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    noisy, path = np.asarray(seen["noisy"]), np.asarray(batch.path)
    clean = [np.allclose(noisy[:, i], path[:, i], atol=1e-6) for i in (0, -1, 1)]
    assert clean == [ends, ends, False]
    assert (seen["code"] == 1).all() and 0 <= seen["level"].min() < seen["level"].max() <= 1


@pytest.mark.parametrize("predict", ["noise", "sample", "velocity"])
def test_a_model_that_says_the_truth_has_no_loss_and_the_experts_path(task, batch, predict):
    noise = jax.random.normal(jax.random.key(1), batch.path.shape)
    level = jnp.linspace(0.1, 0.9, 8)
    truth = noising.target("linear", predict, batch.path, noise, level)
    spied, seen = _spied(task, lambda *_: truth, predict=predict, ends=False)
    check = jax.jit(lambda: (*spied.errors({}, batch, jnp.zeros((8, 8)), level, noise), seen))
    errors, clean, seen = check()
    np.testing.assert_allclose(errors, 0, atol=1e-10)
    np.testing.assert_allclose(clean, batch.path, atol=1e-4)
    share = np.asarray(level)[:, None, None]
    mixed = (1 - share) * np.asarray(batch.path) + share * np.asarray(noise)
    np.testing.assert_allclose(seen["noisy"], mixed, atol=1e-6)


def test_the_map_is_hidden_as_often_as_asked(task, batch):
    spied, seen = _spied(task, lambda noisy, *_: noisy, map_dropout=0.5)
    ask = jax.jit(lambda keys: (spied.loss({}, (), batch, keys)[0], seen))
    codes = np.concatenate([ask(_keys(batch, i))[1]["code"] for i in range(32)])
    assert (codes[:, 4:] == 1).all()
    hidden = 1 - codes[:, :4].mean(1)
    assert set(np.unique(hidden)) == {0.0, 1.0} and 0.4 < hidden.mean() < 0.6


# ---------------------------------------------------------------- learning


def test_eight_paths_are_learnt_and_eight_devices_agree(expert, meshes, monkeypatch):
    """Known answer: 100 small updates on 8 bent paths, and the loss is a fraction of what it was."""
    paths, _ = expert_file.read(expert)
    points = np.load(expert)["points"]
    bent = points + 3 * np.sin(np.linspace(0, np.pi, POINTS))[:, None].astype(np.float32)
    bent = np.clip(bent, 0, SIZE - 1)
    monkeypatch.setattr(expert_file, "read", lambda path: (paths._replace(points=bent), False))
    fields = {"model.name": "path_convnet", "model.channels": ALL}
    one, eight = (_task(expert, meshes[n], **fields) for n in (1, 8))
    batch = one.batch(3)
    params = _random(jax.eval_shape(one.init, jax.random.key(0), batch)[0])
    tx = optax.sgd(optax.cosine_decay_schedule(0.2, 100), momentum=0.9)

    @jax.jit
    def update(params, state, keys):
        loss, gradients = jax.value_and_grad(lambda p: one.loss(p, (), batch, keys)[0])(params)
        updates, state = tx.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    everywhere, split = sharding.replicated(meshes[8]), sharding.over_batch(meshes[8])
    spread = jax.device_put(params, everywhere), (), *jax.device_put((batch, _keys(batch)), split)
    expected = float(jax.jit(eight.loss)(*spread)[0])
    state, losses = tx.init(params), []
    for i in range(100):
        params, state, loss = update(params, state, _keys(batch, i))
        losses.append(float(loss))
    assert losses[0] == pytest.approx(expected, rel=1e-5)
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:3])
    results = {name: float(value) for name, value in one.evaluate(params).items()}
    bend = np.sqrt(np.mean(np.sum((bent - points)[-4:] ** 2, axis=-1)))
    assert results["eval/straight/error"] == pytest.approx(bend, rel=1e-4)
    assert results["eval/error_0.1"] < results["eval/error_0.9"] and results["eval/error_0.1"] < bend
    assert results["eval/loss_0.1"] < results["eval/loss"] < results["eval/loss_0.9"]
    assert results == {name: float(value) for name, value in one.evaluate(params).items()}


def _random(shapes):
    """Initial parameters without a program that draws them: biases 0, kernels by their inputs."""
    rng = np.random.default_rng(0)

    def leaf(shape):
        fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else np.inf
        return (rng.standard_normal(shape.shape) / fan_in**0.5).astype(np.float32)

    return jax.tree.map(leaf, shapes)


# ---------------------------------------------------------------- what it refuses


REFUSED = {
    "no path": ({"data.path": ""}, "data.path is empty"),
    "no file": ({"data.path": "/nowhere/x.npz"}, "/nowhere/x.npz: no such file"),
    "held out": ({"data.held_out": 12}, "has 12 examples in all"),
    "nothing held out": ({"data.held_out": 0}, "data.held_out = 0: at least 1"),
    "limit": ({"data.limit": 9}, "data.limit = 9: .* 12 examples, 4 of them held out"),
    "size": ({"model.size": 32}, "its size is 16, model.size is 32"),
    "points": ({"model.points": 32}, "its points is 16, model.points is 32"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_fields_are_one_line(case, expert, meshes):
    fields, complaint = REFUSED[case]
    with pytest.raises(RequestError, match=complaint):
        _task(expert, meshes[1], **fields)


def test_files_that_are_no_expert_are_one_line(tmp_path, meshes):
    write_expert(tmp_path / "more.npz", paths=np.ones(3))
    with pytest.raises(RequestError, match='more.npz: holds "paths", which no expert.npz has'):
        expert_file.read(tmp_path / "more.npz")
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    less = write_expert(tmp_path / "less.npz", but=("length",))
    for path, complaint in ((text, "not a complete expert.npz"), (less, "incomplete, length is missing")):
        with pytest.raises(RequestError, match=complaint):
            _task(path, meshes[1])
    wrong = {
        "length holds float64": {"length": np.ones(12)},
        "positions is not finite": {"positions": np.full((12, OBSTACLES, 2), np.nan, np.float32)},
        r"goal has shape \[11, 2\]": {"goal": np.ones((11, 2), int)},
        "velocities has shape": {"velocities": np.ones((12, OBSTACLES + 1, 2), np.float32)},
        "points goes from -1 to .*; allowed are 0 to 15": {"points": -np.ones((12, POINTS, 2), np.float32)},
        "length goes from 16 to 16": {"length": np.full(12, POINTS)},
        "it holds no path": {"ids": np.zeros(0, int)},
        "ids hold a negative one, or one twice": {"ids": np.zeros(12, int)},
        "velocities go up to 1; its world allows 0.75": {"velocities": np.ones((12, OBSTACLES, 2), "f4")},
        "static is of 16; its world is of 9": {
            "world": json.dumps({"size": 9, "speed": 0.75, "n_obstacles": OBSTACLES})
        },
        "start is a static cell in places": {"static": np.ones((12, SIZE, SIZE), bool)},
        "path 0 begin elsewhere than at their start": {"points": lambda a: a[:, ::-1]},
        "path 0 end elsewhere than at their goal": {"points": lambda a: np.repeat(a[:, :1], POINTS, 1)},
        "path 0 go further than 1.414 cells in a step": {
            "points": lambda a: np.concatenate([a[:, :1], np.repeat(a[:, -1:], POINTS - 1, 1)], 1)
        },
        "path 0 are longer than their length": {"length": np.ones(12, int)},
        "are not at their end from their length on, or sooner": {"length": lambda a: a + 1},
        "enter static cells": {"static": _walled},
    }
    for complaint, change in wrong.items():
        with pytest.raises(RequestError, match=complaint) as error:
            expert_file.read(write_expert(tmp_path / "wrong.npz", **change))
        assert "\n" not in str(error.value)
    stretched = write_expert(tmp_path / "stretched.npz", published=True)
    with pytest.raises(RequestError, match="data.crop = True: .* stretched"):
        _task(stretched, meshes[1])
    _task(stretched, meshes[1], **{"data.crop": False})
    with pytest.raises(RequestError, match="batch_size = 12 is not divisible by 8 devices"):
        _task(write_expert(tmp_path / "e.npz"), meshes[8], batch_size=12)


def test_the_description_needs_no_data():
    config = _config("").to_dict()
    described = Diffusion.describe(config)
    assert described["world"] == {"size": SIZE, "obstacle_radius": 2.0}
    assert described["model"]["name"] == "path_unet" and described["model"]["width"] == 16
    assert (described["task"], described["plan"]) == ("diffusion", config["plan"])
    json.dumps(described)
