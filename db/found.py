"""Runs that were found by their words, held in memory: so that they are not looked for again each time."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, type_coerce

from db.engine import plain_rows
from db.filters import FoundFilter, FoundRuns, newest_found
from db.history_records import RunFilter
from db.models import Run, milliseconds
from db.words import endings

COLUMNS = (Run.seq, Run.series_id, type_coerce(Run.time, BigInteger), Run.duration_ms)


def searched(connection: Connection, where: RunFilter) -> RunFilter:
    """Return a filter of the same runs, whose words are not looked for again each time that it is asked."""
    if not where.text.strip() or isinstance(where, FoundFilter):
        return where
    known = endings(connection, where.text)
    rows = plain_rows(connection, newest_found(where, *COLUMNS, known=known))
    seqs, series_ids, times, ms = zip(*rows, strict=True) if rows else ((), (), (), ())
    found = FoundRuns(_whole(seqs), _whole(series_ids), _whole(times), np.array(ms, np.float64))
    return FoundFilter(**{one.name: getattr(where, one.name) for one in fields(RunFilter)}, found=found)


def found_runs(where: FoundFilter) -> FoundRuns:
    """Return the runs that were found within the time of a filter."""
    times = where.found.times
    inside = np.full(times.shape, True)
    if where.since is not None:
        inside &= times >= milliseconds(where.since)
    if where.until is not None:
        inside &= times < milliseconds(where.until)
    seqs, series_ids, times, ms = where.found
    return FoundRuns(seqs[inside], series_ids[inside], times[inside], ms[inside])


def _whole(numbers: Sequence[int]) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)
