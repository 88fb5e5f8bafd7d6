"""Counts runs up and down by series and day, in the transaction that changes them.

So a chart of a million runs reads what some thousand series were on each day. Each function works inside a
transaction that its caller holds. Cells are taken in order of series and day, so that two writers of
PostgreSQL never wait for each other.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    Delete,
    Insert,
    Select,
    Update,
    bindparam,
    delete,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from db.models import (
    EPOCH,
    Base,
    Cell,
    Environment,
    Metric,
    MetricCell,
    Run,
    RunTag,
    Series,
    TagCell,
    TagMetricCell,
)
from db.rows import Row
from db.series import series_row
from db.sketch import bin_of, changed

DAY_MS = 86_400_000
CHUNK = 1_000

QUARTER_MS = 900_000
DAY_LONG, QUARTER = timedelta(days=1), timedelta(minutes=15)

FIND_SERIES = select(Series.id).where(Series.digest == bindparam("digest"))
Counted = type[Cell] | type[TagCell]
Summed = type[MetricCell] | type[TagMetricCell]


@dataclass(slots=True)
class Change:
    """What becomes of a cell: how many runs, bins of durations and quarters of an hour come and go."""

    n: int = 0
    bins: Counter[int] = field(default_factory=Counter)
    quarters: Counter[int] = field(default_factory=Counter)

    def add(self, quarter: int, number: int | None, sign: int) -> None:
        """Add a run, or take it away with the sign -1; `number` is the bin of its duration."""
        self.n += sign
        self.quarters[quarter] += sign
        if number is not None:
            self.bins[number] += sign


def upsert(connection: Connection, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that knows ON CONFLICT; both databases have the same."""
    return _insert(connection.dialect.name, table)


