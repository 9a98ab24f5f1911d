"""Intervals, tests and quantiles against published values, hand computation and brute force."""

import itertools

import numpy as np
import pytest

from hrm_jax.judging import statistics
from hrm_jax.judging.statistics import mcnemar, wilson
from hrm_jax.referee.cells.episode import ErrorCounts


@pytest.mark.parametrize(
    ("successes", "low", "high"),
    [(34, 54, 79), (33, 52, 78), (31, 48, 74), (26, 39, 65), (36, 58, 83)],
)
def test_wilson_of_50(successes, low, high):
    interval = wilson(successes, 50)
    assert [round(100 * bound) for bound in interval] == [low, high]


def test_wilson_at_the_ends():
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
    assert wilson(0, 10)[1] == pytest.approx(0.2775, abs=1e-4)
    assert wilson(10, 10)[0] == pytest.approx(1 - 0.2775, abs=1e-4)


def test_mcnemar():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert mcnemar(8, 1) == mcnemar(1, 8) == pytest.approx(2 * (1 + 9) / 2**9)


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0] and statistics.holm([]) == []


def test_sign_flip_is_mcnemar_for_two_models_and_brute_force_for_more():
    ones = np.array([1] * 9 + [-1] * 2 + [0] * 30)
    assert statistics.sign_flip(ones) == pytest.approx(statistics.mcnemar(9, 2))
    values = np.array([3, -1, 2, 2, 0, 1, -2, 1])
    sums = [np.dot(signs, values) for signs in itertools.product((-1, 1), repeat=len(values))]
    expected = np.mean(np.abs(sums) >= abs(values.sum()))
    assert statistics.sign_flip(values) == pytest.approx(expected)
    assert statistics.sign_flip(np.zeros(5, int)) == 1.0


def test_welch_says_nothing_without_spread():
    assert statistics.welch([0.9, 0.9], [0.8, 0.8]) is None and statistics.welch([0.9], [0.8, 0.7]) is None
    assert statistics.welch([0.90, 0.91, 0.92], [0.80, 0.81, 0.79]) < 0.01


def test_error_counts_know_the_quantiles():
    generator = np.random.default_rng(0)
    future = generator.normal(size=(50, 3, 7, 2))
    error = generator.gamma(2.0, 0.5, (50, 3, 7))
    angle = generator.uniform(0, 2 * np.pi, error.shape)
    predicted = future + error[..., None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    counts = ErrorCounts(3)
    assert counts.summary() is None
    counts.add(predicted[:20], future[:20])
    counts.add(predicted[20:], future[20:])
    summary, by_step = counts.summary(), error.swapaxes(0, 1).reshape(3, -1)
    np.testing.assert_allclose(summary["mean"], by_step.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(summary["median"], np.median(by_step, axis=1), atol=0.03)
    np.testing.assert_allclose(summary["p90"], np.quantile(by_step, 0.9, axis=1), atol=0.03)
    np.testing.assert_allclose(summary["within"]["0.5"], (by_step < 0.5).mean(axis=1), atol=1e-4)
