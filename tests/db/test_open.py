"""Opening: new and old databases, several at once, and what is not ours."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from db import RunFilter, Store
from db.engine import create_store_engine, store_url
from db.errors import (
    NotAStoreError,
    StoreError,
    StoreUnavailableError,
    StoreVersionError,
)
from db.migrations import HEAD, HERE, REVISIONS
from db.models import Base
from tests.support import postgres
from tests.support.runs import draft
from tests.support.writers import open_and_record

ROOT = Path(__file__).parents[2]


def engine_of(url: str) -> Engine:
    return create_engine(store_url(url))


def alembic_config(connection: object = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.attributes["connection"] = connection
    return config


# New stores


def test_a_new_database_becomes_a_store(empty_url: str) -> None:
    with Store.open(empty_url) as store:
        run_id = store.record(draft())
    with Store.open(empty_url) as again:
        assert again.run(run_id, "ada").id == run_id
        assert again.check() == ()


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    path.touch()
    with Store.open(f"sqlite:///{path}") as store:
        store.record(draft())


def is_a_model(_thing: object, name: str, kind: str, *_: object) -> bool:
    """Leave out what is another kind of table on each database."""
    return not (kind == "table" and name.startswith("run_words"))


def test_the_tables_are_those_of_the_models(url: str) -> None:
    engine = engine_of(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": is_a_model}
        )
        assert compare_metadata(context, Base.metadata) == []
        for table in Base.metadata.sorted_tables:
            checks = inspect(connection).get_check_constraints(table.name)
            named = {c.name for c in table.constraints if str(c.name).startswith("ck_")}
            assert {check["name"] for check in checks} == named
    engine.dispose()


def test_the_revisions_are_those_that_alembic_finds() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert [revision.revision for revision in script.walk_revisions()][::-1] == list(REVISIONS)
    assert script.get_current_head() == HEAD


def test_sqlite_is_set_up_as_promised(sqlite_store: Callable[[Path], str], tmp_path: Path) -> None:
    with Store.open(sqlite_store(tmp_path)) as store, store._database.read() as connection:

        def pragma(name: str) -> object:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

        assert pragma("journal_mode") == "wal"
        assert (pragma("foreign_keys"), pragma("synchronous"), pragma("busy_timeout")) == (1, 1, 5000)


def test_opening_a_store_at_head_is_quick_and_leaves_heavy_packages_alone(
    sqlite_store: Callable[[Path], str], tmp_path: Path
) -> None:
    code = f"""
import json, sys, time
from db import Store
start = time.perf_counter()
Store.open({sqlite_store(tmp_path)!r}).close()
seconds = time.perf_counter() - start
heavy = {{"alembic", "torch", "timm", "transformers", "streamlit", "core", "psycopg"}} & set(sys.modules)
print(json.dumps([seconds, sorted(heavy)]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, heavy = json.loads(done.stdout)
    assert heavy == []
    assert seconds < 1  # a few milliseconds on an idle machine


def test_processes_that_open_a_new_store_at_once_do_not_race(
    empty_url: str, processes: ForkServerContext
) -> None:
    with ProcessPoolExecutor(6, mp_context=processes) as pool:
        list(pool.map(len, [""] * 6))  # every process is up before the first one opens
        ids = [run_id for some in pool.map(open_and_record, [empty_url] * 6, [3] * 6) for run_id in some]
    with Store.open(empty_url) as store:
        assert {run.id for run in store.runs(RunFilter())} == set(ids)
        assert len(ids) == 18
        assert store.check() == ()


# Old and newer stores

ROWS_OF_THE_FIRST_VERSION = (
    "INSERT INTO environment (digest, device, device_name, dtype, threads, versions, git_revision)"
    """ VALUES ('d', 'cpu', 'CPU', 'float32', 2, '{"python": "3.11"}', 'abc')""",
    "INSERT INTO run VALUES ('01KAAAAAAAAAAAAAAAAAAAAAA1', 1700000000000, 'attention', 'vit', 'r', 'ok',"
    """ 12.5, 1, 'ada', false, '', '', 'kept', '{"layer": 3}', '{"head": "mean"}')""",
    "INSERT INTO run VALUES ('01KAAAAAAAAAAAAAAAAAAAAAA2', 1700000001000, 'training', 'vit', 'r', 'running',"
    " NULL, 1, 'ada', false, '', '', '', '{}', '{}')",
    "INSERT INTO metric VALUES ('01KAAAAAAAAAAAAAAAAAAAAAA1', 0, 'latency_ms', 12.5, 'ms', NULL)",
)


def test_a_store_of_the_first_version_is_upgraded_with_its_rows(empty_url: str) -> None:
    engine = engine_of(empty_url)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
        for statement in ROWS_OF_THE_FIRST_VERSION:
            connection.exec_driver_sql(statement)
    engine.dispose()
    with Store.open(empty_url) as store:
        run = store.run("01KAAAAAAAAAAAAAAAAAAAAAA1", "ada")
        assert (run.note, run.parameters, run.view) == ("kept", {"layer": 3}, {"head": "mean"})
        assert run.time.timestamp() == 1_700_000_000
        assert run.metric("latency_ms") == 12.5
        assert run.environment.versions == {"python": "3.11"}
        assert store.run("01KAAAAAAAAAAAAAAAAAAAAAA2", "ada").error_class == "Interrupted"
        store.keep_derived("0" * 64, b"derived", 1)
        assert store.derived("0" * 64) == b"derived"
        store.record(draft())
        assert store.check() == ()


def test_a_newer_store_is_left_alone(url: str) -> None:
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        with pytest.raises(StoreVersionError, match=r"newer version .*\(revision 9999") as caught:
            Store.open(url)
        assert "Update" in caught.value.remedy
    finally:
        with engine.begin() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
            connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})
        engine.dispose()


