"""Prices: sums by hand, what is unknown stays unknown, and a table that a person broke is named."""

from datetime import date
from pathlib import Path

import pytest

from core.errors import SetupError
from core.settings import settings
from core.vlm.base import Usage
from core.vlm.prices import SHIPPED, Cost, Price, PriceTable, cost, price_table, read_prices

TODAY = date(2026, 11, 24)
PAGE = "https://prices.example/page"


def price(model: str = "m", **more: object) -> Price:
    stated = {"input": 2.0, "output": 10.0, "as_of": date(2026, 1, 1)} | more
    return Price(provider="acme", model=model, source=PAGE, **stated)  # type: ignore[arg-type]


def usd(found: Cost | None) -> float:
    assert found is not None
    return found.usd


def test_a_sum_by_hand() -> None:
    found = cost(
        price(), Usage(input_tokens=1_000, image_tokens=258, output_tokens=200, reasoning_tokens=150)
    )
    assert usd(found) == pytest.approx(1_000 * 2e-6 + 200 * 10e-6)  # thinking is in the output already
    assert found is not None and found.to_json() == {
        "usd": found.usd,
        "reason": "m at $2 in and $10 out per million tokens, as of 2026-01-01.",
        "as_of": "2026-01-01",
        "source": PAGE,
        "price": {"model": "m", "input": 2.0, "output": 10.0},
    }


def test_cached_tokens_and_those_of_the_picture_have_prices_of_their_own() -> None:
    usage = Usage(input_tokens=1_000, cached_tokens=600, image_tokens=300, output_tokens=0)
    assert usd(cost(price(cached=0.5), usage)) == pytest.approx((400 * 2 + 600 * 0.5) / 1e6)
    assert usd(cost(price(cached=0.5, image=4.0), usage)) == pytest.approx((100 * 2 + 600 * 0.5 + 1200) / 1e6)


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        (price(), Usage(input_tokens=10)),
        (price(), Usage(output_tokens=10)),
        (price(), Usage(input_tokens=10, output_tokens=1, cached_tokens=5)),
        (price(image=1.0), Usage(input_tokens=10, output_tokens=1)),
        (price(up_to_input_tokens=9), Usage(input_tokens=10, output_tokens=1)),
    ],
    ids=["no output count", "no input count", "price of the cache", "count of the picture", "too large"],
)
def test_what_is_not_known_is_not_zero(stated: Price, usage: Usage) -> None:
    assert cost(stated, usage) is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("m", "m"),
        ("m-2026-09-22", "m"),
        ("m-mini", "m-*"),
        ("m-mini-pro", "m-mini-*"),
        ("m2", None),
        ("M", None),
        ("m-", "m-*"),
        ("", None),
    ],
)
def test_the_most_exact_entry_counts(asked: str, found: str | None) -> None:
    table = PriceTable((price("m-*"), price("m"), price("m-mini-*"), price("x")))
    hit = table.find("acme", asked, TODAY)
    assert (hit.model if hit else None) == found
    assert table.find("other", asked, TODAY) is None


def test_of_two_entries_the_newer_counts_from_its_day_on() -> None:
    old, new = price(), price(input=1.0, as_of=date(2026, 6, 1))
    later = price(input=9.0, as_of=date(2026, 6, 1), since=date(2027, 1, 1))
    table = PriceTable((new, later, old))
    found = [table.find("acme", "m", day) for day in (date(2026, 5, 31), date(2026, 6, 1), date(2027, 1, 1))]
    assert found == [old, new, later]
    assert PriceTable((price(until=date(2026, 6, 1)),)).find("acme", "m", TODAY) is None


def test_the_shipped_table_names_a_day_and_a_page_for_each_price() -> None:
    table = read_prices(SHIPPED)
    assert table.find("gemini", "gemini-3.8-flash", TODAY) != table.find(
        "gemini", "gemini-3.8-flash", date(2027, 1, 1)
    )
    for entry in table.prices:
        assert entry.as_of <= TODAY
        assert entry.source.startswith("https://")
        assert entry.input <= entry.output
        assert entry.cached is None or entry.cached < entry.input


def test_a_table_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[[price]]\nprovider = "compatible"\nmodel = "llava"\ninput = 0\noutput = 0.5\nas_of = 2026-02-03\n'
        f'source = "{PAGE}"\n'
    )
    monkeypatch.setenv("VISION_BENCH_PRICES", str(own))
    settings.cache_clear()
    found = price_table().find("compatible", "llava", TODAY)
    assert found is not None
    assert usd(cost(found, Usage(input_tokens=7, output_tokens=2))) == pytest.approx(1e-6)
    assert price_table().find("openai", "gpt-6-luna", TODAY) is None


ENTRY = (
    f'[[price]]\nprovider = "p"\nmodel = "m"\ninput = 1\noutput = 1\nas_of = 2026-01-01\nsource = "{PAGE}"\n'
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]\n", "Expected"),
        ("", "[[price]]"),
        ("price = 3\n", "[[price]]"),
        (ENTRY + "[other]\n", "[[price]]"),
        (ENTRY.replace("output = 1\n", ""), "entry 1 lacks output"),
        (ENTRY + ENTRY.replace("output", "outptu"), "entry 2 has unknown fields (outptu)"),
        (ENTRY.replace("input = 1", "input = -1"), "entry 1: a price of m is -1"),
        (ENTRY.replace("input = 1", "input = nan"), "entry 1"),
        (ENTRY.replace("input = 1", 'input = "1"'), "entry 1"),
        (ENTRY.replace("2026-01-01", '"2026-01-01"'), "entry 1: a day of m"),
        (ENTRY.replace("2026-01-01", "2026-01-01T00:00:00"), "entry 1: a day of m"),
        (ENTRY.replace("https://", "ftp://"), "entry 1: the source of m"),
        (ENTRY + "until = 2025-01-01\n", "ends before it begins"),
        (ENTRY.replace('"m"', '"*"'), "entry 1: provider, model"),
    ],
)
def test_a_broken_table_is_named_with_its_entry(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(SetupError) as caught:
        read_prices(path)
    assert said in caught.value.message
    assert "VISION_BENCH_PRICES" in caught.value.remedy


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be used"):
        read_prices(tmp_path / "none.toml")
