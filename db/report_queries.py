"""The aggregates behind a report, of one moment of the store: computed in SQL, each bounded in size.

A million runs and a thousand models make no list longer than `GROUPS`. Texts and parameters are read of a
few chosen runs only.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from db.models import Artifact, Call, Environment, Image, Metric, Run, RunArtifact, RunInput
from db.queries import conditions
from db.records import RunFilter
from db.report_records import (
    ReportBenchmark,
    ReportCost,
    ReportEnvironment,
    ReportExample,
    ReportFailure,
    ReportGroup,
    ReportMetric,
    ReportPair,
    ReportRevision,
    ReportRun,
    ReportSpan,
    ReportTiming,
    ReportTotals,
    ReportTrend,
)

GROUPS = 100
"""Most pairs of kind and model, most timings, failures and so on; those with the most runs."""
METRICS = 600
ENVIRONMENTS = 40
EXAMPLES = 24
RUNS = 40
ANSWER_BYTES = 8_000

BENCHMARKS = 40
BENCHMARK = "benchmark"
TASKED = "vlm"
"""The kind of run that is told apart by its task."""
PAID = ("vlm", "vlm-judge")
"""Kinds of run that may cost money."""
COST = "cost_usd"
ANSWERS = ("answer.txt", "partial.txt")

T = TypeVar("T")
Ranks = Callable[[int], Collection[int]]
"""Number of values to the ranks that are wanted of them, from 1."""


def _status(status: str) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((Run.status == status, 1), else_=0)), 0)


STATUSES = [_status(status) for status in ("ok", "failed", "cancelled", "running")]
TASK = case((Run.kind == TASKED, func.coalesce(Run.parameters["task"].as_string(), "")), else_="")
TIMING = (
    Run.kind,
    TASK.label("task"),
    Run.model_id,
    Environment.device,
    Environment.device_name,
    Environment.dtype,
    Environment.threads,
)


class ReportReader:
    """Reads what a report needs of the runs of a filter, inside a transaction that its maker holds."""

    def __init__(self, connection: Connection, where: RunFilter) -> None:
        self._connection = connection
        self._where = conditions(where)
        self._known: dict[Hashable, Any] = {}

    def _once(self, key: Hashable, read: Callable[[], T]) -> T:
        """Return what was read already: the moment stays the same, and sections ask alike."""
        if key not in self._known:
            self._known[key] = read()
        found: T = self._known[key]
        return found

    def _rows(self, statement: Select[*tuple[Any, ...]]) -> Sequence[Any]:
        return self._connection.execute(statement).all()

    def totals(self) -> ReportTotals:
        """Return how many runs there are, and from when to when."""
        loopback = case((_loopback(), 1), else_=0)
        whole = select(func.count(), *STATUSES, func.min(Run.time), func.max(Run.time)).where(*self._where)
        (row,) = self._rows(whole)
        pairs = select(Run.kind, Run.model_id).where(*self._where).distinct().subquery()
        groups = self._connection.scalar(select(func.count()).select_from(pairs)) or 0
        asked = select(func.coalesce(func.sum(loopback), 0)).where(*self._where, Run.kind == TASKED)
        loops = self._connection.scalar(asked) or 0
        values = [*row, groups, loops]
        return ReportTotals(*values)

    def groups(self) -> tuple[ReportGroup, ...]:
        """Return the pairs of kind and model with the most runs, the most first."""
        n = func.count()
        statement = (
            select(Run.kind, Run.model_id, n, *STATUSES, func.min(Run.time), func.max(Run.time))
            .where(*self._where)
            .group_by(Run.kind, Run.model_id)
            .order_by(n.desc(), Run.kind, Run.model_id)
            .limit(GROUPS)
        )
        return self._once("groups", lambda: tuple(ReportGroup(*row) for row in self._rows(statement)))

    def timings(self, ranks: Ranks, metric: str | None = None) -> tuple[ReportTiming, ...]:
        """Return how long successful runs took, by what makes them comparable, the most first.

        Args:
            ranks: Which of the sorted times are wanted.
            metric: The name of a time that was measured once a run; the whole duration where None.
        """
        return self._once(("timings", ranks, metric), lambda: self._read_timings(ranks, metric))

    def _read_timings(self, ranks: Ranks, metric: str | None) -> tuple[ReportTiming, ...]:
        values = self._times(metric)
        key = [column for column in values.c if column.name != "ms"]
        n = func.count()
        counted = select(*key, n).group_by(*key).order_by(n.desc(), *key).limit(GROUPS)
        counts = {tuple(row[:-1]): row[-1] for row in self._rows(counted)}
        wanted = sorted({(n, rank) for n in counts.values() for rank in ranks(n)})
        if not wanted:
            return ()
        ranked = select(
            *key,
            values.c.ms,
            func.row_number().over(partition_by=key, order_by=values.c.ms).label("rank"),
            func.count().over(partition_by=key).label("n"),
        ).subquery()
        found: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
        for *group, ms, rank, _ in self._rows(
            select(ranked).where(tuple_(ranked.c.n, ranked.c.rank).in_(wanted))
        ):
            found[tuple(group)][rank] = ms
        rows = ([*group, n, found[group]] for group, n in counts.items())
        return tuple(ReportTiming(*row) for row in rows)

    def _times(self, metric: str | None) -> Any:
        statement = (
            select(*TIMING, (Run.duration_ms if metric is None else Metric.value).label("ms"))
            .join(Environment, Environment.id == Run.environment_id)
            .where(*self._where, Run.status == "ok")
        )
        if metric is None:
            return statement.where(Run.duration_ms.is_not(None)).subquery()
        joined = statement.join(Metric, Metric.run_id == Run.id)
        return joined.where(Metric.name == metric, Metric.step.is_(None)).subquery()

    def metrics(self) -> tuple[ReportMetric, ...]:
        """Return the numbers that successful runs measured once each: those of the most runs."""
        values = (
            select(Run.kind, TASK.label("task"), Run.model_id, Metric.name, Metric.unit, Metric.value)
            .join(Metric, Metric.run_id == Run.id)
            .where(*self._where, Run.status == "ok", Metric.step.is_(None))
            .subquery()
        )
        value, n = values.c.value, func.count()
        key = (values.c.kind, values.c.task, values.c.model_id, values.c.name, values.c.unit)
        statement = (
            select(
                *key,
                n,
                func.avg(value),
                func.avg(value * value),
                func.min(value),
                func.max(value),
                func.sum(case((value == 1.0, 1), else_=0)),
                func.sum(case((value == 0.0, 1), else_=0)),
            )
            .group_by(*key)
            .order_by(n.desc(), *key)
            .limit(METRICS)
        )
        return tuple(_metric(*row) for row in self._rows(statement))

    def pairs(self, scores: Mapping[str, str]) -> tuple[ReportPair, ...]:
        """Return every two models' scores of the same questions of data-set runs.

        Args:
            scores: Task to the name of the metric that it is judged by.
        """
        judged = [and_(Call.task == task, Metric.name == name) for task, name in scores.items()]
        scored = (
            select(Call.set_id, Call.task, Call.item, Call.model_id, Metric.value)
            .join(Run, Run.id == Call.run_id)
            .join(Metric, Metric.run_id == Run.id)
            .where(*self._where, Run.status == "ok", Metric.step.is_(None), or_(*judged))
            .cte("scored")
            .prefix_with("MATERIALIZED")  # once, for both sides; joined to itself row by row it takes minutes
        )
        first, second = scored.alias("one"), scored.alias("other")
        difference, n = first.c.value - second.c.value, func.count()
        statement = (
            select(
                first.c.task,
                first.c.model_id,
                second.c.model_id,
                n,
                func.sum(difference),
                func.sum(difference * difference),
                func.sum(case((difference > 0, 1), else_=0)),
                func.sum(case((difference < 0, 1), else_=0)),
            )
            .join(
                second,
                and_(
                    first.c.set_id == second.c.set_id,
                    first.c.task == second.c.task,
                    first.c.item == second.c.item,
                    first.c.model_id < second.c.model_id,
                ),
            )
            .group_by(first.c.task, first.c.model_id, second.c.model_id)
            .order_by(n.desc(), first.c.task, first.c.model_id, second.c.model_id)
            .limit(GROUPS)
        )
        return tuple(ReportPair(*row) for row in self._rows(statement))

    def failures(self) -> tuple[ReportFailure, ...]:
        """Return runs that failed or were cancelled, by class, the most first, each with its last message."""
        n = func.count()
        key = (Run.kind, Run.model_id, Run.status, Run.error_class)
        statement = (
            select(*key, n, func.max(Run.time), func.max(Run.id))
            .where(*self._where, Run.status.in_(("failed", "cancelled")))
            .group_by(*key)
            .order_by(n.desc(), *key)
            .limit(GROUPS)
        )
        rows = self._rows(statement)
        last = select(Run.id, Run.error_message).where(Run.id.in_([row[-1] for row in rows]))
        messages: dict[str, str] = dict(self._rows(last))
        said = ([*row, messages.get(row[-1], "")] for row in rows)
        return tuple(ReportFailure(*row) for row in said)

    def costs(self) -> tuple[ReportCost, ...]:
        """Return what runs cost that may cost money, by kind and model, the dearest first."""
        usd = func.coalesce(func.sum(Metric.value), 0.0)
        statement = (
            select(Run.kind, Run.model_id, func.count(), func.count(Metric.value), usd)
            .outerjoin(Metric, _cost_of_run())
            .where(*self._where, Run.kind.in_(PAID))
            .group_by(Run.kind, Run.model_id)
            .order_by(usd.desc(), Run.kind, Run.model_id)
            .limit(GROUPS)
        )
        return tuple(ReportCost(*row) for row in self._rows(statement))

    def spans(self, bounds: Sequence[datetime]) -> tuple[ReportSpan, ...]:
        """Return the runs of each kind within each span of time, and their cost.

        Args:
            bounds: Begins of the spans, in order, and the end of the last one.
        """
        return self._once(("spans", *bounds), lambda: self._read_spans(bounds))

    def _read_spans(self, bounds: Sequence[datetime]) -> tuple[ReportSpan, ...]:
        usd = case((Run.kind.in_(PAID), Metric.value), else_=0.0)
        runs = (
            select(_span(bounds), Run.kind, Run.status, func.coalesce(usd, 0.0).label("usd"))
            .outerjoin(Metric, and_(_cost_of_run(), Run.kind.in_(PAID)))
            .where(*self._where, Run.time >= bounds[0], Run.time < bounds[-1])
            .subquery()
        )
        is_ok = case((runs.c.status == "ok", 1), else_=0)
        statement = (
            select(runs.c.span, runs.c.kind, func.sum(is_ok), func.sum(1 - is_ok), func.sum(runs.c.usd))
            .group_by(runs.c.span, runs.c.kind)
            .order_by(runs.c.span, runs.c.kind)
        )
        return tuple(ReportSpan(*row) for row in self._rows(statement.limit(GROUPS * len(bounds))))

    def trends(
        self, bounds: Sequence[datetime], groups: Collection[tuple[str, str, str, str]]
    ) -> tuple[ReportTrend, ...]:
        """Return the median time of successful runs in each span of time.

        Args:
            bounds: As for `spans`.
            groups: Kind, model, name of the device and precision of each.
        """
        what = (Run.kind, Run.model_id, Environment.device_name, Environment.dtype)
        runs = (
            select(_span(bounds), *what, Run.duration_ms.label("ms"))
            .join(Environment, Environment.id == Run.environment_id)
            .where(*self._where, Run.time >= bounds[0], Run.time < bounds[-1])
            .where(tuple_(*what).in_(sorted(groups)))
            .where(Run.status == "ok", Run.duration_ms.is_not(None))
            .subquery()
        )
        key = [column for column in runs.c if column.name != "ms"]
        rank = func.row_number().over(partition_by=key, order_by=runs.c.ms).label("rank")
        ranked = select(*key, runs.c.ms, rank, func.count().over(partition_by=key).label("n")).subquery()
        middle = (2 * ranked.c.rank).between(ranked.c.n, ranked.c.n + 2)
        group = [column for column in ranked.c if column.name not in ("ms", "rank", "n")]
        statement = (
            select(*group, func.max(ranked.c.n), func.avg(ranked.c.ms))
            .where(middle)
            .group_by(*group)
            .order_by(*group)
        )
        return tuple(ReportTrend(*row) for row in self._rows(statement))

    def environments(self) -> tuple[tuple[ReportEnvironment, ...], int]:
        """Return what runs ran on, the most used first, and how many environments there are at all."""
        counted = (
            select(Run.environment_id.label("id"), func.count().label("runs"))
            .where(*self._where)
            .group_by(Run.environment_id)
            .subquery()
        )
        total = self._connection.scalar(select(func.count()).select_from(counted)) or 0
        fields = ("device", "device_name", "dtype", "threads", "versions", "git_revision")
        statement = (
            select(*(getattr(Environment, name) for name in fields), counted.c.runs)
            .join(counted, counted.c.id == Environment.id)
            .order_by(counted.c.runs.desc(), Environment.id)
            .limit(ENVIRONMENTS)
        )
        return tuple(ReportEnvironment(*row) for row in self._rows(statement)), total

    def revisions(self) -> tuple[ReportRevision, ...]:
        """Return the revisions of models that ran, those of the most runs first."""
        n = func.count()
        statement = (
            select(Run.model_id, Run.model_revision, n, func.min(Run.time), func.max(Run.time))
            .where(*self._where)
            .group_by(Run.model_id, Run.model_revision)
            .order_by(n.desc(), Run.model_id, Run.model_revision)
            .limit(GROUPS)
        )
        return tuple(ReportRevision(*row) for row in self._rows(statement))

    def examples(self, each: int = 3) -> tuple[ReportExample, ...]:
        """Return the newest questions to vision-language models, at most `each` of a model, with answers."""
        rank = func.row_number().over(partition_by=Run.model_id, order_by=(Run.time.desc(), Run.id.desc()))
        asked = select(Run.id, rank.label("rank")).where(*self._where, Run.kind == TASKED).subquery()
        chosen = select(asked.c.id).where(asked.c.rank <= each).order_by(asked.c.id.desc()).limit(EXAMPLES)
        ids = [row[0] for row in self._rows(chosen)]
        fields = ("id", "time", "model_id", "status", "error_class", "error_message", "duration_ms")
        statement = (
            select(
                *(getattr(Run, name) for name in (*fields, "parameters")),
                func.coalesce(RunInput.name, ""),
                Image.thumbnail,
            )
            .outerjoin(RunInput, and_(RunInput.run_id == Run.id, RunInput.position == 0))
            .outerjoin(Image, Image.sha256 == RunInput.image_sha256)
            .where(Run.id.in_(ids))
            .order_by(Run.model_id, Run.time.desc())
        )
        answers = self._answers(ids)
        rows = ([*row[:-2], answers.get(row[0]), *row[-2:]] for row in self._rows(statement))
        return tuple(ReportExample(*row) for row in rows)

    def _answers(self, run_ids: Sequence[str]) -> dict[str, bytes]:
        text = func.substr(Artifact.data, 1, ANSWER_BYTES, type_=LargeBinary)
        statement = (
            select(RunArtifact.run_id, text)
            .join(Artifact, Artifact.sha256 == RunArtifact.sha256)
            .where(RunArtifact.run_id.in_(run_ids), RunArtifact.name.in_(ANSWERS))
        )
        return {run_id: bytes(data) for run_id, data in self._rows(statement)}

    def benchmarks(self) -> tuple[ReportBenchmark, ...]:
        """Return the newest successful benchmarks, each with its numbers; newest first."""
        where = (*self._where, Run.kind == BENCHMARK, Run.status == "ok")
        chosen = select(Run.id).where(*where).order_by(Run.time.desc(), Run.id.desc()).limit(BENCHMARKS)
        ids = [row[0] for row in self._rows(chosen)]
        fields = ("device", "device_name", "dtype", "threads")
        statement = (
            select(
                Run.id,
                Run.time,
                Run.model_id,
                *(getattr(Environment, name) for name in fields),
                Run.parameters,
            )
            .join(Environment, Environment.id == Run.environment_id)
            .where(Run.id.in_(ids))
            .order_by(Run.time.desc(), Run.id.desc())
        )
        numbers = select(Metric.run_id, Metric.name, Metric.value)
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for run_id, name, value in self._rows(numbers.where(Metric.run_id.in_(ids), Metric.step.is_(None))):
            found[run_id][name] = value
        rows = ([*row, found[row[0]]] for row in self._rows(statement))
        return tuple(ReportBenchmark(*row) for row in rows)

    def newest(self) -> tuple[ReportRun, ...]:
        """Return the newest successful run of each kind and model, newest first."""
        last = (
            select(func.max(Run.id).label("id"))
            .where(*self._where, Run.status == "ok")
            .group_by(Run.kind, Run.model_id)
            .order_by(func.max(Run.id).desc())
            .limit(RUNS)
        )
        ids = [row[0] for row in self._rows(last)]
        statement = (
            select(
                Run.id,
                Run.time,
                Run.kind,
                Run.model_id,
                Run.model_revision,
                Environment.git_revision,
                Run.parameters,
                func.coalesce(RunInput.name, ""),
            )
            .join(Environment, Environment.id == Run.environment_id)
            .outerjoin(RunInput, and_(RunInput.run_id == Run.id, RunInput.position == 0))
            .where(Run.id.in_(ids))
            .order_by(Run.kind, Run.model_id)
        )
        return tuple(ReportRun(*row) for row in self._rows(statement))


def _loopback() -> ColumnElement[bool]:
    return func.coalesce(Run.parameters["loopback"].as_boolean(), literal(False))


def _cost_of_run() -> ColumnElement[bool]:
    return and_(Metric.run_id == Run.id, Metric.name == COST, Metric.step.is_(None))


def _span(bounds: Sequence[datetime]) -> ColumnElement[int]:
    """Return the number of the span that a run began in; the caller leaves out runs outside of all."""
    begun = [(Run.time < end, i) for i, end in enumerate(bounds[1:])]
    return cast(case(*begun, else_=len(bounds) - 2), Integer).label("span")


def _metric(
    kind: str,
    task: str,
    model_id: str,
    name: str,
    unit: str,
    n: int,
    mean: float,
    mean_square: float,
    minimum: float,
    maximum: float,
    ones: int,
    zeros: int,
) -> ReportMetric:
    variance = 0.0 if n < 2 or minimum == maximum else max(mean_square - mean * mean, 0.0) * n / (n - 1)
    return ReportMetric(kind, task, model_id, name, unit, n, mean, variance, minimum, maximum, ones, zeros)
