"""The contract of the store, on every backend."""

import json
import math
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, update

from core.runs import Metric
from db import RunFilter, Store
from db.errors import InvalidRunError, RunNotFoundError, StoreError
from db.models import Artifact, Base, Environment, Image, Run, Worker
from tests.support.runs import GPU, Input, Picture, draft, text_file

EVERYTHING = RunFilter()
CAT, DOG = Picture("cat.png", b"bytes of a cat"), Picture("dog.png", b"bytes of a dog", width=7)


def rows_of(store: Store, table: type[Base]) -> int:
    with store._database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


# Recording


def test_a_recorded_run_comes_back_whole(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    run_id = store.record(
        draft(
            pictures={"first": CAT, "second": DOG},
            artifacts=[text_file("b.txt", "two"), text_file("a.txt", "one")],
            tags=["zebra", "apple", "zebra"],
            note="look at the ears",
        )
    )
    run = store.run(run_id, "ada")
    assert (run.id, run.kind, run.model_id, run.model_revision) == (run_id, "attention", "vit_tiny", "r1")
    assert before <= run.time <= datetime.now(UTC)
    assert run.time.tzinfo is UTC
    assert (run.status, run.error_class, run.error_message, run.duration_ms) == ("ok", "", "", 12.5)
    assert run.parameters == {"layer": 3, "head": "mean", "query": [1, 2]}
    assert run.view == {}
    assert (run.owner, run.shared, run.tags, run.note) == (
        "ada",
        False,
        ("apple", "zebra"),
        "look at the ears",
    )
    assert [(m.name, m.value, m.unit, m.step) for m in run.metrics] == [
        ("latency_ms", 12.5, "ms", None),
        ("row_sum_error", 1e-7, "", None),
    ]
    assert run.metric("latency_ms") == 12.5
    assert run.metric("unknown") is None
    assert (run.environment.device, run.environment.threads) == ("cpu", 2)
    assert run.environment.versions == {"python": "3.11", "torch": "2"}
    assert [(p.role, p.name, p.sha256, p.width, p.size, p.kept) for p in run.inputs] == [
        ("first", "cat.png", CAT.sha256, 4, len(CAT.data), True),
        ("second", "dog.png", DOG.sha256, 7, len(DOG.data), True),
    ]
    assert run.inputs[0].thumbnail == CAT.thumbnail
    assert [(a.name, a.media_type, a.size) for a in run.artifacts] == [
        ("a.txt", "text/plain", 3),
        ("b.txt", "text/plain", 3),
    ]
    assert store.artifact(run_id, "b.txt", "ada") == b"two"
    assert store.picture_data(run_id, "second", "ada") == DOG.data


def test_a_failed_run_keeps_what_went_wrong_whatever_its_text(store: Store) -> None:
    message = "cannot read \x00 \ud800 of 'x'"
    run_id = store.record(
        draft(status="failed", duration_ms=None, error_class="InputError", error_message=message)
    )
    run = store.run(run_id, "ada")
    assert (run.status, run.error_class, run.duration_ms) == ("failed", "InputError", None)
    assert run.error_message == "cannot read \ufffd \ufffd of 'x'"


def test_ids_sort_by_time_within_a_process(store: Store) -> None:
    ids = [store.record(draft()) for _ in range(50)]
    assert ids == sorted(ids)
    assert [run.id for run in store.runs(EVERYTHING)] == ids[::-1]


def test_records_are_frozen_and_share_nothing_with_the_store(store: Store) -> None:
    run_id = store.record(draft())
    run = store.run(run_id, "ada")
    with pytest.raises(FrozenInstanceError):
        run.note = "changed"  # type: ignore[misc]
    dict(run.parameters)["layer"] = 99
    assert store.run(run_id, "ada").parameters["layer"] == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metrics": [Metric("loss", math.nan)]}, "metric 'loss' is nan"),
        ({"metrics": [Metric("fine", 1.0), Metric("loss", -math.inf)]}, "metric 'loss' is -inf"),
        ({"metrics": [Metric("loss", 1.0, step=-1)]}, "step -1"),
        ({"metrics": [Metric("loss", 1.0, step=2**63)]}, "step"),
        ({"duration_ms": math.inf}, "duration_ms is inf"),
        ({"duration_ms": -1.0}, "duration"),
        ({"parameters": {"a": [1, {"b": math.nan}]}}, r"parameters\.a\[1\]\.b is nan"),
        ({"parameters": {"path": Path("x")}}, r"parameters\.path is of type .*Path"),
        ({"parameters": {3: "x"}}, "key"),
        ({"parameters": {"raw": b"x"}}, "bytes"),
        ({"status": "running"}, "status is 'running'"),
        ({"status": "fine"}, "status is 'fine'"),
        ({"kind": ""}, "named"),
        ({"owner": ""}, "named"),
        ({"artifacts": [text_file("a", "1"), text_file("a", "2")]}, "artifact 'a'"),
        ({"inputs": [Input("picture", CAT), Input("picture", DOG)]}, "role 'picture'"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_is_written(
    store: Store, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRunError, match=words) as caught:
        store.record(replace(draft(pictures={"picture": CAT}), **change))
    assert isinstance(caught.value, ValueError)
    assert caught.value.remedy
    assert [rows_of(store, table) for table in (Run, Image, Artifact, Environment)] == [0, 0, 0, 0]


def test_a_picture_whose_digest_is_not_its_own_is_refused(store: Store) -> None:
    class Liar(Picture):
        sha256 = DOG.sha256  # type: ignore[assignment]

    with pytest.raises(InvalidRunError, match=r"digest of 'cat\.png'"):
        store.record(draft(pictures={"picture": Liar("cat.png", CAT.data)}))


# Runs that go on for a while


def test_a_started_run_grows_and_ends(store: Store) -> None:
    run_id = store.start(draft(kind="training", metrics=[], duration_ms=None))
    assert store.run(run_id, "ada").status == "running"
    for epoch in range(3):
        store.log(run_id, [Metric("loss", 1 / (epoch + 1), step=epoch), Metric("rate", 0.1, step=epoch)])
    store.finish(
        run_id,
        status="ok",
        duration_ms=250.0,
        metrics=[Metric("top1", 97.5, "%")],
        artifacts=[text_file("card.json", "{}")],
    )
    run = store.run(run_id, "ada")
    assert (run.status, run.duration_ms) == ("ok", 250.0)
    assert [(m.name, m.step) for m in run.metrics] == [
        *((name, step) for step in range(3) for name in ("loss", "rate")),
        ("top1", None),
    ]
    assert store.artifact(run_id, "card.json", "ada") == b"{}"
    assert rows_of(store, Worker) == 0


def test_a_finished_run_does_not_change(store: Store) -> None:
    run_id = store.record(draft())
    before = store.run(run_id, "ada")
    for change in (
        lambda: store.log(run_id, [Metric("late", 1.0)]),
        lambda: store.finish(run_id, status="failed", duration_ms=1.0),
    ):
        with pytest.raises(InvalidRunError, match="is finished"):
            change()
    assert store.run(run_id, "ada") == before


def test_finishing_is_all_or_nothing(store: Store) -> None:
    run_id = store.start(draft(artifacts=[text_file("log", "first")]))
    with pytest.raises(InvalidRunError):  # a second file of that name
        store.finish(run_id, status="ok", duration_ms=1.0, artifacts=[text_file("log", "again")])
    run = store.run(run_id, "ada")
    assert (run.status, len(run.metrics)) == ("running", 2)
    assert store.artifact(run_id, "log", "ada") == b"first"
    assert store.check() == ()


def test_a_run_that_is_not_there_cannot_be_continued(store: Store) -> None:
    with pytest.raises(RunNotFoundError):
        store.log("0" * 26, [])
    with pytest.raises(RunNotFoundError):
        store.finish("0" * 26, status="ok", duration_ms=1.0)


def test_a_silent_run_of_another_machine_is_interrupted_after_a_day(store: Store) -> None:
    here, silent, talking = (store.start(draft(duration_ms=None)) for _ in range(3))
    now = datetime.now(UTC)
    with store._database.engine.begin() as connection:
        for run_id, hours in ((silent, 25), (talking, 23)):
            statement = update(Worker).where(Worker.run_id == run_id)
            connection.execute(statement.values(machine="elsewhere", seen=now - timedelta(hours=hours)))
    assert store.interrupt_stale() == 1
    assert store.interrupt_stale() == 0
    run = store.run(silent, "ada")
    assert (run.status, run.error_class) == ("failed", "Interrupted")
    assert {store.run(i, "ada").status for i in (here, talking)} == {"running"}


# Pictures and files


def test_without_keeping_pictures_digest_and_thumbnail_remain(url: str) -> None:
    with Store.open(url, keep_pictures=False) as store:
        run_id = store.record(draft(pictures={"picture": CAT}))
        picture = store.run(run_id, "ada").inputs[0]
        assert (picture.sha256, picture.thumbnail, picture.kept) == (CAT.sha256, CAT.thumbnail, False)
        assert store.picture_data(run_id, "picture", "ada") is None
        assert store.pictures("ada") == ()
        assert rows_of(store, Artifact) == 0


def test_a_picture_becomes_kept_when_it_comes_again_and_stays_so(url: str) -> None:
    def record(keep_pictures: bool) -> str:
        with Store.open(url, keep_pictures=keep_pictures) as store:
            return store.record(draft(pictures={"picture": CAT}))

    first, _, last = record(False), record(True), record(False)
    with Store.open(url) as store:
        assert store.picture_data(first, "picture", "ada") == CAT.data
        assert store.picture_data(last, "picture", "ada") == CAT.data
        assert rows_of(store, Image) == 1


def test_equal_things_are_stored_once(store: Store) -> None:
    same_bytes = text_file("copy of the cat", CAT.data.decode())
    for _ in range(3):
        store.record(draft(pictures={"a": CAT, "b": replace(CAT, name="again.png")}, artifacts=[same_bytes]))
    store.record(draft(environment=GPU))
    assert [rows_of(store, table) for table in (Run, Image, Artifact, Environment)] == [4, 1, 1, 2]


def test_what_is_not_in_a_run_is_not_found(store: Store) -> None:
    run_id = store.record(draft(pictures={"picture": CAT}))
    for read in (
        lambda: store.run("0" * 26, None),
        lambda: store.picture_data(run_id, "mask", None),
        lambda: store.artifact(run_id, "map.npy", None),
    ):
        with pytest.raises(RunNotFoundError):
            read()


def test_kept_pictures_come_once_and_newest_first(store: Store) -> None:
    store.record(draft(pictures={"picture": CAT}))
    store.record(draft(pictures={"picture": DOG}))
    newest = store.record(draft(pictures={"first": replace(CAT, name="my cat.png")}))
    store.record(draft(owner="bob", pictures={"picture": Picture("other", b"other")}))
    found = store.pictures("ada")
    assert [(p.sha256, p.name) for p in found] == [(CAT.sha256, "my cat.png"), (DOG.sha256, "dog.png")]
    assert (found[0].run_id, found[0].role) == (newest, "first")
    assert store.picture_data(found[0].run_id, found[0].role, "ada") == CAT.data
    assert len(store.pictures("ada", limit=1)) == 1
    assert len(store.pictures(None)) == 3


# Who sees and changes what


def test_a_strangers_run_does_not_exist(store: Store) -> None:
    run_id = store.record(draft(owner="ada", pictures={"picture": CAT}, artifacts=[text_file("a", "1")]))
    for attempt in (
        lambda: store.run(run_id, "eve"),
        lambda: store.picture_data(run_id, "picture", "eve"),
        lambda: store.artifact(run_id, "a", "eve"),
        lambda: store.annotate(run_id, "eve", note="mine"),
        lambda: store.set_view(run_id, "eve", {"layer": 1}),
    ):
        with pytest.raises(RunNotFoundError) as caught:
            attempt()
        assert str(caught.value) == str(RunNotFoundError(run_id))
    assert store.delete([run_id], "eve") == 0
    assert store.thumbnails([CAT.sha256], "eve") == {}
    assert store.pictures("eve") == ()
    assert store.runs(RunFilter(owner="eve")) == ()
    assert store.count(RunFilter(owner="eve")) == 0
    assert not store.facets(RunFilter(owner="eve")).kinds
    assert store.run(run_id, "ada").note == ""
    assert store.run(run_id, None).owner == "ada"


def test_a_shared_run_is_seen_by_everybody_and_changed_by_its_owner(store: Store) -> None:
    run_id = store.record(draft(pictures={"picture": CAT}, artifacts=[text_file("a", "1")]))
    store.annotate(run_id, "ada", shared=True)
    assert store.run(run_id, "eve").shared
    assert store.picture_data(run_id, "picture", "eve") == CAT.data
    assert store.artifact(run_id, "a", "eve") == b"1"
    assert store.thumbnails([CAT.sha256], "eve") == {CAT.sha256: CAT.thumbnail}
    assert store.runs(RunFilter(owner="eve")) == ()
    with pytest.raises(RunNotFoundError):
        store.annotate(run_id, "eve", shared=False)
    assert store.delete([run_id], "eve") == 0
    store.annotate(run_id, "ada", shared=False)
    with pytest.raises(RunNotFoundError):
        store.run(run_id, "eve")


def test_annotations_change_and_leave_the_rest(store: Store) -> None:
    run_id = store.record(draft(tags=["a"], note="first"))
    store.annotate(run_id, "ada", tags=["c", " b ", "", "c"])
    assert (store.run(run_id, "ada").tags, store.run(run_id, "ada").note) == (("b", "c"), "first")
    store.annotate(run_id, "ada", note="second", tags=[])
    assert (store.run(run_id, "ada").tags, store.run(run_id, "ada").note) == ((), "second")
    store.annotate(run_id, None, note="")
    assert store.run(run_id, "ada").note == ""


def test_the_view_changes_and_the_parameters_do_not(store: Store) -> None:
    run_id = store.record(draft())
    store.set_view(run_id, "ada", {"layer": 7, "opacity": 0.5})
    run = store.run(run_id, "ada")
    assert run.view == {"layer": 7, "opacity": 0.5}
    assert run.parameters["layer"] == 3
    with pytest.raises(InvalidRunError, match="view"):
        store.set_view(run_id, "ada", {"when": datetime.now(UTC)})


# Lists


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


def test_a_long_list_takes_two_queries(store: Store) -> None:
    for i in range(20):
        store.record(draft(tags=[f"tag {i}"], pictures={"picture": CAT, "mask": DOG}))
    statements: list[str] = []
    event.listen(store._database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    runs = store.runs(RunFilter(owner="ada"))
    assert len(runs) == 20
    assert {run.picture_sha256 for run in runs} == {CAT.sha256}
    assert runs[0].tags == ("tag 19",)
    assert len(statements) == 2
    assert store.thumbnails([r.picture_sha256 for r in runs if r.picture_sha256], "ada") == {
        CAT.sha256: CAT.thumbnail
    }
    assert len(statements) == 3


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
    assert "1 images belong to no run." in store.check()
