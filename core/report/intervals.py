"""Intervals: of percentiles by ranks and of shares (`core.intervals`), of means, of ratios of medians.

The interval of a ratio of medians is recovered from the two medians' own (Zou and Donner, Statistics in
Medicine 27, 2008), on logarithms.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from core.enough import ENOUGH
from core.intervals import MISSES, rank_bounds, wilson_bounds

MOST_ARMS = 6
"""Most models that are compared with each other at once."""
FAMILIES = tuple(k * (k - 1) // 2 for k in range(2, MOST_ARMS + 1))
"""How many comparisons that makes."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; bounds are None where the values are too few for one."""

    value: float
    low: float | None
    high: float | None
    n: int


def miss(family: int = 1) -> float:
    """Return how often an interval may miss, so that all of a family's hold together in 95 % of cases."""
    return MISSES / family


def both_ranks(n: int, percentile: int, misses: float) -> tuple[int, int] | None:
    """Return the ranks, from 1, between which a percentile lies; None where n values leave an end open."""
    low, high = rank_bounds(n, percentile / 100, misses)
    return (low, high) if low >= 1 and high <= n else None


def middle_ranks(n: int, percentile: int) -> tuple[int, ...]:
    """Return the ranks whose mean is the percentile: the nearest rank, of a median the middle two."""
    if percentile == 50:
        return ((n + 1) // 2, n // 2 + 1)
    return (max(1, math.ceil(n * percentile / 100 - 1e-9)),)


@lru_cache(maxsize=1024)
def wanted_ranks(n: int) -> frozenset[int]:
    """Return the ranks that `percentile_of` looks at."""
    found = {rank for percentile in ENOUGH for rank in middle_ranks(n, percentile)}
    bounds = [both_ranks(n, percentile, miss()) for percentile in ENOUGH]
    bounds += [both_ranks(n, 50, miss(family)) for family in FAMILIES]
    return frozenset(found.union(*(pair for pair in bounds if pair is not None)))


def percentile_of(at: Mapping[int, float], n: int, percentile: int, family: int = 1) -> Estimate:
    """Return a percentile by the values at `wanted_ranks`."""
    ranks = middle_ranks(n, percentile)
    value = sum(at[rank] for rank in ranks) / len(ranks)
    bounds = both_ranks(n, percentile, miss(family))
    low, high = (None, None) if bounds is None else (at[bounds[0]], at[bounds[1]])
    return Estimate(value, low, high, n)


def share_of(hits: int, n: int) -> Estimate:
    """Return a share, 0 to 1, with Wilson's interval.

    Raises:
        ValueError: There is nothing to take a share of.
    """
    return Estimate(hits / max(n, 1), *wilson_bounds(hits, n), n)


def mean_of(mean: float, variance: float, n: int, family: int = 1) -> Estimate:
    """Return a mean with Student's interval; none of fewer than two values."""
    if n < 2:
        return Estimate(mean, None, None, n)
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, 1 - miss(family) / 2)) * math.sqrt(variance / n)
    return Estimate(mean, mean - half, mean + half, n)


def ratio_of(first: Estimate, second: Estimate) -> Estimate | None:
    """Return first / second of two positive values with intervals; None where a bound is open, or 0."""
    values = (first.low, first.value, first.high, second.low, second.value, second.high)
    if any(value is None or value <= 0 for value in values):
        return None
    low_1, mid_1, high_1, low_2, mid_2, high_2 = (math.log(value) for value in values if value is not None)
    difference = mid_1 - mid_2
    low = difference - math.hypot(mid_1 - low_1, high_2 - mid_2)
    high = difference + math.hypot(high_1 - mid_1, mid_2 - low_2)
    return Estimate(math.exp(difference), math.exp(low), math.exp(high), min(first.n, second.n))
