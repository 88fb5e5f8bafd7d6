"""The address of a view of the history: all of it, and nothing that a stranger writes into it breaks."""

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.ui.history_view import (
    CHARTS,
    DATES,
    EVERYTHING,
    PERIODS,
    SORTS,
    WIDTHS,
    HistoryView,
    Point,
    from_address,
    to_address,
)

words = st.text(max_size=20)
several = st.lists(words.filter(bool), max_size=4, unique=True).map(tuple)
moments = st.none() | st.datetimes(timezones=st.just(UTC))
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, model=words, outcome=words, since=moments, until=moments, low=numbers, high=numbers)
views = st.builds(
    HistoryView,
    q=words,
    kind=several,
    model=several,
    status=several,
    outcome=several,
    device=several,
    tag=several,
    period=st.sampled_from([*PERIODS, DATES]),
    first=st.none() | st.dates(),
    last=st.none() | st.dates(),
    tz=st.sampled_from(["", "UTC", "Asia/Seoul"]),
    measured=st.booleans(),
    name=words,
    chart=st.sampled_from(CHARTS),
    per=st.sampled_from(["", *WIDTHS]),
    value=words,
    lower=st.sampled_from(["", "yes", "no"]),
    sort=st.sampled_from(SORTS),
    down=st.booleans(),
    page=st.integers(1, 999_999_999),
    deleted=st.booleans(),
    point=points,
    run=words,
    compare=several,
)


def written(view: HistoryView) -> dict[str, list[str]]:
    return {name: [value] if isinstance(value, str) else value for name, value in to_address(view).items()}


@given(views)
def test_an_address_brings_the_same_view_back(view: HistoryView) -> None:
    assert from_address(written(view)) == view


def test_the_first_view_has_a_bare_address() -> None:
    assert to_address(EVERYTHING) == {}


@given(st.dictionaries(st.sampled_from([*HistoryView.__slots__, "at_since", "at_low"]), st.lists(words)))
def test_whatever_is_written_there_is_a_view(address: dict[str, list[str]]) -> None:
    view = from_address(address)
    assert from_address(written(view)) == view


@pytest.mark.parametrize(
    "address",
    [
        {"page": ["0"]},
        {"page": ["-3"]},
        {"page": ["1e9"]},
        {"page": ["٣"]},
        {"page": ["99999999999999999999"]},
        {"period": ["century"]},
        {"sort": ["id; DROP TABLE run"]},
        {"tz": ["../../etc/passwd"]},
        {"tz": ["Mars/Olympus"]},
        {"first": ["2026-02-30"]},
        {"at_since": ["2026-01-01"]},
        {"at_low": ["nan"]},
        {"at_low": ["inf"]},
    ],
)
def test_what_makes_no_sense_is_passed_over(address: dict[str, list[str]]) -> None:
    assert from_address(address) == EVERYTHING


def test_days_are_those_of_the_time_zone_also_where_a_day_has_23_hours() -> None:
    view = replace(EVERYTHING, period=DATES, first=date(2026, 3, 29), last=date(2026, 3, 29))
    since, until = view.bounds(datetime.now(UTC), ZoneInfo("Europe/Berlin"))
    assert (since, until) == (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC))


@pytest.mark.parametrize("day", [date.min, date.max])
def test_the_first_and_the_last_day_there_are_bound_nothing_or_something(day: date) -> None:
    view = replace(EVERYTHING, period=DATES, first=day, last=day)
    view.bounds(datetime.now(UTC), ZoneInfo("Asia/Seoul"))
    view.bounds(datetime.now(UTC), ZoneInfo("America/Los_Angeles"))


def test_a_filter_is_taken_away_value_by_value_or_whole() -> None:
    view = replace(EVERYTHING, model=("a", "b"), q="cat", period="week", page=4, point=Point(model="a"))
    assert view.narrowing == ("q", "model", "period")
    less = view.without("model", "a")
    assert (less.model, less.page, less.point) == (("b",), 1, Point())
    assert less.without("model").without("q").without("period") == EVERYTHING
    assert view.unfiltered() == EVERYTHING
