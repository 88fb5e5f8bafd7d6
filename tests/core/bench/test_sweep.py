"""Sweeps in real processes that raise, hang and are killed, with the real store: every cell one row."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.bench.sweep.crew import Here
from core.bench.sweep.plan import SweepPlan
from core.bench.sweep.progress import Phase
from core.bench.sweep.run import KIND, SweepRun
from core.errors import InputError
from core.samples import load_sample
from core.settings import ROOT, settings
from db import RunFilter, Store, StoreError
from db.errors import RunNotFoundError
from tests.conftest import skip_or_fail
from tests.support import postgres
from tests.support.runs import draft
from tests.support.sweep_cells import measure
from tests.support.sweep_on_ray import on_loopback

OWNER = "ada"


@pytest.fixture
def store() -> Iterator[Store]:
    """The store of this test; sound in the end."""
    with Store.open(settings().database_url) as opened:
        yield opened
        assert opened.check() == ()


def begin(store: Store, models: str, count: int = 1, workers: int = 1, **more: Any) -> SweepRun:
    """Begin a sweep of some models over some pictures."""
    return SweepRun.begin(
        plan(models, count, **more), where=Here(workers), measure=measure, ledger=store, owner=OWNER
    )


def plan(models: str, count: int = 1, deadline_s: float = 60.0, **options: Any) -> SweepPlan:
    """Plan a sweep of some models over some pictures."""
    return SweepPlan(tuple(models.split()), tuple(f"p{i}" for i in range(count)), (options,), deadline_s)


def resume(store: Store, set_id: str, **more: Any) -> SweepRun:
    """Go on with a sweep."""
    return SweepRun.resume(set_id, where=Here(), measure=measure, ledger=store, owner=OWNER, **more)


def rows(store: Store, set_id: str) -> dict[int, str]:
    """Return what each cell came to; every cell has one row, and every row is one run."""
    results = store.set_results(set_id, OWNER)
    assert len({result.run_id for result in results}) == len(results)
    for result in results:
        run = store.run(result.run_id, OWNER)
        assert (run.owner, run.parameters["sweep"], run.model_id) == (OWNER, set_id, result.model_id)
    return {result.position: result.error_class or result.status for result in results}


def until(true: Callable[[], object]) -> None:
    """Wait for something that happens elsewhere."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_background(run: SweepRun) -> threading.Thread:
    """Let a sweep work in a thread of its own."""
    thread = threading.Thread(target=run.work)
    thread.start()
    return thread


def test_whatever_becomes_of_a_cell_is_one_row_and_the_sweep_goes_on(store: Store, tmp_path: Path) -> None:
    hang = tmp_path / "hang"
    models = f"print-1 raise-1 bug-1 sysexit-2 nan-1 exit-3 kill-1 segfault-1 hang-{hang} sleep-0"
    run = begin(store, models, workers=2, deadline_s=2.0)
    ended = run.work()
    assert (ended.phase, ended.total, ended.done, ended.failed, ended.under_way) == (Phase.DONE, 10, 10, 8, 0)
    assert list(rows(store, run.set_id).values()) == [
        *("ok", "InputError", "ZeroDivisionError", "SystemExit", "InvalidRunError"),
        *("Crashed", "Killed", "Crashed", "Deadline", "ok"),
    ]
    said = {
        r.model_id: store.run(r.run_id, OWNER).error_message for r in store.set_results(run.set_id, OWNER)
    }
    assert said["raise-1"] == "This picture is not for me. Take another."
    assert said["exit-3"] == "Its process ended (exit code 3)."
    assert "SIGKILL" in said["kill-1"] and "SIGSEGV" in said["segfault-1"]
    assert "longer than 2 s" in said[f"hang-{hang}"]
    until(lambda: not any(psutil.pid_exists(int(pid)) for pid in hang.read_text().split()))
    parent = store.run(run.set_id, OWNER)
    assert (parent.kind, parent.status, parent.metric("cells_failed")) == (KIND, "ok", 8.0)


