"""Intervals and paired tests against published and hand-computed values."""

import pytest

from hrm_jax.planning.statistics import mcnemar, wilson


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
