"""The history's charts against plain Python over the same runs: read one by one, and from counted days."""

import math
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ulid import ULID

from core.runs import Environment, Metric, RunDraft
from db import RunFilter, Store
from db.history_records import BIN_ERROR, BUCKETS, Bucket
from db.writing import find_or_insert_environment, insert_run, run_rows
from tests.db.conftest import BACKENDS
from tests.support.runs import CPU, GPU, draft

START = datetime(2026, 3, 25, 21, 30, tzinfo=UTC)  # over a change of month and of daylight saving time
NEWER = Environment("cpu", "Test CPU", "float32", 2, {"python": "3.11", "torch": "3"}, "0123abc")
ADA = RunFilter(owner="ada")
Timed = list[tuple[datetime, RunDraft]]

FILTERS = {
    "all": ADA,
    "kind": replace(ADA, kinds=("vlm",)),
    "model": replace(ADA, models=("small", "large")),
    "status": replace(ADA, statuses=("failed",)),
    "outcome": replace(ADA, outcomes=("ok", "timeout")),
    "device": replace(ADA, devices=("cuda:0",)),
    "tag": replace(ADA, tags=("odd",)),
    "two tags": replace(ADA, tags=("fifth", "none", "odd", "odd")),
    "tag and more": replace(
        ADA, tags=("odd",), kinds=("vlm",), since=START + timedelta(days=2), until=START + timedelta(days=8)
    ),
    "time": replace(
        ADA, since=START + timedelta(days=1, milliseconds=1), until=START + timedelta(days=9, hours=7)
    ),
    "within a day": replace(ADA, since=START + timedelta(hours=4), until=START + timedelta(hours=9)),
    "duration": replace(ADA, min_ms=5.0, max_ms=20.0),
    "measured": replace(ADA, measured_only=True),
    "words": replace(ADA, text="CAT picture"),
    "words and more": replace(
        ADA, text="dog", kinds=("vlm",), since=START + timedelta(days=3), measured_only=True
    ),
    "operator": RunFilter(),
    "nothing": replace(ADA, models=("none",)),
}


def insert_at(store: Store, runs: Timed) -> None:
    """Insert runs that began at given times."""
    with store._database.write() as connection:
        for time, run in runs:
            rows = run_rows(ULID.from_datetime(time), run, run.status)
            insert_run(connection, rows, find_or_insert_environment(connection, rows.environment))


def some_runs(n: int, seed: int = 3) -> Timed:
    """Return runs of all sorts, in the order of their times."""
    dice = random.Random(seed)
    found = []
    for i in range(n):
        failed = dice.choice(["", "", "", "timeout", "InputError"])
        numbers = [Metric("score", dice.random()), Metric("cost_usd", dice.random() / 10, "USD")]
        parameters = {"prompt": dice.choice(["What picture is it: a cat?", "Where is the dog?"])}
        run = draft(
            kind=dice.choice(["vlm", "attention"]),
            model_id=dice.choice(["small", "large", "huge"]),
            owner=dice.choice(["ada", "ada", "bob"]),
            environment=dice.choice([CPU, GPU]),
            status="failed" if failed else "ok",
            error_class=failed,
            duration_ms=dice.choice([None, *(dice.lognormvariate(2, 1) for _ in range(9))]),
            metrics=[*numbers[: dice.randrange(3)], Metric("loss", 1.0, step=1)],
            tags=(["odd"] if i % 3 else []) + (["fifth"] if i % 5 == 0 else []),
            parameters=parameters | ({"loopback": True} if i % 7 == 0 else {}),
        )
        found.append((START + timedelta(milliseconds=dice.randrange(14 * 86_400_000)), run))
    return sorted(found, key=lambda pair: pair[0])


def fits(where: RunFilter, time: datetime, run: RunDraft) -> bool:
    """Say whether a filter lets a run through: its meaning, in plain Python."""
    outcome = run.error_class or run.status
    within = (where.since is None or time >= where.since) and (where.until is None or time < where.until)
    ms = run.duration_ms
    long = where.min_ms is None or (
        ms is not None and where.max_ms is not None and where.min_ms <= ms < where.max_ms
    )
    words = set(str(run.parameters["prompt"]).casefold().replace("?", " ").replace(":", " ").split())
    chosen = (
        (where.kinds, run.kind),
        (where.models, run.model_id),
        (where.statuses, run.status),
        (where.outcomes, outcome),
        (where.devices, run.environment.device),
    )
    return (
        where.owner in (None, run.owner)
        and within
        and long
        and all(not values or value in values for values, value in chosen)
        and (not where.tags or bool(set(where.tags) & set(run.tags)))
        and not (where.measured_only and run.parameters.get("loopback"))
        and set(where.text.casefold().split()) <= words
    )


@pytest.fixture(scope="module")
def timed() -> Timed:
    return some_runs(240)


