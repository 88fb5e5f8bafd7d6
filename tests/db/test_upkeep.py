"""Deleting, pruning, export, backup and check; on every backend."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from db import RunFilter, Store
from db.errors import RunNotFoundError, StoreError
from db.models import Artifact, Base, Environment, Image, Run
from tests.support.runs import CAT, DOG, GPU, draft, rows_of, text_file

EVERYTHING = RunFilter()


# Deleting


def test_deleting_takes_along_what_nobody_else_refers_to(store: Store) -> None:
    only, both = text_file("only", "mine alone"), text_file("both", "everybody's")
    doomed = store.record(
        draft(environment=GPU, pictures={"a": CAT, "b": DOG}, artifacts=[only, both], tags=["x"])
    )
    stays = store.record(draft(owner="bob", pictures={"picture": CAT}, artifacts=[both]))
    assert store.delete([doomed, doomed, "0" * 26, stays], "ada") == 1
    assert [rows_of(store, table) for table in (Run, Image, Artifact, Environment)] == [1, 1, 2, 1]
    assert store.picture_data(stays, "picture", "bob") == CAT.data
    assert store.artifact(stays, "both", "bob") == b"everybody's"
    assert store.check() == ()
    assert store.delete([stays], None) == 1
    assert sum(rows_of(store, mapper.class_) for mapper in Base.registry.mappers) == 0


def test_a_store_records_on_after_another_deleted_its_environment_and_picture(url: str) -> None:
    with Store.open(url) as store, Store.open(url) as other:
        run = draft(pictures={"picture": CAT})
        assert other.delete([store.record(run)], None) == 1
        again = store.record(run)
        assert other.picture_data(again, "picture", "ada") == CAT.data
        assert other.run(again, "ada").environment.device == "cpu"


def test_many_runs_are_deleted_at_once(store: Store) -> None:
    ids = [store.record(draft(metrics=[])) for _ in range(3)]
    assert store.delete([f"{i:026}" for i in range(2500)] + ids, "ada") == 3


def test_pruning_takes_old_finished_runs(store: Store) -> None:
    old = store.record(draft(pictures={"picture": CAT}))
    running = store.start(draft())
    bobs = store.record(draft(owner="bob"))
    time = store.run(bobs, None).time
    assert store.prune(time + timedelta(seconds=1), owner="ada") == 1
    with pytest.raises(RunNotFoundError):
        store.run(old, "ada")
    assert store.run(running, "ada").status == "running"
    assert store.prune(time) == 0
    assert store.prune(time + timedelta(seconds=1)) == 1
    assert rows_of(store, Image) == 0


# For the operator


def test_an_export_is_json_and_complete(store: Store) -> None:
    ids = [store.record(draft(pictures={"picture": CAT}, tags=[f"{i}"])) for i in range(5)]
    lines = [json.loads(json.dumps(run.to_json())) for run in store.export(EVERYTHING)]
    assert [line["id"] for line in lines] == ids[::-1]
    assert lines[0]["tags"] == ["4"]
    assert lines[0]["inputs"][0]["sha256"] == CAT.sha256
    assert datetime.fromisoformat(lines[0]["time"]) == store.run(ids[-1], None).time
    assert [run.id for run in store.export(EVERYTHING, limit=2)] == ids[:2:-1]


def test_an_export_goes_over_chunks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.upkeep.EXPORT_CHUNK", 2)
    ids = [store.record(draft()) for _ in range(5)]
    for limit in (None, 0, 1, 2, 3, 4, 5, 6):
        assert [run.id for run in store.export(EVERYTHING, limit=limit)] == ids[::-1][:limit]


def test_a_backup_holds_everything_and_is_never_overwritten(store: Store, tmp_path: Path) -> None:
    run_id = store.record(draft(pictures={"picture": CAT}))
    copy = tmp_path / "backup.sqlite3"
    if store._database.engine.dialect.name == "postgresql":
        with pytest.raises(StoreError) as caught:
            store.backup(copy)
        assert "pg_dump" in caught.value.remedy
        assert not copy.exists()
        return
    store.backup(copy)
    later = store.record(draft())
    with pytest.raises(StoreError, match="exists already"):
        store.backup(copy)
    assert not list(tmp_path.glob("*.part"))
    with Store.open(f"sqlite:///{copy}") as opened:
        assert opened.check() == ()
        assert opened.picture_data(run_id, "picture", "ada") == CAT.data
        assert opened.count(EVERYTHING) == 1
        with pytest.raises(RunNotFoundError):
            opened.run(later, None)


def test_check_names_what_is_wrong(store: Store) -> None:
    run_id = store.record(draft(pictures={"picture": CAT}, artifacts=[text_file("a", "1")]))
    assert store.check() == ()
    with store._database.engine.begin() as connection:
        connection.execute(update(Artifact).where(Artifact.sha256 == CAT.sha256).values(data=b"not a cat"))
    assert store.check() == (f"The bytes of {CAT.sha256} are not those that were stored.",)
    with store._database.engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM run WHERE id = '{run_id}'")
    assert "1 rows of image belong to no run." in store.check()
