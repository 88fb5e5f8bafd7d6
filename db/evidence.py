"""The newest runs of every model, found by what their series have in common and never by reading all runs.

    series -> newest of each -> groups that differ in the versions alone -> runs -> metrics

However many runs there are, `MOST_GROUPS` groups of a kind and `MOST_RUNS` runs are read at most.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Connection, ScalarSelect, func, or_, select, type_coerce

from db.evidence_records import Evidence, EvidenceRun
from db.history_records import OK
from db.models import Artifact, Environment, Metric, Run, RunArtifact, Series
from db.rows import clean_text

MOST_GROUPS = 500
"""Of a kind; those with the newest runs are taken."""
MOST_RUNS = 1_000
"""Of all: where the newest of each group would be more, fewer of each are read."""
CHUNK = 1_000
MEASURES = ("top1", "top5", "recall1", "miou_click", "miou_box", "caption_chrf", "objects_f1")
ENDS = ("", "_low", "_high")
NUMBERS = (
    *(f"p50_ms{end}" for end in ENDS),
    *("samples", "model_ms", "base_memory_mb", "peak_memory_mb", "gpu_peak_memory_mb"),
    *(f"{name}{end}" for name in MEASURES for end in (*ENDS, "_n")),
    *("cost_usd", "score_chrf", "score_exact", "score_cer_normalised", "score_f1"),
)
"""Metrics that are read, with those whose names begin with `PER_SECOND`."""
PER_SECOND = "images_per_s_batch_"
ACCURACY = "accuracy.json"

T = TypeVar("T")


class Group(NamedTuple):
    """What runs have in common of which a few are enough, whichever versions of packages they ran with."""

    kind: str
    model_id: str
    model_revision: str
    device: str
    device_name: str
    dtype: str
    threads: int


class Found(NamedTuple):
    """A run that may be read."""

    time: datetime
    seq: int
    group: Group


GROUP = (
    Series.kind,
    Series.model_id,
    Series.model_revision,
    Environment.device,
    Environment.device_name,
    Environment.dtype,
    Environment.threads,
)


def evidence(connection: Connection, owner: str | None, kinds: Collection[str], each: int) -> Evidence:
    """Return the newest `each` successful runs of every group of each kind, newest first."""
    groups, without = _groups(connection, owner, kinds)
    found = _newest(connection, groups, each)
    few = _fitting(found, each)
    chosen = sorted((one for runs in found.values() for one in runs[:few]), reverse=True)
    read = {one.group.model_id for one in chosen}
    runs = tuple(run for some in _chunks(chosen) for run in _runs(connection, some))
    return Evidence(runs, tuple(dict.fromkeys(model for model in without if model not in read)))


def _fitting(found: Mapping[Group, Sequence[Found]], each: int) -> int:
    """Return how many of each group are no more than `MOST_RUNS` together; at least one."""
    while each > 1 and sum(min(len(runs), each) for runs in found.values()) > MOST_RUNS:
        each -= 1
    return each


def _nth_newest(n: int) -> ScalarSelect[datetime]:
    """Return the time of a series' n-th newest run, from 0: NULL where it has fewer."""
    times = select(Run.time).where(Run.series_id == Series.id).correlate(Series)
    return times.order_by(Run.time.desc()).limit(1).offset(n).scalar_subquery()


def _groups(
    connection: Connection, owner: str | None, kinds: Collection[str]
) -> tuple[Mapping[Group, list[int]], list[str]]:
    """Return the groups with the newest runs and the series of each, and the models of all others."""
    statement = (
        select(Series.id, _nth_newest(0).label("newest"), *GROUP)
        .join(Environment, Environment.id == Series.environment_id)
        .where(
            Series.kind.in_([clean_text(kind) for kind in kinds]),
            Series.status == OK,
            Series.loopback.is_(False),
            Series.deleted.is_(False),
        )
    )
    if owner is not None:
        statement = statement.where(Series.owner == clean_text(owner))
    rows = [row for row in connection.execute(statement).all() if row.newest is not None]
    found: dict[Group, list[int]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.newest, row.id), reverse=True):
        found[Group._make(row[2:])].append(row.id)
    taken: Counter[str] = Counter()
    some, without = {}, []
    for group, series in found.items():
        taken[group.kind] += 1
        if taken[group.kind] <= MOST_GROUPS:
            some[group] = series
        else:
            without.append(group.model_id)
    return some, without


def _newest(connection: Connection, groups: Mapping[Group, list[int]], each: int) -> dict[Group, list[Found]]:
    """Return the newest runs of each group, newest first."""
    of = {number: group for group, series in groups.items() for number in series}
    found: dict[Group, list[Found]] = defaultdict(list)
    for some in _chunks(list(of)):
        since = select(Series.id, _nth_newest(each - 1).label("since")).where(Series.id.in_(some))
        floor = since.cte("floor").prefix_with("MATERIALIZED", dialect="postgresql")
        runs = select(Run.series_id, Run.time, Run.seq).join(floor, floor.c.id == Run.series_id)
        for number, time, seq in connection.execute(runs.where(_is_since(floor.c.since))).all():
            group = of[number or 0]
            found[group].append(Found(time, seq or 0, group))
    return {group: sorted(some, reverse=True)[:each] for group, some in found.items()}


def _is_since(time: ColumnElement[datetime]) -> ColumnElement[bool]:
    return type_coerce(Run.time, BigInteger) >= func.coalesce(type_coerce(time, BigInteger), 0)


def _runs(connection: Connection, chosen: Sequence[Found]) -> Iterator[EvidenceRun]:
    """Yield whole runs, in the order of what was chosen."""
    statement = select(Run.seq, Run.id, Run.duration_ms, Run.parameters)
    wanted = [one.seq for one in chosen]
    rows = {row.seq: row for row in connection.execute(statement.where(Run.seq.in_(wanted))).all()}
    ids = [row.id for row in rows.values()]
    numbers, files = _metrics(connection, ids), _accuracies(connection, ids)
    for one in chosen:
        row, group = rows[one.seq], one.group
        yield EvidenceRun(
            row.id,
            one.time,
            *group,
            duration_ms=row.duration_ms,
            parameters=row.parameters,
            metrics=numbers[row.id],
            accuracy=files.get(row.id),
        )


def _metrics(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    statement = select(Metric.run_id, Metric.name, Metric.value)
    named = or_(Metric.name.in_(NUMBERS), Metric.name.startswith(PER_SECOND, autoescape=True))
    once = statement.where(Metric.run_id.in_(ids), Metric.step.is_(None), named)
    for run_id, name, value in connection.execute(once).all():
        found[run_id][name] = value
    return found


def _accuracies(connection: Connection, ids: Sequence[str]) -> dict[str, bytes]:
    statement = (
        select(RunArtifact.run_id, Artifact.data)
        .join(Artifact, Artifact.sha256 == RunArtifact.sha256)
        .where(RunArtifact.run_id.in_(ids), RunArtifact.name == ACCURACY)
    )
    return {run_id: bytes(data) for run_id, data in connection.execute(statement)}


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[i : i + CHUNK] for i in range(0, len(items), CHUNK))