def _insert(dialect: str, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


class _Statements(NamedTuple):
    """What finds and changes a cell, by its key."""

    find: Select[int, bytes, bytes]
    change: Update
    drop: Delete


@cache
def _statements(table: Counted) -> _Statements:
    this = [column == bindparam(f"this_{column.name}") for column in table.__table__.primary_key]
    new: Row = {name: bindparam(f"new_{name}") for name in ("n", "sketch", "quarters")}
    return _Statements(
        select(table.n, table.sketch, table.quarters).where(*this).with_for_update(),
        update(table).where(*this).values(**new),
        delete(table).where(*this),
    )


@cache
def _new_cell(dialect: str, table: Counted) -> Insert:
    return _insert(dialect, table).on_conflict_do_nothing()


@cache
def _add_metric(dialect: str, table: Summed) -> Insert:
    statement = _insert(dialect, table)
    new, there = statement.excluded, table.__table__.c
    sums = {name: there[name] + new[name] for name in ("n", "total", "squares")}
    keys = [column.name for column in table.__table__.primary_key]
    return statement.on_conflict_do_update(index_elements=keys, set_=sums | {"unit": new.unit})


def find_or_insert_series(connection: Connection, row: Row) -> int:
    """Return the id of a series, inserted unless an equal one is there."""
    found = connection.scalar(FIND_SERIES, {"digest": row["digest"]})
    if found is None:
        connection.execute(upsert(connection, Series).on_conflict_do_nothing(index_elements=["digest"]), row)
        found = connection.scalars(FIND_SERIES, {"digest": row["digest"]}).one()
    return found


def count_new(connection: Connection, run: Row, metrics: Sequence[Row], tags: Sequence[Row]) -> None:
    """Count a run that was just inserted; its row has `series_id`."""
    since = run["time"] - EPOCH
    key = {"series_id": run["series_id"], "day": since // DAY_LONG}
    change = Change()
    change.add(since % DAY_LONG // QUARTER, _bin(run["status"], run["duration_ms"]), 1)
    names = sorted(row["tag"] for row in tags)
    _change_cell(connection, Cell, key, change)
    sums = [] if run["status"] == "running" else [_sums(row, 1) for row in metrics if row["step"] is None]
    sums.sort(key=lambda row: row["name"])
    _add_metrics(connection, MetricCell, [key | row for row in sums])
    for tag in names:
        _change_cell(connection, TagCell, {"tag": tag} | key, change)
    _add_metrics(connection, TagMetricCell, [{"tag": tag} | key | row for tag in names for row in sums])


def _bin(status: str, ms: float | None) -> int | None:
    return None if status != "ok" or ms is None else bin_of(ms)


def _sums(metric: Row, sign: int) -> Row:
    value = metric["value"]
    return {
        "name": metric["name"],
        "n": sign,
        "total": 0.0 if abs(value) > MOST else sign * value,
        "squares": sign * min(value * value, MOST),
        "unit": metric["unit"],
    }


MOST = 1e300
"""A number beyond it is not summed up, and no square is taken for more: so all sums are finite."""


def _change_cell(connection: Connection, table: Counted, key: Row, change: Change) -> None:
    statements = _statements(table)
    this = {f"this_{name}": value for name, value in key.items()}
    found = connection.execute(statements.find, this).one_or_none()
    if found is None:
        new = {"sketch": changed(b"", change.bins), "quarters": changed(b"", change.quarters)}
        row = key | {"n": change.n} | new
        if connection.execute(_new_cell(connection.dialect.name, table), row).rowcount:
            return
        found = connection.execute(statements.find, this).one()  # somebody was faster
    if found.n + change.n > 0:
        values = {
            "new_n": found.n + change.n,
            "new_sketch": changed(found.sketch, change.bins) if change.bins else found.sketch,
            "new_quarters": changed(found.quarters, change.quarters),
        }
        connection.execute(statements.change, this | values)
    else:
        connection.execute(statements.drop, this)


def _add_metrics(connection: Connection, table: Summed, rows: list[Row]) -> None:
    if rows:
        connection.execute(_add_metric(connection.dialect.name, table), rows)


def count(connection: Connection, run_ids: Collection[str], sign: int) -> None:
    """Count runs as they are now, up with the sign 1 or down with -1, with their metrics and tags."""
    for some in _chunks(sorted(run_ids)):
        runs = _runs(connection, some)
        changes: dict[tuple[int, int], Change] = defaultdict(Change)
        for run in runs.values():
            changes[run.series_id, run.day].add(run.quarter, run.bin, sign)
        for (series_id, day), change in sorted(changes.items(), key=itemgetter(0)):
            _change_cell(connection, Cell, {"series_id": series_id, "day": day}, change)
        sums = _metric_sums(connection, runs, sign)
        _add_metrics(connection, MetricCell, [row for _, row in sums])
        _count_tags(connection, runs, sums, sign)
    if sign < 0:
        _drop_empty(connection, run_ids)


class _Counted(NamedTuple):
    series_id: int
    day: int
    quarter: int
    bin: int | None


def _runs(connection: Connection, run_ids: Sequence[str]) -> dict[str, _Counted]:
    time = type_coerce(Run.time, BigInteger)
    statement: Select[*tuple[Any, ...]] = select(Run.id, Run.series_id, time, Run.status, Run.duration_ms)
    return {
        run_id: _Counted(series_id, ms // DAY_MS, ms % DAY_MS // QUARTER_MS, _bin(status, duration))
        for run_id, series_id, ms, status, duration in connection.execute(
            statement.where(Run.id.in_(run_ids))
        )
    }


def _metric_sums(connection: Connection, runs: Mapping[str, _Counted], sign: int) -> list[tuple[str, Row]]:
    """Return what to add to the sums of the days of runs, each with its run, in order of the cells."""
    statement = (
        select(Run.id, Metric.name, Metric.value, Metric.unit)
        .join(Metric, Metric.run_id == Run.id)
        .where(Run.id.in_(runs), Metric.step.is_(None), Run.status != "running")
    )
    found = []
    for run_id, name, value, unit in connection.execute(statement):
        key = {"series_id": runs[run_id].series_id, "day": runs[run_id].day}
        found.append((run_id, key | _sums({"name": name, "value": value, "unit": unit}, sign)))
    return sorted(found, key=lambda pair: (pair[1]["name"], pair[1]["series_id"], pair[1]["day"]))


def _count_tags(
    connection: Connection,
    runs: Mapping[str, _Counted],
    sums: Iterable[tuple[str, Row]],
    sign: int,
) -> None:
    changes: dict[tuple[str, int, int], Change] = defaultdict(Change)
    tags: dict[str, list[str]] = defaultdict(list)
    found = connection.execute(select(RunTag.run_id, RunTag.tag).where(RunTag.run_id.in_(runs)))
    for run_id, tag in found:
        tags[run_id].append(tag)
        run = runs[run_id]
        changes[tag, run.series_id, run.day].add(run.quarter, run.bin, sign)
    for (tag, series_id, day), change in sorted(changes.items(), key=itemgetter(0)):
        _change_cell(connection, TagCell, {"tag": tag, "series_id": series_id, "day": day}, change)
    rows = [{"tag": tag} | row for run_id, row in sums for tag in tags[run_id]]
    _add_metrics(connection, TagMetricCell, sorted(rows, key=itemgetter("tag")))


def _drop_empty(connection: Connection, run_ids: Collection[str]) -> None:
    """Delete the sums of what is no longer there, of the series of some runs."""
    touched = select(Run.series_id).where(Run.id.in_(run_ids)) if len(run_ids) <= CHUNK else None
    for table in (MetricCell, TagMetricCell):
        none_left = delete(table).where(table.n <= 0)
        connection.execute(none_left if touched is None else none_left.where(table.series_id.in_(touched)))


def change_tags(connection: Connection, run_ids: Sequence[str], change: Callable[[], None]) -> None:
    """Change the tags of runs, and count them down before and up afterwards."""
    for sign in (-1, 1):
        for some in _chunks(sorted(run_ids)):
            runs = _runs(connection, some)
            _count_tags(connection, runs, _metric_sums(connection, runs, sign), sign)
        if sign < 0:
            change()
    _drop_empty(connection, run_ids)


@contextmanager
def recounted(connection: Connection, run_ids: Sequence[str]) -> Iterator[None]:
    """Count runs down, let them be changed, and count them up in the series that they belong to then."""
    count(connection, run_ids, -1)
    yield
    settle(connection, run_ids)
    count(connection, run_ids, 1)


def settle(connection: Connection, run_ids: Collection[str]) -> None:
    """Give runs the series that they belong to now; `count` them down before, and up afterwards."""
    columns = [Run.id, Run.owner, Run.kind, Run.model_id, Run.model_revision, Run.environment_id]
    columns += [Run.status, Run.error_class, Run.deleted, Environment.device, Series.loopback]
    for some in _chunks(sorted(run_ids)):
        statement = (
            select(*columns)
            .join(Environment, Environment.id == Run.environment_id)
            .join(Series, Series.id == Run.series_id)
            .where(Run.id.in_(some))
        )
        by_digest: dict[str, tuple[Row, list[str]]] = {}
        for run in connection.execute(statement).mappings():
            row = series_row(dict(run), run["device"], loopback=run["loopback"])
            by_digest.setdefault(row["digest"], (row, []))[1].append(run["id"])
        for _, (row, ids) in sorted(by_digest.items()):
            series_id = find_or_insert_series(connection, row)
            connection.execute(update(Run).where(Run.id.in_(ids)).values(series_id=series_id))


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK))
