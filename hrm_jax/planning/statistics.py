"""Intervals and paired tests for success counts."""

import math

NORMAL_975 = 1.959963984540054  # the 97.5 % point of the standard normal


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson 95 % interval (low, high) of a success probability."""
    rate, z2 = successes / n, NORMAL_975**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_975 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    # At 0 and n successes the exact bound is 0 or 1; rounding must not push it past.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def mcnemar(a_only: int, b_only: int) -> float:
    """Exact two-sided McNemar p-value for paired episodes that only `a`, or only `b`, solved."""
    from scipy.stats import binomtest  # half a second to import: only when a report is written

    discordant = a_only + b_only
    return float(binomtest(a_only, discordant).pvalue) if discordant else 1.0
