"""What samples say, and how sure that is: percentiles, noise, and intervals of 95 % (`core.intervals`).

How many samples a percentile needs before it is worth showing follows
MLPerf's early stopping: 11, 64 and 662 for p50, p90 and p99.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from core.enough import ENOUGH
from core.intervals import MISSES, rank_bounds, wilson_bounds

NEEDED = {percentile / 100: samples for percentile, samples in ENOUGH.items()}
"""Samples that each percentile needs."""
NOISY, VERY_NOISY = 0.10, 0.25
"""Interquartile range as a share of the median."""
ROUNDS = 2_000
"""Of the bootstrap."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its interval of 95 %; an end is None where nothing bounds it."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Quantile(Interval):
    """A percentile of samples."""

    share: float
    """0.5, 0.9 or 0.99."""

    @property
    def missing(self) -> int:
        """How many more samples it needs before it is worth showing; 0 where there are enough."""
        return max(0, NEEDED[self.share] - self.n)


class Noise(StrEnum):
    """How much calls differ among themselves."""

    CALM = "calm"
    NOISY = "noisy"
    VERY_NOISY = "very noisy"


@dataclass(frozen=True, slots=True)
class Summary:
    """Samples of one measurement."""

    n: int
    """Of finite samples."""
    dropped: int
    """Samples that were NaN or infinite."""
    mean: float
    p50: Quantile
    p90: Quantile
    p99: Quantile
    iqr: float
    """Distance of the quartiles, in the samples' unit."""

    @property
    def iqr_share(self) -> float:
        """`iqr` as a share of the median; 0 where the median is 0."""
        return self.iqr / self.p50.value if self.p50.value else 0.0

    @property
    def noise(self) -> Noise:
        """Calm up to 10 %, very noisy above 25 %."""
        if self.iqr_share > VERY_NOISY:
            return Noise.VERY_NOISY
        return Noise.NOISY if self.iqr_share > NOISY else Noise.CALM


def summarise(samples: Sequence[float]) -> Summary:
    """Return what samples say; those that are NaN or infinite are counted apart.

    Raises:
        ValueError: None of them is finite.
    """
    values = np.sort(np.asarray([sample for sample in samples if math.isfinite(sample)], np.float64))
    if not len(values):
        raise ValueError(f"none of {len(samples)} samples is finite")
    low, high = np.quantile(values, [0.25, 0.75])
    return Summary(
        len(values),
        len(samples) - len(values),
        float(values.mean()),
        quantile(values, 0.5),
        quantile(values, 0.9),
        quantile(values, 0.99),
        float(high - low),
    )


def quantile(ordered: np.ndarray, share: float) -> Quantile:
    """Return a percentile of sorted samples, float64 N: the median, or the least value with `share` below it.

    The interval's ends are samples; in at least 95 % of cases the true percentile lies between them.
    """
    n = len(ordered)
    value = float(np.median(ordered)) if share == 0.5 else float(ordered[math.ceil(share * n) - 1])
    lower, upper = rank_bounds(n, share)
    return Quantile(
        value,
        float(ordered[lower - 1]) if lower >= 1 else None,
        float(ordered[upper - 1]) if upper <= n else None,
        n,
        share,
    )


def wilson(right: int, n: int) -> Interval:
    """Return a share with Wilson's interval.

    Raises:
        ValueError: It is no share of anything.
    """
    return Interval(right / max(n, 1), *wilson_bounds(right, n), n)


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Interval:
    """Return a mean with the percentile bootstrap's interval; a single value has none.

    Raises:
        ValueError: There is no value, or one is not finite.
    """
    numbers = np.asarray(values, np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(f"{len(numbers)} values, expected at least one, all finite")
    if len(numbers) == 1:
        return Interval(float(numbers[0]), None, None, 1)
    random, n = np.random.default_rng(seed), len(numbers)
    means = [numbers[random.integers(0, n, n)].mean() for _ in range(ROUNDS)]
    low, high = np.quantile(means, [MISSES / 2, 1 - MISSES / 2])
    return Interval(float(numbers.mean()), float(low), float(high), len(numbers))
