"""Lists of runs and what they consist of: computed in SQL, bounded in size, the same on both."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, Select, func, select, type_coerce

from db.days import cells_of, days_of, in_days, is_counted
from db.filters import (
    ORDERS,
    FoundFilter,
    conditions,
    in_series,
    is_by_series,
    of_each_run,
    of_series,
    ordering,
    unindexed,
)
from db.found import found_runs, searched
from db.history_records import MOST_FOUND, MOST_MODELS, MOST_TAGS, Facets, OutcomeCount, RunFilter
from db.models import Run, RunTag, Series, TagCell
from db.rows import clean_text

__all__ = ["conditions", "count_runs", "facets", "page"]

FEW = 20_000
"""So many runs are sorted by the database rather than picked out of the list of all runs by time."""


MOST_SORTED = 250_000
"""So many are sorted by their durations rather than picked out of the list of all runs by duration."""


class SeriesCount(NamedTuple):
    """A series and how many of its runs a filter lets through."""

    id: int
    kind: str
    model_id: str
    status: str
    device: str
    outcome: str
    loopback: bool
    n: int


SERIES = (
    Series.id,
    Series.kind,
    Series.model_id,
    Series.status,
    Series.device,
    Series.outcome,
    Series.loopback,
)


def by_series(connection: Connection, where: RunFilter) -> list[SeriesCount]:
    """Return the series of the runs that a filter lets through, each with the number of these."""
    counts = _counts(connection, where)
    found = connection.execute(select(*SERIES).where(*of_series(where)))
    return [SeriesCount(*series, counts[series.id]) for series in found if counts[series.id]]


def _counts(connection: Connection, where: RunFilter) -> Counter[int]:
    """Return how many runs of each series a filter lets through. Whole days are counted already."""
    if isinstance(where, FoundFilter):
        return Counter(found_runs(where).series_ids.tolist())
    days, rest = days_of(where) if is_counted(where) else (None, [where])
    counts: Counter[int] = Counter()
    if days is not None:
        cell = cells_of(where)
        summed = select(cell.series_id, func.sum(cell.n)).where(*in_days(cell, days, where))
        counts.update({number: int(n) for number, n in connection.execute(summed.group_by(cell.series_id))})
    for some in rest:
        counted = select(Run.series_id, func.count()).where(*conditions(some)).group_by(Run.series_id)
        counts.update({number or 0: n for number, n in connection.execute(counted)})
    return counts


def count_runs(connection: Connection, where: RunFilter) -> int:
    """Return how many runs a filter lets through."""
    return _counts(connection, searched(connection, where)).total()


def are_more(connection: Connection, where: RunFilter, n: int) -> bool:
    """Say whether a filter lets more than `n` runs through, reading no more than that."""
    if isinstance(where, FoundFilter):
        return found_runs(where).seqs.size > n
    if where.tags and is_counted(where):  # by the first tag alone there may be enough
        of_tags = (where.tags[:1], where.tags) if len(where.tags) > 1 else (where.tags,)
        return any(_counts(connection, replace(where, tags=tags)).total() > n for tags in of_tags)
    some = _runs(where).limit(n + 1).subquery()
    return (connection.scalar(select(func.count()).select_from(some)) or 0) > n


def _runs(where: RunFilter) -> Select[int | None]:
    """Return the numbers of the runs of a filter."""
    if len(where.tags) != 1 or where.text.strip():
        return select(Run.seq).where(*conditions(where))
    # To go through the runs of a tag is quicker than to gather them all before: no other index is used.
    number = unindexed(Run.series_id)
    rest = of_each_run(replace(where, tags=()))
    statement = select(Run.seq).join(RunTag, unindexed(RunTag.seq) == Run.seq).where(in_series(number, where))
    return statement.where(RunTag.tag == clean_text(where.tags[0]), *rest)


def facets(connection: Connection, where: RunFilter) -> Facets:
    """Return what the runs that a filter lets through consist of."""
    where = searched(connection, where)
    found = by_series(connection, where)
    total = sum(series.n for series in found)
    return Facets(
        **{name: _counted(found, of) for name, of in FIELDS.items()},
        tags=_tags(connection, where),
        total=total,
        loopback=sum(series.n for series in found if series.loopback),
        capped=bool(where.text.strip()) and total >= MOST_FOUND,
    )


FIELDS = {
    "kinds": "kind",
    "models": "model_id",
    "statuses": "status",
    "devices": "device",
    "outcomes": "outcome",
}
"""Of a filter and of facets, to the column of a series."""
OF_ORDER = {"kind": "kind", "model": "model_id", "status": "status", "device": "device"}
"""How a list can be sorted, to the column of a series."""


def choices(connection: Connection, where: RunFilter) -> Facets:
    """Return what each field of a filter could be set to."""
    nothing: dict[str, Any] = dict.fromkeys(FIELDS, ())
    wide, untagged = replace(where, measured_only=False, **nothing), replace(where, tags=())
    once = searched(connection, where)  # the newest that have the words and fit the whole filter
    found = by_series(connection, once if wide == where else searched(connection, wide))
    of_others = where.text.strip() and wide != where
    narrow = by_series(connection, once) if of_others else [s for s in found if _fits(s, where)]
    total = sum(series.n for series in narrow)
    counted = {
        name: _with_chosen(
            _counted([s for s in found if _fits(s, where, but=name)], of), getattr(where, name)
        )
        for name, of in FIELDS.items()
    }
    return Facets(
        **counted,
        tags=_with_chosen(
            _tags(connection, once if untagged == where else searched(connection, untagged)), where.tags
        ),
        total=total,
        loopback=sum(series.n for series in narrow if series.loopback),
        capped=bool(where.text.strip()) and total >= MOST_FOUND,
    )


def _fits(series: SeriesCount, where: RunFilter, but: str = "") -> bool:
    if where.measured_only and series.loopback:
        return False
    chosen = ((getattr(where, name), getattr(series, of)) for name, of in FIELDS.items() if name != but)
    return all(not values or value in values for values, value in chosen)


def _counted(found: Sequence[SeriesCount], of: str) -> dict[str, int]:
    return most_frequent((getattr(series, of), series.n) for series in found)


def _with_chosen(counted: Mapping[str, int], chosen: Iterable[str]) -> dict[str, int]:
    return dict(counted) | {value: 0 for value in chosen if value not in counted}


def most_frequent(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the sum of each value, most frequent first."""
    total: Counter[str] = Counter()
    for value, n in pairs:
        total[value] += n
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def outcomes(connection: Connection, where: RunFilter) -> tuple[OutcomeCount, ...]:
    """Return how many runs of each model came to each outcome, models with most runs first."""
    found = by_series(connection, searched(connection, where))
    place = {model: i for i, model in enumerate(_counted(found, "model_id"))}
    n: Counter[tuple[str, str]] = Counter()
    for series in found:
        n[series.model_id, series.outcome] += series.n
    counts = [OutcomeCount(model, outcome, count) for (model, outcome), count in n.items()]
    counts.sort(key=lambda row: (place[row.model_id], -row.count, row.outcome))
    return tuple(row for row in counts if place[row.model_id] < MOST_MODELS)


