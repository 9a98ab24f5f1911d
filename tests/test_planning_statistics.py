"""Intervals, tests and quantiles against published values, hand computation and brute force."""

import itertools
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest

from hrm_jax.judging import statistics, tables
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


@pytest.mark.parametrize(
    ("a", "b"), [((7, 7, 3, 9), (1, 7, 3, 2)), ((5, 8), (1, 2, 8, 4, 5)), ((9, 9, 9), (9,) * 4)]
)
def test_permutation_is_brute_force(a, b):
    """Every deal of the seeds, with rates as fractions, so that ties are ties."""
    seeds, far = (*a, *b), []
    for chosen in itertools.combinations(range(len(seeds)), len(a)):
        rest = [seeds[i] for i in range(len(seeds)) if i not in chosen]
        far.append(abs(Fraction(sum(seeds[i] for i in chosen), len(a)) - Fraction(sum(rest), len(b))))
    found = abs(Fraction(sum(a), len(a)) - Fraction(sum(b), len(b)))
    expected = sum(distance >= found for distance in far) / len(far)
    assert (
        statistics.permutation((a, b)) == statistics.permutation((b, a)) == pytest.approx(expected, rel=1e-12)
    )


@pytest.mark.parametrize(("size", "least"), [(2, 2 / 6), (3, 2 / 20), (5, 2 / 252), (6, 2 / 924)])
def test_permutation_reaches_its_least_whatever_the_spread(size, least):
    apart = [900 + seed for seed in range(size)], [850 - 40 * seed for seed in range(size)]
    for a, b in (apart, ([1000] * size, [300] * size), (apart[0], [0] * size)):
        assert statistics.permutation((a, b)) == pytest.approx(least, rel=1e-12)


def test_permutation_of_one_seed_and_of_many():
    assert statistics.permutation(([3], [1, 2])) is statistics.permutation(([3, 2], [1])) is None
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 50, 60), rng.integers(5, 55, 60)  # 1e35 ways: as the normal distribution has it
    both = np.concatenate([a, b])
    z = abs(a.mean() - b.mean()) / np.sqrt(both.var(ddof=1) * (2 / 60))
    assert statistics.permutation((a, b)) == pytest.approx(2 * NormalDist().cdf(-z), rel=0.05)


def test_permutation_within_worlds_is_brute_force():
    """Seeds are dealt anew in each world, never from one to another."""
    worlds = [((7, 3, 9), (1, 7, 2)), ((52, 58, 59), (60, 61, 55)), ((4, 4, 4), (4, 4, 3))]
    deals = []
    for a, b in worlds:
        seeds = (*a, *b)
        deals.append([sum(seeds[i] for i in chosen) for chosen in itertools.combinations(range(6), 3)])
    middle = sum(Fraction(sum(a) + sum(b), 2) for a, b in worlds)
    found = abs(sum(sum(a) for a, _ in worlds) - middle)
    far = [abs(sum(dealt) - middle) for dealt in itertools.product(*deals)]
    expected = sum(distance >= found for distance in far) / len(far)
    assert 0.05 < expected < 0.95
    assert statistics.permutation(*worlds) == pytest.approx(expected, rel=1e-12)
    assert statistics.permutation(worlds[0], ((1, 2), (3, 4))) is None


def test_worlds_together_tell_what_none_of_them_tells():
    """Six seeds all below six, in three worlds: 2 of 924**3 deals."""
    rng = np.random.default_rng(0)

    def outcomes(rate):
        return "".join("1" if solved else "0" for solved in rng.random(200) < rate)

    def world(*groups):
        return {
            f"{group}/{seed}": {"group": group, "outcomes": outcomes(rate)}
            for group, rate in groups
            for seed in range(6)
        }

    models = [world(("hrm", 0.5), ("lstm", 0.9)) for _ in range(3)]
    (pair,) = statistics.in_all_worlds(models, [("hrm", "lstm")])
    assert -0.5 < pair["difference"] < -0.3
    assert pair["p_seeds"] == pytest.approx(2 / 924**3, rel=1e-9) and pair["p_episodes"] < 1e-30
    reports = [
        {"world": name, "models": of_world, **statistics.groups(of_world)}
        for name, of_world in zip("abc", models, strict=True)
    ]
    assert all(report["group_pairs"][0]["p_seeds"] > 0.002 for report in reports)
    turned = dict(reports[1], group_pairs=[dict(reports[1]["group_pairs"][0], a="lstm", b="hrm")])
    for second in (reports[1], turned):
        *_, said, table = tables.group_tests([reports[0], second, reports[2]]).split("\n\n")
        assert said.startswith("All trials of the 3 reports") and "hrm - lstm" in table
    # Two reports of one world may be of the same trainings.
    assert "All trials" not in tables.group_tests([*reports, reports[0]])


def test_a_world_counts_by_its_trials():
    def models(a, b):
        return {
            f"{name}/{seed}": {"group": name, "outcomes": outcomes}
            for name, outcomes in (("a", a), ("b", b))
            for seed in (0, 1)
        }

    (pair,) = statistics.in_all_worlds([models("1110", "0000"), models("11", "11")], [("a", "b")])
    assert pair["difference"] == pytest.approx(0.5)


def _models(**groups):
    """A report's models out of bool [seeds, N] a group."""
    return {
        f"{group}/{seed}": {"group": group, "outcomes": "".join(np.where(row, "1", "0"))}
        for group, rows in groups.items()
        for seed, row in enumerate(rows)
    }


