"""Paired comparisons against hand computations and simulations: what is told, and how it reads."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from core.vlm.numbers import about, points
from core.vlm.pairs import FEWEST, compare


def right(*counts: int) -> tuple[list[float], list[float]]:
    """Return right and wrong of two models: both, only the first, only the second, none of them."""
    both, first, second, none = counts
    return (
        [1.0] * (both + first) + [0.0] * (second + none),
        [1.0] * both + [0.0] * first + [1.0] * second + [0.0] * none,
    )


def test_mcnemar_is_the_binomial_sum_by_hand() -> None:
    """8 to 2: twice the chance of at most 2 heads of 10 coins."""
    discordant = compare(*right(20, 8, 2, 5)).discordant
    assert discordant is not None
    assert (discordant.first_only, discordant.second_only) == (8, 2)
    assert discordant.p_value == pytest.approx(2 * (1 + 10 + 45) / 1024)


def test_questions_that_both_or_none_got_right_do_not_change_the_test() -> None:
    p_values = [compare(*right(both, 9, 1, none)).discordant for both, none in ((0, 0), (50, 0), (7, 500))]
    assert {round(p.p_value, 12) for p in p_values if p} == {round(2 * 11 / 1024, 12)}


def test_the_interval_is_about_that_of_the_normal_distribution() -> None:
    rng = np.random.default_rng(5)
    one, two = rng.normal(0.6, 0.2, 400), rng.normal(0.55, 0.2, 400)
    found = compare(one.tolist(), two.tolist())
    half = 1.96 * np.std(one - two, ddof=1) / 20
    mean = np.mean(one - two)
    assert found.mean == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)


def test_pairing_tells_what_two_separate_means_would_not() -> None:
    """Hard and easy questions; the first model is a little better on each of them."""
    hard = np.random.default_rng(0).random(60)
    noise = np.random.default_rng(1).normal(0.02, 0.02, 60)
    found = compare((hard + noise).tolist(), hard.tolist())
    assert found.is_told
    assert found.low > 0.01
    assert 1.96 * math.sqrt(2) * np.std(hard) / math.sqrt(60) > found.mean


def test_the_intervals_hold_the_true_difference() -> None:
    """Right and wrong, truly 10 points apart: 95 of 100 intervals."""
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        one, two = rng.random(120) < 0.7, rng.random(120) < 0.6
        found = compare(one.astype(float).tolist(), two.astype(float).tolist(), seed=seed)
        held += found.low <= 0.1 <= found.high
    assert 88 <= held <= 100


def test_equal_models_are_seldom_told_apart() -> None:
    told = 0
    for seed in range(100):
        scores = (np.random.default_rng(seed).random((2, 60)) < 0.5).astype(float)
        told += compare(*scores.tolist(), seed=seed).is_told
    assert told <= 10


def test_so_many_more_tell_and_half_of_them_do_not() -> None:
    one, two = right(20, 12, 7, 11)
    found = compare(one, two)
    assert not found.is_told
    assert found.more is not None
    times = (found.n + found.more) / found.n
    assert compare(*right(*(round(n * times * 1.1) for n in (20, 12, 7, 11)))).is_told
    assert not compare(*right(*(round(n * times * 0.7) for n in (20, 12, 7, 11)))).is_told


# Sentences


def test_who_is_better_is_named_first() -> None:
    one, two = right(500, 120, 50, 330)
    found, turned = compare(one, two), compare(two, one)
    assert found.sentence("A", "B").startswith("A is better than B by 7 points, between 4")
    assert turned.sentence("B", "A").startswith("A is better than B by 7 points, between 4")


def test_a_lower_error_rate_is_better() -> None:
    one, two = [0.1, 0.2, 0.1, 0.3, 0.2, 0.15, 0.1], [0.4, 0.5, 0.6, 0.5, 0.45, 0.5, 0.6]
    found = compare(one, two, higher_is_better=False)
    assert found.mean == pytest.approx(np.mean(two) - np.mean(one))
    assert found.discordant is None
    assert found.sentence("A", "B").startswith("A is better than B by ")
    unit = compare([x * 1000 for x in one], [x * 1000 for x in two], higher_is_better=False)
    assert " ms, between " in unit.sentence("A", "B", unit="ms", scale=1)


def test_five_of_five_are_too_few_and_six_of_six_are_not() -> None:
    five, six = compare([1] * 5, [0] * 5), compare([1] * 6, [0] * 6)
    assert five.sentence("A", "B") == "Too few to tell: about 1 more."
    assert six.is_told
    assert six.low == pytest.approx(0.025 ** (1 / 6))  # Clopper and Pearson: six of six
    assert six.sentence("A", "B") == "A is better than B by 100 points, between 54 and 100."


def test_no_difference_says_so() -> None:
    found = compare([1.0, 0.0] * 10, [1.0, 0.0] * 10)
    assert (found.mean, found.low, found.high, found.more) == (0, 0, 0, None)
    assert found.discordant is not None
    assert found.discordant.p_value == 1
    assert found.sentence("A", "B") == "Too few to tell: on these 20 there is no difference to go by."


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (1, "1"), (9, "9"), (14, "14"), (137, "140"), (96_500, "96,000"), (1e6, "1,000,000")],
)
def test_numbers_of_votes_have_two_digits(number: float, text: str) -> None:
    assert about(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(7.0, "7"), (0.44, "0.4"), (9.96, "10"), (12.4, "12"), (-3.25, "-3.2"), (0, "0"), (1234.5, "1,234")],
)
def test_differences_have_two_digits(value: float, text: str) -> None:
    assert points(value) == text


# Bad input


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ([1.0], [1.0, 0.0], "1 scores of one model and 2"),
        ([], [], "no question"),
        ([math.nan], [1.0], "finite"),
        ([1.0], [math.inf], "finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(one: list[float], two: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        compare(one, two)
    assert caught.value.remedy


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 14.5]), st.floats(0, 1)), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_whatever_is_compared_turns_round(pairs: list[tuple[float, float]]) -> None:
    one, two = ([pair[i] for pair in pairs] for i in (0, 1))
    found, turned = compare(one, two), compare(two, one)
    assert found.mean == pytest.approx(-turned.mean)
    assert found.low <= found.high
    assert found.n >= FEWEST or not found.is_told
    assert (found.more == 0) == found.is_told
    assert found.sentence("A", "B")
