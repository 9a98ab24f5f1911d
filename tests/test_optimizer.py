"""Schedules and optimizers: torch's own numbers, and LAMB as a NumPy loop."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.training import optimizer
from hrm_jax.training.optimizer import OptimizerConfig

STEPS_40 = [0, 3, 10, 11, 12, 25, 38, 39]
RATES_40 = [
    2.4e-05,
    0.000123400109,
    0.000588333976,
    0.0006,
    0.000598113671,
    0.0003000012,
    1.88872949e-06,
    2.4e-09,
]
BETAS_40 = [0.95, 0.932743, 0.8520254, 0.85, 0.8503144, 0.9, 0.9496856, 0.95]

START, TARGET = np.array([1.0, -2.0, 0.5], np.float32), np.array([0.3, 0.1, -0.7], np.float32)


def _config(**fields):
    return OptimizerConfig(**{**base.get_config().optimizer.to_dict(), "clip": 0.0, **fields})


def _descend(config, steps, params=START, gradient=lambda p: 2 * (p - TARGET)):
    """Parameters after each of `steps` updates, and the last optimizer state."""
    tx = optimizer.make(config, steps, 1024).dense
    params, path = jax.tree.map(jnp.asarray, params), []

    @jax.jit
    def update(params, state):
        updates, state = tx.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = update(params, state)
        path.append(params)
    return path, state


# ---------------------------------------------------------------- schedules


def test_onecycle_is_torchs():
    schedule = optimizer.learning_rate(_config(schedule="onecycle", learning_rate=6e-4), 40, 1024)
    np.testing.assert_allclose([schedule(s) for s in STEPS_40], RATES_40, rtol=2e-5)
    b1 = optimizer.one_cycle(40, 0.3, 0.95, 0.85, 0.95)
    np.testing.assert_allclose([b1(s) for s in STEPS_40], BETAS_40, rtol=1e-6)


@pytest.mark.parametrize("steps", [20, 33, 1000])
def test_onecycle_equals_live_torch(steps):
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.AdamW([p], lr=0.1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=0.01, total_steps=steps)
    rates, betas = [], []
    for _ in range(steps):
        rates.append(theirs.param_groups[0]["lr"])
        betas.append(theirs.param_groups[0]["betas"][0])
        theirs.step()
        if len(rates) < steps:
            cycle.step()
    ours = optimizer.learning_rate(_config(schedule="onecycle", learning_rate=0.01), steps, 1024)
    np.testing.assert_allclose(jax.vmap(ours)(jnp.arange(steps)), rates, rtol=2e-5, atol=2e-9)
    b1 = optimizer.one_cycle(steps, 0.3, *(0.95, 0.85, 0.95))
    np.testing.assert_allclose(jax.vmap(b1)(jnp.arange(steps)), betas, rtol=1e-5)


def test_cosine_and_warmup():
    config = _config(schedule="cosine", learning_rate=3e-4, final_learning_rate=1e-6)
    rate = optimizer.learning_rate(config, 100, 1024)
    expected = [1e-6 + (3e-4 - 1e-6) * (1 + math.cos(math.pi * s / 100)) / 2 for s in range(101)]
    np.testing.assert_allclose([rate(s) for s in range(101)], expected, rtol=1e-4)
    warm = optimizer.learning_rate(dataclasses.replace(config, warmup_steps=9), 109, 1024)
    np.testing.assert_allclose([warm(s) for s in range(9)], [3e-5 * (s + 1) for s in range(9)], rtol=1e-5)
    np.testing.assert_allclose([warm(9 + s) for s in range(101)], expected, rtol=1e-4)
    flat = optimizer.learning_rate(_config(learning_rate=2e-3, warmup_steps=3), 50, 1024)
    np.testing.assert_allclose([flat(s) for s in (0, 2, 3, 49)], [5e-4, 1.5e-3, 2e-3, 2e-3], rtol=1e-5)


@pytest.mark.parametrize("scaling, factor", [("none", 1), ("sqrt", 2), ("linear", 4)])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_batch_scaling_lifts_the_whole_schedule(scaling, factor, schedule):
    def at(batch_size, **fields):
        config = _config(schedule=schedule, reference_batch_size=2048, **fields)
        return np.array([optimizer.learning_rate(config, 40, batch_size)(s) for s in (0, 11, 30)])

    np.testing.assert_allclose(at(8192, batch_scaling=scaling), factor * at(8192), rtol=1e-6)
    np.testing.assert_allclose(at(2048, batch_scaling=scaling), at(2048), rtol=1e-6)


# ---------------------------------------------------------------- optimizers


def test_adamw_under_onecycle_ends_where_torch_does():
    path, _ = _descend(_config(schedule="onecycle", learning_rate=0.1), 20)
    expected = [0.28214117884635925, -1.1583607196807861, -0.29270702600479126]
    # optax corrects Adam's bias in float32: the first steps are 3e-5 off.
    np.testing.assert_allclose(path[-1], expected, rtol=1e-4)


def test_the_beta_cycle_can_be_turned_off_and_matters():
    cycled, _ = _descend(_config(schedule="onecycle", learning_rate=0.1), 20)
    fixed, _ = _descend(_config(schedule="onecycle", learning_rate=0.1, cycle_b1=False), 20)
    assert np.abs(cycled[-1] - fixed[-1]).max() > 1e-3


@pytest.mark.parametrize("schedule", ["constant", "onecycle"])
def test_adamw_equals_live_torch(schedule):
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.from_numpy(START.copy()))
    theirs = torch.optim.AdamW([p], lr=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=0.05, total_steps=30)
    ours, _ = _descend(_config(schedule=schedule, learning_rate=0.05), 30)
    if schedule == "constant":
        theirs = torch.optim.AdamW([p], lr=0.05)
    for step in range(30):
        theirs.zero_grad()
        ((p - torch.from_numpy(TARGET)) ** 2).sum().backward()
        theirs.step()
        if schedule == "onecycle" and step < 29:
            cycle.step()
        np.testing.assert_allclose(ours[step], p.detach().numpy(), rtol=2e-5, atol=1e-5)


def test_lamb_is_the_published_variant():
    # torch-optimizer's LAMB: no bias correction, m / (sqrt(v) + eps) + wd p, trust = min(|p|, 10) / |update|,
    # 1 where either is zero, one ratio a tensor: a stream's blocks are stacked but apart.
    rng = np.random.default_rng(0)
    params = {
        "embed": {"kernel": 3.0 * rng.standard_normal((2, 5)), "bias": np.zeros(5)},
        "low": {"kernel": rng.standard_normal((3, 4, 5)) * np.array([1e-2, 1.0, 9.0])[:, None, None]},
        "high": {"norm1": rng.standard_normal((2, 4))},
        "head": {"kernel": 40.0 * rng.standard_normal((5, 2))},  # beyond the clamp
    }
    params["high"]["norm1"][1] = 0
    assert np.linalg.norm(params["head"]["kernel"]) > 10
    target = jax.tree.map(lambda a: rng.standard_normal(a.shape), params)
    target["embed"]["bias"][:] = 0  # no gradient, no parameter: no update

    config = _config(
        name="lamb",
        bias_correction=False,
        eps=1e-6,
        learning_rate=0.02,
        weight_decay=0.01,
        schedule="constant",
    )
    start = jax.tree.map(lambda a: a.astype(np.float32), params)
    path, _ = _descend(config, 6, start, lambda p: jax.tree.map(lambda a, b: 2 * (a - b), p, target))

    tensors = {
        (group, leaf, i): (params[group][leaf][i], target[group][leaf][i])
        for group in ("low", "high")
        for leaf in params[group]
        for i in range(len(params[group][leaf]))
    }
    tensors |= {(g, n, ...): (params[g][n], target[g][n]) for g in ("embed", "head") for n in params[g]}
    ratios = []
    for (group, leaf, index), (p, goal) in tensors.items():
        p, m, v = p.copy(), 0.0, 0.0
        for step in range(6):
            g = 2 * (p - goal)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            update = m / (np.sqrt(v) + 1e-6) + 0.01 * p
            pn, un = min(np.linalg.norm(p), 10), np.linalg.norm(update)
            ratios.append(pn / un if pn and un else 1.0)
            p = p - 0.02 * ratios[-1] * update
            np.testing.assert_allclose(path[step][group][leaf][index], p, rtol=1e-4, atol=1e-6)
    assert 1.0 in ratios and max(ratios) / min(ratios) > 100


def test_lamb_with_bias_correction_is_the_papers():
    config = _config(name="lamb", learning_rate=0.02, eps=1e-6)
    tree = {"w": START}
    path, _ = _descend(config, 5, tree, lambda p: {"w": 2 * (p["w"] - TARGET)})
    p, m, v = START.astype(np.float64), 0.0, 0.0
    for step in range(5):
        g = 2 * (p - TARGET)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        update = m / (1 - 0.9 ** (step + 1)) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-6) + 0.01 * p
        p = p - 0.02 * min(np.linalg.norm(p), 10) / np.linalg.norm(update) * update
        np.testing.assert_allclose(path[step]["w"], p, rtol=1e-4)


def test_clipping_bounds_the_global_norm():
    gradient = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[0.0, 4.0]])}
    zeros = jax.tree.map(jnp.zeros_like, gradient)

    def first_moment(clip):
        tx = optimizer.make(_config(clip=clip, schedule="constant"), 10, 1024).dense
        _, state = tx.update(gradient, tx.init(zeros), zeros)
        return optax.tree.get(state, "mu")

    for clip, scale in ((0.0, 1.0), (10.0, 1.0), (1.0, 0.2)):
        jax.tree.map(
            lambda m, g, s=scale: np.testing.assert_allclose(m, 0.1 * s * g, rtol=1e-6),
            first_moment(clip),
            gradient,
        )


# ---------------------------------------------------------------- non-finite gradients


@pytest.mark.parametrize("place", range(5))
def test_one_number_that_is_not_finite_is_found_wherever_it_is(place):
    """Among arrays of one shape, of other dtypes and of whole numbers."""
    leaves = [np.ones((2, 3), np.float32) for _ in range(3)] + [
        np.ones(3, np.float32),
        np.ones((), np.float32),
    ]
    tree = {"counts": np.ones((2, 3), np.int32), "half": jnp.ones((2, 3), jnp.bfloat16), "leaves": leaves}
    assert optimizer.all_finite(tree)
    leaves[place].flat[-1] = np.inf if place % 2 else np.nan
    assert not optimizer.all_finite(tree)


@pytest.mark.parametrize("schedule", ["constant", "onecycle"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gradient_changes_nothing(schedule, bad):
    tx = optimizer.make(_config(schedule=schedule, clip=1.0), 40, 1024).dense
    params = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([0.5])}
    good = {"a": jnp.array([0.3, 0.1]), "b": jnp.array([-0.2])}
    broken = {"a": jnp.array([0.3, bad]), "b": jnp.array([-0.2])}

    @jax.jit
    def update(gradient, params, state):
        updates, state = tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    def count(state):
        return int(optax.tree.get(state, "notfinite_count"))

    state = tx.init(params)
    params, state = update(good, params, state)
    assert count(state) == 0
    kept = params, state.inner_state
    for n in range(1, 31):  # long after a limit that lets one through
        params, state = update(broken, params, state)
        assert count(state) == n
    jax.tree.map(np.testing.assert_array_equal, (params, state.inner_state), kept)
    params, state = update(good, params, state)
    assert count(state) == 0
    assert all((a != b).all() for a, b in zip(*map(jax.tree.leaves, (params, kept[0])), strict=True))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "fields, words",
    [
        (dict(name="adam"), ("adam", "adamw", "lamb")),
        (dict(schedule="onecycel"), ("onecycel", "constant", "cosine", '"onecycle"')),
        (dict(batch_scaling="square"), ("square", "none", "sqrt", "linear")),
        (dict(learning_rate=0.0), ("learning_rate = 0.0",)),
        (dict(learning_rate=math.nan), ("learning_rate = nan",)),
        (dict(accumulate=0), ("accumulate = 0",)),
        (dict(reference_batch_size=0), ("reference_batch_size = 0",)),
        (dict(max_bad_steps=0), ("max_bad_steps = 0",)),
    ],
)
def test_a_wrong_optimizer_is_refused_in_one_line(fields, words):
    with pytest.raises(RequestError) as error:
        _config(**fields)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