@pytest.fixture(scope="module", params=BACKENDS)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, timed: Timed
) -> Iterator[Store]:
    """A store with runs, which no test changes."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('history') / 'store.sqlite3'}"
    else:
        url = request.getfixturevalue("server").new_database()
    with Store.open(url) as store:
        insert_at(store, timed)
        yield store


@pytest.fixture(params=["read one by one", "counted"])
def history(request: pytest.FixtureRequest, filled: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same store, in which few runs are many in the second case."""
    if request.param == "counted":
        for limit in ("latencies.EXACT_RUNS", "queries.FEW", "queries.MOST_SORTED"):
            monkeypatch.setattr(f"db.{limit}", 0)
    return filled


def begin(time: datetime, bucket: Bucket) -> datetime:
    day = time.replace(minute=0, second=0, microsecond=0, hour=time.hour if bucket == "hour" else 0)
    return day - timedelta(days=day.weekday()) if bucket == "week" else day


def nearest(values: list[float], share: float) -> float:
    return sorted(values)[max(math.ceil(share * len(values) - 1e-9), 1) - 1]


@pytest.mark.parametrize("name", FILTERS)
def test_every_answer_is_that_of_plain_python(history: Store, timed: Timed, name: str) -> None:
    where = FILTERS[name]
    inside = [(time, run) for time, run in timed if fits(where, time, run)]
    assert bool(inside) == (name != "nothing")
    assert history.count(where) == len(inside)
    _check_list(history, where, inside)
    _check_facets(history, where, inside)
    _check_counts(history, where, inside)
    _check_latencies(history, where, inside)
    _check_tradeoff(history, where, inside)


def _check_list(store: Store, where: RunFilter, inside: Timed) -> None:
    times = [floor(time) for time, _ in inside][::-1]
    assert [run.time for run in store.runs(where, limit=1000)] == times
    assert [run.time for run in store.runs(where, limit=7, offset=5)] == times[5:12]
    longest = store.runs(where, order_by="duration", limit=1000)
    known = sorted((r.duration_ms for _, r in inside if r.duration_ms is not None), reverse=True)
    assert [run.duration_ms for run in longest] == known + [None] * (len(inside) - len(known))
    there = max(len(known) - 4, 0)  # where those begin that have no duration
    assert store.runs(where, order_by="duration", limit=9, offset=there) == longest[there : there + 9]
    shortest = store.runs(where, order_by="duration", descending=False, limit=1000)
    assert [run.duration_ms for run in shortest] == known[::-1] + [None] * (len(inside) - len(known))
    for order, key in (("model", "model_id"), ("kind", "kind"), ("status", "status")):
        page = store.runs(where, order_by=order, descending=False, limit=1000)
        values = sorted({getattr(run, key) for _, run in inside})
        expected = [pair for value in values for pair in inside[::-1] if getattr(pair[1], key) == value]
        assert [run.time for run in page] == [floor(time) for time, _ in expected]
        assert store.runs(where, order_by=order, descending=False, limit=9, offset=60) == page[60:69]


