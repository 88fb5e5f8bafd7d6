"""Lists of runs: filters, order, counts; on every backend."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from db import RunFilter, Store
from tests.support.runs import CAT, DOG, GPU, draft

EVERYTHING = RunFilter()


@pytest.fixture
def history(store: Store) -> Store:
    for i, (kind, model, status, ms) in enumerate(
        [
            ("attention", "vit_tiny", "ok", 30.0),
            ("attention", "vit_base", "ok", 10.0),
            ("training", "vit_tiny", "failed", None),
            ("attention", "vit_tiny", "cancelled", 20.0),
        ]
    ):
        environment = GPU if i == 1 else draft().environment
        run = draft(kind=kind, model_id=model, status=status, duration_ms=ms, environment=environment)
        store.record(replace(run, tags=["odd"] if i % 2 else ["even", "all"], note=str(i)))
    store.record(draft(owner="bob", kind="secret"))
    return store


def notes(store: Store, where: RunFilter, **order: Any) -> list[str]:
    return [run.note for run in store.runs(where, **order)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (RunFilter(owner="ada"), "3210"),
        (RunFilter(owner="ada", kinds=("training",)), "2"),
        (RunFilter(owner="ada", kinds=("training", "attention"), models=("vit_tiny",)), "320"),
        (RunFilter(owner="ada", statuses=("ok",)), "10"),
        (RunFilter(owner="ada", devices=("cuda:0",)), "1"),
        (RunFilter(owner="ada", tags=("odd",)), "31"),
        (RunFilter(owner="ada", tags=("odd", "all")), "3210"),
        (RunFilter(owner="ada", kinds=("nothing",)), ""),
        (RunFilter(owner="nobody"), ""),
    ],
)
def test_a_filter_narrows(history: Store, where: RunFilter, expected: str) -> None:
    assert notes(history, where) == list(expected)
    assert history.count(where) == len(expected)
    assert [run.note for run in history.export(where)] == list(expected)


def test_times_bound_exactly(history: Store) -> None:
    times = [run.time for run in history.runs(RunFilter(owner="ada"), descending=False)]
    since, microsecond = times[1], timedelta(microseconds=1)
    at_or_after = sum(t >= since for t in times)
    assert history.count(RunFilter(owner="ada", since=since)) == at_or_after
    assert history.count(RunFilter(owner="ada", until=since)) == len(times) - at_or_after
    assert history.count(RunFilter(owner="ada", since=since + microsecond)) == sum(t > since for t in times)
    assert history.count(RunFilter(owner="ada", until=since + microsecond)) == sum(t <= since for t in times)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, "3210"),
        ({"descending": False}, "0123"),
        ({"order_by": "duration"}, "0312"),
        ({"order_by": "duration", "descending": False}, "1302"),
        ({"order_by": "model", "descending": False}, "1320"),
        ({"order_by": "status"}, "1023"),
        ({"order_by": "device"}, "1320"),
        ({"order_by": "kind"}, "2310"),
        ({"limit": 2}, "32"),
        ({"limit": 2, "offset": 1}, "21"),
    ],
)
def test_a_list_is_ordered(history: Store, order: dict[str, Any], expected: str) -> None:
    assert notes(history, RunFilter(owner="ada"), **order) == list(expected)


def test_an_unknown_order_is_a_bug_of_the_caller(store: Store) -> None:
    with pytest.raises(ValueError, match="order_by is 'id; DROP TABLE run'"):
        store.runs(EVERYTHING, order_by="id; DROP TABLE run")


def test_facets_count_what_is_there(history: Store) -> None:
    found = history.facets(RunFilter(owner="ada"))
    assert list(found.kinds.items()) == [("attention", 3), ("training", 1)]
    assert list(found.models.items()) == [("vit_tiny", 3), ("vit_base", 1)]
    assert list(found.statuses.items()) == [("ok", 2), ("cancelled", 1), ("failed", 1)]
    assert list(found.devices.items()) == [("cpu", 3), ("cuda:0", 1)]


def test_a_long_list_takes_a_few_queries(store: Store) -> None:
    for i in range(20):
        store.record(draft(tags=[f"tag {i}"], pictures={"picture": CAT, "mask": DOG}))
    statements: list[str] = []
    event.listen(store._database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    runs = store.runs(RunFilter(owner="ada"))
    assert len(runs) == 20
    assert {run.picture_sha256 for run in runs} == {CAT.sha256}
    assert runs[0].tags == ("tag 19",)
    few = 5 if store._database.engine.dialect.name == "sqlite" else 6
    assert len(statements) == few
    assert store.thumbnails([r.picture_sha256 for r in runs if r.picture_sha256], "ada") == {
        CAT.sha256: CAT.thumbnail
    }
    assert len(statements) == few + 1
