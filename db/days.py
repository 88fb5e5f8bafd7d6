"""Buckets of time, and which part of a filter's time is whole days that are counted already."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, literal_column, type_coerce

from db.filters import series_of
from db.history_records import Bucket, RunFilter
from db.models import EPOCH, Cell, MetricCell, Run, TagCell

DAY = timedelta(days=1)
THURSDAY = 3
"""Of the week in which 1970 began, counted from Monday."""


class Days(NamedTuple):
    """Whole days, counted from 1970: from the first up to, not including, the end; None is open."""

    first: int | None
    end: int | None


def days_of(where: RunFilter) -> tuple[Days | None, list[RunFilter]]:
    """Return the whole days of a filter's time, and filters of what is left at its ends."""
    first = None if where.since is None else -((EPOCH - where.since) // DAY)
    end = None if where.until is None else (where.until - EPOCH) // DAY
    if first is not None and end is not None and first >= end:
        return None, [where]
    rest = []
    if where.since is not None and first is not None and where.since != begin_of(first):
        rest.append(replace(where, until=begin_of(first)))
    if where.until is not None and end is not None and where.until != begin_of(end):
        rest.append(replace(where, since=begin_of(end)))
    return Days(first, end), rest


def begin_of(day: int) -> datetime:
    """Return when a day begins."""
    return EPOCH + day * DAY


def in_days(
    cell: type[Cell] | type[MetricCell] | type[TagCell], days: Days, where: RunFilter
) -> list[ColumnElement[bool]]:
    """Return the condition on cells that they are of some days and of a filter's series."""
    found: list[ColumnElement[bool]] = [cell.series_id.in_(series_of(where))]
    if days.first is not None:
        found.append(cell.day >= days.first)
    if days.end is not None:
        found.append(cell.day < days.end)
    return found


def number_of(bucket: Bucket, day: Any = None) -> ColumnElement[int]:
    """Return the number of the bucket of a run, or of a day; of literals, for PostgreSQL's GROUP BY."""
    if bucket == "hour":
        return type_coerce(Run.time, BigInteger) // _literal(3_600_000)
    number = type_coerce(Run.time, BigInteger) // _literal(86_400_000) if day is None else day
    return number if bucket == "day" else (number + _literal(THURSDAY)) // _literal(7)


def time_of(bucket: Bucket, number: int) -> datetime:
    """Return when a bucket begins."""
    if bucket == "hour":
        return EPOCH + number * timedelta(hours=1)
    return begin_of(number if bucket == "day" else 7 * number - THURSDAY)


def number_at(bucket: Bucket, time: datetime) -> int:
    """Return the number of the bucket that a time is in."""
    if bucket == "hour":
        return (time - EPOCH) // timedelta(hours=1)
    day = (time - EPOCH) // DAY
    return day if bucket == "day" else (day + THURSDAY) // 7


def _literal(number: int) -> ColumnElement[int]:
    return literal_column(str(number), BigInteger)
