"""Counts, costs and outcomes over time. Whole days are counted already (`cells`), hours are not."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    case,
    func,
    literal_column,
    select,
    type_coerce,
)

from db.days import (
    DAY,
    Days,
    begin_of,
    cells_of,
    days_of,
    in_days,
    is_counted,
    number_of,
    numbers_at,
    sums_of,
    time_of,
)
from db.engine import plain_rows
from db.filters import FoundFilter, conditions, in_series, is_by_series, of_each_run, of_series, unindexed
from db.found import finished, found_runs, measured, searched
from db.history_records import (
    MAX_POINTS,
    MOST_DAYS,
    RUNNING,
    Bucket,
    CostPoint,
    CountPoint,
    DayCount,
    OutcomePoint,
    RunFilter,
)
from db.models import EPOCH, MILLISECOND, Metric, Run, Series, TagCell
from db.rows import clean_text
from db.sketch import Counts, merged

DAY_MS = 86_400_000
MOST_READ = 50_000
"""Of so many runs, the newest, a chart by the hour is drawn."""
HOUR_MS = 3_600_000
QUARTER_MS = 900_000
COST = "cost_usd"
FAILED = "failed"

Point = tuple[int, str, tuple[Any, ...]]
"""Number of the bucket, key, sums."""


def runs_over_time(connection: Connection, where: RunFilter, bucket: Bucket) -> tuple[CountPoint, ...]:
    """Return how many runs of each model began in each bucket, in order of time."""
    found = _counted(connection, where, bucket, Series.model_id)
    return tuple(CountPoint(time_of(bucket, number), model, n) for number, model, (n,) in found)


def outcomes_over_time(connection: Connection, where: RunFilter, bucket: Bucket) -> tuple[OutcomePoint, ...]:
    """Return how many runs came to each outcome in each bucket, in order of time."""
    found = _counted(connection, where, bucket, Series.outcome)
    return tuple(OutcomePoint(time_of(bucket, number), outcome, n) for number, outcome, (n,) in found)


def cost_over_time(connection: Connection, where: RunFilter, bucket: Bucket) -> tuple[CostPoint, ...]:
    """Return what the runs of each model cost in each bucket, in order of time."""
    where = searched(connection, where)
    if isinstance(where, FoundFilter):
        found = _costs_found(connection, where, bucket)
    else:
        found = _newest_points(connection, _costs(connection, where, bucket))
    return tuple(CostPoint(time_of(bucket, number), model, usd, n) for number, model, (usd, n) in found)


def _costs_found(connection: Connection, where: FoundFilter, bucket: Bucket) -> list[Point]:
    runs = finished(connection, where)
    places, usd = measured(connection, runs, COST)
    series = connection.execute(select(Series.id, Series.model_id).where(*of_series(where)))
    models = {number: model for number, model in series}  # noqa: C416
    numbers = numbers_at(bucket, runs.times[places]).tolist()
    paid: dict[tuple[int, str], list[float]] = defaultdict(list)
    for number, series_id, value in zip(numbers, runs.series_ids[places].tolist(), usd, strict=True):
        paid[number, models[series_id]].append(value)
    points = [(number, model, (sum(some), len(some))) for (number, model), some in sorted(paid.items())]
    return points[-MAX_POINTS:]


def _costs(connection: Connection, where: RunFilter, bucket: Bucket) -> list[Select[*tuple[Any, ...]]]:
    days, rest = sources(connection, where, bucket)
    statements: list[Select[*tuple[Any, ...]]] = []
    if days is not None:
        cell = sums_of(where)
        sums = (func.sum(cell.total), func.sum(cell.n))
        cells: Select[*tuple[Any, ...]] = select(number_of(bucket, cell.day), Series.model_id, *sums)
        cells = cells.join(Series, Series.id == cell.series_id)
        statements.append(cells.where(cell.name == COST, *in_days(cell, days, where)))
    for some in rest:
        runs: Select[*tuple[Any, ...]] = select(
            number_of(bucket), Series.model_id, func.sum(Metric.value), func.count()
        )
        runs = runs.select_from(Run).join(Series, Series.id == Run.series_id)
        runs = runs.join(Metric, Metric.run_id == Run.id).where(*conditions(some))
        paid = (Metric.name == COST, Metric.step.is_(None), Series.status != RUNNING)
        statements.append(runs.where(*paid))
    return statements


def sources(
    connection: Connection, where: RunFilter, bucket: Bucket | None
) -> tuple[Days | None, list[RunFilter]]:
    """Return the days that are counted already, if any, and filters of the runs to read beside them."""
    if bucket == "hour":
        return None, [newest(connection, where, MOST_READ)]
    return days_of(where) if is_counted(where) else (None, [where])


def newest(connection: Connection, where: RunFilter, n: int) -> RunFilter:
    """Return a filter without the runs that are older than its `n` newest."""
    if not is_by_series(where):
        return where
    number = unindexed(Run.series_id)  # runs are met by time, in the order of an index
    statement = select(Run.time).where(in_series(number, where), *of_each_run(where))
    since = connection.scalar(statement.order_by(Run.time.desc(), Run.seq.desc()).offset(n).limit(1))
    return where if since is None else replace(where, since=since + timedelta(milliseconds=1))


def newest_day(connection: Connection, where: RunFilter) -> int | None:
    """Return a day (of UTC, counted from 1970) than which no run is newer; of counted runs, if any."""
    latest = None if where.until is None else (where.until - MILLISECOND - EPOCH) // DAY
    found: int | None
    if where.tags:
        tags = [clean_text(tag) for tag in where.tags]
        tagged = (TagCell.tag.in_(tags), in_series(TagCell.series_id, where))
        found = connection.scalar(select(func.max(TagCell.day)).where(*tagged))
    else:
        of_one = select(func.max(type_coerce(Run.time, BigInteger))).where(
            Run.series_id == Series.id, *of_each_run(where)
        )
        times = select(func.max(of_one.correlate(Series).scalar_subquery())).where(*of_series(where))
        ms = connection.scalar(times)
        found = None if ms is None else ms // DAY_MS
    return found if latest is None or found is None else min(found, latest)


def _counted(connection: Connection, where: RunFilter, bucket: Bucket, key: Any) -> list[Point]:
    where = searched(connection, where)
    if isinstance(where, FoundFilter):
        return _counted_found(connection, where, bucket, key)
    days, rest = sources(connection, where, bucket)
    statements: list[Select[*tuple[Any, ...]]] = []
    if days is not None:
        cell = cells_of(where)
        cells = select(number_of(bucket, cell.day), key, func.sum(cell.n))
        statements.append(cells.join(Series, Series.id == cell.series_id).where(*in_days(cell, days, where)))
    for some in rest:
        runs = select(number_of(bucket), key, func.count()).select_from(Run)
        statements.append(runs.join(Series, Series.id == Run.series_id).where(*conditions(some)))
    return _newest_points(connection, statements)


def _counted_found(connection: Connection, where: FoundFilter, bucket: Bucket, key: Any) -> list[Point]:
    runs = found_runs(where)
    series = connection.execute(select(Series.id, key).where(*of_series(where)))
    keys = {number: value for number, value in series}  # noqa: C416
    pairs = zip(numbers_at(bucket, runs.times).tolist(), runs.series_ids.tolist(), strict=True)
    counts = Counter((number, keys[series_id]) for number, series_id in pairs)
    return [(number, value, (n,)) for (number, value), n in sorted(counts.items())][-MAX_POINTS:]


def _newest_points(connection: Connection, statements: Iterable[Select[*tuple[Any, ...]]]) -> list[Point]:
    """Group each statement by its first two columns and add up the others; the newest points, in order."""
    found: dict[tuple[int, str], tuple[Any, ...]] = {}
    for statement in statements:
        number, key = list(statement.selected_columns)[:2]
        grouped = statement.group_by(number, key).order_by(number.desc()).limit(MAX_POINTS)
        for row in connection.execute(grouped):
            at, sums = (row[0], row[1]), tuple(row[2:])
            found[at] = tuple(a + b for a, b in zip(found[at], sums, strict=True)) if at in found else sums
    points = [(number, key, sums) for (number, key), sums in sorted(found.items())]
    return points[-MAX_POINTS:]


def calendar(connection: Connection, where: RunFilter, zone: tzinfo) -> tuple[DayCount, ...]:
    """Return how many runs began on each day of a time zone, in order; the newest days."""
    where = searched(connection, where)
    if is_counted(where):
        found = _days(_by_quarters(connection, where), QUARTER_MS, zone)
    else:
        found = _days_by_hours(connection, where, zone)
    return tuple(DayCount(day, n, failed) for day, n, failed in found if n)[-MOST_DAYS:]


Units = tuple[Counts, Counts, Counts]
"""Numbers of hours, or of quarters, in which runs began; how many, and how many failed."""


def _by_quarters(connection: Connection, where: RunFilter) -> Units:
    """Return the quarters of an hour in which the runs of a filter began: those of the newest days."""
    newest = newest_day(connection, where)
    if newest is None:
        return _units(())
    first = begin_of(newest - MOST_DAYS - 1)
    some = replace(where, since=first if where.since is None else max(where.since, first))
    days, rest = days_of(some)
    found = [_by_unit(connection, one, QUARTER_MS) for one in rest]
    if days is not None:
        cell = cells_of(where)
        failed = case((Series.status == FAILED, 1), else_=0)
        cells = select(cell.day * 2 + failed, cell.quarters).join(Series, Series.id == cell.series_id)
        rows = plain_rows(connection, cells.where(*in_days(cell, days, some)))
        groups, quarters, n = merged([group for group, _ in rows], [quarters for _, quarters in rows])
        found.append(((groups >> 1) * 96 + quarters, n, n * (groups & 1)))
    return tuple(np.concatenate(some) for some in zip(*found, strict=True))  # type: ignore[return-value]


def _days_by_hours(connection: Connection, where: RunFilter, zone: tzinfo) -> list[tuple[date, int, int]]:
    """Count runs by hours, or by quarters of an hour where a day of the zone begins within an hour."""
    offset = datetime.now(zone).utcoffset() or timedelta(0)
    if offset % timedelta(hours=1) == timedelta(0):
        units = _by_unit(connection, where, HOUR_MS)
        if all(midnight % HOUR_MS == 0 for midnight in _midnights(units[0], HOUR_MS, zone)[1]):
            return _days(units, HOUR_MS, zone)
    return _days(_by_unit(connection, where, QUARTER_MS), QUARTER_MS, zone)


def _days(units: Units, unit: int, zone: tzinfo) -> list[tuple[date, int, int]]:
    """Add up hours, or quarters, to the days of a zone."""
    numbers, n, failed = units
    days, midnights = _midnights(numbers, unit, zone)
    place = np.searchsorted(np.array(midnights) // unit, numbers, side="right") - 1
    sums = (np.bincount(place, some, len(days)).astype(int).tolist() for some in (n, failed))
    return list(zip(days, *sums, strict=True))


def _midnights(numbers: Counts, unit: int, zone: tzinfo) -> tuple[list[date], list[int]]:
    """Return the days of a zone from the first to the last of some hours, or quarters, and their begins."""
    if not numbers.size:
        return [], []
    first, last = (
        (EPOCH + int(at) * unit * MILLISECOND).astimezone(zone).date()
        for at in (numbers.min(), numbers.max())
    )
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    return days, [_midnight(day, zone) for day in days]


def _midnight(day: date, zone: tzinfo) -> int:
    """Return when a day begins in a zone, in ms since 1970."""
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def _by_unit(connection: Connection, where: RunFilter, unit: int) -> Units:
    """Return numbers of hours, or of quarters, and how many runs and failed ones each has."""
    if isinstance(where, FoundFilter):
        runs = found_runs(where)
        failed = connection.scalars(select(Series.id).where(Series.status == FAILED, *of_series(where))).all()
        return runs.times // unit, np.ones_like(runs.times), np.isin(runs.series_ids, failed) + 0
    number = type_coerce(Run.time, BigInteger) // literal_column(str(unit), BigInteger)
    bad = Run.series_id.in_(select(Series.id).where(Series.status == FAILED))
    statement = select(number, func.count(), func.sum(case((bad, 1), else_=0))).where(*conditions(where))
    return _units(connection.execute(statement.group_by(number)).all())


def _units(rows: Sequence[Any]) -> Units:
    numbers, n, failed = np.array([tuple(row) for row in rows], np.int64).reshape(-1, 3).T
    return numbers, n, failed
