"""Cross entropies: docs/models.md, and vectors from the original."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.models import losses

BOTH = (losses.softmax_cross_entropy, losses.stablemax_cross_entropy)


def stablemax_in_float64(x):
    """The definition, branch by branch."""
    x = np.asarray(x, np.float64)
    s = np.where(x >= 0, x + 1, 1 / (1 - np.minimum(x, 0)))
    return s / s.sum(-1, keepdims=True)


def test_stablemax_of_known_values():
    logits = jnp.tile(jnp.array([2.0, -1.0, 0.5]), (3, 1))
    np.testing.assert_allclose(
        losses.stablemax_cross_entropy(logits, jnp.arange(3)), -np.log([0.6, 0.1, 0.3]), rtol=1e-6
    )


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize(("vocabulary", "expected"), [(6, 1.7918), (11, 2.3979)])
def test_equal_logits_cost_the_logarithm_of_the_vocabulary(loss, vocabulary, expected):
    for level in (-3.0, 0.0, 5.0):
        assert float(loss(jnp.full(vocabulary, level), jnp.int32(2))) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4, 1e30])
def test_stablemax_equals_its_definition_in_float64(scale):
    logits = (scale * np.random.default_rng(0).standard_normal((50, 7))).astype(np.float32)
    labels = np.arange(50) % 7
    got = losses.stablemax_cross_entropy(logits, labels)
    expected = -np.log(stablemax_in_float64(logits)[np.arange(50), labels])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("x", [-1e30, -1.0, -1e-7, -0.0, 0.0, 1e-7, 1.0, 1e30])
def test_stablemax_slope_is_finite_and_one_function_on_both_sides(x):
    assert float(jax.grad(losses.log_stable)(x)) == pytest.approx(1 / (1 + abs(x)), rel=1e-6)


def test_stablemax_gradient_equals_differences_in_float64():
    rng, slope = np.random.default_rng(1), jax.jit(jax.grad(losses.stablemax_cross_entropy))
    for _ in range(20):
        x, label, e = rng.choice([-1.0, 0.0, 1.0, 0.3, -2.5], 5), rng.integers(5), 1e-6
        cost = lambda x: -np.log(stablemax_in_float64(x)[label])  # noqa: B023, E731 - used at once
        expected = [(cost(x + e * d) - cost(x - e * d)) / (2 * e) for d in np.eye(5)]
        got = slope(jnp.array(x, jnp.float32), label)
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_softmax_equals_its_definition_and_survives_large_logits():
    x = np.array([[2.0, -1.0, 0.5], [1e4, 0.0, -1e4]])
    got = losses.softmax_cross_entropy(jnp.array(x, jnp.float32), jnp.array([1, 2]))
    np.testing.assert_allclose(got, [np.log(np.exp(x[0]).sum()) + 1.0, 2e4], rtol=1e-6)


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("label", [-100, -1, 4])
def test_a_label_that_is_not_graded_costs_nothing_and_teaches_nothing(loss, label):
    value, gradient = jax.value_and_grad(loss)(jnp.array([1.0, -1.0, 0.0, 3.0]), jnp.int32(label))
    assert value == 0 and not np.any(gradient)


@pytest.mark.parametrize("loss", BOTH)
def test_low_precision_is_raised_first(loss):
    logits = jnp.array([[1.0, -1.0, 0.5, 0.0]], jnp.bfloat16)
    got = loss(logits, jnp.array([3]))
    assert got.dtype == jnp.float32
    assert got == loss(logits.astype(jnp.float32), jnp.array([3]))
    gradient = jax.grad(lambda x: loss(x, jnp.array([3])).sum())(logits)
    assert gradient.dtype == jnp.bfloat16 and np.all(np.isfinite(gradient.astype(jnp.float32)))
