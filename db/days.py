"""Buckets of time, and which part of a filter's time is whole days that are counted already."""

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, literal_column, type_coerce

from db.filters import Asked, OtherTags, in_series, is_by_series, unindexed
from db.history_records import Bucket, RunFilter
from db.models import EPOCH, Cell, MetricCell, Run, TagCell, TagMetricCell
from db.rows import clean_text
from db.sketch import Counts

DAY = timedelta(days=1)
THURSDAY = 3
"""Of the week in which 1970 began, counted from Monday."""


class Days(NamedTuple):
    """Whole days, counted from 1970: from the first up to, not including, the end; None is open."""

    first: int | None
    end: int | None


def days_of(where: RunFilter) -> tuple[Days | None, list[RunFilter]]:
    """Return the whole days of a filter's time, and filters of the rest: at its ends, of its other tags."""
    first = None if where.since is None else -((EPOCH - where.since) // DAY)
    end = None if where.until is None else (where.until - EPOCH) // DAY
    if first is not None and end is not None and first >= end:
        return None, [where]
    rest = []
    if where.since is not None and first is not None and where.since != begin_of(first):
        rest.append(replace(where, until=begin_of(first)))
    if where.until is not None and end is not None and where.until != begin_of(end):
        rest.append(replace(where, since=begin_of(end)))
    if len(where.tags) > 1:
        rest.append(_other_tags(where, first, end))
    return Days(first, end), rest


def _other_tags(where: RunFilter, first: int | None, end: int | None) -> RunFilter:
    """Return the filter of the runs on whole days that are not counted by the first tag of a filter."""
    fields_of = {one.name: getattr(where, one.name) for one in fields(RunFilter)}
    bounds = {
        "since": None if first is None else begin_of(first),
        "until": None if end is None else begin_of(end),
    }
    series = where.series if isinstance(where, Asked) else None
    kept = fields_of | bounds | {"tags": where.tags[1:], "series": series}
    return OtherTags(**kept, untagged=where.tags[0])


def begin_of(day: int) -> datetime:
    """Return when a day begins."""
    return EPOCH + day * DAY


def is_counted(where: RunFilter) -> bool:
    """Say whether the runs that a filter lets through on a whole day are counted already.

    Of several tags, those of the first one are: a run with two of them is counted for each.
    """
    return is_by_series(replace(where, tags=()))


def cells_of(where: RunFilter) -> type[Cell] | type[TagCell]:
    """Return where the runs of a filter are counted."""
    return TagCell if where.tags else Cell


def sums_of(where: RunFilter) -> type[MetricCell] | type[TagMetricCell]:
    """Return where the metrics of the runs of a filter are summed up."""
    return TagMetricCell if where.tags else MetricCell


def in_days(
    cell: type[Cell] | type[MetricCell] | type[TagCell] | type[TagMetricCell],
    days: Days,
    where: RunFilter,
    *,
    in_turn: bool = False,
) -> list[ColumnElement[bool]]:
    """Return the condition on cells that they are of some days, and of a filter's series and first tag.

    Args:
        in_turn: Whether cells are met in the order of their keys, not series by series.
    """
    number: Any = unindexed(cell.series_id) if in_turn else cell.series_id
    found: list[ColumnElement[bool]] = [in_series(number, where)]
    if where.tags and issubclass(cell, TagCell | TagMetricCell):
        found.append(cell.tag == clean_text(where.tags[0]))
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


def numbers_at(bucket: Bucket, times: Counts) -> Counts:
    """Return the numbers of the buckets that times (ms since 1970) are in."""
    numbers: Counts = times // 3_600_000 if bucket == "hour" else bucket_of(bucket, times // 86_400_000)
    return numbers


def bucket_of(bucket: Bucket, day: Any) -> Any:
    """Return the number of the day or week that a day, or each of an array, is in."""
    return day if bucket == "day" else (day + THURSDAY) // 7


def _literal(number: int) -> ColumnElement[int]:
    return literal_column(str(number), BigInteger)
