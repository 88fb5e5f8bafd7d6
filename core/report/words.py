"""Numbers, times and strangers' texts as a report writes them."""

import math
import unicodedata
from datetime import datetime, tzinfo

from core.report.intervals import Estimate
from core.vlm.safe import plain

MISSING = "–"
NAME_LENGTH = 80
TEXT_LENGTH = 1_200


def shown(text: str, most: int = TEXT_LENGTH) -> str:
    """Return a stranger's text with what cannot be seen made visible, cut after `most` characters."""
    found = plain(text[: most + 1]).strip()
    if len(text) <= most:
        return found
    return f"{plain(text[:most]).rstrip()} … ({len(text) - most:,} more characters)"


def name(text: str) -> str:
    """Return the name of a model, a device, a file … on one line."""
    return shown(" ".join(text.split()), NAME_LENGTH) or MISSING


def is_rtl(text: str) -> bool:
    """Say whether a text begins in a script that is written from the right."""
    strong = (unicodedata.bidirectional(character) for character in text[:200])
    return next((kind in ("R", "AL") for kind in strong if kind in ("L", "R", "AL")), False)


def count(n: int) -> str:
    """Return a whole number: `12,345`."""
    return f"{n:,}"


def many(n: int, one: str, more: str = "") -> str:
    """Return a number with its noun: `1 run`, `2 runs`."""
    return f"{n:,} {one if n == 1 else more or one + 's'}"


def ms(value: float) -> str:
    """Return a time given in milliseconds: `0.41 ms`, `152 ms`, `2.31 s`, `5.2 min`."""
    for size, unit in ((3.6e6, "h"), (60_000.0, "min"), (1000.0, "s")):
        if value >= size:
            return f"{digits(value / size)} {unit}"
    return f"{digits(value)} ms"


def digits(value: float) -> str:
    """Return a number with three digits that count."""
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 3:
        return f"{value:,.0f}" if size < 12 else f"{value:.2e}"
    return f"{value:.{max(0, 2 - size)}f}" if size > -4 else f"{value:.1e}"


def usd(value: float) -> str:
    """Return an amount of money: `$12.30`, `$0.00041`."""
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 1 else f"${value:.2g}" if value >= 1e-4 else f"${value:.1e}"


def percent(share: float) -> str:
    """Return a share, 0 to 1: `93.4 %`."""
    return f"{share * 100:.1f} %"


def between(estimate: Estimate, write: object = ms) -> str:
    """Return a value with its interval: `152 ms (148–157)`; `write` makes text of a number."""
    assert callable(write)
    value = str(write(estimate.value))
    if estimate.low is None or estimate.high is None:
        return value
    low, high = str(write(estimate.low)), str(write(estimate.high))
    unit = value.rpartition(" ")[2]
    if low.endswith(f" {unit}") and high.endswith(f" {unit}"):
        low = low.removesuffix(f" {unit}")
        return f"{value} ({low}–{high.removesuffix(f' {unit}')})"
    return f"{value} ({low} – {high})"


def moment(time: datetime, zone: tzinfo) -> str:
    """Return a time to the minute, with its offset from UTC."""
    local = time.astimezone(zone)
    offset = local.strftime("%z")
    return (
        f"{local:%Y-%m-%d %H:%M} UTC{offset[:3]}:{offset[3:5]}"
        if offset != "+0000"
        else f"{local:%Y-%m-%d %H:%M} UTC"
    )


def when(time: datetime, zone: tzinfo) -> str:
    """Return a time to the minute by the clock of the report's time zone, for tables."""
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M}"