def _pair(**groups):
    (pair,) = statistics.groups(_models(**groups))["group_pairs"]
    return pair


def test_interval_of_groups_that_chance_has_no_part_in():
    full, none = np.ones((3, 40), bool), np.zeros((3, 40), bool)
    apart, level = _pair(a=full, b=none), _pair(a=full, b=full)
    assert apart["difference"] == 1 and apart["interval"] == [1, 1]
    assert apart["p_seeds"] == apart["p_seeds_holm"] == pytest.approx(0.1)
    assert level["interval"] == [0, 0] and level["p_seeds"] == level["p_episodes"] == 1
    half = np.tile(
        np.arange(40) % 2 == 0, (3, 1)
    )  # all seeds and both groups solve the same: episodes cancel
    assert _pair(a=half, b=half)["interval"] == [0, 0]


@pytest.mark.parametrize("spread", ["episodes", "seeds"])
def test_interval_is_wide_by_episodes_and_by_seeds(spread):
    """1.96 standard errors on either side of the difference, where one of the two varies."""
    rng = np.random.default_rng(0)
    if spread == "episodes":  # every seed alike, the groups apart
        a, b = (np.tile(rng.random(400) < p, (4, 1)) for p in (0.6, 0.4))
        error = (a[0].astype(int) - b[0]).std() / np.sqrt(400)
    else:  # so many episodes that they tell a seed's rate
        a, b = (
            np.array([rng.random(1000) < p for p in rates]) for rates in ((0.2, 0.8, 0.3, 0.9), (0.5,) * 4)
        )
        error = a.mean(axis=1).std(ddof=1) / np.sqrt(4)
    pair = _pair(a=a, b=b)
    low, high = pair["interval"]
    assert low < pair["difference"] < high
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.07)
    assert _pair(a=b, b=a)["interval"] == pytest.approx([-high, -low], abs=0.02)
    assert _pair(a=a, b=b) == pair  # the same draws


def test_interval_covers_the_difference():
    """Six seeds against six whose chances differ, on episodes whose difficulty they share."""
    rng, covered = np.random.default_rng(1), []
    for _ in range(40):
        ease = rng.uniform(-0.3, 0.3, 80)  # the same for all; the mean difference is 0.1
        groups = {
            name: rng.random((6, 80)) < 0.5 + shift + ease + rng.uniform(-0.08, 0.08, (6, 1))
            for name, shift in (("a", 0.1), ("b", 0.0))
        }
        low, high = _pair(**groups)["interval"]
        covered.append(low <= 0.1 <= high)
    assert np.mean(covered) >= 0.85


def test_groups_of_other_sizes_and_of_one_seed():
    rng = np.random.default_rng(0)
    found = statistics.groups(
        _models(a=rng.random((2, 30)) < 0.9, b=rng.random((3, 30)) < 0.2, c=rng.random((1, 30)) < 0.5)
    )
    of = {pair["a"] + pair["b"]: pair for pair in found["group_pairs"]}
    assert (
        of["ab"]["p_episodes"] is None and of["ab"]["p_seeds"] == pytest.approx(0.1) and of["ab"]["interval"]
    )
    assert of["ab"]["p_seeds_holm"] == of["ab"]["p_seeds"]  # the only pair that it could be told of
    for name in ("ac", "bc"):
        keys = ("interval", "p_episodes", "p_episodes_holm", "p_seeds", "p_seeds_holm")
        assert [of[name][key] for key in keys] == [None] * 5
    assert of["ac"]["difference"] == pytest.approx(
        found["groups"]["a"]["mean"] - found["groups"]["c"]["mean"]
    )


def test_pairs_of_groups_are_held_together_over_all_of_them():
    one = [{"p_episodes": 0.01, "p_seeds": 0.2}, {"p_episodes": None, "p_seeds": 0.01}]
    found = statistics.held_together([*one, {"p_episodes": 0.04, "p_seeds": None}])
    assert [pair["p_episodes_holm"] for pair in found] == [0.02, None, 0.04]
    assert [pair["p_seeds_holm"] for pair in found] == [0.2, 0.02, None]
    assert "p_seeds_holm" not in one[0]


def test_error_counts_know_the_quantiles():
    generator = np.random.default_rng(0)
    error = generator.gamma(2.0, 0.5, (50, 3, 7))
    counts = ErrorCounts(3)
    assert counts.summary() is None
    counts.add(error[:20])
    counts.add(error[20:])
    summary, by_step = counts.summary(), error.swapaxes(0, 1).reshape(3, -1)
    np.testing.assert_allclose(summary["mean"], by_step.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(summary["median"], np.median(by_step, axis=1), atol=0.03)
    np.testing.assert_allclose(summary["p90"], np.quantile(by_step, 0.9, axis=1), atol=0.03)
    np.testing.assert_allclose(summary["within"]["0.5"], (by_step < 0.5).mean(axis=1), atol=1e-4)
    chosen = (error > 1) & (np.arange(3) != 1)[:, None]  # of the second step nothing
    some = ErrorCounts(3)
    some.add(error, chosen)
    found = some.summary()
    assert found["mean"][1] is None and found["within"]["0.5"] == [0, None, 0]
    far = error[:, 0][chosen[:, 0]]
    assert found["mean"][0] == pytest.approx(far.mean(), abs=1e-4)
    assert found["median"][0] == pytest.approx(np.median(far), abs=0.03)
