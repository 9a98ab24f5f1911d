"""What the predictors see of the scene, the three ways to run free, and what must be exactly zero."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.models import predictors as models
from hrm_jax.models.predictors import scene
from hrm_jax.referee.inference import networks
from hrm_jax.worlds import features

SMALL = dict(
    hrm=dict(name="hrm", width=12, heads=3, blocks=2, unroll=1, norm="rms", init_std=0.0),
    lstm=dict(name="lstm", width=6),
    gru=dict(name="gru", width=6),
    transformer=dict(name="transformer", width=12, heads=3),
)
SCENE = dict(features="scene", patch=3, neighbours=3, agent=True)
GROUPS, MEMBERS, TIME, SIZE = 2, 3, 5, 11


def _context(groups=GROUPS, members=MEMBERS, time=TIME, seed=0):
    rng = np.random.default_rng(seed)
    return models.Context(
        (rng.random((groups, members, time)) < 0.7).astype(np.float32),
        rng.random((groups, time, 2)).astype(np.float32),
        (rng.random((groups, SIZE, SIZE)) < 0.3).astype(np.float32),
    )


def _random(model, context=None, seed=0):
    """Parameters in which nothing is zero, small enough that free running stays put."""
    history = np.zeros((GROUPS, MEMBERS, TIME, 2), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), history, None, context)["params"]
    rng = np.random.default_rng(seed)

    def leaf(shape):
        x = rng.standard_normal(shape.shape).astype(np.float32)
        return 0.5 * x / shape.shape[-2] ** 0.5 if len(shape.shape) > 1 else 0.2 * x

    return jax.tree.map(leaf, shapes)


# ---------------------------------------------------------------- features


def test_the_features_of_a_small_world():
    """A 5 x 5 world with a wall cell at (0, 1); one obstacle in a corner, one that was never observed."""
    static = np.zeros((1, 5, 5), np.float32)
    static[0, 0, 1] = 1
    cells = np.array([[[[0.5, 0.0], [0.25, 0.25]], [[3.0, 2.0], [3.5, 2.5]]]], np.float32)  # [1, N, T, 2]
    agent = np.array([[[0, 0], [4.0, 1.0]]], np.float32)
    observed = np.array([[[1, 1], [1, 0]]], np.float32)
    context = models.Context(observed, agent / 5, static)
    fields = dict(features="scene", patch=3, agent=True, size=5)
    config = scene.InputsConfig(**fields)
    positions, seen = scene.arrange(config, jnp.asarray(cells / 5), context)
    found = features.features(config, positions, features.moves(positions), seen)
    assert found.shape == (2, 1, 2, config.inputs) and config.inputs == 22

    corner = [-0.9, -0.9, -0.25, 0.25]  # motion: 2 p - 1, moved in cells
    corner += [1, 0.25 / 3, 0.25 / 3, 1, 1]  # observed; near the upper and the left wall
    corner += [2 * 3.75 / 5, 2 * 0.75 / 5]  # the agent from here
    corner += [0.25, 0.25] + [1, 1, 1, 1, 0, 1, 1, 0, 0]  # place within cell (0, 0); the patch
    np.testing.assert_allclose(found[1, 0, 0], corner, atol=1e-6)
    free = [0.4, 0.0, 0.5, 0.5, 0, 1, 2.5 / 3, 1.49 / 3, 2.49 / 3, 2 * 0.5 / 5, -2 * 1.5 / 5]
    free += [3.5 - 4, 2.5 - 2] + [0] * 6 + [1, 1, 1]  # halves go to the even cell: around (4, 2)
    np.testing.assert_allclose(found[1, 0, 1], free, atol=1e-6)
    np.testing.assert_array_equal(found[0, :, :, 2:4], found[1, :, :, 2:4])  # the oldest displacement
    assert found[0, 0, 1, 4] == 1

    inputs, seen = features.Inputs(**fields), features.arrange(context)
    ours = features.features(inputs, np.asarray(positions), np.asarray(features.moves(positions)), seen)
    np.testing.assert_allclose(ours, found, atol=1e-6)


def test_far_outside_the_grid_everything_is_a_wall_and_the_numbers_stay_finite():
    config = scene.InputsConfig(**SCENE, size=SIZE, width=12)
    context = _context(1, 2, 2)
    history = jnp.full((1, 2, 2, 2), 1e9).at[:, 0].set(-40.0)
    positions, seen = scene.arrange(config, history, context)
    found = features.features(config, positions, features.moves(positions), seen)
    np.testing.assert_array_equal(found[..., -9:], 1)
    assert np.isfinite(found).all()


# ---------------------------------------------------------------- neighbours


def _neighbours(seed=0):
    config = scene.InputsConfig(**SCENE, size=SIZE, width=12)
    rng = np.random.default_rng(seed)
    shapes = dict(
        qkv_kernel=(12, 36), qkv_bias=(36,), sharpness=(3,), out_kernel=(12 + 4 * 3, 12), out_bias=(12,)
    )
    w = {name: 0.3 * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    x = rng.standard_normal((2, 4, 12)).astype(np.float32)
    now = (0.5 + 0.2 * rng.standard_normal((2, 4, 2))).astype(np.float32)
    return config, w, x, now, (0.05 * rng.standard_normal((2, 4, 2))).astype(np.float32)


def test_attention_to_neighbours_computes_its_definition():
    config, w, x, now, moved = _neighbours()
    ours = scene.attend_neighbours(config, w, x, now, moved)
    q, k, v = np.split(np.asarray(x, np.float64) @ w["qkv_kernel"] + w["qkv_bias"], 3, axis=-1)
    expected = np.array(x, np.float64)
    for g, i in np.ndindex(2, 4):
        others, read = [j for j in range(4) if j != i], [[], [], []]
        place, speed = ((a[g, others] - a[g, i]) * SIZE for a in (now, moved))
        for h in range(3):
            part = slice(4 * h, 4 * h + 4)
            sharpness = math.log1p(math.exp(w["sharpness"][h]))
            p = np.exp(k[g, others, part] @ q[g, i, part] / 2 - sharpness * np.sum(place**2, axis=1))
            for collected, values in zip(read, (v[g, others, part], place, speed), strict=True):
                collected.append(p / p.sum() @ values)
        expected[g, i] += np.concatenate(sum(read, [])) @ w["out_kernel"] + w["out_bias"]
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    np.testing.assert_allclose(
        networks.attend_neighbours(dict(SCENE, size=SIZE), w, x, now, moved), expected, atol=1e-5
    )


def test_attention_to_neighbours_knows_no_order_and_not_itself():
    config, w, x, now, moved = _neighbours()
    ours, order = scene.attend_neighbours(config, w, x, now, moved), np.array([2, 0, 3, 1])
    shuffled = scene.attend_neighbours(config, w, x[:, order], now[:, order], moved[:, order])
    np.testing.assert_allclose(shuffled, ours[:, order], atol=1e-5)
    alone = scene.attend_neighbours(config, w, x[:, :1], now[:, :1], moved[:, :1])
    np.testing.assert_array_equal(alone, x[:, :1])
    # Without a query nothing of itself is left in what an obstacle reads.
    w["qkv_kernel"][:, :12] = 0
    read = jax.jit(jax.jacobian(lambda x: scene.attend_neighbours(config, w, x, now[0], moved[0]) - x))
    reach = read(x[0])
    for i, j in np.ndindex(4, 4):
        assert (np.abs(reach[i, :, j]).max() < 1e-6) == (i == j)


# ---------------------------------------------------------------- free running


@pytest.mark.parametrize(
    "name, fields",
    [
        ("hrm", dict(SCENE, k_step=2)),
        ("hrm", dict(k_step=1, features="motion")),
        ("hrm", dict(k_step=3, attention="obstacles", features="scene")),
        ("hrm", dict(k_step=0, blocks=1, features="motion")),
        ("hrm", dict(h_stream=False, blocks=1)),
        ("lstm", SCENE),
        ("gru", dict(SCENE, neighbours=0)),
        ("gru", dict(features="motion", layers=1)),
        ("transformer", SCENE),
    ],
)
def test_carrying_the_state_is_reading_the_longer_window(name, fields, walks):
    model = models.build({**SMALL[name], **fields, "size": SIZE, "rollout": "carry"})
    context = _context() if fields.get("features") == "scene" else None
    params, history, further = _random(model, context), walks(GROUPS, MEMBERS, TIME), 5
    # Arguments, not constants: jax 0.7.2 folds a constant map patch wrongly.
    forecast = jax.jit(lambda p, h, c: models.forecast(model, p, h, further, context=c))
    tracks = forecast(params, history, context)
    longer = np.concatenate([history, np.moveaxis(np.asarray(tracks)[:-1], 0, 2)], axis=2)
    if context is not None:
        context = models.Context(
            np.pad(context.observed, ((0, 0), (0, 0), (0, further - 1))),
            np.pad(context.agent, ((0, 0), (0, further - 1), (0, 0)), mode="edge"),
            context.static,
        )
    apply = jax.jit(lambda p, h, c: model.apply({"params": p}, h, None, c))
    moved = apply(params, longer, context)
    np.testing.assert_allclose(longer[:, :, -1] + moved, tracks[-1], atol=2e-6)
    assert np.abs(np.diff(tracks, axis=0)).max() > 1e-3


def test_a_sliding_window_sees_its_predictions_as_not_observed(walks):
    model = models.build({**SMALL["gru"], **SCENE, "size": SIZE})
    context, history = _context(), walks(GROUPS, MEMBERS, TIME)
    params = _random(model, context)
    apply = jax.jit(lambda history, context: model.apply({"params": params}, history, None, context))
    expected = []
    for _ in range(3):
        following = history[:, :, -1] + np.asarray(apply(history, context))
        expected.append(following)
        history = np.concatenate([history[:, :, 1:], following[:, :, None]], axis=2)
        context = models.Context(
            np.concatenate([context.observed[..., 1:], np.zeros((GROUPS, MEMBERS, 1), np.float32)], axis=2),
            np.concatenate([context.agent[:, 1:], context.agent[:, -1:]], axis=1),
            context.static,
        )
    tracks = models.forecast(model, params, walks(GROUPS, MEMBERS, TIME), 3, context=_context())
    np.testing.assert_allclose(tracks, expected, atol=2e-6)


def test_a_direct_head_emits_corrections_of_all_steps(walks):
    model = models.build(dict(name="gru", width=4, layers=1, features="motion", rollout="direct", horizon=4))
    history = walks(GROUPS, MEMBERS, TIME)
    params = _random(model)
    params["head"] = {"kernel": np.zeros((4, 8)), "bias": np.arange(8, dtype=np.float32)}
    tracks = models.forecast(model, params, history, 4)
    last = history[:, :, -1] - history[:, :, -2]
    moved = [last + np.array([2 * k, 2 * k + 1]) / 20 for k in range(4)]
    np.testing.assert_allclose(tracks, history[:, :, -1] + np.cumsum(moved, axis=0), atol=1e-5)
    np.testing.assert_array_equal(models.forecast(model, params, history, 2), tracks[:2])
    np.testing.assert_allclose(model.apply({"params": params}, history), moved[0], atol=1e-6)
    with pytest.raises(RequestError, match="5.*model.horizon = 4"):
        models.forecast(model, params, history, 5)


@pytest.mark.parametrize("rollout", ["sliding", "carry", "direct"])
def test_a_predictor_of_the_scene_is_born_as_constant_velocity(rollout, walks):
    model = models.build({**SMALL["hrm"], **SCENE, "blocks": 1, "rollout": rollout, "size": SIZE})
    history, context = walks(GROUPS, MEMBERS, TIME), _context()
    params = jax.jit(model.init)(jax.random.key(0), history, None, context)["params"]
    tracks = jax.jit(lambda params: models.forecast(model, params, history, 3, context=context))(params)
    last = history[:, :, -1] - history[:, :, -2]
    expected = [history[:, :, -1] + k * last for k in (1, 2, 3)]
    np.testing.assert_allclose(tracks, expected, atol=1e-5)


def test_dropout_is_drawn_anew_at_every_free_step(walks):
    model = models.build(dict(name="lstm", width=6, dropout=0.5, rollout="carry"))
    params, history = _random(model), walks(GROUPS, MEMBERS, TIME)
    run = jax.jit(lambda keys=None: models.forecast(model, params, history, 3, keys))
    quiet, *drawn = run(), *(run(jax.random.split(jax.random.key(seed), GROUPS)) for seed in (0, 1))
    noisy, other = drawn
    assert all(np.abs(a - b).max(axis=(1, 2, 3)).min() > 0 for a, b in ((quiet, noisy), (noisy, other)))


# ---------------------------------------------------------------- refusals and exact zeros


def test_a_scene_needs_a_context():
    model = models.build({**SMALL["gru"], "features": "scene"})
    with pytest.raises(ValueError, match="context"):
        model.init(jax.random.key(0), jnp.zeros((1, 2, 3, 2)))


def test_a_transformer_does_not_tell_more_steps_apart_than_it_has_positions(walks):
    model = models.build({**SMALL["transformer"], "positions": 7, "rollout": "carry"})
    params, history = _random(model), walks(GROUPS, MEMBERS, TIME)
    assert models.forecast(model, params, history, 3).shape == (3, GROUPS, MEMBERS, 2)
    with pytest.raises(RequestError, match="model.positions = 7"):
        models.forecast(model, params, history, 4)


def test_without_an_h_stream_there_are_no_parameters_of_it(walks):
    model = models.build({**SMALL["hrm"], "h_stream": False})
    assert set(_random(model)) == {"embed", "low", "head"}


@pytest.mark.parametrize("rollout", ["sliding", "carry"])
def test_an_h_stream_that_never_runs_gets_no_gradient(rollout, walks):
    model = models.build({**SMALL["hrm"], "k_step": 0, "blocks": 1, "rollout": rollout})
    history = walks(GROUPS, MEMBERS, TIME)

    def loss(params):
        return jnp.mean(models.forecast(model, params, history, 3) ** 2)

    gradient = jax.jit(jax.grad(loss))(_random(model))
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(gradient["high"]))
    assert all(np.abs(gradient["low"][name]).max() > 0 for name in ("v_kernel", "up_kernel", "gate_kernel"))
