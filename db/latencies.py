"""How long successful runs took: over time, by model, against how good they are.

Few runs are read one by one and their quantiles are exact. Of more, the counted bins of whole days are merged
(`sketch`), and only the ends of the time are read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, Select, func, literal_column, select

from db.breaks import breaks_of
from db.days import DAY, Days, bucket_of, cells_of, in_days, is_counted, number_of, numbers_at, time_of
from db.engine import plain_rows
from db.filters import FoundFilter, conditions, of_series
from db.found import found_runs, searched
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
from db.models import EPOCH, Run, Series
from db.queries import are_more
from db.sketch import Counts, bin_of, bins_of, lower_edge, merged, quantiles, summed
from db.timelines import newest_day, sources

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
    if is_exact(connection, good):
        points, present = _points_of_runs(connection, good, bucket), None
    elif bucket == "hour" or not is_counted(good):
        models = _models(connection, good)
        binned = _binned(connection, good, models, bucket)
        points, present = _points(binned.found, models, bucket)[-MAX_POINTS:], binned.present
    else:
        points, present = _points_of_cells(connection, good, bucket)
    since = points[0].time if len(points) == MAX_POINTS else None
    shown = good if since is None else replace(good, since=max(since, good.since or since))
    breaks = breaks_of(connection, shown, bucket, present)
    return LatencyChart(bucket, points, breaks, exact=present is None)


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


def _points_of_cells(
    connection: Connection, where: RunFilter, bucket: Bucket
) -> tuple[tuple[LatencyPoint, ...], Counts]:
    models = _models(connection, where)
    newest = bucket_of(bucket, newest_day(connection, where))
    buckets = -(-MAX_POINTS * 5 // (len(models) * 4))
    points: tuple[LatencyPoint, ...] = ()
    present: list[Counts] = []
    some = where
    while True:
        since = time_of(bucket, newest - buckets + 1)
        some = replace(some, since=max(since, where.since or since))
        binned = _binned(connection, some, models, bucket)
        points = _points(binned.found, models, bucket) + points
        present.append(binned.present)
        is_all = some.since == where.since or not _is_older(connection, where, since)
        if len(points) >= MAX_POINTS or is_all:
            return points[-MAX_POINTS:], np.concatenate(present)
        some = replace(where, until=some.since)
        buckets *= 2


def _is_older(connection: Connection, where: RunFilter, begin: datetime) -> bool:
    """Say whether there may be runs from before a day."""
    days = Days(None, (begin - EPOCH) // DAY)
    if where.since is not None:
        days = days._replace(first=(where.since - EPOCH) // DAY)
    cell = cells_of(where)
    of_tags = [replace(where, tags=(tag,)) for tag in where.tags] or [where]
    older = (select(cell.day).where(*in_days(cell, days, some)).limit(1) for some in of_tags)
    return any(connection.scalar(day) is not None for day in older)


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


class Binned(NamedTuple):
    """What runs took, by bucket of time and model."""

    found: Found
    """The group is `bucket * number of models + model`."""
    present: Counts
    """`bucket << 32 | series`, of which there are runs, perhaps several times."""


def _binned(
    connection: Connection, where: RunFilter, models: Sequence[str], bucket: Bucket | None = None
) -> Binned:
    """Return the bins of durations."""
    group = _groups(connection, models)
    days, rest = sources(connection, where, bucket)
    found = Binned(merged((), ()), np.empty(0, np.int64))
    if days is not None:
        cell = cells_of(where)
        number = number_of(bucket, cell.day) if bucket else literal_column("0", BigInteger)
        cells = select(cell.series_id, number, cell.sketch).where(*in_days(cell, days, where))
        if rows := plain_rows(connection, cells):
            series_ids, numbers, sketches = zip(*rows, strict=True)
            series, number_array = np.array(series_ids, np.int64), np.array(numbers, np.int64)
            found = Binned(merged(group(series, number_array), sketches), number_array << 32 | series)
    for some in rest:
        for series, numbers_of_runs, ms in _runs(connection, some, bucket):
            found = _with_runs(found, group, series, numbers_of_runs, ms)
    return found


Group = Callable[[Counts, Counts], Counts]
"""From series and numbers of buckets to groups."""


def _groups(connection: Connection, models: Sequence[str]) -> Group:
    place = {model: i for i, model in enumerate(models)}
    series = connection.execute(select(Series.id, Series.model_id).where(Series.model_id.in_(models))).all()
    of_series = np.zeros(max((series_id for series_id, _ in series), default=0) + 1, np.int64)
    for series_id, model in series:
        of_series[series_id] = place[model]
    return lambda series_ids, numbers: numbers * len(models) + of_series[series_ids]


def _runs(
    connection: Connection, where: RunFilter, bucket: Bucket | None
) -> Iterator[tuple[Counts, Counts, NDArray[np.float64]]]:
    """Yield series, numbers of buckets and durations of runs, some thousand at a time."""
    if isinstance(where, FoundFilter):
        runs = found_runs(where)
        numbers = numbers_at(bucket, runs.times) if bucket else np.zeros_like(runs.times)
        yield runs.series_ids, numbers, runs.ms
        return
    number = number_of(bucket) if bucket else literal_column("0", BigInteger)
    statement: Select[*tuple[Any, ...]] = select(Run.series_id, number, Run.duration_ms)
    statement = statement.where(*conditions(where)).execution_options(yield_per=READ_AT_ONCE)
    for rows in connection.execute(statement).partitions():
        series_ids, found, ms = zip(*rows, strict=True)
        yield np.array(series_ids, np.int64), np.array(found, np.int64), np.array(ms, np.float64)


def _with_runs(
    found: Binned, group: Group, series: Counts, numbers: Counts, ms: NDArray[np.float64]
) -> Binned:
    """Add runs that are not counted already."""
    timed = ~np.isnan(ms)
    groups, bins, counts = found.found
    more = group(series[timed], numbers[timed]) << 16 | bins_of(ms[timed])
    keys = np.concatenate((groups << 16 | bins, more))
    sums = summed(keys, np.concatenate((counts, np.ones_like(more))))
    return Binned(sums, np.concatenate((found.present, np.unique(numbers << 32 | series))))


def spread(connection: Connection, where: RunFilter) -> Spread:
    """Return how the durations of successful runs are distributed, by model."""
    good = timed(where)
    if good is None:
        return Spread((), (), exact=True)
    good = searched(connection, good)
    if is_exact(connection, good):
        return _spread_of_runs(connection, good)
    models = _models(connection, good)
    return _spread_of_cells(_binned(connection, good, models).found, models)


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
