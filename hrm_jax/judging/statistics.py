"""Intervals, paired tests, and the spread of models that were trained several times."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from hrm_jax.referee.inference.blocks import one_blas_thread
from hrm_jax.worlds.rules import COLLISION, SUCCESS, TIMEOUT

RESAMPLES = 10_000  # of the bootstrap between groups
NORMAL_975 = 1.959963984540054  # the 97.5 % point of the standard normal


def mean_rate(results: Iterable[Mapping[str, Any]]) -> Fraction:
    """The mean rate of results of equally many trials, exactly: what is level compares as equal."""
    results = list(results)
    return Fraction(sum(result["success"] for result in results), sum(result["n"] for result in results))


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson 95 % interval (low, high) of a success probability."""
    rate, z2 = successes / n, NORMAL_975**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_975 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    # At 0 and n successes the exact bound is 0 or 1; rounding must not push it past.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def rate(successes: int, n: int, units: int | None = None) -> dict[str, Any]:
    """Successes of `n` trials as report.json has them, with the Wilson 95 % interval of their rate.

    Where trials are not independent, the interval is that of `units`, as many as are.
    """
    share = successes / n
    counted = successes if units is None else units if successes == n else share * units
    return {"success": successes, "rate": share, "interval": list(wilson(counted, units or n))}


def tally(outcomes: str) -> dict[str, Any]:
    """What a report says of episodes that ended so, a letter each."""
    return {
        "n": len(outcomes),
        **rate(outcomes.count(SUCCESS), len(outcomes)),
        "collisions": outcomes.count(COLLISION),
        "timeouts": outcomes.count(TIMEOUT),
    }


def walks(outcomes: str) -> dict[str, Any]:
    """What a report says of walks, a letter each: 0 never arrived, 1 did, 2 by a shortest path."""
    n, optimal = len(outcomes), outcomes.count("2")
    return {"n": n, **rate(outcomes.count("1") + optimal, n), "optimal": rate(optimal, n)}


def mcnemar(a_only: int, b_only: int) -> float:
    """Exact two-sided McNemar p-value for paired episodes that only `a`, or only `b`, solved.

    Twice the tail of a fair coin's binomial, summed from its largest term down: without scipy, whose import
    takes longer than all the rest of showing a report.
    """
    total, fewer = a_only + b_only, min(a_only, b_only)
    if a_only == b_only:
        return 1.0
    chosen = math.lgamma(total + 1) - math.lgamma(fewer + 1) - math.lgamma(total - fewer + 1)
    term = tail = math.exp(chosen - total * math.log(2))
    for count in range(fewer, 0, -1):
        term *= count / (total - count + 1)
        tail += term
        if term < 1e-18 * tail:
            break
    return min(1.0, 2 * tail)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: they hold over all tests of the family together (Holm, 1979)."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, p_values[i] * (len(p_values) - rank)))
        adjusted[i] = worst
    return adjusted


def sign_flip(differences: np.ndarray) -> float:
    """Exact two-sided p-value of the sum of integer `differences` [E], were every sign a fair coin's.

    The paired test of two groups of models: the difference of an episode is how many more models of one
    group solve it. With one model a group it is McNemar's test.
    """
    sizes, counts = np.unique(np.abs(differences), return_counts=True)
    chance = np.ones(1)  # of every value of the sum, from its smallest to its largest
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        for _ in range(count if size else 0):
            halved = chance / 2
            chance = np.zeros(len(chance) + 2 * size)
            chance[: len(halved)] = halved
            chance[2 * size :] += halved
    reach = len(chance) // 2
    found = abs(int(differences.sum()))
    extreme = np.abs(np.arange(-reach, reach + 1)) >= found
    return float(min(1.0, chance[extreme].sum()))


