"""Runs in and out, whose they are, and what may change: on every backend."""

import math
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core.runs import Metric
from db import RunFilter, Store
from db.errors import InvalidRunError, RunNotFoundError
from db.models import Artifact, Environment, Image, Run, Worker
from tests.support.runs import CAT, DOG, GPU, Input, Picture, draft, rows_of, text_file

EVERYTHING = RunFilter()


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
        draft(
            status="failed",
            duration_ms=None,
            parameters={"file\ud800": "name\x00"},
            error_class="InputError",
            error_message=message,
        )
    )
    run = store.run(run_id, "ada")
    assert run.parameters == {"file\ufffd": "name\ufffd"}
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
