"""What the recommender reads of earlier runs, against plain Python over the same runs, on both databases."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from ulid import ULID

from core.runs import Artifact, Environment, Metric, RunDraft
from db import Store, evidence
from db.evidence_records import EvidenceRun
from db.writing import find_or_insert_environment, insert_run, run_rows
from tests.db.test_history import Timed, some_runs
from tests.support.runs import CPU, GPU, draft

START = datetime(2026, 3, 28, 21, 30, tzinfo=UTC)
NEWER = Environment("cpu", "Test CPU", "float32", 2, {"python": "3.11", "torch": "3"}, "4567def")
KINDS = ("attention", "vlm")


def insert_at(store: Store, runs: Timed) -> list[str]:
    """Insert runs that began at given times; return their ids."""
    ids = []
    with store._database.write() as connection:
        for time, run in runs:
            rows = run_rows(ULID.from_datetime(time), run, run.status)
            insert_run(connection, rows, find_or_insert_environment(connection, rows.environment))
            ids.append(str(rows.run["id"]))
    return ids


def minute(n: float) -> datetime:
    """Return a time."""
    return START + timedelta(minutes=n)


def expected(runs: list[tuple[str, datetime, RunDraft]], owner: str | None, each: int) -> list[str]:
    """Return the ids of the newest successful runs of each model on a device, in plain Python."""
    groups = defaultdict(list)
    for run_id, time, run in runs:
        counts = run.status == "ok" and not run.parameters.get("loopback") and owner in (None, run.owner)
        if counts and run.kind in KINDS:
            where = run.environment
            groups[run.kind, run.model_id, where.device, where.dtype].append((time, run_id))
    chosen = [one for some in groups.values() for one in sorted(some, reverse=True)[:each]]
    return [run_id for _, run_id in sorted(chosen, reverse=True)]


@pytest.mark.parametrize("owner", ["ada", "bob", None])
def test_the_newest_of_each_model_on_each_device(store: Store, owner: str | None) -> None:
    runs = some_runs(200)
    known = [(i, *one) for i, one in zip(insert_at(store, runs), runs, strict=True)]
    for each in (1, 3, 1_000):
        found = store.evidence(owner, kinds=KINDS, each=each)
        assert {run.run_id for run in found.runs} == set(expected(known, owner, each))
        times = [run.time for run in found.runs]
        assert times == sorted(times, reverse=True)
        assert found.left_out == ()
    by_id = {run_id: run for run_id, _, run in known}
    for run in found.runs:
        draft_ = by_id[run.run_id]
        assert (run.kind, run.model_id, run.duration_ms) == (draft_.kind, draft_.model_id, draft_.duration_ms)
        assert run.parameters == draft_.parameters
        assert run.metrics == {one.name: one.value for one in draft_.metrics if one.name == "cost_usd"}
        assert (run.device, run.device_name, run.dtype) == (
            draft_.environment.device,
            draft_.environment.device_name,
            draft_.environment.dtype,
        )


def test_what_did_not_really_run_never_counts(store: Store) -> None:
    kept = store.record(draft())
    for status in ("failed", "cancelled"):
        store.record(draft(status=status, error_class="timeout"))
    store.start(draft())
    store.record(draft(parameters={"loopback": True}))
    binned = store.record(draft())
    store.trash([binned], "ada")
    shared = store.record(draft(owner="bob"))
    store.annotate(shared, "bob", shared=True)
    assert [run.run_id for run in store.evidence("ada", kinds=KINDS).runs] == [kept]
    assert {run.run_id for run in store.evidence(None, kinds=KINDS).runs} == {kept, shared}
    assert store.evidence("ada", kinds=("vlm",)).runs == ()
    assert store.evidence("ada", kinds=()).runs == ()
    store.restore([binned], "ada")
    assert {run.run_id for run in store.evidence("ada", kinds=KINDS).runs} == {kept, binned}


def test_other_versions_of_packages_count_together(store: Store) -> None:
    runs = [(minute(i), draft(environment=CPU if i % 2 else NEWER)) for i in range(8)]
    runs += [(minute(i), draft(environment=GPU)) for i in range(2)]
    ids = insert_at(store, runs)
    found = store.evidence("ada", kinds=KINDS, each=3)
    assert {run.run_id for run in found.runs} == {*ids[5:8], *ids[8:]}


def test_runs_of_one_moment_are_not_more_than_were_asked_for(store: Store) -> None:
    insert_at(store, [(START, draft()) for _ in range(9)])
    assert len(store.evidence("ada", kinds=KINDS, each=4).runs) == 4


def test_the_file_that_says_where_an_accuracy_is_from(store: Store) -> None:
    report = Artifact("accuracy.json", "application/json", b'{"digest": "scenes:3@0"}')
    other = Artifact("samples.json", "application/json", b"{}")
    wanted = {"top1": 0.5, "images_per_s_batch_8": 90.0, "p50_ms_high": 12.0}
    numbers = [Metric(name, value) for name, value in (wanted | {"p90_ms": 9.0, "images": 3.0}).items()]
    numbers.append(Metric("samples", 1.0, step=4))
    store.record(draft(kind="benchmark", artifacts=[report, other], metrics=numbers))
    store.record(draft(kind="benchmark", model_id="b", artifacts=[other]))
    found = {run.model_id: run for run in store.evidence("ada", kinds=("benchmark",)).runs}
    assert found["vit_tiny"].accuracy == report.data
    assert found["vit_tiny"].metrics == wanted
    assert found["b"].accuracy is None


def test_what_is_too_much_is_left_out_and_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    insert_at(store, [(minute(i + 10 * j), draft(model_id=f"m{i}")) for i in range(5) for j in range(4)])
    monkeypatch.setattr(evidence, "MOST_GROUPS", 3)
    found = store.evidence("ada", kinds=KINDS)
    assert {run.model_id for run in found.runs} == {"m2", "m3", "m4"}  # those with the newest runs
    assert found.left_out == ("m1", "m0")
    monkeypatch.setattr(evidence, "MOST_RUNS", 7)
    found = store.evidence("ada", kinds=KINDS)
    newest: dict[str, list[EvidenceRun]] = defaultdict(list)
    for run in found.runs:
        newest[run.model_id].append(run)
    assert {model: len(runs) for model, runs in newest.items()} == {"m2": 2, "m3": 2, "m4": 2}
    assert all(run.time >= minute(20) for run in found.runs)


def test_no_run_is_looked_at_that_is_not_read(tmp_path: Path) -> None:
    """On SQLite: PostgreSQL reads a table of a few rows as a whole."""
    with Store.open(f"sqlite:///{tmp_path / 'runs.sqlite3'}") as store:
        _look_at_no_run_in_vain(store)


def _look_at_no_run_in_vain(store: Store) -> None:
    insert_at(store, [(minute(i), draft(model_id=f"m{i % 3}")) for i in range(30)])
    asked: list[tuple[str, object]] = []
    engine = store._database.engine
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    assert len(store.evidence("ada", kinds=KINDS, each=2).runs) == 6
    cursor = engine.raw_connection().cursor()
    plans = [
        str(row[3])
        for statement, values in list(asked)
        for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    ]
    assert any(plan.startswith("SEARCH run USING COVERING INDEX ix_run_series") for plan in plans)
    assert not [plan for plan in plans if plan.startswith(("SCAN run", "SCAN metric"))]


def test_one_run_alone_and_none(store: Store) -> None:
    assert store.evidence(None, kinds=KINDS).runs == ()
    store.record(replace(draft(), duration_ms=None, metrics=()))
    (run,) = store.evidence("ada", kinds=KINDS).runs
    assert (run.duration_ms, run.metrics, run.threads) == (None, {}, 2)