def _tags(connection: Connection, where: RunFilter) -> dict[str, int]:
    """Return the most frequent tags. Whole days are counted already, but not of runs with a certain tag."""
    days, rest = days_of(where) if is_by_series(where) else (None, [where])
    found: list[tuple[str, int]] = []
    if days is not None:
        cells = select(TagCell.tag, func.sum(TagCell.n)).where(*in_days(TagCell, days, where))
        found += connection.execute(cells.group_by(TagCell.tag)).all()
    for some in rest:
        runs = select(RunTag.tag, func.count()).join(Run, Run.id == RunTag.run_id).where(*conditions(some))
        found += connection.execute(runs.group_by(RunTag.tag)).all()
    return dict(list(most_frequent((tag, int(n)) for tag, n in found).items())[:MOST_TAGS])


def page(
    connection: Connection, where: RunFilter, limit: int, offset: int, order_by: str, *, descending: bool
) -> list[int]:
    """Return the numbers (`Run.seq`) of a page of the list, in its order.

    Raises:
        ValueError: `order_by` is not one of `ORDERS`.
    """
    if order_by not in ORDERS:
        raise ValueError(f"order_by is {order_by!r}, expected one of {', '.join(ORDERS)}")
    where = searched(connection, where)
    if isinstance(where, FoundFilter):
        return _of_found(connection, where, order_by, descending=descending)[offset:][:limit]
    if where.tags:
        statement = _runs(where)
        statement = statement.order_by(*ordering(order_by, descending=descending, indexed=False))
        if order_by in OF_ORDER:
            statement = statement.join(Series, Series.id == unindexed(Run.series_id))
        return list(connection.scalars(statement.limit(limit).offset(offset)))
    found = by_series(connection, where)
    if not found:
        return []
    if order_by in ("time", "duration"):
        return _of_series(connection, where, found, limit, offset, order_by, descending=descending)
    return _grouped(connection, where, found, order_by, limit, offset, descending=descending)


