"""What intervals are made of, against scipy's own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from core.intervals import binomial_quantile, normal_quantile, rank_bounds, wilson_bounds


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.sampled_from([0.5, 0.9, 0.99]), st.floats(0.0005, 0.9995))
def test_quantiles_of_the_binomial_are_scipys(n: int, share: float, at_least: float) -> None:
    found, theirs = binomial_quantile(at_least, n, share), binom.ppf(at_least, n, share)
    if found != theirs:  # both are right where the probability is met exactly, up to rounding
        assert abs(found - theirs) == 1
        assert binom.cdf(min(found, theirs), n, share) == pytest.approx(at_least, rel=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_too_few_values_leave_an_end_open(share: float) -> None:
    assert rank_bounds(2, share)[1] == 3  # beyond the greater of the two
    low, high = rank_bounds(1000, share)
    assert 1 <= low < 1000 * share < high <= 1000
    assert binom.cdf(high - 1, 1000, share) - binom.cdf(low - 1, 1000, share) >= 0.95


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_bounds_of_a_share_are_wilsons(case: tuple[int, int]) -> None:
    hits, n = case
    theirs = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson_bounds(hits, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert wilson_bounds(0, n)[0] == 0.0 and wilson_bounds(n, n)[1] == 1.0


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_no_share_of_nothing(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson_bounds(hits, n)


def test_deviations_are_those_of_the_normal_distribution() -> None:
    for misses in (0.5, 0.05, 0.05 / 15):
        assert normal_quantile(misses) == pytest.approx(norm.isf(misses / 2), rel=1e-12)
