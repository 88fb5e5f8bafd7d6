"""How the recommender writes a number and where it comes from."""

import datetime

import pytest

from core.recommend.entries import Source
from core.recommend.figures import Figure
from pages.ui.recommend_words import interval_words, mark_words, origin, value_words

TABLE = Source("t", "A <b>table</b>", "https://example.org/t", datetime.date(2026, 1, 2))


@pytest.mark.parametrize(
    ("name", "unit", "low", "value", "high", "words"),
    [
        ("latency", "ms", 12.0, 15.0, 20.04, "95 %: 12 to 20 ms"),
        ("latency", "ms", 138.0, 500.0, 1370.0, "95 %: 138 ms to 1.37 s"),
        ("latency", "ms", 1200.0, 1300.0, 1370.0, "95 %: 1.2 to 1.37 s"),
        ("memory", "MB", 84.8, 165.0, None, "95 %: 84.8 MB to ?"),
        ("accuracy", "%", 84.77, 85.0, 85.4, "95 %: 84.77 to 85.4 %"),
        ("accuracy", "", 0.5, 0.6, 0.7, "95 %: 0.5 to 0.7"),
        ("cost", "USD", 0.5, 0.6, 0.7, "95 %: $0.5 to $0.7"),
        ("weights", "MB", None, 5.0, None, ""),
    ],
)
def test_an_interval_names_its_unit_once_or_both(
    name: str, unit: str, low: float | None, value: float, high: float | None, words: str
) -> None:
    assert interval_words(name, Figure(value, unit, "estimated", low=low, high=high)) == words


def test_what_is_missing_is_no_zero() -> None:
    assert value_words("latency", None) == "–" and mark_words(None) == "not known"
    assert origin("latency", None, {}) == ""
    assert value_words("cost", Figure(0.0, "USD", "published")) == "free"


def test_a_source_is_a_link_with_its_title_and_runs_are_links_to_the_history() -> None:
    known = Figure(85.0, "%", "published", source=TABLE.url, date=TABLE.date)
    found = origin("accuracy", known, {"t": TABLE})
    assert "](<https://example.org/t>)" in found and "<b>" not in found and "2026-01-02" in found
    run = "01M8B5NYV6KFW307JNVFKDCH9E"
    measured = Figure(5.0, "ms", "measured", n=40, source=f"{run} and 3 more")
    found = origin("latency", measured, {})
    assert f"(history?run={run})" in found and "n = 40" in found and "and 3 more" in found