def _of_found(connection: Connection, where: FoundFilter, order_by: str, *, descending: bool) -> list[int]:
    """Return all runs that were found by their words, in the order of a list."""
    runs = found_runs(where)
    if order_by == "time":
        order = np.lexsort((runs.seqs, runs.times))
        return list((runs.seqs[order][::-1] if descending else runs.seqs[order]).tolist())
    sign = -1 if descending else 1
    key: NDArray[np.float64]
    if order_by == "duration":
        key = np.nan_to_num(sign * runs.ms, nan=np.inf, posinf=np.inf)
    else:
        column = Series.__table__.c[OF_ORDER[order_by]]
        series = connection.execute(select(Series.id, column).where(*of_series(where)))
        values: dict[int, str] = {number: value for number, value in series}  # noqa: C416
        place = {value: i for i, value in enumerate(sorted(set(values.values())))}
        key = np.array([sign * place[values[number]] for number in runs.series_ids.tolist()], np.float64)
    return list(runs.seqs[np.lexsort((-runs.seqs, -runs.times, key))].tolist())


def _grouped(
    connection: Connection,
    where: RunFilter,
    found: Sequence[SeriesCount],
    order_by: str,
    limit: int,
    offset: int,
    *,
    descending: bool,
) -> list[int]:
    """Return a page of a list that is sorted by what its series have: value by value."""
    of = OF_ORDER[order_by]
    chosen: list[int] = []
    for value in sorted({getattr(series, of) for series in found}, reverse=descending):
        some = [series for series in found if getattr(series, of) == value]
        n = sum(series.n for series in some)
        if offset < n and len(chosen) < limit:
            chosen += _of_series(connection, where, some, limit - len(chosen), offset)
        offset = max(offset - n, 0)
    return chosen


def _of_series(
    connection: Connection,
    where: RunFilter,
    found: Sequence[SeriesCount],
    limit: int,
    offset: int,
    order_by: str = "time",
    *,
    descending: bool = True,
) -> list[int]:
    """Return a page of the runs of some series: few are sorted, many are met in the order of an index.

    The database does not know which is quicker.
    """
    n = sum(series.n for series in found)
    if order_by == "duration" and n > MOST_SORTED:
        return _longest(connection, where, found, limit, offset, descending=descending)
    few = order_by == "duration" or n <= FEW
    number: Any = Run.series_id if few else unindexed(Run.series_id)
    statement = select(Run.seq).where(number.in_([series.id for series in found]), *of_each_run(where))
    statement = statement.order_by(*ordering(order_by, descending=descending, indexed=not few))
    return list(connection.scalars(statement.limit(limit).offset(offset)))


def _longest(
    connection: Connection,
    where: RunFilter,
    found: Sequence[SeriesCount],
    limit: int,
    offset: int,
    *,
    descending: bool,
) -> list[int]:
    """Return a page of many runs by duration, in the order of its index; those without one come last."""
    several = select(Run.seq).where(
        unindexed(Run.series_id).in_([series.id for series in found]), *of_each_run(where)
    )
    timed, time = Run.duration_ms.is_not(None), type_coerce(Run.time, BigInteger)
    key = Run.duration_ms.desc() if descending else Run.duration_ms.asc()
    page = several.where(timed).order_by(key, time.desc(), Run.seq.desc()).limit(limit).offset(offset)
    chosen = [seq or 0 for seq in connection.scalars(page)]
    if len(chosen) < limit:
        n = connection.scalar(select(func.count()).select_from(several.where(timed).subquery())) or 0
        rest = several.where(Run.duration_ms.is_(None)).order_by(time.desc(), Run.seq.desc())
        rest = rest.limit(limit - len(chosen)).offset(max(offset - n, 0))
        chosen += [seq or 0 for seq in connection.scalars(rest)]
    return chosen
