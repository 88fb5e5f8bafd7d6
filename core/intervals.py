"""What intervals of 95 % are made of: the ranks that bound a percentile, and Wilson's bounds of a share.

How many of n values lie below the true percentile is binomial, whatever the values' distribution is, so two
ranks hold it at least as often as they say (Conover, "Practical Nonparametric Statistics", section 3.2; David
and Nagaraja, "Order Statistics", 7.1). A share's interval is Wilson's (Journal of the American Statistical
Association 22, 1927).
"""

import math
from bisect import bisect_left
from functools import lru_cache
from statistics import NormalDist

LEVEL = 0.95
MISSES = 1 - LEVEL
"""How often an interval may miss."""


@lru_cache(maxsize=4096)
def rank_bounds(n: int, share: float, misses: float = MISSES) -> tuple[int, int]:
    """Return the ranks, from 1, between which a percentile of n values lies.

    The lower one is 0, and the upper one n + 1, where so few values leave it open.
    """
    return binomial_quantile(misses / 2, n, share), binomial_quantile(1 - misses / 2, n, share) + 1


def binomial_quantile(at_least: float, n: int, share: float) -> int:
    """Return the fewest hits of n that are not exceeded with a probability of `at_least`."""
    from scipy.special import bdtr  # scipy.stats would take seconds to load

    return bisect_left(range(n + 1), at_least, key=lambda hits: float(bdtr(hits, n, share)))


def normal_quantile(misses: float = MISSES) -> float:
    """Return how many standard deviations a two-sided interval reaches."""
    return NormalDist().inv_cdf(1 - misses / 2)


def wilson_bounds(hits: int, n: int, misses: float = MISSES) -> tuple[float, float]:
    """Return between which shares, 0 to 1, that of `hits` of n lies.

    Raises:
        ValueError: It is no share of anything.
    """
    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"{hits} of {n} is no share")
    z = normal_quantile(misses)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(hits * (n - hits) / n + z * z / 4)
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == n else min(1.0, middle + half)
