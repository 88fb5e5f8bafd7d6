"""How long successful runs took: over time, by model, against how good they are.

Few runs are read one by one and their quantiles are exact. Of more, the counted bins of whole days are merged
(`sketch`), and only the ends of the time are read.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, Connection, Select, func, literal_column, select

from db.breaks import breaks_of
from db.days import in_days, number_at, number_of, time_of
from db.filters import conditions, is_by_series, of_series, searched
from db.history_records import (
    MAX_POINTS,
    MOST_MODELS,
    OK,
    Bucket,
    LatencyChart,
    LatencyPoint,
    ModelSpread,
    RunFilter,
    Spread,
)
from db.models import Cell, Run, Series
from db.queries import are_more
from db.sketch import Counts, bin_of, bins_of, lower_edge, merged, quantiles, summed
from db.timelines import sources, time_of_newest

EXACT_RUNS = 5_000
"""So many runs are read one by one."""
READ_AT_ONCE = 20_000
BARS = 60
"""Most bins of a histogram."""
OVER_TIME = (0.25, 0.5, 0.75, 0.9)
PERCENTS = (0, 10, 25), (75, 90, 99)
BY_MODEL = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


def timed(where: RunFilter) -> RunFilter | None:
    """Return the filter of the successful runs among those of a filter; None where there are none."""
    if (where.statuses and OK not in where.statuses) or (where.outcomes and OK not in where.outcomes):
        return None
    return replace(where, statuses=(OK,), outcomes=())


def latency_chart(connection: Connection, where: RunFilter, bucket: Bucket) -> LatencyChart:
    """Return quartiles and 90th percentile of each model's durations in each bucket, and its breaks."""
    good = timed(where)
    if good is None:
        return LatencyChart(bucket, (), (), exact=True)
    good = searched(connection, good)
    exact = is_exact(connection, good)
    if exact:
        points = _points_of_runs(connection, good, bucket)
    elif bucket == "hour" or not is_by_series(good):
        models = _models(connection, good)
        points = _points(_binned(connection, good, models, bucket), models, bucket)[-MAX_POINTS:]
    else:
        points = _points_of_cells(connection, good, bucket)
    since = points[0].time if len(points) == MAX_POINTS else None
    shown = good if since is None else replace(good, since=max(since, good.since or since))
    return LatencyChart(bucket, points, breaks_of(connection, shown, bucket), exact=exact)


def is_exact(connection: Connection, where: RunFilter) -> bool:
    """Say whether the runs of a filter are read one by one."""
    return not are_more(connection, where, EXACT_RUNS)


def ranked(where: RunFilter, *group: Any) -> Any:
    """Return the timed runs of a filter with group, duration, rank in the group, and size of the group."""
    ms = Run.duration_ms
    return (
        select(
            *group,
            ms.label("ms"),
            func.row_number().over(partition_by=group, order_by=ms).label("rank"),
            func.count().over(partition_by=group).label("n"),
        )
        .join(Series, Series.id == Run.series_id)
        .where(*conditions(where), ms.is_not(None))
        .subquery()
    )


def _points_of_runs(connection: Connection, where: RunFilter, bucket: Bucket) -> tuple[LatencyPoint, ...]:
    runs = ranked(where, number_of(bucket).label("bucket"), Series.model_id)
    rank, n, ms = runs.c.rank, runs.c.n, runs.c.ms
    middle = (2 * rank).between(n, n + 2)  # one rank for an odd count, two for an even one
    statement = (
        select(
            runs.c.bucket,
            runs.c.model_id,
            func.max(n),
            func.min(ms).filter(middle) * 0.5 + func.max(ms).filter(middle) * 0.5,  # no sum that is too large
            func.min(ms).filter(10 * rank >= 9 * n),
            func.min(ms).filter(4 * rank >= n),
            func.min(ms).filter(4 * rank >= 3 * n),
        )
        .group_by(runs.c.bucket, runs.c.model_id)
        .order_by(runs.c.bucket.desc(), runs.c.model_id.desc())
        .limit(MAX_POINTS)
    )
    rows = connection.execute(statement).all()
    return tuple(LatencyPoint(time_of(bucket, number), *row) for number, *row in reversed(rows))


