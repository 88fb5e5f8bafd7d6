"""Runs that were found by their words, held in memory: so that they are not looked for again each time."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from db.engine import plain_rows
from db.filters import Asked, FoundFilter, FoundRuns, is_listed, newest_found, of_series, series_of
from db.history_records import RUNNING, RunFilter
from db.models import Metric, Run, Series, TagCell, milliseconds
from db.rows import clean_text
from db.words import endings

COLUMNS = (Run.seq, Run.series_id, type_coerce(Run.time, BigInteger), Run.duration_ms, Run.id)


def searched(connection: Connection, where: RunFilter) -> RunFilter:
    """Return a filter of the same runs that is quicker to ask, and to ask several times.

    Its words are not looked for again, and the first of its tags is the one that most runs carry.
    """
    if isinstance(where, Asked):
        return where
    if len(where.tags) > 1:
        where = replace(where, tags=_most_frequent_first(connection, where.tags))
    given = {one.name: getattr(where, one.name) for one in fields(RunFilter)}
    if connection.dialect.name == "postgresql":  # it knows how many runs there are of which series
        given["series"] = tuple(connection.scalars(series_of(where)))
    if not where.text.strip():
        return Asked(**given)
    where = Asked(**given)
    known = endings(connection, where.text)
    rows = plain_rows(connection, newest_found(where, *COLUMNS, known=known))
    seqs, series_ids, times, ms, ids = zip(*rows, strict=True) if rows else ((),) * 5
    found = FoundRuns(
        _whole(seqs), _whole(series_ids), _whole(times), np.array(ms, np.float64), np.array(ids, np.str_)
    )
    return FoundFilter(**given, found=found)


def _most_frequent_first(connection: Connection, tags: Sequence[str]) -> tuple[str, ...]:
    asked = sorted({clean_text(tag) for tag in tags})
    counted = select(TagCell.tag, func.sum(TagCell.n)).where(TagCell.tag.in_(asked)).group_by(TagCell.tag)
    n = {tag: int(count) for tag, count in connection.execute(counted)}
    return tuple(sorted(asked, key=lambda tag: -n.get(tag, 0)))


def found_runs(where: FoundFilter) -> FoundRuns:
    """Return the runs that were found within the time of a filter."""
    times = where.found.times
    inside = np.full(times.shape, True)
    if where.since is not None:
        inside &= times >= milliseconds(where.since)
    if where.until is not None:
        inside &= times < milliseconds(where.until)
    return _some(where.found, inside)


def finished(connection: Connection, where: FoundFilter) -> FoundRuns:
    """Return those of them that are not going on."""
    runs = found_runs(where)
    going = connection.scalars(select(Series.id).where(Series.status == RUNNING, *of_series(where))).all()
    return _some(runs, ~np.isin(runs.series_ids, going))


def measured(connection: Connection, runs: FoundRuns, name: str) -> tuple[NDArray[np.int64], list[float]]:
    """Return a metric of runs, each with the place of its run."""
    place = {run_id: i for i, run_id in enumerate(runs.ids.tolist())}
    rows = plain_rows(
        connection,
        select(Metric.run_id, Metric.value).where(
            is_listed(Metric.run_id, list(place)), Metric.name == name, Metric.step.is_(None)
        ),
    )
    return _whole([place[run_id] for run_id, _ in rows]), [value for _, value in rows]


def _some(runs: FoundRuns, which: NDArray[np.bool_]) -> FoundRuns:
    seqs, series_ids, times, ms, ids = runs
    return FoundRuns(seqs[which], series_ids[which], times[which], ms[which], ids[which])


def _whole(numbers: Sequence[int]) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)
