"""Stores that older versions wrote; exports that are stopped; a database that is gone for a while."""

import json
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, text

from core.runs import Metric
from db import RunFilter, Store
from db.engine import store_url
from db.errors import StoreError, StoreUnavailableError
from tests.db.test_history import FILTERS, insert_at, some_runs
from tests.db.test_history_changes import cells_of, counted_anew
from tests.db.test_open import alembic_config
from tests.support import postgres
from tests.support.runs import CAT, draft, text_file

COPIED = (
    "environment",
    "artifact",
    "image",
    "run",
    "run_tag",
    "run_input",
    "metric",
    "run_artifact",
    "worker",
)
NEW = {"run": {"seq", "series_id", "deleted"}, "run_tag": {"seq"}}


def store_of(revision: str, url: str, filled: Store) -> None:
    """Make a store as revision 0005, or a later one, left it, with the runs of another one."""
    engine = create_engine(store_url(url))
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0005")
    with filled._database.read() as source, engine.begin() as connection:
        for table in COPIED:
            rows = [dict(row) for row in source.execute(text(f"SELECT * FROM {table}")).mappings()]
            for row in rows:
                for name in NEW.get(table, ()):
                    del row[name]
            if rows:
                columns = ", ".join(rows[0])
                values = ", ".join(f":{name}" for name in rows[0])
                connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), _plain(rows))
        command.upgrade(alembic_config(connection), revision)
    engine.dispose()


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as both databases take them from each other."""
    for row in rows:
        row |= {name: json.dumps(value) for name, value in row.items() if isinstance(value, dict)}
        if "shared" in row:
            row["shared"] = bool(row["shared"])
    return rows


@pytest.mark.parametrize("revision", ["0005", "0006"])
def test_a_store_with_runs_is_brought_up_to_date(
    empty_url: str, sqlite_store: Callable[[Path], str], tmp_path: Path, revision: str
) -> None:
    timed = some_runs(60)
    with Store.open(sqlite_store(tmp_path)) as store:
        insert_at(store, timed)
        answer = text_file("answer.txt", "고양이")
        said = store.record(draft(note="walrus", artifacts=[answer], pictures={"p": CAT}))
        going = store.start(draft(kind="training", metrics=[Metric("loss", 1.0)]))
        store_of(revision, empty_url, store)
        facets = {name: store.facets(FILTERS[name]) for name in ("all", "tag", "time", "words")}
    with Store.open(empty_url) as old:
        assert old.check() == ()
        assert cells_of(old) == counted_anew(old)
        assert {name: old.facets(FILTERS[name]) for name in facets} == facets
        assert [run.id for run in old.runs(RunFilter(text="고양 walrus"))] == [said]
        old.finish(going, status="ok", duration_ms=1.0)
        new = old.record(draft(tags=["new"]))
        assert old.runs(RunFilter(owner="ada"))[0].id == new
        assert cells_of(old) == counted_anew(old)


def test_an_export_is_what_is_filtered_newest_first(store: Store) -> None:
    timed = some_runs(120)
    insert_at(store, timed)
    for where in FILTERS.values():
        ids = [run.id for run in store.runs(where, limit=1000)]
        assert [run.id for run in store.export(where)] == ids
        assert [run.id for run in store.export(where, limit=3)] == ids[:3]


def test_an_export_that_is_stopped_holds_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.upkeep.EXPORT_CHUNK", 10)
    insert_at(store, some_runs(200))
    runs = store.export(RunFilter())
    tracemalloc.start()
    next(runs)
    peaks = []
    for _ in range(3):
        tracemalloc.reset_peak()
        for _ in range(60):
            next(runs)
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[2] < peaks[0] * 1.5  # it does not grow with what was read
    runs.close()
    assert store._database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    store.record(draft())  # nothing is locked


def test_a_file_that_is_gone_for_a_while(sqlite_store: Callable[[Path], str], tmp_path: Path) -> None:
    url = sqlite_store(tmp_path)
    path, away = tmp_path / "store.sqlite3", tmp_path / "away"
    with Store.open(url) as store:
        store.record(draft(tags=["x"]))
        before = store.choices(RunFilter())
    path.rename(away)
    path.mkdir()
    with pytest.raises(StoreError):
        Store.open(url)
    path.rmdir()
    away.rename(path)
    with Store.open(url) as store:
        assert store.choices(RunFilter()) == before


@pytest.mark.postgres
def test_a_server_that_is_gone_for_a_while(
    postgres_store: Callable[[], str], server: postgres.Server
) -> None:
    with Store.open(postgres_store()) as store:
        first = store.record(draft())
        server.stop()
        try:
            for ask in (lambda: store.choices(RunFilter()), lambda: store.record(draft())):
                with pytest.raises(StoreUnavailableError):
                    ask()
        finally:
            server.start()
        second = store.record(draft())
        assert [run.id for run in store.runs(RunFilter())] == [second, first]
        assert cells_of(store) == counted_anew(store)
        assert store.check() == ()


def test_a_clock_that_steps_back_keeps_the_order_of_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    steps = iter([now, now - 3_600_000_000_000, now - 3_599_999_000_000, now - 1])
    monkeypatch.setattr("db.ids.time", SimpleNamespace(time_ns=lambda: next(steps)))
    ids = [store.record(draft(duration_ms=float(i))) for i in range(4)]
    assert ids == sorted(ids)
    runs = store.runs(RunFilter())
    assert [run.id for run in runs] == ids[::-1]
    assert [run.time for run in runs] == sorted((run.time for run in runs), reverse=True)
    assert sum(day.count for day in store.calendar(RunFilter(), UTC)) == 4
