"""Real faults: killed, locked, full, read-only, damaged. Each is named, and what was acknowledged stays."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psycopg
import pytest

from core.runs import Metric
from db import RunFilter, Store
from db.errors import (
    StoreDamagedError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from tests.support import postgres
from tests.support.runs import Picture, draft, text_file
from tests.support.writers import (
    assert_whole,
    fill,
    fill_a_bounded_file,
    open_and_close,
    record_for_ever,
    record_from_threads,
    start_and_wait,
    whole_run,
)

ROOT = Path(__file__).parents[2]
KILLS = {"sqlite": 50, "postgresql": 10}
EVERYTHING = RunFilter()


# Killed


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(
    url: str, tmp_path: Path, processes: ForkServerContext
) -> None:
    kills = KILLS[url.partition(":")[0]]
    moments, acknowledged = random.Random(0), tmp_path / "acknowledged"
    acknowledged.touch()
    for i in range(kills):
        size = acknowledged.stat().st_size
        process = processes.Process(target=record_for_ever, args=(url, acknowledged, 1000 * i))
        process.start()
        while i % 5 and acknowledged.stat().st_size == size:  # every fifth may be hit before its first run
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.join()
        if i % 10 == 0:
            with Store.open(url) as store:
                assert store.check() == ()
    ids = acknowledged.read_text().split()
    with Store.open(url) as store:
        assert store.check() == ()
        present = [run.id for run in store.runs(EVERYTHING, limit=1_000_000)]
        assert set(ids) <= set(present)
        assert kills // 2 < len(ids) <= len(present) <= len(ids) + kills
        for run_id in present:
            assert_whole(store, run_id)


def test_a_kill_while_a_new_store_is_made_leaves_nothing_half_made(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    moments = random.Random(0)
    for i in range(10):
        url = f"sqlite:///{tmp_path / f'{i}.sqlite3'}"
        process = processes.Process(target=open_and_close, args=(url,))
        process.start()
        time.sleep(moments.uniform(0.01, 0.15))
        process.kill()
        process.join()
        with Store.open(url) as store:
            store.record(draft())
            assert store.check() == ()


def test_a_run_whose_process_was_killed_is_found(url: str, processes: ForkServerContext) -> None:
    here, there = processes.Pipe()
    process = processes.Process(target=start_and_wait, args=(url, there))
    process.start()
    run_id = here.recv()
    with Store.open(url) as store:
        mine = store.start(draft(kind="training"))
        assert store.run(run_id, "ada").status == "running"  # the process lives
        process.kill()
        process.join()
        assert store.interrupt_stale() == 1
        run = store.run(run_id, "ada")
        assert (run.status, run.error_class, run.duration_ms) == ("failed", "Interrupted", None)
        assert store.run(mine, "ada").status == "running"


# Several at once


def test_threads_of_several_processes_write_at_once(url: str, processes: ForkServerContext) -> None:
    pipes = [processes.Pipe() for _ in range(4)]
    writers = [
        # Neighbours share half of their seeds, so that they insert the same pictures and files.
        processes.Process(target=record_from_threads, args=(url, 6 * i, there))
        for i, (_, there) in enumerate(pipes)
    ]
    for writer in writers:
        writer.start()
    ids = [run_id for here, _ in pipes for run_id in here.recv()]
    for writer in writers:
        writer.join()
    with Store.open(url) as store:
        assert sorted(run.id for run in store.runs(EVERYTHING)) == sorted(ids)
        assert len(set(ids)) == 48
        assert store.check() == ()
        for run_id in ids:
            assert_whole(store, run_id)


def test_runs_are_deleted_while_equal_ones_are_recorded(url: str) -> None:
    picture = {"picture": Picture("p", b"shared by all")}

    def churn(store: Store) -> None:
        for _ in range(15):
            store.delete([store.record(draft(pictures=picture))], None)

    with Store.open(url) as first, Store.open(url) as second, ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(churn, store) for store in (first, second, first, second)]:
            done.result()
        assert first.count(EVERYTHING) == 0
        assert first.check() == ()


def test_threads_log_into_one_run_without_losing_a_number(store: Store) -> None:
    run_id = store.start(draft(metrics=[]))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda i: store.log(run_id, [Metric("loss", i, step=i)]), range(40)))
    assert sorted(m.value for m in store.run(run_id, "ada").metrics) == list(range(40))


# Locked


@contextmanager
def somebody_holding(url: str) -> Iterator[None]:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE run IN EXCLUSIVE MODE")
            yield


def test_a_store_that_stays_locked_says_so_and_can_be_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.engine.LOCK_TIMEOUT_S", 1)
    with Store.open(url) as store:
        run_id = store.record(draft())
        with somebody_holding(url):
            with pytest.raises(StoreLockedError, match="locked") as caught:
                store.record(draft())
            assert "Try again" in caught.value.remedy
            assert store.run(run_id, "ada").id == run_id
        store.record(draft())
        assert store.count(EVERYTHING) == 2


# Full


def test_a_file_that_may_not_grow_says_so_and_keeps_what_it_has(
    sqlite_store: Callable[[Path], str], tmp_path: Path, processes: ForkServerContext
) -> None:
    url = sqlite_store(tmp_path)
    here, there = processes.Pipe()
    process = processes.Process(target=fill_a_bounded_file, args=(url, 500_000, there))
    process.start()
    ids, error = here.recv()
    process.join()
    assert (error, len(ids) > 0) == (StoreFullError.__name__, True)
    with Store.open(url) as store:
        assert store.check() == ()
        assert sorted(run.id for run in store.runs(EVERYTHING)) == ids
        for run_id in ids:
            assert_whole(store, run_id)
        store.record(draft())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_says_so_and_keeps_what_it_has(
    sqlite_store: Callable[[Path], str], tiny_disk: Path
) -> None:
    with Store.open(sqlite_store(tiny_disk)) as store:
        ids, error = fill(store)
        assert (error, len(ids) > 0) == (StoreFullError.__name__, True)
        assert store.check() == ()
        assert sorted(run.id for run in store.runs(EVERYTHING)) == ids
        for run_id in ids:
            assert_whole(store, run_id)


# Read-only

READ_ONLY = """
import json, sys
from db import RunFilter, Store, StoreError
from tests.support.runs import draft
answers = []
for url in sys.argv[1:]:
    try:
        with Store.open(url) as store:
            answers.append(f"opened with {store.count(RunFilter())}")
            store.record(draft())
    except StoreError as error:
        answers.append(type(error).__name__)
