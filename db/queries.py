"""Filters, and the aggregates behind the charts: computed in SQL, bounded in size, the same on both."""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    SQLColumnExpression,
    exists,
    func,
    literal_column,
    select,
    type_coerce,
)

from db.models import EPOCH, MILLISECOND, Environment, Run, RunTag
from db.records import CountPoint, Facets, LatencyPoint, RunFilter

Bucket = Literal["hour", "day"]
BUCKETS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}

MAX_POINTS = 5_000
"""Most rows that a chart gets: the newest buckets."""

ORDERS: dict[str, Any] = {
    "time": Run.time,
    "kind": Run.kind,
    "model": Run.model_id,
    "status": Run.status,
    "duration": Run.duration_ms,
    "device": Environment.device,
}


def conditions(where: RunFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that a filter stands for."""
    found: list[ColumnElement[bool]] = []
    if where.owner is not None:
        found.append(Run.owner == where.owner)
    for column, values in (
        (Run.kind, where.kinds),
        (Run.model_id, where.models),
        (Run.status, where.statuses),
    ):
        if values:
            found.append(column.in_(values))
    if where.devices:
        found.append(
            Run.environment_id.in_(select(Environment.id).where(Environment.device.in_(where.devices)))
        )
    if where.tags:
        found.append(exists().where(RunTag.run_id == Run.id, RunTag.tag.in_(where.tags)))
    if where.since is not None:
        found.append(Run.time >= where.since)
    if where.until is not None:
        found.append(Run.time < where.until)
    return found


def ordering(order_by: str, *, descending: bool) -> list[SQLColumnExpression[Any]]:
    """Return the sort keys: the column (missing values last), then the newest first.

    Raises:
        ValueError: `order_by` is not one of `ORDERS`.
    """
    if order_by not in ORDERS:
        raise ValueError(f"order_by is {order_by!r}, expected one of {', '.join(ORDERS)}")
    column = ORDERS[order_by]
    if order_by == "time":  # as the index has it
        return [column.desc(), Run.id.desc()] if descending else [column, Run.id]
    key = column.desc() if descending else column.asc()
    return [key.nulls_last(), Run.id.desc()]


def count_runs(connection: Connection, where: RunFilter) -> int:
    """Return how many runs a filter lets through."""
    return connection.scalar(select(func.count()).select_from(Run).where(*conditions(where))) or 0


def facets(connection: Connection, where: RunFilter) -> Facets:
    """Return what the runs that a filter lets through consist of."""
    statement = (
        select(Run.kind, Run.model_id, Run.status, Run.environment_id, func.count())
        .where(*conditions(where))
        .group_by(Run.kind, Run.model_id, Run.status, Run.environment_id)
    )
    rows = connection.execute(statement).all()
    devices = dict(connection.execute(select(Environment.id, Environment.device)).all())
    return Facets(
        kinds=_counted((kind, n) for kind, _, _, _, n in rows),
        models=_counted((model, n) for _, model, _, _, n in rows),
        statuses=_counted((status, n) for _, _, status, _, n in rows),
        devices=_counted((devices[environment], n) for _, _, _, environment, n in rows),
    )


def _counted(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for value, n in pairs:
        total[value] += n
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def runs_over_time(connection: Connection, where: RunFilter, bucket: Bucket) -> tuple[CountPoint, ...]:
    """Return how many runs of each model began in each bucket, in order of time."""
    index = _bucket_index(bucket)
    statement = (
        select(index.label("bucket"), Run.model_id, func.count())
        .where(*conditions(where))
        .group_by(index, Run.model_id)
        .order_by(index.desc(), Run.model_id.desc())
        .limit(MAX_POINTS)
    )
    rows = connection.execute(statement).all()
    return tuple(CountPoint(EPOCH + n * BUCKETS[bucket], model, count) for n, model, count in reversed(rows))


def latency_over_time(connection: Connection, where: RunFilter, bucket: Bucket) -> tuple[LatencyPoint, ...]:
    """Return median and 90th percentile of the durations of successful runs, in order of time."""
    index = _bucket_index(bucket)
    group = [index, Run.model_id]
    ranked = (
        select(
            index.label("bucket"),
            Run.model_id,
            Run.duration_ms,
            func.row_number().over(partition_by=group, order_by=Run.duration_ms).label("rank"),
            func.count().over(partition_by=group).label("n"),
        )
        .where(*conditions(where), Run.status == "ok", Run.duration_ms.is_not(None))
        .subquery()
    )
    rank, n, ms = ranked.c.rank, ranked.c.n, ranked.c.duration_ms
    middle = (2 * rank).between(n, n + 2)  # one rank for an odd count, two for an even one
    statement = (
        select(
            ranked.c.bucket,
            ranked.c.model_id,
            func.max(n),
            func.avg(ms).filter(middle),
            func.min(ms).filter(10 * rank >= 9 * n),
        )
        .group_by(ranked.c.bucket, ranked.c.model_id)
        .order_by(ranked.c.bucket.desc(), ranked.c.model_id.desc())
        .limit(MAX_POINTS)
    )
    rows = connection.execute(statement).all()
    return tuple(
        LatencyPoint(EPOCH + i * BUCKETS[bucket], model, count, median, p90)
        for i, model, count, median, p90 in reversed(rows)
    )


def _bucket_index(bucket: Bucket) -> ColumnElement[int]:
    """Return the number of whole buckets since 1970; a literal, so that PostgreSQL can group by it."""
    width_ms = literal_column(str(BUCKETS[bucket] // MILLISECOND), BigInteger)
    return type_coerce(Run.time, BigInteger) // width_ms
