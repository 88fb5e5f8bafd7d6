"""Which runs a filter stands for, as conditions of SQL."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    SQLColumnExpression,
    Text,
    exists,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from db.history_records import MOST_FOUND, RunFilter
from db.models import Run, RunTag, Series
from db.rows import clean_text
from db.words import RUN_WORDS, Endings, found_in


class FoundRuns(NamedTuple):
    """Runs that were looked for already, newest first."""

    seqs: NDArray[np.int64]
    series_ids: NDArray[np.int64]
    times: NDArray[np.int64]
    """Milliseconds since 1970."""
    ms: NDArray[np.float64]
    """How long they took, NaN where that is not known."""
    ids: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Asked(RunFilter):
    """A filter that was prepared (`found.searched`). Only its time and tags may be narrowed."""

    series: tuple[int, ...] | None = field(default=None, kw_only=True)
    """Of which there may be runs, where the database does better if it is told."""


@dataclass(frozen=True, slots=True)
class FoundFilter(Asked):
    """A filter whose words were looked for already. Only its time may be narrowed."""

    found: FoundRuns = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class OtherTags(Asked):
    """A filter of runs that carry any of its tags, but not another one."""

    untagged: str = field(kw_only=True)


def conditions(where: RunFilter) -> list[ColumnElement[bool]]:
    """Return the conditions on `Run` that a filter stands for.

    Runs that are met one by one, by their tags or words, must not be looked for in each series.
    """
    if isinstance(where, FoundFilter):
        return [is_listed(Run.seq, where.found.seqs.tolist()), *of_each_run(where)]
    if where.text.strip():
        return [Run.seq.in_(newest_found(where, Run.seq).correlate(None))]
    number: Any = unindexed(Run.series_id) if where.tags else Run.series_id
    return [in_series(number, where), *of_each_run(where)]


class unindexed(FunctionElement[Any]):
    """A column whose index SQLite, which knows little of what is in it, must not use. PostgreSQL may."""

    inherit_cache = True

    def __init__(self, column: Any) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(unindexed, "sqlite")
def _(element: unindexed, compiler: SQLCompiler, **how: Any) -> str:
    return f"+{compiler.process(next(iter(element.clauses)), **how)}"


@compiles(unindexed, "postgresql")
def _(element: unindexed, compiler: SQLCompiler, **how: Any) -> str:
    return compiler.process(next(iter(element.clauses)), **how)


ORDERS: dict[str, Any] = {
    "time": Run.time,
    "kind": Series.kind,
    "model": Series.model_id,
    "status": Series.status,
    "duration": unindexed(Run.duration_ms),
    "device": Series.device,
}


def is_listed(column: Any, values: Sequence[int] | Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a column is in a list, however long."""
    of = column.type if isinstance(column.type, Integer) else Text()
    return _IsListed(column, literal(json.dumps(list(values))), literal(list(values), ARRAY(of)))


class _IsListed(FunctionElement[Any]):
    """Whether a value is in a list: of JSON for SQLite, an array for PostgreSQL."""

    type = NullType()  # as a Boolean it would be compared with 1, and no index be used
    inherit_cache = True


@compiles(_IsListed, "sqlite")
def _(element: _IsListed, compiler: SQLCompiler, **how: Any) -> str:
    column, of_json, _ = element.clauses
    return (
        f"{compiler.process(column, **how)} IN"
        f" (SELECT value FROM json_each({compiler.process(of_json, **how)}))"
    )


@compiles(_IsListed, "postgresql")
def _(element: _IsListed, compiler: SQLCompiler, **how: Any) -> str:
    column, _, array = element.clauses
    return f"{compiler.process(column, **how)} = ANY ({compiler.process(array, **how)})"


def in_series(number: Any, where: RunFilter) -> ColumnElement[bool]:
    """Return the condition that a column names one of the series of which there may be runs."""
    if isinstance(where, Asked) and where.series is not None:
        return is_listed(number, where.series)
    condition: ColumnElement[bool] = number.in_(series_of(where))
    return condition


def series_of(where: RunFilter) -> Select[int]:
    """Return the series of which there may be runs."""
    return select(Series.id).where(*of_series(where))


def of_series(where: RunFilter) -> list[ColumnElement[bool]]:
    """Return the conditions on the series that a filter stands for."""
    found: list[ColumnElement[bool]] = [Series.deleted.is_(where.deleted)]
    if where.owner is not None:
        found.append(Series.owner == clean_text(where.owner))
    if where.measured_only:
        found.append(Series.loopback.is_(False))
    for column, values in (
        (Series.kind, where.kinds),
        (Series.model_id, where.models),
        (Series.status, where.statuses),
        (Series.device, where.devices),
        (Series.outcome, where.outcomes),
    ):
        if values:
            found.append(column.in_([clean_text(value) for value in values]))
    return found


def of_each_run(where: RunFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that the series of a run does not decide, but for its words.

    Most runs may be within a range of durations, so these must not be looked for one by one.
    """
    found: list[ColumnElement[bool]] = []
    if where.tags:
        tags = [clean_text(tag) for tag in where.tags]
        found.append(Run.seq.in_(select(RunTag.seq).where(RunTag.tag.in_(tags)).correlate(None)))
    if isinstance(where, OtherTags):
        carried = exists().where(RunTag.run_id == Run.id, RunTag.tag == clean_text(where.untagged))
        found.append(~carried.correlate(Run))
    if where.since is not None:
        found.append(Run.time >= where.since)
    if where.until is not None:
        found.append(Run.time < where.until)
    if where.min_ms is not None:
        found.append(unindexed(Run.duration_ms) >= where.min_ms)
    if where.max_ms is not None:
        found.append(unindexed(Run.duration_ms) < where.max_ms)
    return found


def newest_found(where: RunFilter, *columns: Any, known: Endings | None = None) -> Select[*tuple[Any, ...]]:
    """Return columns of the newest runs that say all words and fit the rest of the filter."""
    says_them, seq = found_in(where.text, known)
    return (
        select(*columns)
        .select_from(RUN_WORDS)
        .join(Run, Run.seq == seq)
        .where(says_them, in_series(unindexed(Run.series_id), where), *of_each_run(where))
        .order_by(seq.desc())
        .limit(MOST_FOUND)
    )


def is_by_series(where: RunFilter) -> bool:
    """Say whether the series and the time of a run decide whether a filter lets it through."""
    return not (where.text.strip() or where.tags or where.min_ms is not None or where.max_ms is not None)


def ordering(
    order_by: str, *, descending: bool, indexed: bool
) -> list[SQLColumnExpression[Any] | ColumnElement[Any]]:
    """Return the sort keys: the column (missing values last), then the newest first.

    Args:
        indexed: Whether runs are met by time in the order of an index, or sorted.
    """
    if order_by == "time":
        time: Any = Run.time if indexed else unindexed(Run.time)
        return [time.desc(), Run.seq.desc()] if descending else [time, Run.seq]
    key = ORDERS[order_by].desc() if descending else ORDERS[order_by].asc()
    return [key.nulls_last(), type_coerce(Run.time, BigInteger).desc(), Run.seq.desc()]