def permutation(*worlds: tuple[Sequence[int], Sequence[int]]) -> float | None:
    """Exact two-sided p-value of two groups' mean rates, were every training seed as likely in either.

    Of all ways to deal the seeds of a world into groups of these sizes, the share whose means differ at least
    as much; of several worlds, dealt each by itself, the means over all of their trials. A group is the
    successes of its seeds, in a world each of as many trials: whole numbers, so that what is level compares
    as equal. None: a group of one seed, or of other sizes in another world.
    """
    sizes = {(len(a), len(b)) for a, b in worlds}
    if len(sizes) > 1 or min(map(min, sizes)) < 2:
        return None
    counts = [np.array([*a, *b], np.int64) for a, b in worlds]
    counts = [of_world - of_world.min() for of_world in counts]
    ((in_a, in_b),) = sizes
    dealt = functools.reduce(np.convolve, (_dealt(of_world, in_a) for of_world in counts))
    found = sum(int(of_world[:in_a].sum()) for of_world in counts)
    distance = np.abs((in_a + in_b) * np.arange(len(dealt)) - in_a * (len(dealt) - 1))
    return float(dealt[distance >= distance[found]].sum() / dealt.sum())


def _dealt(counts: np.ndarray, size: int) -> np.ndarray:
    """How likely each sum, from 0 to that of all, of `size` of these counts is; not of sum 1."""
    total = int(counts.sum())
    # Chance [seeds dealt, their sum], were every seed dealt by a fair coin: no deal is likelier.
    chance = np.zeros((size + 1, total + 1))
    chance[0, 0] = 1
    for count in counts.tolist():
        chance[1:, count:] += chance[:-1, : total + 1 - count]
        chance /= 2
    return chance[-1]


