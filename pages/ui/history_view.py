"""What the history page shows, as a value: the address holds all of it, so that a view is a link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

PERIODS: dict[str, timedelta | None] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
    "all": None,
}
"""Name in the address to how far back it reaches."""
DATES = "dates"
"""The period that two days bound."""
CHARTS = ("latency", "spread", "pareto", "cost", "outcomes", "failures", "calendar")
WIDTHS = ("hour", "day", "week")
SORTS = ("time", "kind", "model", "status", "duration", "device")
LISTS = ("kind", "model", "status", "outcome", "device", "tag", "compare")
MOST_VALUES = 200
"""Of one name in an address."""
MOST_CHARACTERS = 300
"""Of one value in an address."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a chart that was clicked: the runs behind it. Empty fields do not narrow."""

    model: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None
    low: float | None = None
    """Least duration in ms, inclusive."""
    high: float | None = None
    """Greatest duration in ms, exclusive."""

    def __bool__(self) -> bool:
        return self != Point()


@dataclass(frozen=True, slots=True)
class HistoryView:
    """One view of the history. The defaults are left out of the address."""

    q: str = ""
    kind: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    period: str = "all"
    first: date | None = None
    """First day of the period `dates`."""
    last: date | None = None
    """Last day of it, itself inside."""
    tz: str = ""
    """Name of a time zone; the browser's where it is empty."""
    measured: bool = False
    """Whether runs that a test server answered are left out."""
    name: str = ""
    """What the person calls the view."""
    chart: str = CHARTS[0]
    per: str = ""
    """Width of a point over time; what fits the period where it is empty."""
    value: str = ""
    """Name of the measured quality; the most frequent one where it is empty."""
    lower: str = ""
    """Whether a lower quality is the better one: `yes` or `no`; by its name where it is empty."""
    sort: str = "time"
    down: bool = True
    """Whether the greatest, or newest, come first."""
    page: int = 1
    deleted: bool = False
    """Whether the recently deleted runs are listed."""
    point: Point = Point()
    run: str = ""
    """The run that is shown whole."""
    compare: tuple[str, ...] = ()
    """The runs that are compared."""

    @property
    def narrowing(self) -> tuple[str, ...]:
        """Names of the fields that leave runs out."""
        names = ("q", "kind", "model", "status", "outcome", "device", "tag", "period", "measured")
        return tuple(name for name in names if getattr(self, name) != getattr(EVERYTHING, name))

    def without(self, name: str, value: str = "") -> HistoryView:
        """Return the view without one of its filters, or without one value of it, on its first page."""
        kept = tuple(v for v in getattr(self, name) if v != value) if value else getattr(EVERYTHING, name)
        days = {"first": None, "last": None} if name == "period" else {}
        return replace(self, page=1, point=Point(), **{name: kept}, **days)

    def unfiltered(self) -> HistoryView:
        """Return the view of all runs, with the same chart, order and time zone."""
        kept = ("tz", "chart", "per", "value", "lower", "sort", "down")
        return HistoryView(**{name: getattr(self, name) for name in kept})

    def bounds(self, now: datetime, zone: tzinfo) -> tuple[datetime | None, datetime | None]:
        """Return the first moment of the period and the one after its last, in UTC; None where it is open.

        Whole days are those of `zone`, also where a clock is put forward or back in them.
        """
        if self.period == DATES:
            return _midnight(self.first, zone), _midnight(self.last, zone, days=1)
        width = PERIODS[self.period]
        return (None if width is None else now - width), None


EVERYTHING = HistoryView()


def _midnight(day: date | None, zone: tzinfo, days: int = 0) -> datetime | None:
    if day is None:
        return None
    try:
        return datetime.combine(day + timedelta(days=days), time(), zone).astimezone(UTC)
    except OverflowError:  # at an end of the calendar: nothing lies beyond it
        return None


def to_address(view: HistoryView) -> dict[str, str | list[str]]:
    """Return the view as the parameters of an address."""
    found: dict[str, str | list[str]] = {}
    for field in fields(view):
        value = getattr(view, field.name)
        if value == getattr(EVERYTHING, field.name):
            continue
        if field.name == "point":
            found |= {f"at_{name}": text for name, text in _point_words(value).items()}
        else:
            found[field.name] = list(value) if isinstance(value, tuple) else _word(value)
    return found


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.isoformat() if isinstance(value, date) else str(value)


def _point_words(point: Point) -> dict[str, str]:
    values = {field.name: getattr(point, field.name) for field in fields(point)}
    return {name: _word(value) for name, value in values.items() if value not in ("", None)}


def from_address(given: Mapping[str, Sequence[str]]) -> HistoryView:
    """Return the view that the parameters of an address describe. What makes no sense is passed over."""
    words = {name: values[-1][:MOST_CHARACTERS] for name, values in given.items() if values}
    found: dict[str, object] = {name: _several(given.get(name, ())) for name in LISTS}
    found |= {name: words.get(name, "") for name in ("q", "name", "value", "run")}
    found |= {
        "period": _one_of(words.get("period"), (*PERIODS, DATES), EVERYTHING.period),
        "first": _day(words.get("first")),
        "last": _day(words.get("last")),
        "tz": words["tz"] if zone_of(words.get("tz", "")) else "",
        "measured": words.get("measured") == "yes",
        "chart": _one_of(words.get("chart"), CHARTS, EVERYTHING.chart),
        "per": _one_of(words.get("per"), WIDTHS, ""),
        "lower": _one_of(words.get("lower"), ("yes", "no"), ""),
        "sort": _one_of(words.get("sort"), SORTS, EVERYTHING.sort),
        "down": words.get("down") != "no",
        "page": int(words["page"]) if _is_page(words.get("page", "")) else 1,
        "deleted": words.get("deleted") == "yes",
        "point": _point(words),
    }
    return HistoryView(**found)  # type: ignore[arg-type]


def _several(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v[:MOST_CHARACTERS] for v in values if v))[:MOST_VALUES]


def _one_of(value: str | None, allowed: Sequence[str], default: str) -> str:
    return value if value in allowed else default


def _is_page(word: str) -> bool:
    return word.isascii() and word.isdigit() and 1 <= len(word) <= 9 and int(word) > 0


def _day(word: str | None) -> date | None:
    try:
        return date.fromisoformat(word or "")
    except ValueError:
        return None


def _point(words: Mapping[str, str]) -> Point:
    names = ("model", "outcome")
    return Point(
        **{name: words.get(f"at_{name}", "") for name in names},
        since=_moment(words.get("at_since")),
        until=_moment(words.get("at_until")),
        low=_number(words.get("at_low")),
        high=_number(words.get("at_high")),
    )


def _moment(word: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(word or "")
    except ValueError:
        return None
    return None if found.tzinfo is None else found.astimezone(UTC)


def _number(word: str | None) -> float | None:
    try:
        found = float(word or "")
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def zone_of(name: str) -> ZoneInfo | None:
    """Return a time zone by its name, None where there is none."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
