"""Percentiles, their intervals and noise, against SciPy, statsmodels' formulas by hand, and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, bootstrap

from core.bench.statistics import NEEDED, Noise, bootstrap_mean, quantile, summarise, wilson

FINITE = st.floats(-1e9, 1e9)


@given(st.lists(FINITE, min_size=1, max_size=60))
def test_percentiles_are_samples_in_order_inside_their_intervals(samples: list[float]) -> None:
    found = summarise(samples)
    assert found.p50.value == pytest.approx(np.median(samples))
    assert found.p90.value == np.quantile(samples, 0.9, method="inverted_cdf")
    assert found.p50.value <= found.p90.value <= found.p99.value
    for one in (found.p50, found.p90, found.p99):
        assert one.low is None or (one.low in samples and one.low <= one.value)
        assert one.high is None or (one.high in samples and one.high >= one.value)


def test_samples_that_are_no_numbers_are_counted_apart() -> None:
    found = summarise([1.0, math.nan, 2.0, math.inf, 3.0, -math.inf])
    assert (found.n, found.dropped, found.p50.value, found.mean) == (3, 3, 2.0, 2.0)
    with pytest.raises(ValueError, match="none of 2 samples is finite"):
        summarise([math.nan, math.inf])


def test_too_few_samples_have_open_intervals_and_say_how_many_are_missing() -> None:
    few = summarise([1.0, 2.0, 3.0])
    assert (few.p50.low, few.p50.high, few.p50.missing) == (None, None, 8)
    assert (few.p90.missing, few.p99.missing) == (61, 659)
    enough = summarise(list(range(662)))
    assert [one.missing for one in (enough.p50, enough.p90, enough.p99)] == [0, 0, 0]
    assert None not in (enough.p50.low, enough.p50.high, enough.p99.low)
    assert NEEDED == {0.5: 11, 0.9: 64, 0.99: 662}


def test_the_median_of_twenty_has_the_ranks_of_the_tables() -> None:
    """Ranks 6 and 15 of 20: coverage 95.9 %, as in the published tables of the sign test's interval."""
    found = quantile(np.arange(1.0, 21.0), 0.5)
    assert (found.low, found.high) == (6.0, 15.0)
    assert binom.cdf(14, 20, 0.5) - binom.cdf(5, 20, 0.5) == pytest.approx(0.9586, abs=1e-4)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_an_interval_holds_the_truth_as_often_as_it_says(share: float) -> None:
    random = np.random.default_rng(3)
    truth = -math.log(1 - share)  # of the exponential distribution
    held = 0
    for _ in range(600):
        found = quantile(np.sort(random.exponential(size=80)), share)
        held += (found.low or -1) <= truth <= (found.high or math.inf)
    assert held / 600 >= 0.93


@pytest.mark.parametrize(
    ("samples", "noise"),
    [
        ([10.0] * 9, Noise.CALM),
        ([9.0, 10.0, 10.4] * 5, Noise.NOISY),
        ([8.0, 10.0, 14.0] * 5, Noise.VERY_NOISY),
    ],
)
def test_noise_is_the_spread_over_the_median(samples: list[float], noise: Noise) -> None:
    found = summarise(samples)
    assert found.noise is noise
    low, high = np.percentile(samples, [25, 75])
    assert found.iqr_share == pytest.approx((high - low) / 10)


def test_wilsons_interval() -> None:
    """8 of 10: 49 to 94 %, by the formula."""
    found = wilson(8, 10)
    z = 1.959963984540054
    centre, half = (
        (0.8 + z * z / 20) / (1 + z * z / 10),
        z * math.sqrt(0.16 / 10 + z * z / 400) / (1 + z * z / 10),
    )
    assert (found.value, found.low, found.high) == pytest.approx((0.8, centre - half, centre + half))
    assert (wilson(0, 5).low, wilson(5, 5).high) == pytest.approx((0.0, 1.0))
    for right, n in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="is no share"):
            wilson(right, n)


def test_a_bootstrapped_mean_agrees_with_scipys() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=200)
    found = bootstrap_mean(values.tolist())
    theirs = bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.02)
    assert bootstrap_mean(values.tolist()) == found
    assert bootstrap_mean([2.0]).low is None
    for bad in ([], [1.0, math.nan]):
        with pytest.raises(ValueError, match="all finite"):
            bootstrap_mean(bad)