def resampled(solved: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean rates [RESAMPLES] of groups, whose seeds and episodes are drawn again, with replacement.

    `solved` has [seeds, N] of every group, two seeds at least. Each resample draws the episodes anew, the
    same for all groups, and the seeds of each group, one seed fewer than it has: with as many, the spread of
    few seeds comes out too small (McCarthy and Snowden 1985). The draws are always the same.
    """
    rows = np.concatenate([trained.astype(np.float32) for trained in solved.values()])
    n, draw = rows.shape[1], np.random.PCG64(0).random_raw  # a stream that NumPy promises to keep
    chunk = max(1, 2**18 // n)
    sizes = [min(chunk, RESAMPLES - first) for first in range(0, RESAMPLES, chunk)]
    with one_blas_thread():  # counts of successes, which float32 holds exactly, whatever the order of adding
        successes = np.concatenate([_drawn(draw, size, n, n) @ rows.T for size in sizes])
    means, column = {}, 0
    for group, trained in solved.items():
        seeds = len(trained)
        own = successes[:, column : (column := column + seeds)].astype(float)
        means[group] = (own * _drawn(draw, RESAMPLES, seeds - 1, seeds)).sum(axis=1) / (n * (seeds - 1))
    return means


def _drawn(draw: Callable[[int], np.ndarray], resamples: int, draws: int, n: int) -> np.ndarray:
    """How often each of `n` is drawn in so many draws with replacement: float32 [resamples, n]."""
    bits = draw((resamples * draws + 1) // 2).view(np.uint32)[: resamples * draws]
    index = (bits % np.uint32(n)).reshape(resamples, draws) + n * np.arange(resamples)[:, None]
    return np.bincount(index.ravel(), minlength=resamples * n).reshape(-1, n).astype(np.float32)


def pairs(solved: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """McNemar's test of every two models on the trials [N] of which one solved more than the other.

    `p_value` is that of a pair alone, `p_holm` that of all pairs held together.
    """
    tested: list[dict[str, Any]] = []
    for a, b in itertools.combinations(solved, 2):
        a_only, b_only = int((solved[a] > solved[b]).sum()), int((solved[a] < solved[b]).sum())
        p_value = mcnemar(a_only, b_only)
        tested.append({"a": a, "b": b, "a_only": a_only, "b_only": b_only, "p_value": p_value})
    adjusted = holm([pair["p_value"] for pair in tested])
    return [{**pair, "p_holm": p} for pair, p in zip(tested, adjusted, strict=True)]


def solved(outcomes: str) -> np.ndarray:
    """Which episodes were successes: bool [N]."""
    return np.array([outcome == SUCCESS for outcome in outcomes])


def groups(models: Mapping[str, Mapping[str, Any]], independent: bool = True) -> dict[str, Any]:
    """`groups` and `group_pairs` of report.json, or nothing, of its `models`.

    They are the spread over training seeds, and tests between groups, where trials are `independent`.
    """
    rows = _rows(models)
    if not rows:
        return {}
    summaries = {group: _spread(trained.mean(axis=1).tolist()) for group, trained in rows.items()}
    return {"groups": summaries, "group_pairs": _group_pairs(rows) if independent else []}


def _rows(models: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """What each group solved, int [seeds, N]."""
    members: dict[str, list[np.ndarray]] = {}
    for model in models.values():
        if model.get("group") is not None:
            members.setdefault(model["group"], []).append(solved(model["outcomes"]))
    return {group: np.array(trained, int) for group, trained in members.items()}


def _group_pairs(rows: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The difference of every two groups [seeds, N], its interval, and the tests of it."""
    several = {group: trained for group, trained in rows.items() if len(trained) > 1}
    means = resampled(several) if len(several) > 1 else {}
    tested = []
    for a, b in itertools.combinations(rows, 2):
        both = a in means and b in means
        rates = [Fraction(int(rows[group].sum()), rows[group].size) for group in (a, b)]
        tested.append(
            {
                "a": a,
                "b": b,
                "difference": float(rates[0] - rates[1]),
                "interval": np.quantile(means[a] - means[b], [0.025, 0.975]).tolist() if both else None,
                **_tests((rows[a], rows[b])),
            }
        )
    return held_together(tested)


def in_all_worlds(
    reports: Sequence[Mapping[str, Mapping[str, Any]]], pairs: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Tests of these pairs of groups over all trials of the `models` of several reports at once.

    A world counts by its trials. Holm's adjustment is over these pairs alone, however many worlds there are.
    """
    rows, tested = [_rows(models) for models in reports], []
    for a, b in pairs:
        rates = [np.concatenate([of[group].mean(axis=0) for of in rows]).mean() for group in (a, b)]
        tests = _tests(*((of[a], of[b]) for of in rows))
        tested.append({"a": a, "b": b, "difference": float(rates[0] - rates[1]), **tests})
    return held_together(tested)


def _tests(*worlds: tuple[np.ndarray, np.ndarray]) -> dict[str, float | None]:
    """Of two groups [seeds, N] in one world or in several: over episodes, and over training seeds."""
    level = all(len(a) == len(b) for a, b in worlds)  # else a sign is no fair coin's, were the groups alike
    differences = [a.sum(axis=0) - b.sum(axis=0) for a, b in worlds]
    solved_by_seed = [(a.sum(axis=1).tolist(), b.sum(axis=1).tolist()) for a, b in worlds]
    return {
        "p_episodes": sign_flip(np.concatenate(differences)) if level else None,
        "p_seeds": permutation(*solved_by_seed),
    }


def held_together(tested: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Pairs of groups, of one report or of several, with the p-values of either test that hold over all."""
    found = [dict(pair) for pair in tested]
    for key in ("p_episodes", "p_seeds"):
        family = [pair for pair in found if pair[key] is not None]
        adjusted = iter(holm([pair[key] for pair in family]))
        for pair in found:
            pair[f"{key}_holm"] = None if pair[key] is None else next(adjusted)
    return found


def puzzle_groups(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The same of answers to puzzles, of which those are right that are `counted`.

    The tests take examples for independent: there are none where a puzzle has several, or they are voted on.
    """
    return groups(
        graded(models),
        all(
            model.get("puzzles", model["n"]) == model["n"] and not model.get("voting")
            for model in models.values()
        ),
    )


def graded(models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Models with the results that groups are of."""
    return {name: {**counted(model), "group": model.get("group")} for name, model in models.items()}


def counted(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rate of a result that groups are of: any right answer where a kind has several, else the result."""
    lenient = result.get("lenient") or {}
    return lenient if lenient.get("outcomes") else result


def _spread(rates: list[float]) -> dict[str, Any]:
    return {
        "seeds": len(rates),
        "mean": float(np.mean(rates)),
        "min": min(rates),
        "max": max(rates),
        "rates": rates,
        "std": float(np.std(rates, ddof=1)) if len(rates) > 1 else None,
    }
