"""Intervals against scipy's own, and against how often they hold in simulations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.report.intervals import (
    FAMILIES,
    Estimate,
    both_ranks,
    mean_of,
    middle_ranks,
    miss,
    percentile_of,
    ratio_of,
    share_of,
    wanted_ranks,
)


@pytest.mark.parametrize(("percentile", "enough"), [(50, 11), (90, 64), (99, 662)])
def test_where_there_are_enough_samples_there_is_an_interval(percentile: int, enough: int) -> None:
    assert both_ranks(enough, percentile, miss()) is not None
    assert both_ranks(2, percentile, miss()) is None


@pytest.mark.parametrize(("n", "percentile"), [(11, 50), (64, 90), (662, 99), (250, 50)])
def test_an_interval_of_a_percentile_holds_it_as_often_as_it_says(n: int, percentile: int) -> None:
    random_ = np.random.default_rng(3)
    values = np.sort(random_.lognormal(0, 0.5, (2_000, n)), axis=1)
    true = math.exp(0.5 * {50: 0.0, 90: 1.2815515655, 99: 2.3263478740}[percentile])
    low, high = both_ranks(n, percentile, miss()) or (0, 0)
    holds = np.mean((values[:, low - 1] <= true) & (true <= values[:, high - 1]))
    assert holds >= 0.94


def test_a_percentile_by_the_ranks_that_are_asked_for() -> None:
    for n in (1, 2, 10, 64, 1000):
        values = np.sort(np.random.default_rng(n).random(n))
        at = {rank: float(values[rank - 1]) for rank in wanted_ranks(n)}
        assert percentile_of(at, n, 50).value == pytest.approx(np.median(values))
        for percentile in (90, 99):
            nearest = np.percentile(values, percentile, method="inverted_cdf")
            assert percentile_of(at, n, percentile).value == nearest
        for family in FAMILIES:
            percentile_of(at, n, 50, family)  # its ranks are among those asked for


def test_middle_ranks() -> None:
    assert middle_ranks(4, 50) == (2, 3)
    assert middle_ranks(5, 50) == (3, 3)
    assert middle_ranks(10, 90) == (9,)
    assert middle_ranks(1, 99) == (1,)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_has_wilsons_interval(case: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    hits, n = case
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    found = share_of(hits, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_share_of_nothing() -> None:
    for hits, n in ((0, 0), (2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="is no share"):
            share_of(hits, n)


def test_a_mean_has_students_interval() -> None:
    from scipy.stats import t

    values = np.random.default_rng(0).random(12)
    expected = t.interval(0.95, 11, values.mean(), values.std(ddof=1) / math.sqrt(12))
    found = mean_of(float(values.mean()), float(values.var(ddof=1)), 12)
    assert (found.low, found.high) == pytest.approx(expected)
    assert mean_of(1.0, 0.0, 1) == Estimate(1.0, None, None, 1)


def test_a_ratio_of_medians_holds_the_true_one() -> None:
    random_ = np.random.default_rng(5)
    n, rounds, held = 60, 600, 0
    for _ in range(rounds):
        estimates = []
        for middle in (10.0, 12.0):
            values = np.sort(random_.lognormal(math.log(middle), 0.3, n))
            at = {rank: float(values[rank - 1]) for rank in wanted_ranks(n)}
            estimates.append(percentile_of(at, n, 50))
        found = ratio_of(*estimates)
        assert found is not None and found.low is not None and found.high is not None
        held += found.low <= 10 / 12 <= found.high
    assert held / rounds >= 0.94


def test_no_ratio_without_bounds_or_of_zero() -> None:
    whole, open_, zero = Estimate(2.0, 1.0, 3.0, 9), Estimate(2.0, None, None, 3), Estimate(0.0, 0.0, 1.0, 9)
    assert ratio_of(whole, whole) is not None
    assert ratio_of(whole, open_) is None
    assert ratio_of(zero, whole) is None
