"""Where runs of a model stop being comparable with those before: device, versions or model changed."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
from sqlalchemy import BigInteger, Connection, Integer, Select, column, func, select, type_coerce, values

from db.days import cells_of, in_days, number_of, numbers_at, time_of
from db.filters import conditions
from db.history_records import MOST_BREAKS, Break, Bucket, RunFilter
from db.models import EPOCH, MILLISECOND, Environment, Run, Series, milliseconds
from db.sketch import Counts
from db.timelines import sources

What = Literal["device", "versions", "revision"]
MOST_VALUES = 4
"""So many values are named on one side of a break."""


class _Facts(NamedTuple):
    """What makes the runs of a series comparable."""

    model_id: str
    device: str
    versions: str
    revision: str


def breaks_of(
    connection: Connection, where: RunFilter, bucket: Bucket, known: Counts | None = None
) -> tuple[Break, ...]:
    """Return the breaks of the series of each model, in order of time; the newest where there are many.

    A value breaks the line in the bucket in which it comes up, if the bucket before with any runs of the
    model did not have it. So two devices that are used by turns are no breaks.

    Args:
        known: `bucket << 32 | series` of which there are runs, where that is known.
    """
    present = _present(connection, where, bucket) if known is None else _unpacked(known, where, bucket)
    facts = _facts(connection, {series_id for by_bucket in present.values() for series_id in by_bucket})
    by_model: dict[str, list[tuple[int, set[int]]]] = defaultdict(list)
    for number in sorted(present):
        of_model: dict[str, set[int]] = defaultdict(set)
        for series_id in present[number]:
            of_model[facts[series_id].model_id].add(series_id)
        for model, ids in of_model.items():
            by_model[model].append((number, ids))
    found = [change for model in sorted(by_model) for change in _changes(model, by_model[model], facts)]
    newest = sorted(found, key=lambda change: change[0])[-MOST_BREAKS:]
    return tuple(
        sorted(_dated(connection, where, bucket, newest), key=lambda b: (b.time, b.model_id, b.what))
    )


Change = tuple[int, str, What, set[str], set[str], list[int]]
"""Bucket, model, what, values before, new values, series that have those."""


def _present(connection: Connection, where: RunFilter, bucket: Bucket) -> dict[int, set[int]]:
    """Return which series have runs in each bucket."""
    days, rest = sources(connection, where, bucket)
    found: dict[int, set[int]] = defaultdict(set)
    if days is not None:
        cell = cells_of(where)
        number = number_of(bucket, cell.day)
        statement = select(number, cell.series_id).where(*in_days(cell, days, where)).distinct()
        for at, series_id in connection.execute(statement):
            found[at].add(series_id)
    for some in rest:
        runs: Select[*tuple[Any, ...]] = (
            select(number_of(bucket), Run.series_id).where(*conditions(some)).distinct()
        )
        for at, series_id in connection.execute(runs):
            found[at].add(series_id)
    return found


def _unpacked(known: Counts, where: RunFilter, bucket: Bucket) -> dict[int, set[int]]:
    first = 0 if where.since is None else int(numbers_at(bucket, np.array([milliseconds(where.since)]))[0])
    found: dict[int, set[int]] = defaultdict(set)
    for pair in np.unique(known[known >> 32 >= first]).tolist():
        found[pair >> 32].add(pair & 0xFFFFFFFF)
    return found


def _facts(connection: Connection, series_ids: set[int]) -> dict[int, _Facts]:
    statement = select(
        Series.id,
        Series.model_id,
        Environment.device,
        Environment.device_name,
        Environment.versions,
        Series.model_revision,
    ).join(Environment, Environment.id == Series.environment_id)
    return {
        series_id: _Facts(model, f"{device} ({name})", json.dumps(versions, sort_keys=True), revision)
        for series_id, model, device, name, versions, revision in connection.execute(statement)
        if series_id in series_ids
    }


def _changes(
    model: str, buckets: list[tuple[int, set[int]]], facts: Mapping[int, _Facts]
) -> Iterator[Change]:
    whats: tuple[What, ...] = ("device", "versions", "revision")
    for what in whats:
        before: set[str] = set()
        for number, ids in buckets:
            now = {getattr(facts[i], what) for i in ids}
            if before and now - before:
                new = [i for i in ids if getattr(facts[i], what) not in before]
                yield number, model, what, before, now - before, new
            before = now


def _dated(
    connection: Connection, where: RunFilter, bucket: Bucket, changes: list[Change]
) -> Iterator[Break]:
    """Yield the breaks, each at the time of the first run after the change."""
    begins = [max(time_of(bucket, number), where.since or time_of(bucket, number)) for number, *_ in changes]
    times = _first_times(
        connection,
        [(i, series_id, begins[i]) for i, change in enumerate(changes) for series_id in change[-1]],
    )
    for i, (_, model, what, before, after, _ids) in enumerate(changes):
        said = _versions(before, after) if what == "versions" else (_named(before), _named(after))
        yield Break(times.get(i, begins[i]), model, what, *said)


def _first_times(connection: Connection, asked: list[tuple[int, int, datetime]]) -> dict[int, datetime]:
    """Return when the first run of any of some series began, from a time on; by number of the question."""
    if not asked:
        return {}
    columns = (column("i", Integer), column("series_id", Integer), column("since", BigInteger))
    rows = [(i, series_id, -((EPOCH - since) // MILLISECOND)) for i, series_id, since in asked]
    of = values(*columns, name="of").data(rows).cte()
    time = type_coerce(Run.time, BigInteger)
    first = select(func.min(time)).where(Run.series_id == of.c.series_id, time >= of.c.since)
    found: dict[int, datetime] = {}
    for i, ms in connection.execute(select(of.c.i, first.correlate(of).scalar_subquery())):
        if ms is not None:
            begin = EPOCH + ms * MILLISECOND
            found[i] = min(found.get(i, begin), begin)
    return found


def _named(values: set[str]) -> str:
    some = sorted(value or "unknown" for value in values)
    return ", ".join(some[:MOST_VALUES]) + (" …" if len(some) > MOST_VALUES else "")


def _versions(before: set[str], after: set[str]) -> tuple[str, str]:
    """Return the packages that changed, as they were and as they are."""
    old, new = _by_package(before), _by_package(after)
    names = [
        name for name in sorted(old.keys() | new.keys()) if new.get(name) and new.get(name) != old.get(name)
    ]
    if not names:  # packages that are no longer recorded
        names = [name for name in sorted(old) if name not in new]
    return (
        _named({f"{name} {'/'.join(sorted(old.get(name, ()))) or 'none'}" for name in names}),
        _named({f"{name} {'/'.join(sorted(new.get(name, ()))) or 'none'}" for name in names}),
    )


def _by_package(values: set[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for value in values:
        packages: dict[str, Any] = json.loads(value)
        for name, version in packages.items():
            found[name].add(str(version))
    return found
