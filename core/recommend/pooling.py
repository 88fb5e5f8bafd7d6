"""Several runs of one condition as one figure.

Runs on a busy machine are slow, and stand apart: the median of the others counts. What is left out is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.intervals import MISSES, rank_bounds
from core.recommend.figures import Figure
from core.recommend.readings import Reading

OUTLIERS_FROM = 4
"""Runs, below which none can be said to stand apart from the others."""
FAR = 3.0
"""Scaled median absolute deviations from the median, beyond which a run stands apart."""
TO_SIGMA = 1.4826
"""What makes a median absolute deviation the standard deviation of a normal distribution."""
LEAST_SPREAD = 0.02
"""Of the median: runs that agree by chance make no others stand apart."""
RANKED_FROM = 6
"""Runs from which the ranks bound their median at 95 %."""
ROUNDS = 1_000
"""Of the bootstrap."""
TOLD = 20
"""Ids of runs that a figure names."""


class Dated(Protocol):
    """What a figure tells of a run."""

    @property
    def run_id(self) -> str: ...
    @property
    def time(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Pooled:
    """Runs of one condition."""

    readings: tuple[Reading, ...]
    """Those that count."""
    noisy: int
    """Left out, as calmer ones are there."""
    apart: int
    """Left out, as they are far from the others."""

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(one.value for one in self.readings)

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """The interval of 95 %: by the ranks of the runs, or where they are few, around all their own."""
        values = sorted(one.value for one in self.readings)
        if len(values) >= RANKED_FROM:
            lower, upper = rank_bounds(len(values), 0.5)
            return values[lower - 1], values[upper - 1]
        lows = [one.low for one in self.readings if one.low is not None]
        highs = [one.high for one in self.readings if one.high is not None]
        if len(values) == 1:
            return min(lows, default=None), max(highs, default=None)
        return min([*lows, *values]), max([*highs, *values])

    @property
    def n(self) -> int | None:
        """All samples behind it; None where a run does not tell how many it had."""
        counts = [one.n for one in self.readings]
        return None if None in counts else sum(count for count in counts if count is not None)

    def __str__(self) -> str:
        parts = [f"median of {len(self.readings)} runs" if len(self.readings) > 1 else ""]
        parts.append(_left_out(self.apart, "far from the others"))
        parts.append(_left_out(self.noisy, "very noisy"))
        return ", ".join(filter(None, parts))


def _left_out(n: int, why: str) -> str:
    return f"{n} {'run' if n == 1 else 'runs'} left out as {why}" if n else ""


def pooled(readings: Sequence[Reading]) -> Pooled:
    """Return which of at least one run count."""
    calm = [one for one in readings if not one.is_noisy] or list(readings)
    kept = _near(calm)
    return Pooled(tuple(kept), len(readings) - len(calm), len(calm) - len(kept))


def _near(readings: Sequence[Reading]) -> Sequence[Reading]:
    if len(readings) < OUTLIERS_FROM:
        return readings
    middle = median(one.value for one in readings)
    spread = TO_SIGMA * median(abs(one.value - middle) for one in readings)
    reach = FAR * max(spread, LEAST_SPREAD * middle)
    return [one for one in readings if abs(one.value - middle) <= reach]


def pooled_figure(found: Pooled, unit: str, about: str, device: str) -> Figure:
    """Return a figure that was measured, with the newest run's day and the runs' ids, newest first."""
    low, high = found.ends
    runs = [one.run for one in found.readings]
    return Figure(
        found.value,
        unit,
        "measured",
        low=low,
        high=high,
        n=found.n,
        date=max(run.time for run in runs).date(),
        source=sources(runs),
        device=device,
        about=", ".join(filter(None, (about, str(found)))),
    )


def mean_figure(values: Sequence[tuple[float, Dated]], unit: str, about: str) -> Figure:
    """Return a mean that was measured, with the percentile bootstrap's interval; of one value it has none."""
    numbers = np.array([value for value, _ in values])
    mean, runs = float(numbers.mean()), [run for _, run in values]
    low, high = _bootstrap(numbers) if len(numbers) > 1 else (None, None)
    return Figure(
        mean,
        unit,
        "measured",
        low=None if low is None else min(low, mean),
        high=None if high is None else max(high, mean),
        n=len(numbers),
        date=max(run.time for run in runs).date(),
        source=sources(runs),
        about=about,
    )


def _bootstrap(values: NDArray[np.float64]) -> tuple[float, float]:
    means = np.sort(values)[_draws(len(values))].mean(axis=1)
    low, high = np.quantile(means, [MISSES / 2, 1 - MISSES / 2])
    return float(low), float(high)


@lru_cache(maxsize=32)
def _draws(n: int) -> NDArray[np.intp]:
    """Return which values each round takes: `ROUNDS` N."""
    return np.random.default_rng(0).integers(0, n, (ROUNDS, n))


def sources(runs: Sequence[Dated]) -> str:
    """Return the ids of runs, newest first, at most `TOLD`."""
    newest = sorted(runs, key=lambda run: (run.time, run.run_id), reverse=True)
    more = f" and {len(newest) - TOLD} more" if len(newest) > TOLD else ""
    return ", ".join(run.run_id for run in newest[:TOLD]) + more
