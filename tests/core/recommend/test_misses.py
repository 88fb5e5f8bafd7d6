"""What a relaxed limit is rounded to: the model must fit it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.recommend.checks import Check
from core.recommend.misses import enough, rounded_up

VALUES = st.floats(1e-6, 1e9)


@given(VALUES, st.integers(1, 6))
def test_a_number_is_rounded_up_and_by_little(value: float, digits: int) -> None:
    for number in (value, -value):
        found = rounded_up(number, digits)
        assert found >= number * (1 - 1e-8) if number > 0 else found >= number * (1 + 1e-8)
        assert abs(found - number) <= 1.001 * abs(number) * 10.0 ** (1 - digits)


@pytest.mark.parametrize(
    ("value", "limit", "constraint", "to"),
    [
        (14.24, 10.0, "latency", 14.3),
        (4670.2, 0.5, "latency", 4680.0),
        (14.0, 10.0, "latency", 14.0),
        (80.386, 82.0, "accuracy", 80.38),
        (0.1234, 0.05, "accuracy", 0.1234),
        (1234.51, 900.0, "memory", 1235.0),
        (0.0, -1.0, "cost", 0.0),
    ],
)
def test_a_limit_is_relaxed_to_where_the_model_fits(
    value: float, limit: float, constraint: str, to: float
) -> None:
    assert enough(Check(constraint, False, "", limit=limit, value=value)) == pytest.approx(to)


def test_what_is_no_number_has_no_limit() -> None:
    assert enough(Check("licence", False, "")) is None
