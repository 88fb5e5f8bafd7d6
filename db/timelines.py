"""Counts, costs and outcomes over time. Whole days are counted already (`cells`), hours are not."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import accumulate
from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Select,
    case,
    column,
    func,
    literal_column,
    select,
    type_coerce,
    values,
)

from db.days import DAY, Days, days_of, in_days, number_of, time_of
from db.filters import conditions, is_by_series, of_each_run, of_series, series_of
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
from db.models import EPOCH, MILLISECOND, Cell, Metric, MetricCell, Run, Series
from db.queries import FEW, are_more

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
    days, rest = sources(connection, where, bucket)
    statements: list[Select[*tuple[Any, ...]]] = []
    if days is not None:
        sums = (func.sum(MetricCell.total), func.sum(MetricCell.n))
        cells: Select[*tuple[Any, ...]] = select(number_of(bucket, MetricCell.day), Series.model_id, *sums)
        cells = cells.join(Series, Series.id == MetricCell.series_id)
        statements.append(cells.where(MetricCell.name == COST, *in_days(MetricCell, days, where)))
    for some in rest:
        runs: Select[*tuple[Any, ...]] = select(
            number_of(bucket), Series.model_id, func.sum(Metric.value), func.count()
        )
        runs = runs.select_from(Run).join(Series, Series.id == Run.series_id)
        runs = runs.join(Metric, Metric.run_id == Run.id).where(*conditions(some))
        paid = (Metric.name == COST, Metric.step.is_(None), Series.status != RUNNING)
        statements.append(runs.where(*paid))
    found = _newest_points(connection, statements)
    return tuple(CostPoint(time_of(bucket, number), model, usd, n) for number, model, (usd, n) in found)


def sources(
    connection: Connection, where: RunFilter, bucket: Bucket | None
) -> tuple[Days | None, list[RunFilter]]:
    """Return the days that are counted already, if any, and filters of the runs to read beside them."""
    if bucket == "hour":
        return None, [newest(connection, where, MOST_READ)]
    return days_of(where) if is_by_series(where) else (None, [where])


def newest(connection: Connection, where: RunFilter, n: int) -> RunFilter:
    """Return a filter without the runs that are older than its `n` newest."""
    if not is_by_series(where):
        return where
    number = Run.series_id + 0  # runs are met by time, in the order of an index
    statement = select(Run.time).where(number.in_(series_of(where)), *of_each_run(where))
    since = connection.scalar(statement.order_by(Run.time.desc(), Run.seq.desc()).offset(n).limit(1))
    return where if since is None else replace(where, since=since + timedelta(milliseconds=1))


def time_of_newest(connection: Connection, where: RunFilter) -> datetime:
    """Return when the newest of many runs began."""
    number = Run.series_id + 0
    statement = select(Run.time).where(number.in_(series_of(where)), *of_each_run(where))
    return connection.scalars(statement.order_by(Run.time.desc(), Run.seq.desc()).limit(1)).one()


def _counted(connection: Connection, where: RunFilter, bucket: Bucket, key: Any) -> list[Point]:
    days, rest = sources(connection, where, bucket)
    statements: list[Select[*tuple[Any, ...]]] = []
    if days is not None:
        cells = select(number_of(bucket, Cell.day), key, func.sum(Cell.n))
        statements.append(cells.join(Series, Series.id == Cell.series_id).where(*in_days(Cell, days, where)))
    for some in rest:
        runs = select(number_of(bucket), key, func.count()).select_from(Run)
        statements.append(runs.join(Series, Series.id == Run.series_id).where(*conditions(some)))
    return _newest_points(connection, statements)


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
    if is_by_series(where) and are_more(connection, where, FEW):
        found = _days_by_cells(connection, where, zone)
    else:
        found = _days_by_hours(connection, where, zone)
    return tuple(DayCount(day, n, failed) for day, n, failed in found if n)[-MOST_DAYS:]


def _days_by_cells(connection: Connection, where: RunFilter, zone: tzinfo) -> list[tuple[date, int, int]]:
    """Count whole days of UTC, and read the runs between each midnight of the zone and the nearest of UTC."""
    first = connection.scalars(select(func.min(Run.time))).one()
    first, last = max(first, where.since or first), time_of_newest(connection, where)
    end = last.astimezone(zone).date() + timedelta(days=1)
    begin = max(first.astimezone(zone).date(), end - timedelta(days=MOST_DAYS))
    days = [begin + timedelta(days=i) for i in range((end - begin).days)]
    since, until = _milliseconds(first), _milliseconds(where.until or last + DAY)
    midnights = [min(max(_midnight(day, zone), since), until) for day in (*days, end)]
    before = _before(connection, where, midnights)
    return [
        (day, there - here, failed_there - failed_here)
        for day, (here, failed_here), (there, failed_there) in zip(days, before, before[1:], strict=False)
    ]


def _before(connection: Connection, where: RunFilter, times: Sequence[int]) -> list[tuple[int, int]]:
    """Return how many runs, and how many failed ones, began before each time (ms since 1970), in order.

    The same number of runs, those before the first day that is counted, is left out of each.
    """
    nearest = [(time + DAY_MS // 2) // DAY_MS for time in times]
    between = _between(connection, where, times, [day * DAY_MS for day in nearest])
    rows = _by_day(connection, where, nearest[0])
    n, failed = (list(accumulate((row[i] for row in rows), initial=0)) for i in (1, 2))
    found = []
    for at, day, (more, more_failed) in zip(times, nearest, between, strict=True):
        place = bisect_left(rows, (day,))
        sign = 1 if at > day * DAY_MS else -1
        found.append((n[place] + sign * more, failed[place] + sign * more_failed))
    return found


def _by_day(connection: Connection, where: RunFilter, first: int) -> list[tuple[int, int, int]]:
    failed = func.sum(case((Series.status == FAILED, Cell.n), else_=0))
    statement = select(Cell.day, func.sum(Cell.n), failed).join(Series, Series.id == Cell.series_id)
    statement = statement.where(*of_series(where), Cell.day >= first).group_by(Cell.day).order_by(Cell.day)
    return [(day, int(n), int(bad)) for day, n, bad in connection.execute(statement)]


def _between(
    connection: Connection, where: RunFilter, times: Sequence[int], others: Sequence[int]
) -> list[tuple[int, int]]:
    """Return how many runs, and how many failed ones, began between each two times, in whichever order.

    Runs of a stretch of time are beside each other in an index, and each is looked at once.
    """
    columns = (column("i", Integer), column("since", BigInteger), column("until", BigInteger))
    bounds = [(i, min(pair), max(pair)) for i, pair in enumerate(zip(times, others, strict=True))]
    stretch = values(*columns, name="stretch").data(bounds).cte()
    time, number = type_coerce(Run.time, BigInteger), Run.series_id + 0
    bad = Run.series_id.in_(select(Series.id).where(Series.status == FAILED))
    one, failed = literal_column("1", BigInteger), literal_column(str(1 + (1 << 32)), BigInteger)
    counted = select(func.sum(case((bad, failed), else_=one))).select_from(Run)
    counted = counted.where(number.in_(series_of(where)), time >= stretch.c.since, time < stretch.c.until)
    statement = select(stretch.c.i, counted.correlate(stretch).scalar_subquery()).order_by(stretch.c.i)
    both = [int(n or 0) for _, n in connection.execute(statement)]
    return [(n & 0xFFFFFFFF, n >> 32) for n in both]


def _milliseconds(time: datetime) -> int:
    return -((EPOCH - time) // MILLISECOND)


def _midnight(day: date, zone: tzinfo) -> int:
    """Return when a day begins in a zone, in ms since 1970."""
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def _days_by_hours(connection: Connection, where: RunFilter, zone: tzinfo) -> list[tuple[date, int, int]]:
    """Count runs by hours, or by quarters of an hour where a day of the zone begins within an hour."""
    offset = datetime.now(zone).utcoffset() or timedelta(0)
    for unit in (HOUR_MS, QUARTER_MS) if offset % timedelta(hours=1) == timedelta(0) else (QUARTER_MS,):
        numbers, *counts = _by_unit(connection, where, unit)
        if not numbers.size:
            return []
        first, last = (
            (EPOCH + int(at) * unit * MILLISECOND).astimezone(zone).date() for at in numbers[[0, -1]]
        )
        days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
        midnights = [_midnight(day, zone) for day in days]
        if all(midnight % unit == 0 for midnight in midnights):
            break
    ends = [*np.searchsorted(numbers, np.array(midnights) // unit), len(numbers)]
    n, bad = (np.diff(np.append(0, np.cumsum(some))[ends]).tolist() for some in counts)
    return list(zip(days, n, bad, strict=True))


def _by_unit(connection: Connection, where: RunFilter, unit: int) -> list[Any]:
    """Return numbers of hours, or of quarters, in order, and how many runs and failed ones each has."""
    number = type_coerce(Run.time, BigInteger) // literal_column(str(unit), BigInteger)
    bad = Run.series_id.in_(select(Series.id).where(Series.status == FAILED))
    statement = select(number, func.count(), func.sum(case((bad, 1), else_=0))).where(*conditions(where))
    rows = connection.execute(statement.group_by(number).order_by(number)).all()
    return list(np.array([tuple(row) for row in rows], np.int64).reshape(-1, 3).T)