def floor(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _check_facets(store: Store, where: RunFilter, inside: Timed) -> None:
    facets = store.facets(where)
    runs = [run for _, run in inside]
    assert facets.total == len(runs)
    assert facets.kinds == Counter(run.kind for run in runs)
    assert list(facets.models.values()) == sorted(facets.models.values(), reverse=True)
    assert facets.outcomes == Counter(run.error_class or run.status for run in runs)
    assert facets.devices == Counter(run.environment.device for run in runs)
    assert facets.tags == Counter(tag for run in runs for tag in run.tags)
    assert facets.loopback == sum(bool(run.parameters.get("loopback")) for run in runs)
    assert not facets.capped
    choices = store.choices(where)
    assert (choices.total, choices.loopback) == (facets.total, facets.loopback)
    for field in ("kinds", "models", "outcomes"):
        alone = store.facets(replace(where, **{field: ()}))
        assert {k: n for k, n in getattr(choices, field).items() if n} == getattr(alone, field)
        assert set(getattr(where, field)) <= set(getattr(choices, field))


def _check_counts(store: Store, where: RunFilter, inside: Timed) -> None:
    for bucket in BUCKETS:
        points = store.runs_over_time(where, bucket)  # type: ignore[arg-type]
        assert [p.time for p in points] == sorted(p.time for p in points)
        of = {(p.time, p.model_id): p.count for p in points}
        assert of == Counter((begin(time, bucket), run.model_id) for time, run in inside)  # type: ignore[arg-type]
        outcomes = {(p.time, p.outcome): p.count for p in store.outcomes_over_time(where, bucket)}  # type: ignore[arg-type]
        assert outcomes == Counter((begin(t, bucket), r.error_class or r.status) for t, r in inside)  # type: ignore[arg-type]
    totals = {(c.model_id, c.outcome): c.count for c in store.outcomes(where)}
    assert totals == Counter((run.model_id, run.error_class or run.status) for _, run in inside)
    usd: dict[tuple[datetime, str], list[float]] = defaultdict(list)
    for time, run in inside:
        for metric in run.metrics:
            if metric.name == "cost_usd":
                usd[begin(time, "day"), run.model_id].append(metric.value)
    costs = {(p.time, p.model_id): (p.priced, p.usd) for p in store.cost_over_time(where, "day")}
    assert costs == {key: (len(values), pytest.approx(sum(values))) for key, values in usd.items()}
    for zone in (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/St_Johns")):
        days = {day.day: (day.count, day.failed) for day in store.calendar(where, zone)}
        n = Counter(time.astimezone(zone).date() for time, _ in inside)
        bad = Counter(time.astimezone(zone).date() for time, run in inside if run.status == "failed")
        assert days == {day: (n[day], bad[day]) for day in n}


def _check_latencies(store: Store, where: RunFilter, inside: Timed) -> None:
    groups: dict[tuple[datetime, str], list[float]] = defaultdict(list)
    models: dict[str, list[float]] = defaultdict(list)
    for time, run in inside:
        if run.status == "ok" and run.duration_ms is not None:
            groups[begin(time, "week"), run.model_id].append(run.duration_ms)
            models[run.model_id].append(run.duration_ms)
    chart = store.latency_chart(where, "week")
    assert {(p.time, p.model_id): p.count for p in chart.points} == {k: len(v) for k, v in groups.items()}
    off = (lambda value: pytest.approx(value, rel=1e-12)) if chart.exact else near
    for point in chart.points:
        values = groups[point.time, point.model_id]
        median = statistics.median(values) if chart.exact else nearest(values, 0.5)
        assert point.median_ms == off(median)
        assert (point.p25_ms, point.p75_ms) == (off(nearest(values, 0.25)), off(nearest(values, 0.75)))
        assert point.p90_ms == off(nearest(values, 0.9))
    spread = store.spread(where)
    assert {row.model_id: row.count for row in spread.models} == {k: len(v) for k, v in models.items()}
    for row in spread.models:
        values = models[row.model_id]
        assert (row.min_ms, row.max_ms, row.p99_ms) == (
            off(min(values)),
            off(max(values)),
            off(nearest(values, 0.99)),
        )
        assert sum(row.bins) == row.count
        assert len(spread.edges_ms) == len(row.bins) + 1


def near(value: float) -> Any:
    return pytest.approx(value, rel=BIN_ERROR)


def _check_tradeoff(store: Store, where: RunFilter, inside: Timed) -> None:
    good = [run for _, run in inside if run.status == "ok"]
    scores: dict[str, list[float]] = defaultdict(list)
    for run in good:
        for metric in run.metrics:
            if metric.name == "score":
                scores[run.model_id].append(metric.value)
    timed = {run.model_id for run in good if run.duration_ms is not None}
    points = {p.model_id: p for p in store.trade_off(where, "score")}
    assert points.keys() == scores.keys() & timed
    for model, point in points.items():
        assert (point.quality_n, point.quality) == (
            len(scores[model]),
            pytest.approx(statistics.fmean(scores[model])),
        )
        if point.quality_n > 1:
            error = statistics.stdev(scores[model]) / math.sqrt(point.quality_n)
            assert point.quality_error == pytest.approx(error)
    names = {found.name: (found.count, found.unit) for found in store.metric_names(where)}
    n = Counter(m.name for _, run in inside for m in run.metrics if m.step is None)
    assert names == {name: (n[name], "USD" if name == "cost_usd" else "") for name in n}


def test_a_line_breaks_where_device_versions_or_model_changed(store: Store) -> None:
    runs = [draft(), draft(), draft(environment=NEWER), replace(draft(), model_revision="r2")]
    timed = [(START + timedelta(days=i), run) for i, run in enumerate([*runs, draft(environment=GPU)])]
    by_turns = [
        (START + timedelta(days=i, hours=j), draft(model_id="both", environment=environment))
        for i in range(4)
        for j, environment in enumerate((CPU, GPU))
    ]
    insert_at(store, timed + by_turns)
    found = store.latency_chart(ADA, "day").breaks
    assert {(b.time, b.what) for b in found if b.what != "versions"} == {
        (timed[3][0], "revision"),
        (timed[4][0], "revision"),
        (timed[4][0], "device"),
    }
    assert [b.time for b in found if b.what == "versions"] == [timed[2][0], timed[3][0]]
    assert {b.model_id for b in found} == {timed[0][1].model_id}
    later = replace(ADA, models=("vit_tiny",), since=timed[2][0] + timedelta(hours=1))
    assert {(b.time, b.what) for b in store.latency_chart(later, "hour").breaks} == {
        (timed[4][0], "revision"),
        (timed[4][0], "device"),
    }
