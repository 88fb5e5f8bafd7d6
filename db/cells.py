"""Counts runs up and down by series and day, in the transaction that changes them.

So a chart of a million runs reads what some thousand series were on each day. Each function works inside a
transaction that its caller holds. Cells are taken in order of series and day, so that two writers of
PostgreSQL never wait for each other.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Insert,
    Select,
    bindparam,
    delete,
    func,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from db.models import EPOCH, Base, Cell, Environment, Metric, MetricCell, Run, RunTag, Series, TagCell
from db.rows import Row
from db.series import series_row
from db.sketch import changed

DAY_MS = 86_400_000
CHUNK = 1_000
DAY = type_coerce(Run.time, BigInteger) // DAY_MS

FIND_SERIES = select(Series.id).where(Series.digest == bindparam("digest"))
FIND_CELL = (
    select(Cell.n, Cell.sketch)
    .where(Cell.series_id == bindparam("series_id"), Cell.day == bindparam("day"))
    .with_for_update()
)


@dataclass(slots=True)
class Change:
    """What becomes of a cell."""

    n: int = 0
    more: list[float] = field(default_factory=list)
    less: list[float] = field(default_factory=list)


def upsert(connection: Connection, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that knows ON CONFLICT; both databases have the same."""
    return _insert(connection.dialect.name, table)


def _insert(dialect: str, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


@cache
def _new_cell(dialect: str) -> Insert:
    return _insert(dialect, Cell).on_conflict_do_nothing()


@cache
def _add_metric(dialect: str) -> Insert:
    statement = _insert(dialect, MetricCell)
    new = statement.excluded
    sums = {name: MetricCell.__table__.c[name] + new[name] for name in ("n", "total", "squares")}
    keys = ["name", "series_id", "day"]
    return statement.on_conflict_do_update(index_elements=keys, set_=sums | {"unit": new.unit})


@cache
def _add_tag(dialect: str) -> Insert:
    statement = _insert(dialect, TagCell)
    n = TagCell.__table__.c.n + statement.excluded.n
    return statement.on_conflict_do_update(index_elements=["tag", "series_id", "day"], set_={"n": n})


THIS_CELL = (Cell.series_id == bindparam("this_series"), Cell.day == bindparam("this_day"))
CHANGE_CELL = update(Cell).where(*THIS_CELL).values(n=bindparam("new_n"), sketch=bindparam("new_sketch"))
DROP_CELL = delete(Cell).where(*THIS_CELL)


def find_or_insert_series(connection: Connection, row: Row) -> int:
    """Return the id of a series, inserted unless an equal one is there."""
    found = connection.scalar(FIND_SERIES, {"digest": row["digest"]})
    if found is None:
        connection.execute(upsert(connection, Series).on_conflict_do_nothing(index_elements=["digest"]), row)
        found = connection.scalars(FIND_SERIES, {"digest": row["digest"]}).one()
    return found


def count_new(connection: Connection, run: Row, metrics: Sequence[Row], tags: Sequence[Row]) -> None:
    """Count a run that was just inserted; its row has `series_id`."""
    key = {"series_id": run["series_id"], "day": (run["time"] - EPOCH) // timedelta(days=1)}
    timed = run["status"] == "ok" and run["duration_ms"] is not None
    _change_cell(connection, key, Change(1, [run["duration_ms"]] if timed else []))
    if run["status"] != "running":
        sums = [key | _sums(metric, 1) for metric in metrics if metric["step"] is None]
        _add_metrics(connection, sorted(sums, key=lambda row: row["name"]))
    _add_tags(connection, [key | {"tag": tag, "n": 1} for tag in sorted(row["tag"] for row in tags)])


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


def _change_cell(connection: Connection, key: Row, change: Change) -> None:
    found = connection.execute(FIND_CELL, key).one_or_none()
    if found is None:
        row = key | {"n": change.n, "sketch": changed(b"", change.more)}
        if connection.execute(_new_cell(connection.dialect.name), row).rowcount:
            return
        found = connection.execute(FIND_CELL, key).one()  # somebody was faster
    this = {"this_series": key["series_id"], "this_day": key["day"]}
    n = found.n + change.n
    if n > 0:
        sketch = changed(found.sketch, change.more, change.less)
        connection.execute(CHANGE_CELL, this | {"new_n": n, "new_sketch": sketch})
    else:
        connection.execute(DROP_CELL, this)


def _add_metrics(connection: Connection, rows: list[Row]) -> None:
    if rows:
        connection.execute(_add_metric(connection.dialect.name), rows)


def _add_tags(connection: Connection, rows: list[Row]) -> None:
    if rows:
        connection.execute(_add_tag(connection.dialect.name), rows)


def count(connection: Connection, run_ids: Collection[str], sign: int) -> None:
    """Count runs as they are now, up with the sign 1 or down with -1, with their metrics and tags."""
    for some in _chunks(sorted(run_ids)):
        for key, change in sorted(_changes(connection, some, sign).items()):
            _change_cell(connection, {"series_id": key[0], "day": key[1]}, change)
        _add_metrics(connection, _metric_sums(connection, some, sign))
        _add_tags(connection, _tag_counts(connection, some, sign))
    if sign < 0:
        for table in (MetricCell, TagCell):
            touched = select(Run.series_id).where(Run.id.in_(run_ids)) if len(run_ids) <= CHUNK else None
            none_left = delete(table).where(table.n <= 0)
            connection.execute(
                none_left if touched is None else none_left.where(table.series_id.in_(touched))
            )


def _changes(connection: Connection, run_ids: Sequence[str], sign: int) -> dict[tuple[int, int], Change]:
    found: dict[tuple[int, int], Change] = defaultdict(Change)
    statement: Select[*tuple[Any, ...]] = select(Run.series_id, DAY, Run.status, Run.duration_ms).where(
        Run.id.in_(run_ids)
    )
    for series_id, day, status, ms in connection.execute(statement):
        change = found[series_id, day]
        change.n += sign
        if status == "ok" and ms is not None:
            (change.more if sign > 0 else change.less).append(ms)
    return found


def _metric_sums(connection: Connection, run_ids: Sequence[str], sign: int) -> list[Row]:
    statement = (
        select(Run.series_id, DAY.label("day"), Metric.name, Metric.value, Metric.unit)
        .join(Metric, Metric.run_id == Run.id)
        .where(Run.id.in_(run_ids), Metric.step.is_(None), Run.status != "running")
        .order_by(Metric.name, Run.series_id, DAY)
    )
    rows = connection.execute(statement).mappings().all()
    return [{"series_id": row["series_id"], "day": row["day"]} | _sums(dict(row), sign) for row in rows]


def _tag_counts(connection: Connection, run_ids: Sequence[str], sign: int) -> list[Row]:
    statement = (
        select(RunTag.tag, Run.series_id, DAY.label("day"), (func.count() * sign).label("n"))
        .join(Run, Run.id == RunTag.run_id)
        .where(Run.id.in_(run_ids))
        .group_by(RunTag.tag, Run.series_id, DAY)
        .order_by(RunTag.tag, Run.series_id, DAY)
    )
    return [dict(row) for row in connection.execute(statement).mappings()]


def change_tags(connection: Connection, run_ids: Sequence[str], change: Callable[[], None]) -> None:
    """Change the tags of runs, and count them down before and up afterwards."""
    for sign in (-1, 1):
        for some in _chunks(sorted(run_ids)):
            _add_tags(connection, _tag_counts(connection, some, sign))
        if sign < 0:
            change()
    connection.execute(delete(TagCell).where(TagCell.n <= 0))


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
