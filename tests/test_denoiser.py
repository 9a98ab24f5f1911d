"""The path denoisers: sizes, what reaches them, refusals, and the NumPy twin."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks import NETWORKS
from hrm_jax.models.denoisers import networks as diffusion
from hrm_jax.models.denoisers import operations
from hrm_jax.referee.inference import denoiser
from hrm_jax.worlds import raster

V2 = {"name": "path_unet", **diffusion.PUBLISHED}
SMALL = {"width": 16, "groups": 4, "heads": 2, "size": 16, "points": 12}


def _shapes(model):
    return jax.eval_shape(functools.partial(diffusion.initial_params, model), jax.random.key(0))


def _count(model):
    return sum(a.size for a in jax.tree.leaves(_shapes(model)))


def _params(model, seed=0):
    """Random parameters in which nothing is zero or one."""
    rng = np.random.default_rng(seed)

    def leaf(path, shape):
        x = rng.standard_normal(shape.shape).astype(np.float32)
        if path[-1].key.startswith("norm"):
            return (0.0 if path[-1].key.endswith("bias") else 1.0) + 0.3 * x
        return x / np.prod(shape.shape[:-1]) ** 0.5 if len(shape.shape) > 1 else 0.3 * x

    return jax.tree_util.tree_map_with_path(leaf, _shapes(model))


def _inputs(model, batch=3, seed=1):
    """Maps, ends, noisy paths and noise levels."""
    c, rng = model.config, np.random.default_rng(seed)
    maps = rng.random((batch, c.size, c.size, c.map_channels)) < 0.2
    ends, x, t = rng.random((batch, 4)), rng.standard_normal((batch, c.points, c.inputs)), rng.random(batch)
    return [a.astype(np.float32) for a in (maps, ends, x, t)]


@functools.cache
def _pass(model):
    def run(params, maps, ends, x, t):
        code = model.apply({"params": params}, maps, ends, method="encode")
        return model.apply({"params": params}, x, t, code), code

    return jax.jit(run)


# ---------------------------------------------------------------- sizes and refusals


def test_parameter_counts():
    assert _count(diffusion.build(V2)) == 4_128_258  # as the checkpoint of the originals has
    one_channel = {"channels": ["occupancy"]}
    # The first middle block takes 640 channels: two wider kernels, and a skip that it did not need.
    wider = 384 * 256 * 3 + 640 * 256 + 256
    plain = {**one_channel, "coordinates": "unit"}
    assert _count(diffusion.build({"name": "path_unet", **plain})) == 4_128_258 + wider
    # The line, and 17 places across it for walls and obstacles: by three taps, and by the skip.
    sight = (2 + 2 * 17) * (3 * 64 + 64)
    assert _count(diffusion.build({"name": "path_unet", **one_channel})) == 4_128_258 + wider + sight
    count = _count(diffusion.build({"name": "path_convnet", **plain}))
    assert count == 546_402 and round(count, -5) == 500_000


def test_a_group_of_fields_comes_back():
    fields = {"name": "path_unet", "channels": ["static", "velocity", "forecast"], "slices": 4, "width": 16}
    model = diffusion.build(json.loads(json.dumps({**fields, "groups": 4})))
    assert model.config.map_channels == 1 + 2 + 4 and hash(model) is not None
    said = json.loads(json.dumps(diffusion.describe(model)))
    assert said.items() >= fields.items() and diffusion.build(said) == model
    assert diffusion.describe(diffusion.build({"name": "path_convnet"}))["name"] == "path_convnet"


@pytest.mark.parametrize(
    "fields, complaint",
    [
        ({"name": "path_net"}, "path_unet, path_convnet"),
        ({"name": "path_unet", "widht": 64}, "width"),
        ({"width": 60}, "groups = 8"),
        ({"width": 30, "groups": 2, "heads": 2}, "multiple of 4"),
        ({"heads": 5}, "heads = 5"),
        ({"heads": 0}, "at least 1"),
        ({"size": 60}, "multiple of 8"),
        ({"points": 2}, "at least 3"),
        ({"channels": []}, "occupancy, static"),
        ({"channels": "static"}, "as a list"),
        ({"channels": ["static", "walls"]}, "walls"),
        ({"channels": ["static", "static"]}, "different"),
        ({"condition": "half"}, "full, published"),
        ({"name": "path_convnet", "condition": "published"}, "only full"),
        ({"predict": "x0"}, "noise, sample, velocity"),
        ({"schedule": "sigmoid"}, "linear, cosine"),
        ({"coordinates": "cells"}, "line, unit"),
        ({"obstacle_radius": 0.0}, "more than 0"),
        ({"map_dropout": 1.0}, "less than 1"),
    ],
)
def test_bad_fields_are_one_line(fields, complaint):
    with pytest.raises(RequestError, match=complaint) as error:
        diffusion.build({"name": "path_unet", **fields})
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- what reaches the network


def _gradients(model, batch=2):
    """Mean sizes of the gradients of three random losses with respect to parameters and inputs.

    Three, because the bias of an attention's keys has no influence: its gradient is rounding, which may
    happen to be zero once.
    """
    params, rng = _params(model), np.random.default_rng(2)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradient(params, inputs, weights):
        return jnp.sum(_pass(model)(params, *inputs)[0] * weights)

    shape = (batch, model.config.points, 2)
    draws = [gradient(params, _inputs(model, batch, i), rng.standard_normal(shape)) for i in range(3)]
    return jax.tree.map(lambda *a: sum(np.abs(x) for x in a) / 3, *draws)


def _dead(params):
    return {
        name: int((np.asarray(a) == 0).sum())
        for name, a in model_file.flatten(params).items()
        if (a == 0).any()
    }


def test_the_published_slice_leaves_exactly_a_quarter_dead():
    params, (maps, ends, x, t) = _gradients(diffusion.build(V2))
    assert sum(_dead(params).values()) == 1_049_984  # docs/faults.md#f24
    assert _dead(params) == {"ends/kernel": 1024, "ends/bias": 256, "map/kernel": 8192 * 128, "map/bias": 128}
    assert not ends.any()
    assert all((np.abs(a).max(axis=tuple(range(1, a.ndim))) > 0).all() for a in (maps, x, t))


@pytest.mark.parametrize("name", diffusion.DENOISERS)
def test_under_the_full_condition_everything_lives(name):
    params, inputs = _gradients(diffusion.build({"name": name}))
    assert _dead(params) == {}
    assert all((np.asarray(a) != 0).any(axis=tuple(range(1, a.ndim))).all() for a in inputs)


@pytest.mark.parametrize("name", diffusion.DENOISERS)
def test_the_code_is_the_map_then_the_ends(name):
    model = diffusion.build({"name": name, **SMALL})
    params, (maps, ends, *_) = _params(model), _inputs(model)
    encode = jax.jit(functools.partial(model.apply, {"params": params}, method="encode"))
    code, other = encode(maps, ends), encode(1 - maps, ends)
    half = code.shape[1] // 2
    assert half == {"path_unet": 4, "path_convnet": 1}[name] * SMALL["width"]
    np.testing.assert_array_equal(code[:, half:], other[:, half:])
    assert (np.asarray(code[:, :half]) != other[:, :half]).all()


@pytest.mark.parametrize("kernel", [3, 5])
def test_halving_is_a_convolution_of_stride_two(kernel):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 12, 12, 3)).astype(np.float32)
    w = rng.standard_normal((kernel, kernel, 3, 4)).astype(np.float32)
    around = [(kernel // 2, kernel // 2)] * 2
    layout = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(x, w, (2, 2), around, dimension_numbers=layout)
    np.testing.assert_allclose(operations.halve(x, w), expected, atol=1e-4)


# ---------------------------------------------------------------- the NumPy twin


def _twin(model, params):
    return denoiser.Denoiser({"model": json.loads(json.dumps(diffusion.describe(model)))}, params)


CASES = {
    "v2 full": {"name": "path_unet", **SMALL},
    "v2 published": {**V2, **SMALL, "size": 24, "heads": 4},
    "v1": {"name": "path_convnet", **SMALL, "channels": ["velocity", "forecast"], "slices": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_numpy_equals_jax(case):
    model = diffusion.build(CASES[case])
    params, (maps, ends, x, t) = _params(model), _inputs(model, batch=19)  # more than two blocks
    y, code = (np.asarray(a) for a in _pass(model)(params, maps, ends, x, t))
    shapes = {name: leaf.shape for name, leaf in model_file.flatten(params).items()}
    assert NETWORKS[CASES[case]["name"]].shapes(model.config) == shapes  # which a file must have
    twin = _twin(model, model_file.flatten(params))
    ours = twin.encode(maps, ends)
    assert ours.dtype == np.float32 and twin.parameters == _count(model)
    np.testing.assert_allclose(ours, code, atol=1e-5 * np.abs(code).max())
    np.testing.assert_allclose(twin.denoise(x, t, ours), y, atol=1e-5 * np.abs(y).max())


def test_a_file_of_a_denoiser_that_does_not_fit_is_refused():
    model = diffusion.build(CASES["v2 full"])
    params, config = model_file.flatten(_params(model)), {"model": diffusion.describe(model)}
    config["world"] = {"size": model.config.size}
    whole, _ = model_file.checked(config, params)
    assert whole["model"]["width"] == SMALL["width"]
    for name in ("middle1/code_kernel", "time/linear2_bias", "attention2/qkv_kernel", "map/conv1_kernel"):
        with pytest.raises(RequestError, match=f"lacks params/{name}"):
            model_file.checked(config, {k: a for k, a in params.items() if k != name})
        for cut in (params[name][..., :-1], params[name][..., :1]):  # the last would broadcast
            with pytest.raises(RequestError, match=f"params/{name} is float"):
                model_file.checked(config, {**params, name: cut})
    for change in ({"size": 24}, {"heads": 3}, {"channels": ["static"]}, {"condition": "published"},
                   {"condition": "half"}, {"predict": "x0"}, {"schedule": 3}, {"width": "16"},
                   {"map_dropout": float("nan")}, {"ends": 1}, {"layers": 2}, {"points": 10**9}):  # fmt: skip
        with pytest.raises(RequestError, match=f"{[*change][0]}|params"):
            model_file.checked({**config, "model": {**config["model"], **change}}, params)
    for field in config["model"].keys() - {"name"}:
        with pytest.raises(RequestError, match=f"model.{field} is missing"):
            less = {name: value for name, value in config["model"].items() if name != field}
            model_file.checked({**config, "model": less}, params)
    with pytest.raises(RequestError, match="not a config"):
        model_file.checked({}, params)


def test_other_constants_are_refused_and_older_files_have_todays():
    model = diffusion.build(CASES["v2 full"])
    params, config = model_file.flatten(_params(model)), {"model": diffusion.describe(model)}
    denoiser.Denoiser({**config, "constants": json.loads(json.dumps(raster.CONSTANTS))}, params)
    with pytest.raises(RequestError, match="trained with path_offset = 3.0; this version has 4.0"):
        denoiser.Denoiser({**config, "constants": {"path_offset": 3.0}}, params)
    with pytest.raises(RequestError, match="trained with other = 1; this version has None"):
        denoiser.Denoiser({**config, "constants": {"other": 1}}, params)
