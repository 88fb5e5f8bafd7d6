"""Whether one model is better than another on the same questions, and the sentence that a person needs.

Both answered the same questions, so what is looked at is the difference on each: what makes a question hard
for both goes out. The interval is a bootstrap of the mean difference (bias-corrected and accelerated). Where
scores are only right and wrong, McNemar's exact test decides: of the questions that just one of them got
right, are more than chance allows with the same model?

How many more questions are needed: with the difference d as it is, and a bound towards no difference that is
h away, intervals shrink with the root of n, so n (h / d)^2 are enough. For right and wrong, with b and c
questions that just one got right, 1.96^2 n (b + c) / (b - c)^2, and as many as bring `FEWEST` of those.

Sources: Efron, "Better bootstrap confidence intervals", JASA 82 (1987); McNemar, Psychometrika 12 (1947).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.vlm.numbers import about, points

ROUNDS = 2_000
LEVEL = 0.95
Z = 1.959964
"""Of the normal distribution, for `LEVEL`."""
FEWEST = 6
"""With fewer questions nothing is told: six coins of one side are the first that chance brings less than
once in 20 times."""


@dataclass(frozen=True, slots=True)
class Discordant:
    """Questions that just one of two models got right."""

    first_only: int
    second_only: int
    p_value: float
    """McNemar's exact one, two-sided."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """By how much the first of two models is better than the second on the same questions."""

    n: int
    mean: float
    """Above 0 where the first is better, in the unit of the score."""
    low: float
    high: float
    discordant: Discordant | None
    """Where scores are only right and wrong."""
    is_told: bool
    """Whether the data say which one is better."""
    more: int | None
    """About how many more questions would tell; 0 where it is told, None where that cannot be known."""

    def sentence(self, first: str, second: str, *, unit: str = "points", scale: float = 100.0) -> str:
        """Return what a person needs to know.

        Args:
            unit: What `scale` times the score is counted in.
        """
        if not self.is_told:
            if self.more is None:
                return f"Too few to tell: on these {self.n} there is no difference to go by."
            return f"Too few to tell: about {about(self.more)} more."
        sign = 1 if self.mean > 0 else -1
        better, worse = (first, second)[::sign]
        least, most = sorted((sign * scale * self.low, sign * scale * self.high))
        mean = points(sign * scale * self.mean)
        between = f"between {points(least)} and {points(most)}"
        return f"{better} is better than {worse} by {mean} {unit}, {between}."


def compare(
    first: Sequence[float], second: Sequence[float], *, higher_is_better: bool = True, seed: int = 0
) -> Comparison:
    """Compare two models by their scores of the same questions, in the same order.

    Raises:
        InputError: There are no scores, not as many of both, or one is not finite.
    """
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(one) != len(two):
        raise InputError(
            f"There are {len(one)} scores of one model and {len(two)} of the other.",
            "Compare only questions that both answered.",
        )
    if not len(one):
        raise InputError("There is no question that both models answered.", "Ask both the same questions.")
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise InputError("A score is not a finite number.", "Leave out questions without a score.")
    differences = one - two if higher_is_better else two - one
    low, high = mean_interval(differences, seed=seed)
    discordant = mcnemar(differences) if is_right_or_wrong(one) and is_right_or_wrong(two) else None
    told = len(one) >= FEWEST and (low > 0 or high < 0)
    if discordant is not None:
        told = told and discordant.p_value < 1 - LEVEL
    mean = float(differences.mean())
    more = 0 if told else more_needed(len(one), mean, low, high, discordant)
    return Comparison(len(one), mean, low, high, discordant, told, more)


def is_right_or_wrong(scores: NDArray[np.float64]) -> bool:
    """Say whether there are only ones and zeros."""
    return bool(np.isin(scores, (0.0, 1.0)).all())


def mean_interval(differences: NDArray[np.float64], *, seed: int) -> tuple[float, float]:
    """Return the bootstrap's bounds of the mean.

    Values that are all equal leave it no width. Where all are 1 or all are -1, the bound towards 0 is that of
    a share that was always seen (Clopper and Pearson 1934).
    """
    from scipy.stats import binomtest, bootstrap

    n, value = len(differences), float(differences[0])
    if np.ptp(differences) == 0:
        share = binomtest(n, n).proportion_ci(LEVEL).low if abs(value) == 1 else 1.0
        return min(value, share * value), max(value, share * value)

    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=ROUNDS,
        batch=max(1, 4_000_000 // n),  # 32 MB at a time
        confidence_level=LEVEL,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def mcnemar(differences: NDArray[np.float64]) -> Discordant:
    """Test whether each of the questions that just one got right is a coin's toss."""
    from scipy.stats import binomtest

    first, second = int((differences > 0).sum()), int((differences < 0).sum())
    p_value = binomtest(first, first + second).pvalue if first + second else 1.0
    return Discordant(first, second, float(p_value))


def more_needed(n: int, mean: float, low: float, high: float, discordant: Discordant | None) -> int | None:
    """Return about how many more questions would tell, if the difference stays as it is.

    Returns:
        At least 1 and what is missing to `FEWEST`; None where there is no difference to go by.
    """
    if mean == 0:
        return None
    half = mean - low if mean > 0 else high - mean
    wanted = n * (half / mean) ** 2
    if discordant is not None:
        b, c = discordant.first_only, discordant.second_only
        wanted = max(wanted, Z**2 * n * (b + c) / (b - c) ** 2, n * FEWEST / (b + c))
    return max(1, FEWEST - n, math.ceil(wanted - n))
