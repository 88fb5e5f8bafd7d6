"""What a report is asked for: which runs, which sections, in which time zone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from urllib.parse import urlsplit

from core.errors import InputError

SECTIONS = {
    "runs": "What was measured",
    "times": "How long it took",
    "benchmarks": "Benchmarks",
    "scores": "How good it was",
    "verdicts": "What can be told",
    "failures": "What failed",
    "costs": "What it cost",
    "examples": "Questions and answers",
    "environment": "What it ran on",
    "reproduce": "How to do it again",
}
"""Key to title, in order."""
MOST_SPANS = 62
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WIDTHS = (1, 2, 3, 7, 14, 28, 91, 365)
"""Days of a span of time."""
FILTERS = (
    "kinds",
    "models",
    "statuses",
    "outcomes",
    "devices",
    "tags",
    "text",
    "min_ms",
    "max_ms",
    "measured_only",
)
"""Fields of a request that leave runs out, beside its period; a filter of the store names them alike."""


@dataclass(frozen=True, slots=True)
class Request:
    """One report. `since` is inclusive, `until` exclusive; None is the first or the last run.

    Raises:
        InputError: The period ends before it begins, or a section is unknown.
    """

    since: datetime | None
    until: datetime | None
    zone: tzinfo
    kinds: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    sections: tuple[str, ...] = tuple(SECTIONS)
    store: str = ""
    """What the store is called; no address with a password in it."""
    revision: str = ""
    """Of this app."""
    statuses: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Runs that carry any of these."""
    text: str = ""
    """Words that are all in a run's prompt, answers or note."""
    min_ms: float | None = None
    """Least duration, inclusive."""
    max_ms: float | None = None
    """Greatest duration, exclusive."""
    measured_only: bool = False
    """Whether runs that a test server answered are left out."""

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise InputError(
                "The period ends before it begins.", "Choose an end that is not before its begin."
            )
        unknown = [key for key in self.sections if key not in SECTIONS]
        if unknown:
            raise InputError(
                f"There is no section {unknown[0]!r}.", f"The sections are {', '.join(SECTIONS)}."
            )
        if not self.sections:
            raise InputError("The report has no section.", f"Choose some of {', '.join(SECTIONS)}.")

    @property
    def which(self) -> dict[str, Any]:
        """The fields of a filter of the store that lets through what the report is about."""
        return {name: getattr(self, name) for name in ("since", "until", *FILTERS)}

    @property
    def narrowed(self) -> bool:
        """Whether more than the period leaves runs out."""
        return any(getattr(self, name) not in ((), "", None, False) for name in FILTERS)


def store_name(url: str, *, whole: bool = True) -> str:
    """Return what a store is called, without the name and password that are in its address.

    Args:
        whole: Whether file, server and database may be named: to its keeper, not to visitors.
    """
    kind = "SQLite file" if url.startswith("sqlite") else "PostgreSQL database"
    if not whole:
        return kind
    if url.startswith("sqlite"):
        return f"{kind} {url.partition(':///')[2].rpartition('/')[2]}"
    try:
        parts = urlsplit(url)
        return f"{kind} {parts.path.lstrip('/')} on {parts.hostname or 'this machine'}"
    except ValueError:
        return kind


def day_begin(day: date, zone: tzinfo) -> datetime:
    """Return the begin of a day in a time zone, in UTC.

    Raises:
        InputError: The calendar has no such day there.
    """
    try:
        return datetime.combine(day, time(), zone).astimezone(UTC)
    except OverflowError as error:
        raise InputError(f"{day} cannot be used.", "Choose a day of this century.") from error


def whole_days(
    first: date | None, last: date | None, zone: tzinfo
) -> tuple[datetime | None, datetime | None]:
    """Return begin and end (exclusive) of days of a time zone, both of which are in."""
    try:
        after = None if last is None else last + DAY
    except OverflowError as error:
        raise InputError(f"{last} cannot be used.", "Choose a day of this century.") from error
    return (
        None if first is None else day_begin(first, zone),
        None if after is None else day_begin(after, zone),
    )


def span_bounds(first: datetime, last: datetime, zone: tzinfo) -> tuple[list[datetime], str]:
    """Return the bounds of at most `MOST_SPANS` spans of time that hold both, in UTC, and what one is called.

    Days, and what is made of days, begin at midnight in the time zone: one is 23 or 25 hours long where
    clocks are put forward or back.
    """
    if last - first <= 2 * DAY:
        begin = first.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        hours = (last - begin) // HOUR + 1
        return [begin + i * HOUR for i in range(hours + 1)], "hour"
    day, end = first.astimezone(zone).date(), last.astimezone(zone).date()
    days = (end - day).days + 1
    width = next((w for w in WIDTHS if -(-days // w) <= MOST_SPANS), -(-days // MOST_SPANS))
    bounds = [day_begin(day + i * width * DAY, zone) for i in range(-(-days // width) + 1)]
    return bounds, {1: "day", 7: "week"}.get(width, f"{width} days")


def local(bounds: Sequence[datetime], zone: tzinfo) -> list[datetime]:
    """Return the begins of spans by the clock of a time zone."""
    return [bound.astimezone(zone) for bound in bounds[:-1]]
