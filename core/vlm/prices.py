"""What a call cost: a dated table of prices that a person can edit, and "unknown" where it has none.

    provider, model (its id, or how ids begin), US dollars per million tokens, day, source: `prices.toml`

A price is looked up once, when the answer comes, by the model that answered. The run keeps the sum together
with the day of the price, so a later table never prices an old run again. Unknown is None and never 0.
"""

import re
import tomllib
from dataclasses import MISSING, dataclass, fields
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import SetupError
from core.settings import settings
from core.vlm.base import Usage

SHIPPED = Path(__file__).with_name("prices.toml")
MILLION = 1_000_000
DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$", re.ASCII)
"""What OpenAI puts behind a model's name for one version of it, which has the price of the name."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs, in US dollars per million tokens.

    Raises:
        ValueError: A price is negative or not finite, a name is missing, or its days contradict each other.
        TypeError: A field is of another type.
    """

    provider: str
    model: str
    """The provider's id; with `*` at its end, every id that begins so."""
    input: float
    output: float
    """Of all tokens of the answer, those spent on thinking included."""
    as_of: date
    """The day on which the source said so."""
    source: str
    """Address of the page that says so."""
    cached: float | None = None
    """Of tokens read from the provider's cache; None where it is unknown."""
    image: float | None = None
    """Of tokens of the picture, where they have a price of their own; None where it is that of text."""
    up_to_input_tokens: int | None = None
    """The price holds for requests up to this size; that of larger ones is unknown."""
    since: date | None = None
    """The first day on which it holds, where that was announced."""
    until: date | None = None
    """The last day on which it holds, where that was announced."""

    def __post_init__(self) -> None:
        texts = (self.provider, self.model, self.source)
        if not all(isinstance(text, str) and text.rstrip("*") for text in texts):
            raise ValueError("provider, model and source must be named")
        if not self.source.startswith(("https://", "http://")):
            raise ValueError(f"the source of {self.model} is {self.source!r}, expected an address")
        for value in (self.input, self.output, self.cached, self.image):
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"a price of {self.model} is {value}, expected 0 or more")
        if not all(type(day) is date for day in (self.as_of, self.since, self.until) if day is not None):
            raise ValueError(f"a day of {self.model} is no date, as in as_of = 2026-01-31")
        if self.until is not None and self.until < (self.since or self.as_of):
            raise ValueError(f"the price of {self.model} ends before it begins")

    def covers(self, model: str) -> bool:
        """Say whether this is the price of `model`, the provider's own id or a dated version of it."""
        if self.model.endswith("*"):
            return model.startswith(self.model[:-1])
        return self.model in (model, DATED.sub("", model))

    def holds(self, today: date) -> bool:
        """Say whether it is known and in force on a day."""
        return max(self.as_of, self.since or self.as_of) <= today <= (self.until or today)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call cost, and how that is known."""

    usd: float
    reason: str
    """One sentence."""
    price: Price | None = None
    """None where nothing is paid."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a run keeps it: enough to say later by which price, without the table."""
        price = self.price
        if price is None:
            return {"usd": self.usd, "reason": self.reason}
        return {
            "usd": self.usd,
            "reason": self.reason,
            "as_of": price.as_of.isoformat(),
            "source": price.source,
            "price": {"model": price.model, "input": price.input, "output": price.output},
        }


NOTHING_PAID = Cost(0.0, "It ran on this machine; nothing is paid to a provider.")


def cost(price: Price, usage: Usage) -> Cost | None:
    """Return what `usage` costs; None where a count or a price that it takes is not known."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    if price.up_to_input_tokens is not None and usage.input_tokens > price.up_to_input_tokens:
        return None
    cached = usage.cached_tokens or 0
    if cached and price.cached is None:
        return None
    image = usage.image_tokens if price.image is not None else 0
    if image is None:
        return None
    total = max(0, usage.input_tokens - cached - image) * price.input
    total += cached * (price.cached or 0.0) + image * (price.image or 0.0)
    total += usage.output_tokens * price.output
    reason = (
        f"{price.model} at ${price.input:g} in and ${price.output:g} out per million tokens, as of "
        f"{price.as_of.isoformat()}."
    )
    return Cost(total / MILLION, reason, price)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """All prices that are known."""

    prices: tuple[Price, ...]

    def find(self, provider: str, model: str, today: date) -> Price | None:
        """Return the price of a provider's model on a day; None where it is unknown.

        A whole id counts before a beginning, a longer beginning before a shorter one, and of two equal ones
        the newer.
        """
        found = [
            price
            for price in self.prices
            if price.provider == provider and price.covers(model) and price.holds(today)
        ]
        return max(found, key=_exactness, default=None)


def _exactness(price: Price) -> tuple[bool, int, date, date]:
    return not price.model.endswith("*"), len(price.model), price.as_of, price.since or price.as_of


def price_table() -> PriceTable:
    """Return this process's table: the shipped one, or the file that VISION_BENCH_PRICES names.

    Raises:
        SetupError: It cannot be used.
    """
    return read_prices(settings().prices or SHIPPED)


@lru_cache(maxsize=4)
def read_prices(path: Path) -> PriceTable:
    """Return the table in a TOML file of `[[price]]` entries, which have the fields of `Price`.

    Raises:
        SetupError: It cannot be read, or an entry makes no sense; the message says which.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        if set(raw) != {"price"} or not isinstance(raw["price"], list):
            raise ValueError("it must hold [[price]] entries and nothing else")
        return PriceTable(tuple(_entry(number, row) for number, row in enumerate(raw["price"], start=1)))
    except (OSError, ValueError) as error:
        raise SetupError(
            f"The table of prices {path} cannot be used: {str(error).rstrip('.')}.",
            "Mend it, or leave VISION_BENCH_PRICES out for the shipped one.",
        ) from error


def _entry(number: int, row: Any) -> Price:
    known = {field.name: field.default is MISSING for field in fields(Price)}
    if not isinstance(row, dict) or set(row) - set(known):
        unknown = ", ".join(sorted(set(row) - set(known))) if isinstance(row, dict) else "no table"
        raise ValueError(f"entry {number} has unknown fields ({unknown})")
    if missing := [name for name, needed in known.items() if needed and name not in row]:
        raise ValueError(f"entry {number} lacks {', '.join(missing)}")
    try:
        return Price(**row)
    except (TypeError, ValueError) as error:
        raise ValueError(f"entry {number}: {error}") from error
