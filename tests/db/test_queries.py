"""The aggregates behind the charts, against plain Python over the same runs."""

import math
import random
import statistics
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from ulid import ULID

from core.runs import RunDraft
from db import RunFilter, Store
from db.history_records import Bucket
from db.writing import find_or_insert_environment, insert_run, run_rows
from tests.support.runs import draft

START = datetime(2026, 3, 28, 21, 30, tzinfo=UTC)  # over a change of month and of daylight saving time
Timed = list[tuple[datetime, RunDraft]]


def insert_at(store: Store, runs: Timed) -> None:
    """Insert runs that began at given times."""
    with store._database.write() as connection:
        for time, run in runs:
            rows = run_rows(ULID.from_datetime(time), run, run.status)
            insert_run(connection, rows, find_or_insert_environment(connection, rows.environment))


@pytest.fixture
def timed(store: Store) -> Timed:
    random_ = random.Random(7)
    runs = [
        (
            START + timedelta(minutes=random_.randrange(60 * 24 * 6)),
            draft(
                model_id=random_.choice(["vit_tiny", "vit_base"]),
                owner=random_.choice(["ada", "ada", "bob"]),
                status=random_.choice(["ok", "ok", "ok", "failed"]),
                duration_ms=random_.choice([None, *(random_.randrange(1, 30) for _ in range(9))]),
                metrics=[],
            ),
        )
        for _ in range(150)
    ]
    insert_at(store, runs)
    return runs


def begin(time: datetime, bucket: Bucket) -> datetime:
    return time.replace(minute=0, second=0, hour=time.hour if bucket == "hour" else 0)


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_counts_over_time(store: Store, timed: Timed, bucket: Bucket) -> None:
    expected: dict[tuple[datetime, str], int] = defaultdict(int)
    for time, run in timed:
        if run.owner == "ada":
            expected[begin(time, bucket), run.model_id] += 1
    points = store.runs_over_time(RunFilter(owner="ada"), bucket)
    assert {(p.time, p.model_id): p.count for p in points} == expected
    assert [p.time for p in points] == sorted(p.time for p in points)
    assert all(p.time.tzinfo is UTC for p in points)


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_latency_over_time(store: Store, timed: Timed, bucket: Bucket) -> None:
    groups: dict[tuple[datetime, str], list[float]] = defaultdict(list)
    for time, run in timed:
        if run.status == "ok" and run.duration_ms is not None:
            groups[begin(time, bucket), run.model_id].append(run.duration_ms)
    points = store.latency_over_time(RunFilter(), bucket)
    assert [p.time for p in points] == sorted(p.time for p in points)
    assert {(p.time, p.model_id): (p.count, p.median_ms, p.p90_ms) for p in points} == {
        key: (len(ms), statistics.median(ms), sorted(ms)[math.ceil(0.9 * len(ms)) - 1])
        for key, ms in groups.items()
    }


def test_a_chart_shows_what_the_filter_lets_through(store: Store, timed: Timed) -> None:
    where = RunFilter(models=("vit_base",), since=START + timedelta(days=2), until=START + timedelta(days=3))
    inside = [t for t, run in timed if run.model_id == "vit_base" and where.since <= t < where.until]
    assert 0 < sum(p.count for p in store.runs_over_time(where, "hour")) == len(inside)
    assert store.count(where) == len(inside)


def test_a_chart_is_bounded_to_the_newest(
    store: Store, timed: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = store.runs_over_time(RunFilter(), "hour")
    latencies = store.latency_over_time(RunFilter(), "hour")
    for module in ("timelines", "latencies"):
        monkeypatch.setattr(f"db.{module}.MAX_POINTS", 10)
    assert len(timed) > 10
    assert store.runs_over_time(RunFilter(), "hour") == counts[-10:]
    assert store.latency_over_time(RunFilter(), "hour") == latencies[-10:]


def test_an_empty_store_has_empty_charts(store: Store) -> None:
    assert store.runs_over_time(RunFilter(), "day") == ()
    assert store.latency_over_time(RunFilter(), "hour") == ()
    assert not store.facets(RunFilter()).models


def test_times_before_1970_and_of_other_zones_are_compared_as_moments(store: Store) -> None:
    east = START.astimezone(tz=datetime.strptime("+0530", "%z").tzinfo)
    insert_at(store, [(START, draft())])
    assert store.count(RunFilter(since=east)) == 1
    assert store.count(RunFilter(until=east)) == 0
    assert store.count(RunFilter(since=datetime(1960, 1, 1, tzinfo=UTC))) == 1