def _points_of_cells(connection: Connection, where: RunFilter, bucket: Bucket) -> tuple[LatencyPoint, ...]:
    models = _models(connection, where)
    newest = number_at(bucket, time_of_newest(connection, where))
    buckets = -(-MAX_POINTS * 5 // (len(models) * 4))
    points: tuple[LatencyPoint, ...] = ()
    some = where
    while True:
        since = time_of(bucket, newest - buckets + 1)
        some = replace(some, since=max(since, where.since or since))
        points = _points(_binned(connection, some, models, bucket), models, bucket) + points
        older = replace(where, until=some.since)
        if len(points) >= MAX_POINTS or some.since == where.since or not are_more(connection, older, 0):
            return points[-MAX_POINTS:]
        some = older
        buckets *= 2


def _models(connection: Connection, where: RunFilter) -> list[str]:
    models = select(Series.model_id).where(*of_series(where)).distinct()
    return list(connection.scalars(models.order_by(Series.model_id)))


Found = tuple[Counts, Counts, Counts]
"""Groups, bins and counts."""


def _points(found: Found, models: Sequence[str], bucket: Bucket) -> tuple[LatencyPoint, ...]:
    groups, counts, ms = quantiles(found, OVER_TIME)
    return tuple(
        LatencyPoint(
            time_of(bucket, group // len(models)), models[group % len(models)], n, p50, p90, p25, p75
        )
        for group, n, (p25, p50, p75, p90) in zip(groups.tolist(), counts.tolist(), ms.tolist(), strict=True)
    )


def _binned(
    connection: Connection, where: RunFilter, models: Sequence[str], bucket: Bucket | None = None
) -> Found:
    """Return the bins of the durations by bucket and model; the group is `bucket * len(models) + model`."""
    group = _groups(connection, models)
    days, rest = sources(connection, where, bucket)
    found = merged((), ())
    if days is not None:
        number = number_of(bucket, Cell.day) if bucket else literal_column("0", BigInteger)
        statement = select(Cell.series_id, number, Cell.sketch).where(*in_days(Cell, days, where))
        if rows := connection.execute(statement).all():
            series_ids, numbers, sketches = zip(*rows, strict=True)
            found = merged(group(series_ids, numbers), sketches)
    for some in rest:
        found = _with_runs(connection, some, found, group, bucket)
    return found


Group = Callable[[Sequence[int], Sequence[int]], Counts]
"""From series and numbers of buckets to groups."""


def _groups(connection: Connection, models: Sequence[str]) -> Group:
    place = {model: i for i, model in enumerate(models)}
    series = connection.execute(select(Series.id, Series.model_id).where(Series.model_id.in_(models))).all()
    of_series = np.zeros(max((series_id for series_id, _ in series), default=0) + 1, np.int64)
    for series_id, model in series:
        of_series[series_id] = place[model]
    return lambda series_ids, numbers: (
        np.asarray(numbers, np.int64) * len(models) + of_series[np.asarray(series_ids, np.int64)]
    )


def _with_runs(
    connection: Connection,
    where: RunFilter,
    found: Found,
    group: Group,
    bucket: Bucket | None,
) -> Found:
    """Add runs that are not counted already, some thousand at a time."""
    number = number_of(bucket) if bucket else literal_column("0", BigInteger)
    statement: Select[*tuple[Any, ...]] = (
        select(Run.series_id, number, Run.duration_ms)
        .where(*conditions(where), Run.duration_ms.is_not(None))
        .execution_options(yield_per=READ_AT_ONCE)
    )
    for rows in connection.execute(statement).partitions():
        series_ids, numbers, ms = zip(*rows, strict=True)
        groups, bins, counts = found
        more = group(series_ids, numbers) << 16 | bins_of(np.asarray(ms, np.float64))
        found = summed(
            np.concatenate((groups << 16 | bins, more)), np.concatenate((counts, np.ones_like(more)))
        )
    return found


def spread(connection: Connection, where: RunFilter) -> Spread:
    """Return how the durations of successful runs are distributed, by model."""
    good = timed(where)
    if good is None:
        return Spread((), (), exact=True)
    good = searched(connection, good)
    if is_exact(connection, good):
        return _spread_of_runs(connection, good)
    models = _models(connection, good)
    return _spread_of_cells(_binned(connection, good, models), models)


def _spread_of_cells(found: Found, models: Sequence[str]) -> Spread:
    groups, bins, counts = found
    if not groups.size:
        return Spread((), (), exact=False)
    first, step = _axis(int(bins.min()), int(bins.max()))
    bars = np.zeros((len(models), BARS), np.int64)
    np.add.at(bars, (groups, (bins - first) // step), counts)
    present, totals, ms = quantiles(found, BY_MODEL)
    rows = [
        _row(models[group], n, values, bars[group].tolist())
        for group, n, values in zip(present.tolist(), totals.tolist(), ms.tolist(), strict=True)
    ]
    return _spread(first, step, rows, exact=False)


def _row(model: str, count: int, at: Sequence[float], bars: Sequence[int]) -> ModelSpread:
    least, p10, p25, median, p75, p90, p99, most = at
    return ModelSpread(model, count, least, p10, p25, median, p75, p90, p99, most, tuple(bars))


def _axis(least: int, greatest: int) -> tuple[int, int]:
    """Return the first fine bin of a histogram and how many of them are one bar."""
    return least, max(-(-(greatest - least + 1) // BARS), 4)


def _spread(first: int, step: int, rows: list[ModelSpread], *, exact: bool) -> Spread:
    last = max((i for row in rows for i, n in enumerate(row.bins) if n), default=-1) + 1
    edges = tuple(lower_edge(first + step * np.arange(last + 1)).tolist())
    kept = sorted(rows, key=lambda row: (-row.count, row.model_id))[:MOST_MODELS]
    return Spread(edges, tuple(replace(row, bins=row.bins[:last]) for row in kept), exact=exact)


def _spread_of_runs(connection: Connection, where: RunFilter) -> Spread:
    quantiles_of = _exact_quantiles(connection, where)
    if not quantiles_of:
        return Spread((), (), exact=True)
    least, greatest = (pick(pick(row[1:]) for row in quantiles_of.values()) for pick in (min, max))
    first, step = _axis(bin_of(least), bin_of(greatest))
    bars: dict[str, list[int]] = {model: [0] * BARS for model in quantiles_of}
    statement: Select[*tuple[Any, ...]] = select(Series.model_id, Run.duration_ms, func.count()).join(
        Series, Series.id == Run.series_id
    )
    statement = statement.where(*conditions(where), Run.duration_ms.is_not(None))
    for model, ms, n in connection.execute(statement.group_by(Series.model_id, Run.duration_ms)):
        bars[model][(bin_of(ms) - first) // step] += n
    rows = [_row(model, row[0], row[1:], bars[model]) for model, row in quantiles_of.items()]
    return _spread(first, step, rows, exact=True)


def _exact_quantiles(connection: Connection, where: RunFilter) -> dict[str, tuple[Any, ...]]:
    """Return the count, and the quantiles of `ModelSpread` in its order, by model."""
    runs = ranked(where, Series.model_id)
    rank, n, ms = runs.c.rank, runs.c.n, runs.c.ms
    middle = (2 * rank).between(n, n + 2)
    median = func.min(ms).filter(middle) * 0.5 + func.max(ms).filter(middle) * 0.5
    low, high = ([func.min(ms).filter(100 * rank >= percent * n) for percent in some] for some in PERCENTS)
    statement = select(runs.c.model_id, func.max(n), *low, median, *high, func.max(ms)).group_by(
        runs.c.model_id
    )
    return {model: tuple(row) for model, *row in connection.execute(statement)}