def test_pause_and_go_on(store: Store) -> None:
    run = begin(store, "sleep-0.02", 8)
    thread = in_background(run)
    until(lambda: run.progress.done >= 2)
    run.pause()
    until(lambda: run.progress.under_way == 0)
    paused = run.progress
    assert (paused.phase, paused.done < 8) == (Phase.PAUSED, True)
    assert paused.left_s and paused.elapsed_s == run.progress.elapsed_s
    run.go_on()
    thread.join()
    assert (run.progress.phase, run.progress.left_s) == (Phase.DONE, 0.0)
    assert len(rows(store, run.set_id)) == 8


def test_cancelled_and_resumed_elsewhere(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = begin(store, "sleep-0 sleep-1000", 2, log=str(log))
    thread = in_background(run)
    until(lambda: run.progress.done == 1 and "1000" in log.read_text())
    run.cancel()
    thread.join()
    assert (run.progress.phase, store.run(run.set_id, OWNER).status) == (Phase.CANCELLED, "cancelled")
    assert [call.position for call in store.open_calls(run.set_id)] == [1, 2, 3]
    again = resume(store, run.set_id)
    assert (again.progress.done, again.progress.total) == (1, 4)
    thread = in_background(again)
    until(lambda: "1000" in log.read_text().partition("1000")[2])
    again.cancel()
    thread.join()
    assert Counter(log.read_text().split("\n"))["sleep-0 p0"] == 1


def test_two_sweeps_at_once_share_a_store_and_no_process(store: Store) -> None:
    runs = [begin(store, "pid", 3) for _ in range(2)]
    threads = [in_background(run) for run in runs]
    for thread in threads:
        thread.join()
    pids = []
    for run in runs:
        assert len(rows(store, run.set_id)) == 3
        pids.append(
            {store.run(r.run_id, OWNER).metric("value") for r in store.set_results(run.set_id, OWNER)}
        )
    assert [len(some) for some in pids] == [1, 1]
    assert pids[0] != pids[1]


def test_a_cell_that_somebody_else_finished_takes_no_second_row(store: Store) -> None:
    run = begin(store, "sleep-0.3 sleep-0")
    thread = in_background(run)
    until(lambda: run.progress.under_way == 2)
    first = store.finish_call(run.set_id, 0, draft(kind="benchmark", parameters={"sweep": run.set_id}))
    thread.join()
    assert (run.progress.phase, run.progress.done) == (Phase.DONE, 2)
    assert store.set_results(run.set_id, OWNER)[0].run_id == first
    assert store.count(RunFilter(kinds=("benchmark",))) == 2


def test_only_an_own_sweep_is_resumed(store: Store) -> None:
    plain, run = store.record(draft()), begin(store, "sleep-0")
    with pytest.raises(InputError, match="is no sweep"):
        resume(store, plain)
    with pytest.raises(StoreError, match="still going"):
        resume(store, run.set_id)
    with pytest.raises(RunNotFoundError):
        SweepRun.resume(run.set_id, where=Here(), measure=measure, ledger=store, owner="bob")


# The whole process dies, or the store fails


def process(store_url: str, chosen: SweepPlan, *more: str) -> "subprocess.Popen[str]":
    """Start a sweep in a process of its own."""
    command = [sys.executable, "-m", "tests.support.sweep_process", store_url, json.dumps(chosen.to_json())]
    return subprocess.Popen([*command, *more], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_sweep_leaves_no_process_and_goes_on_where_it_was(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with process(settings().database_url, plan("sleep-0.05", 12, log=str(log))) as sweep:
        assert sweep.stdout is not None
        set_id = sweep.stdout.readline().strip()
        until(lambda: len(store.set_results(set_id, OWNER)) >= 3)
        children = psutil.Process(sweep.pid).children(recursive=True)
        sweep.kill()
    before = {result.position: result.run_id for result in store.set_results(set_id, OWNER)}
    run = resume(store, set_id)
    assert run.work().phase is Phase.DONE
    assert len(rows(store, set_id)) == 12
    after = {result.position: result.run_id for result in store.set_results(set_id, OWNER)}
    assert before.items() <= after.items()
    measured = Counter(log.read_text().split("\n")[:-1])
    assert len(measured) == 12
    assert sum(measured.values()) <= 12 + 3  # what was under way, and only that, was measured anew
    assert len(psutil.wait_procs(children, 10)[1]) == 0


def test_a_full_disk_ends_the_sweep_with_a_sentence_and_loses_nothing(store: Store) -> None:
    with process(settings().database_url, plan("sleep-0", 20, size=40_000), "300000") as sweep:
        said = sweep.communicate()[0].splitlines()
    set_id, error, sentence = said
    assert error == "StoreFullError"
    assert sentence.startswith("failed The store has no room left") and "Free some space" in sentence
    done = len(rows(store, set_id))
    assert 0 < done < 20
    run = resume(store, set_id)
    assert (run.progress.done, run.work().phase) == (done, Phase.DONE)
    assert len(rows(store, set_id)) == 20


@pytest.mark.postgres
def test_a_database_that_goes_away_is_waited_for_and_at_last_given_up() -> None:
    if postgres.binaries() is None:
        skip_or_fail("no PostgreSQL server is installed")
    with postgres.server() as server:
        url = server.new_database()
        name = postgres.database_name(url)

        def let_in(allowed: bool) -> None:
            server.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {str(allowed).lower()}")
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
            if not allowed:
                server.psql(end.format(name))

        with Store.open(url) as store:
            run = begin(store, "sleep-0.05", 12, workers=2)
            thread = in_background(run)
            until(lambda: run.progress.done >= 2)
            let_in(False)
            until(lambda: run.progress.phase is Phase.WAITING)
            assert "It is tried again." in run.progress.message
            let_in(True)
            thread.join()
            assert (run.progress.phase, run.progress.message) == (Phase.DONE, "")
            assert len(rows(store, run.set_id)) == 12

            chosen = plan("sleep-0.05", 12)
            lost = SweepRun.begin(
                chosen, where=Here(), measure=measure, ledger=store, owner=OWNER, patience_s=0.2
            )
            raised: list[str] = []

            def work() -> None:
                with pytest.raises(StoreError) as failed:
                    lost.work()
                raised.append(type(failed.value).__name__)

            thread = threading.Thread(target=work)
            thread.start()
            until(lambda: lost.progress.done >= 2)
            let_in(False)
            thread.join()
            assert (raised, lost.progress.phase) == (["StoreUnavailableError"], Phase.FAILED)
            assert "store cannot be reached" in lost.progress.message
            let_in(True)
            again = resume(store, lost.set_id, before=lost)
            assert again.work().phase is Phase.DONE
            assert len(rows(store, lost.set_id)) == 12
            assert store.check() == ()


# Many machines


@pytest.mark.postgres
def test_nodes_of_a_ray_cluster_die_and_every_cell_is_one_row(tmp_path: Path) -> None:
    """On both databases: a node is killed in the middle of each sweep."""
    if postgres.binaries() is None:
        skip_or_fail("no PostgreSQL server is installed")
    with postgres.server() as server:
        urls = [f"sqlite:///{tmp_path / 'store.sqlite3'}", server.new_database()]
        command = on_loopback([sys.executable, "-m", "tests.support.sweep_on_ray", *urls])
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
        assert ended.returncode == 0, ended.stderr
        answers = json.loads(ended.stdout)
        assert answers[urls[-1]].pop("file") == len(load_sample("coffee").data)
        for url, sweep in answers.items():
            with Store.open(url) as store:
                assert (sweep["phase"], sweep["message"]) == ("done", "")
                assert rows(store, sweep["set"]) == dict.fromkeys(range(8), "ok")
                assert store.count(RunFilter(kinds=("benchmark",), models=("sleep-0.3",))) == 8
                assert store.run(sweep["set"], OWNER).metric("cells_done") == 8.0
                assert store.check() == ()
