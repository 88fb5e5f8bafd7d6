"""Words and numbers as every page writes them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from core.vlm.safe import plain as readable
from core.vlm.safe import unlinked

MISSING = "–"

STATUS_ICONS = {
    "ok": ":material/check_circle:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
    "running": ":material/pending:",
}


def plain(text: str) -> str:
    """Return `text` so that Markdown shows it letter by letter: file names and messages are hostile input.

    What cannot be seen, or turns text around, is shown as `[U+202E]`, and addresses are no links.
    """
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|$:~])", r"\\\1", unlinked(readable(text)))


def milliseconds(value: float | None) -> str:
    """Return a duration given in ms: `0.4 ms`, `152 ms`, `2.31 s`."""
    if value is None:
        return MISSING
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def megabytes(value: float | None) -> str:
    """Return a size given in MB."""
    if value is None:
        return MISSING
    return (
        f"{value / 1000:.1f} GB" if value >= 1000 else f"{value:.0f} MB" if value >= 10 else f"{value:.1f} MB"
    )


def count(value: int | None) -> str:
    """Return a large whole number: `5.7 M`, `12 k`."""
    if value is None:
        return MISSING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)


def small(value: float) -> str:
    """Return a difference near zero: `3.1e-07`, or `0`."""
    return "0" if value == 0 else f"{value:.1e}"


def browser_zone() -> tzinfo:
    """Return the time zone of the visitor's browser; UTC where it does not say."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def local_time(time: datetime, zone: tzinfo | None = None) -> str:
    """Return a stored time in a zone, or in the visitor's, to the minute."""
    return f"{time.astimezone(zone or browser_zone()):%Y-%m-%d %H:%M}"


def ago(time: datetime) -> str:
    """Return how long ago a stored time was, in the largest fitting unit."""
    seconds = max((datetime.now(UTC) - time) / timedelta(seconds=1), 0)
    if seconds < 60:
        return "just now"
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            n = int(seconds // size)
            return f"{n} {unit}{'s' if n > 1 else ''} ago"
    return "just now"
