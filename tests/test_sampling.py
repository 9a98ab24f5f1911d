"""Schedules, what the networks predict, and the samplers of paths, in jax and in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.artefacts import model_file
from hrm_jax.models.denoisers import networks as diffusion
from hrm_jax.referee.inference import denoiser
from hrm_jax.worlds import noising

SCHEDULES, PREDICTS = noising.SCHEDULES, noising.PREDICTS
POINTS, BATCH = 9, 5


def _under_jax(run):
    """A sampler on jax arrays, its loop over the steps a scan of jax."""

    def of_jax(denoise, *arrays, **how):
        return run(denoise, *map(jnp.asarray, arrays), scan=jax.lax.scan, **how)

    return of_jax


JAX_SAMPLE, JAX_PUBLISHED = _under_jax(noising.sample), _under_jax(noising.sample_published)


@pytest.fixture(scope="module")
def paths():
    """Clean paths, noise [B, P, 2], start and goal [B, 2], all different."""
    rng = np.random.default_rng(0)
    clean = rng.uniform(-1, 1, (BATCH, POINTS, 2)).astype(np.float32)
    noise = rng.standard_normal((BATCH, POINTS, 2)).astype(np.float32)
    start, goal = (rng.uniform(-1, 1, (BATCH, 2)).astype(np.float32) for _ in range(2))
    return clean, noise, start, goal


def _knowing(schedule, predict, truth):
    """The exact denoiser of a data set with one path a row: truth [B, P, 2]."""

    def denoise(x, t):
        t = jnp.asarray(t)
        _, noise = noising.to_sample_and_noise(schedule, "sample", truth, x, t)
        return noising.target(schedule, predict, truth, noise, t)

    return denoise


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_mix_is_clean_at_0_and_noise_at_1(schedule):
    t = np.linspace(0, 1, 11)
    alpha, sigma = noising.mix(schedule, t)
    np.testing.assert_allclose([alpha[0], sigma[0], alpha[-1], sigma[-1]], [1, 0, 0, 1], atol=1e-6)
    total = alpha + sigma if schedule == "linear" else alpha**2 + sigma**2
    np.testing.assert_allclose(total, 1, atol=1e-6)
    np.testing.assert_allclose(noising.mix(schedule, jnp.asarray(t)), [alpha, sigma], atol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("predict", PREDICTS)
def test_what_is_learnt_can_be_undone(schedule, predict, paths):
    clean, noise, *_ = paths
    t = np.linspace(0.05, 0.95, BATCH)
    alpha, sigma = (a[:, None, None] for a in noising.mix(schedule, t))
    x = alpha * clean + sigma * noise
    output = noising.target(schedule, predict, clean, noise, t)
    found = noising.to_sample_and_noise(schedule, predict, output, x, t)
    np.testing.assert_allclose(found, [clean, noise], atol=2e-5)
    x, output, t = (jnp.asarray(a, jnp.float32) for a in (x, output, t))
    found = noising.to_sample_and_noise(schedule, predict, output, x, t)
    np.testing.assert_allclose(found, [clean, noise], atol=2e-5)
    if predict == "velocity":  # the direction of the mix, by differences
        (a1, s1), (a0, s0) = (noising.mix(schedule, t + d) for d in (0.01, -0.01))
        moved = (a1 - a0)[:, None, None] * clean + (s1 - s0)[:, None, None] * noise
        scale = 0.02 * (np.pi / 2 if schedule == "cosine" else 1)
        np.testing.assert_allclose(moved / scale, output, atol=2e-3)


def test_the_ends_of_the_levels_are_finite(paths):
    clean, noise, *_ = paths
    for schedule in SCHEDULES:
        for t, x in ((jnp.zeros(BATCH), clean), (jnp.ones(BATCH), noise)):
            for predict in PREDICTS:
                found = noising.to_sample_and_noise(schedule, predict, clean, x, t)
                assert np.isfinite(found).all()


# ---------------------------------------------------------------- DDIM


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("predict", PREDICTS)
def test_an_exact_denoiser_is_sampled_exactly(schedule, predict, paths):
    clean, noise, *_ = paths
    start, goal = clean[:, 0], clean[:, -1]
    how = dict(schedule=schedule, predict=predict, steps=7)
    denoise = _knowing(schedule, predict, clean)
    found = jax.jit(lambda: JAX_SAMPLE(denoise, jnp.zeros_like(noise), noise, start, goal, **how))()
    np.testing.assert_allclose(found, clean, atol=1e-4)
    ours = noising.sample(denoise, np.zeros_like(noise), noise, start, goal, **how)
    np.testing.assert_allclose(ours, clean, atol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_gaussian_is_sampled_as_a_gaussian(schedule):
    """Coordinates N(0.1, 0.2²): the best guess of the clean path is linear in the noisy one."""
    mean, spread = 0.1, 0.2

    def denoise(x, t):
        alpha, sigma = (a[:, None, None] for a in noising.mix(schedule, t))
        gain = alpha * spread**2 / ((alpha * spread) ** 2 + sigma**2)
        return mean + gain * (x - alpha * mean)

    noise = jax.random.normal(jax.random.key(0), (500, POINTS, 2))
    zero = jnp.zeros((500, 2))
    how = dict(schedule=schedule, predict="sample", steps=60)
    found = jax.jit(lambda: JAX_SAMPLE(denoise, noise * 0, noise, zero, zero, **how))()[:, 1:-1]
    assert abs(float(found.mean()) - mean) < 0.01 and abs(float(found.std()) - spread) < 0.015


@pytest.mark.parametrize("run", [JAX_SAMPLE, noising.sample], ids=["jax", "numpy"])
def test_ends_are_clean_at_every_level_and_in_the_end(run, paths):
    clean, noise, start, goal = paths
    seen = []

    def denoise(x, t):
        jax.debug.callback(lambda x, t: seen.append((np.array(x), np.array(t))), x, t)
        return jnp.asarray(clean) if run is JAX_SAMPLE else clean

    how = dict(schedule="linear", predict="sample", steps=4, level=0.8)
    found = run(denoise, clean, noise, start, goal, **how)
    jax.effects_barrier()
    np.testing.assert_allclose(sorted({float(t[0]) for _, t in seen}), [0.2, 0.4, 0.6, 0.8], atol=1e-6)
    for x in [found, *(x for x, _ in seen)]:
        np.testing.assert_array_equal(x[:, 0], start)
        np.testing.assert_array_equal(x[:, -1], goal)
    np.testing.assert_array_equal(found[:, 1:-1], clean[:, 1:-1])


@pytest.mark.parametrize("run", [JAX_SAMPLE, noising.sample], ids=["jax", "numpy"])
def test_the_guide_moves_the_clean_path(run, paths):
    clean, noise, start, goal = paths
    how = dict(schedule="cosine", predict="sample", steps=5)
    found = run(lambda x, t: clean, clean, noise, start, goal, **how, guide=lambda path: path + 1)
    np.testing.assert_allclose(found[:, 1:-1], clean[:, 1:-1] + 1, atol=1e-6)
    np.testing.assert_array_equal(found[:, [0, -1]], np.stack([start, goal], axis=1))


def test_what_leaves_the_map_by_far_is_clipped(paths):
    clean, noise, start, goal = paths
    how = dict(schedule="linear", predict="sample", steps=2)
    for run in (JAX_SAMPLE, noising.sample):
        found = run(lambda x, t: 100 * clean, clean, noise, start, goal, **how)
        assert np.abs(found).max() <= 8


def test_a_warm_start_stays_near_the_path_it_began_with(paths):
    """For a broad Gaussian the best guess keeps what little noise leaves of the first path."""
    clean, noise, start, goal = paths

    def denoise(x, t):
        alpha, sigma = (a[:, None, None] for a in noising.mix("linear", jnp.asarray(t)))
        return alpha * x / (alpha**2 + sigma**2)

    away = {}
    for level in (0.05, 1.0):
        how = dict(schedule="linear", predict="sample", steps=10, level=level)
        runs = (JAX_SAMPLE, noising.sample)
        found = [run(denoise, clean, noise, start, goal, **how) for run in runs]
        np.testing.assert_allclose(*found, atol=1e-5)
        away[level] = np.abs(found[0] - clean)[:, 1:-1].mean()
    assert away[0.05] < 0.1 < 0.5 < away[1.0]


# ---------------------------------------------------------------- the published sampler


def test_the_published_betas():
    betas = np.array(noising.published_betas(100))
    assert round(np.prod(1 - betas), 3) == 0.194 and (betas == 0.02).sum() == 64  # cloud.md §4.1
    signal = np.cumprod(1 - betas)
    rounded = [round(float(signal[i]) ** 0.5, 3) for i in (99, 75, 50, 25, 5, 0)]
    assert rounded == [0.440, 0.561, 0.722, 0.914, 0.994, 1.000]
    rows = np.array(noising.published_steps(100))[::-1]  # in the order of the betas
    fresh = np.sqrt(betas) * (np.arange(100) > 0)
    expected = [np.arange(100) / 100, betas / np.sqrt(1 - signal), 1 / np.sqrt(1 - betas), fresh]
    np.testing.assert_allclose(rows.T, expected, rtol=1e-12)


def test_the_published_sampler(paths):
    """With exact noise of its own mix, and none added, it goes to the clean path."""
    clean, noise, start, goal = paths
    signal = np.cumprod(1 - np.array(noising.published_betas(100)))
    signal = jnp.asarray(signal, jnp.float32)
    seen = []

    def denoise(x, t):
        i = jnp.round(jnp.asarray(t)[0] * 100).astype(int)
        jax.debug.callback(lambda x, i: seen.append((int(i), np.array(x))), x, i)
        return (x - jnp.sqrt(signal[i]) * clean) / jnp.sqrt(1 - signal[i])

    noises = np.zeros((101, BATCH, POINTS, 2), np.float32)
    noises[0] = noise
    for run in (JAX_PUBLISHED, noising.sample_published):
        seen.clear()
        found = run(denoise, noises, start, goal)
        jax.effects_barrier()
        np.testing.assert_allclose(found[:, 1:-1], clean[:, 1:-1], atol=1e-3)
        np.testing.assert_array_equal(found[:, [0, -1]], np.stack([start, goal], axis=1))
        assert sorted(i for i, _ in seen) == list(range(100))
        for i, x in seen:
            ends = noise[:, [0, -1]] if i == 99 else np.stack([start, goal], axis=1)
            np.testing.assert_array_equal(x[:, [0, -1]], ends)


def test_the_last_published_noise_is_not_used(paths):
    _, _, start, goal = paths
    noises = np.random.default_rng(1).standard_normal((11, BATCH, POINTS, 2)).astype(np.float32)
    silent, loud = noises.copy(), noises.copy()
    loud[-1] += 5
    silent[-2] += 5
    for run in (JAX_PUBLISHED, noising.sample_published):
        found = [np.asarray(run(lambda x, t: x, n, start, goal, steps=10)) for n in (noises, loud, silent)]
        np.testing.assert_array_equal(found[0], found[1])
        assert np.abs(found[0] - found[2]).max() > 0.1


# ---------------------------------------------------------------- guidance, and both with a network


@pytest.fixture(scope="module")
def network():
    """A small denoiser in jax and in NumPy, with a code: (denoise, NumPy denoise, code [B, 2 D])."""
    fields = {"name": "path_convnet", "width": 8, "groups": 4, "size": 16, "points": POINTS}
    fields["coordinates"] = "unit"
    model = diffusion.build(fields)
    rng = np.random.default_rng(2)
    shapes = jax.eval_shape(functools.partial(diffusion.initial_params, model), jax.random.key(0))
    params = jax.tree.map(lambda a: rng.uniform(-0.3, 0.3, a.shape).astype(np.float32), shapes)
    twin = denoiser.Denoiser({"model": diffusion.describe(model)}, model_file.flatten(params))
    code = np.random.default_rng(3).standard_normal((BATCH, 16)).astype(np.float32)
    return jax.jit(functools.partial(model.apply, {"params": params})), twin.denoise, code


def test_guidance(network, paths):
    denoise, twin, code = network
    _, noise, *_ = paths
    t = np.linspace(0.1, 0.9, BATCH).astype(np.float32)
    blind = code.copy()
    blind[:, :8] = 0
    seeing, unseeing = (np.asarray(denoise(noise, t, c)) for c in (code, blind))
    rows = []

    def counted(x, t, code):
        rows.append(len(x))
        return denoise(x, t, code)

    for weight, expected in ((1.0, BATCH), (0.0, BATCH), (2.5, 2 * BATCH)):
        rows.clear()
        found = noising.guided(counted, jnp.asarray(code), weight)(noise, t)
        assert rows == [expected]
        np.testing.assert_allclose(found, unseeing + weight * (seeing - unseeing), atol=1e-5)
        np.testing.assert_allclose(noising.guided(twin, code, weight)(noise, t), found, atol=1e-5)


@pytest.mark.parametrize("schedule, predict", [("linear", "velocity"), ("cosine", "sample")])
def test_numpy_samples_as_jax_does(schedule, predict, network, paths):
    denoise, twin, code = network
    clean, noise, start, goal = paths
    how = dict(schedule=schedule, predict=predict, steps=10, level=0.9, guide=lambda path: 0.9 * path)
    expected = jax.jit(
        lambda code: JAX_SAMPLE(noising.guided(denoise, code, 1.5), clean, noise, start, goal, **how)
    )(code)
    found = noising.sample(noising.guided(twin, code, 1.5), clean, noise, start, goal, **how)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_numpy_samples_the_published_way_as_jax_does(network, paths):
    denoise, twin, code = network
    _, _, start, goal = paths
    noises = np.random.default_rng(4).standard_normal((101, BATCH, POINTS, 2)).astype(np.float32)
    expected = jax.jit(lambda code: JAX_PUBLISHED(lambda x, t: denoise(x, t, code), noises, start, goal))(
        code
    )
    found = noising.sample_published(lambda x, t: twin(x, t, code), noises, start, goal)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