# What is not ours


@pytest.mark.parametrize("content", [b"x", b"hello\n" * 1000, b"\x89PNG\r\n\x1a\n" + bytes(500), b"SQLite"])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "holiday.png"
    path.write_bytes(content)
    with pytest.raises(NotAStoreError, match=r"holiday\.png is not a database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_only_begins_like_a_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "broken.sqlite3"
    content = b"SQLite format 3\x00" + b"\xff" * 5000
    path.write_bytes(content)
    with pytest.raises(StoreError):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == content


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
@pytest.mark.parametrize("table", ["holiday (place TEXT)", "alembic_version (version_num TEXT)"])
def test_another_programs_database_is_left_alone(tmp_path: Path, journal_mode: str, table: str) -> None:
    path = tmp_path / "holidays.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.execute(f"CREATE TABLE {table}")
        connection.commit()
    content = path.read_bytes()
    with pytest.raises(NotAStoreError, match="another program"):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.postgres
def test_another_programs_postgres_database_is_left_alone(server: postgres.Server) -> None:
    url = server.new_database()
    server.psql("CREATE TABLE holiday (place TEXT)", url)
    with pytest.raises(NotAStoreError, match="another program"):
        Store.open(url)
    tables = server.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", url)
    assert tables.split() == ["holiday"]


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotAStoreError, match="is a folder"):
        Store.open(f"sqlite:///{tmp_path}")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        Store.open(f"sqlite:///{tmp_path / 'no' / 'store.sqlite3'}")
    assert str(tmp_path / "no") in caught.value.remedy


# Addresses


@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "mysql://user:secret@host/base", "sqlite://", "sqlite:///:memory:", "://", "sqlite:"],
)
def test_an_address_that_cannot_be_used_gets_the_two_that_can(address: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(address)
    assert "sqlite:////" in caught.value.remedy
    assert "postgresql://" in caught.value.remedy
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_spelling_of_postgresql_is_taken(scheme: str) -> None:
    engine = create_store_engine(store_url(f"{scheme}://user:secret@host/base"))
    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ada:secret@127.0.0.1:9/base",
        "postgresql://ada@127.0.0.1:9/base?password=secret",
        "postgresql://ada:pass@secret@127.0.0.1:9/base",
        "postgresql://ada:secret@127.0.0.1:port/base",
        "postgresql://ada:x@127.0.0.1:9/base?connect_timeout=secret",
    ],
)
def test_no_message_holds_the_password(address: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(address)
    assert "secret" not in f"{caught.value} {caught.value.remedy}"


def test_a_server_that_is_not_there_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="no answer"):
        Store.open(f"postgresql://ada@/base?host={tmp_path}")


@pytest.mark.postgres
def test_a_database_that_is_not_there_is_found_out(server: postgres.Server) -> None:
    url = server.new_database()
    with pytest.raises(StoreUnavailableError, match="no such database"):
        Store.open(url.replace("?", "_missing?"))