print(json.dumps(answers))
"""


def without_roots_rights() -> list[str]:
    """Return the words before a command that make root an ordinary user to the file system."""
    drop = "-dac_override,-dac_read_search"
    return ["setpriv", "--bounding-set", drop] if os.geteuid() == 0 else []


def test_a_read_only_file_is_read_and_a_read_only_folder_is_named(
    sqlite_store: Callable[[Path], str], tmp_path: Path
) -> None:
    contents = {}
    for name, file_mode, folder_mode in (("file", 0o444, 0o755), ("folder", 0o644, 0o555), ("new", 0, 0o555)):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / "store.sqlite3"
        if file_mode:
            with Store.open(sqlite_store(folder)) as store:
                store.record(draft())
            path.chmod(file_mode)
            contents[path] = path.read_bytes()
        folder.chmod(folder_mode)
    urls = [f"sqlite:///{tmp_path / name / 'store.sqlite3'}" for name in ("file", "folder", "new")]
    command = [*without_roots_rights(), sys.executable, "-c", READ_ONLY, *urls]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    error = StoreReadOnlyError.__name__
    assert json.loads(done.stdout) == ["opened with 1", error, error, error]
    assert {path: path.read_bytes() for path in contents} == contents
    for name in ("file", "folder", "new"):
        (tmp_path / name).chmod(0o755)


@pytest.mark.postgres
def test_a_read_only_server_is_read(postgres_store: Callable[[], str], server: postgres.Server) -> None:
    url = postgres_store()
    database = postgres.database_name(url)
    server.psql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        with Store.open(url) as store:
            assert store.count(EVERYTHING) == 0
            with pytest.raises(StoreReadOnlyError):
                store.record(draft())
    finally:
        server.psql(f"ALTER DATABASE {database} RESET default_transaction_read_only")


# Damaged and lost


def test_a_damaged_file_is_told_from_a_sound_one(sqlite_store: Callable[[Path], str], tmp_path: Path) -> None:
    url = sqlite_store(tmp_path)
    path = tmp_path / "store.sqlite3"
    with Store.open(url) as store:
        for seed in range(20):
            store.record(whole_run(seed))
    content = bytearray(path.read_bytes())
    third = len(content) // 3  # the last one has runs, and nothing that is read when a store is opened
    content[2 * third :] = bytes(len(content) - 2 * third)
    path.write_bytes(content)
    with Store.open(url) as store:
        assert any("damaged" in problem for problem in store.check())
        with pytest.raises(StoreDamagedError):
            list(store.export(EVERYTHING))


@pytest.mark.postgres
def test_a_lost_connection_is_told_and_mended(
    postgres_store: Callable[[], str], server: postgres.Server
) -> None:
    url = postgres_store()
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with Store.open(url) as store:
        store.record(draft())
        server.psql(f"{end_all} AND pid <> pg_backend_pid()", url)
        store.record(draft())  # a new connection, unnoticed
        assert store.count(EVERYTHING) == 2
        with pytest.raises(StoreUnavailableError), store._database.read() as connection:
            server.psql(f"{end_all} AND pid <> pg_backend_pid()", url)
            connection.exec_driver_sql("SELECT 1")
        assert store.count(EVERYTHING) == 2


def test_a_backup_is_consistent_while_others_write(
    sqlite_store: Callable[[Path], str], tmp_path: Path, processes: ForkServerContext
) -> None:
    url, acknowledged = sqlite_store(tmp_path), tmp_path / "acknowledged"
    acknowledged.touch()
    process = processes.Process(target=record_for_ever, args=(url, acknowledged, 0))
    process.start()
    try:
        with Store.open(url) as store:
            for i in range(3):
                while len(acknowledged.read_text().split()) < 10 * (i + 1):
                    time.sleep(0.001)
                before = acknowledged.read_text().split()
                store.backup(tmp_path / f"backup{i}.sqlite3")
                with Store.open(f"sqlite:///{tmp_path / f'backup{i}.sqlite3'}") as copy:
                    assert copy.check() == ()
                    present = {run.id for run in copy.runs(EVERYTHING, limit=1_000_000)}
                    assert set(before[:-1]) <= present
                    for run_id in present:
                        assert_whole(copy, run_id)
    finally:
        process.kill()
        process.join()


def test_a_backup_that_finds_no_room_leaves_no_file(
    sqlite_store: Callable[[Path], str], tmp_path: Path, tiny_disk: Path
) -> None:
    with Store.open(sqlite_store(tmp_path)) as store:
        store.record(draft(artifacts=[text_file("big", "x" * 4_000_000)]))
        with pytest.raises(StoreFullError):
            store.backup(tiny_disk / "backup.sqlite3")
    assert list(tiny_disk.iterdir()) == []
    assert shutil.disk_usage(tiny_disk).used == 0
