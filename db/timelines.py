"""Counts, costs and outcomes over time. Whole days are counted already (`cells`), hours are not."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Select,
    and_,
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

MOST_READ = 100_000
"""Of so many runs, the newest, a chart by the hour is drawn."""
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
        paid = (Metric.name == COST, Metric.step.is_(None), Run.status != RUNNING)
        statements.append(runs.where(*paid))
    found = _newest_points(connection, statements)
    return tuple(CostPoint(time_of(bucket, number), model, usd, n) for number, model, (usd, n) in found)


def sources(connection: Connection, where: RunFilter, bucket: Bucket) -> tuple[Days | None, list[RunFilter]]:
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
        found = _days_by_index(connection, where, zone)
    else:
        found = _days_by_quarters(connection, where, zone)
    return tuple(DayCount(day, n, failed) for day, n, failed in found if n)[-MOST_DAYS:]


def _days_by_index(connection: Connection, where: RunFilter, zone: tzinfo) -> list[tuple[date, int, int]]:
    """Count the runs from each midnight to the next, which are beside each other in an index."""
    first = connection.scalars(select(func.min(Run.time))).one()
    first, last = max(first, where.since or first), time_of_newest(connection, where)
    end = last.astimezone(zone).date() + timedelta(days=1)
    begin = max(first.astimezone(zone).date(), end - timedelta(days=MOST_DAYS))
    every = [begin + timedelta(days=i) for i in range((end - begin).days)]
    if not every:
        return []
    columns = (column("i", Integer), column("since", BigInteger), column("until", BigInteger))
    since, until = _milliseconds(first), _milliseconds(where.until or last + DAY)
    bounds = [
        (i, max(_midnight(day, zone), since), min(_midnight(day + DAY, zone), until))
        for i, day in enumerate(every)
    ]
    days = values(*columns, name="days").data(bounds).cte()
    time = type_coerce(Run.time, BigInteger)

    others = connection.scalar(select(Series.id).where(~and_(*of_series(where))).limit(1))

    def count(some: RunFilter) -> Any:
        number = Run.series_id + 0  # runs are met by time, in the order of an index
        statement = select(func.count()).select_from(Run)
        if some is failed or others is not None:  # else all runs fit, which need not be asked of each
            statement = statement.where(number.in_(series_of(some)))
        return statement.where(time >= days.c.since, time < days.c.until).correlate(days).scalar_subquery()

    failed = replace(where, statuses=(FAILED,))
    if where.statuses and FAILED not in where.statuses:
        failed = replace(where, statuses=("",))
    statement = select(days.c.i, count(where), count(failed))
    return [(every[i], n, bad) for i, n, bad in connection.execute(statement.order_by(days.c.i))]


def _milliseconds(time: datetime) -> int:
    return -((EPOCH - time) // MILLISECOND)


def _midnight(day: date, zone: tzinfo) -> int:
    """Return when a day begins in a zone, in ms since 1970."""
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def _days_by_quarters(connection: Connection, where: RunFilter, zone: tzinfo) -> list[tuple[date, int, int]]:
    """Count runs by quarters of an hour, of which each is on one day in every time zone."""
    quarter = type_coerce(Run.time, BigInteger) // literal_column("900000", BigInteger)
    failed = func.sum(case((Run.status == FAILED, 1), else_=0))
    statement = select(quarter, func.count(), failed).where(*conditions(where)).group_by(quarter)
    found: dict[date, tuple[int, int]] = {}
    for number, n, bad in connection.execute(statement):
        day = (EPOCH + number * timedelta(minutes=15)).astimezone(zone).date()
        before = found.get(day, (0, 0))
        found[day] = (before[0] + n, before[1] + int(bad))
    return [(day, n, bad) for day, (n, bad) in sorted(found.items())]
