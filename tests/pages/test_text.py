"""Numbers and words as the pages write them."""

from datetime import UTC, datetime, timedelta

import pytest

from pages.ui.text import ago, count, megabytes, milliseconds, plain


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.42, "0.4 ms"), (9.96, "10.0 ms"), (152.4, "152 ms"), (2310, "2.31 s")],
)
def test_durations(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.5, "0.5 MB"), (86.2, "86 MB"), (1240, "1.2 GB")])
def test_sizes(value: float | None, text: str) -> None:
    assert megabytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (999, "999"), (5_717_416, "5.72 M"), (86_567_656, "86.6 M")]
)
def test_counts(value: int | None, text: str) -> None:
    assert count(value) == text


def test_markdown_in_a_file_name_is_shown_letter_by_letter() -> None:
    assert plain("a_b*[x](y)<b>:red[z]$1$") == r"a\_b\*\[x\]\(y\)\<b\>\:red\[z\]\$1\$"


@pytest.mark.parametrize("address", ["https://a.test/x", "HTTP://a.test", "www.a.test", "me@a.test"])
def test_an_address_in_a_strangers_words_is_no_link(address: str) -> None:
    shown = plain(f"see {address} now")
    assert shown.replace("\\", "").replace("\u2060", "") == f"see {address} now"
    assert "\u2060" in shown


@pytest.mark.parametrize(
    ("back", "text"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=5), "5 hours ago"),
        (timedelta(days=2, hours=3), "2 days ago"),
        (timedelta(seconds=-30), "just now"),
    ],
)
def test_how_long_ago(back: timedelta, text: str) -> None:
    assert ago(datetime.now(UTC) - back) == text
