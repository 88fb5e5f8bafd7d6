"""How a database is reached: the address, the connections' settings, transactions.

SQLite runs in WAL mode: readers never wait, and one writer at a time takes the write lock when its
transaction begins, so it cannot fail half-way on a lock. With `synchronous=NORMAL` a commit survives the
process being killed at any moment; a power cut may lose the last commits but never corrupts the file.

PostgreSQL is reached by psycopg 3. Readers see one snapshot (REPEATABLE READ) on both.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import URL, Connection, Engine, Executable, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from db.errors import (
    NotAStoreError,
    StoreError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreUnavailableError,
    translated,
)

LOCK_TIMEOUT_S = 5
"""How long a writer waits for another one before it gives up."""

CHECKPOINT_PAGES = 4_000
"""Size of the WAL at which it is written back, in pages of 4 KiB; each time waits for the disk."""

SQLITE_MAGIC = b"SQLite format 3\x00"


def store_url(text: str) -> URL:
    """Return the address in SQLAlchemy's form, with the driver that this app ships.

    Raises:
        StoreError: It names neither a SQLite file nor a PostgreSQL database.
    """
    remedy = "Use sqlite:////folder/file.sqlite3 or postgresql://user:password@host/database."
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError("The address of the store cannot be read.", remedy) from error
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise StoreError("The address of the store names an unsupported database.", remedy)
    if not url.database or url.database.startswith((":memory:", "file:")):
        raise StoreError("The address of the store names no file.", remedy)
    return url


def create_store_engine(url: URL) -> Engine:
    """Return an engine for an address that `store_url` made. Connects to nothing yet.

    Raises:
        StoreUnavailableError: The folder of a SQLite file does not exist.
        StoreReadOnlyError: That folder cannot be written.
        NotAStoreError: There is a file of another kind at that path.
    """
    to_json = partial(json.dumps, allow_nan=False, separators=(",", ":"))
    if url.get_backend_name() == "sqlite":
        _look_at_file(Path(str(url.database)))
        engine = create_engine(url, json_serializer=to_json, connect_args={"timeout": LOCK_TIMEOUT_S})
        event.listen(engine, "connect", _set_up_sqlite)
        return engine
    engine = create_engine(
        url, json_serializer=to_json, pool_pre_ping=True, connect_args={"connect_timeout": LOCK_TIMEOUT_S}
    )
    event.listen(engine, "connect", _set_up_postgres)
    return engine


def use_wal(engine: Engine) -> None:
    """Switch a SQLite file to WAL for good; SQLite's own waiting does not cover the switch."""
    if engine.dialect.name != "sqlite":
        return
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    with closing(engine.raw_connection()) as connection:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)


def _look_at_file(path: Path) -> None:
    if not path.parent.is_dir():
        raise StoreUnavailableError(f"The folder of {path.name} does not exist.", f"Create {path.parent}.")
    if not os.access(path.parent, os.W_OK | os.X_OK):  # SQLite keeps its log beside the file, also to read
        raise StoreReadOnlyError(
            f"The folder of {path.name} cannot be written.", "Give this user the right to write it."
        )
    if path.is_dir():
        raise NotAStoreError(f"{path.name} is a folder.", "Name a file in it.")
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(SQLITE_MAGIC))
    except OSError as error:
        raise StoreUnavailableError(
            f"{path.name} cannot be read.", "Give this user the right to read it."
        ) from error
    if start not in (b"", SQLITE_MAGIC):
        raise NotAStoreError(
            f"{path.name} is not a database.", "Choose another file; this one was not changed."
        )


def _set_up_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver would begin transactions by rules of its own
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    cursor.close()


QUICK = {"jit": "off", "work_mem": "'64MB'", "random_page_cost": "1.1"}
"""Settings of PostgreSQL for charts: to compile a plan takes longer than to run it; disks have no heads."""


def _set_up_postgres(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    settings = {"lock_timeout": f"'{LOCK_TIMEOUT_S}s'"} | QUICK
    cursor.execute("; ".join(f"SET {name} = {value}" for name, value in settings.items()))
    cursor.close()
    connection.commit()


ONE_MOMENT = {"isolation_level": "REPEATABLE READ"}
"""Options of a PostgreSQL connection whose statements all see the same rows."""

WRITERS = 0x76697369
"""PostgreSQL's advisory lock of all writers: any number that no other program uses in the same database."""

LOCK_SHARED = text(f"SELECT pg_advisory_xact_lock_shared({WRITERS})")
LOCK_ALONE = text(f"SELECT pg_advisory_xact_lock({WRITERS})")


class Transactions:
    """The ways into an open database. Every error that leaves is a `StoreError`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._queue = Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one moment of the database."""
        with translated(), self.engine.connect() as connection:
            if self._is_sqlite:
                _begin(connection, "BEGIN")
            else:
                connection.execution_options(**ONE_MOMENT)
            yield connection

    @contextmanager
    def write(self, *, alone: bool = False) -> Iterator[Connection]:
        """Give a connection whose transaction is committed at the end, or rolled back by an error.

        Several may write to PostgreSQL at once; `alone`, nobody else does: to delete what a new run may
        refer to. SQLite's writers are always alone.
        """
        with translated(), self._turn(), self.engine.begin() as connection:
            if self._is_sqlite:
                _begin(connection, "BEGIN IMMEDIATE")
            else:
                connection.execute(LOCK_ALONE if alone else LOCK_SHARED)
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Queue this process's writers of SQLite: by itself it has them poll, and the unlucky one starve."""
        if not self._is_sqlite:
            yield
            return
        if not self._queue.acquire(timeout=LOCK_TIMEOUT_S):
            raise StoreLockedError("The store is locked (other threads are writing).", "Try again.")
        try:
            yield
        finally:
            self._queue.release()


def _begin(connection: Connection, statement: str) -> None:
    """Begin a transaction of SQLite, past SQLAlchemy: through it this costs as much as an INSERT."""
    connection.connection.cursor().execute(statement)


def plain_rows(connection: Connection, statement: Executable) -> list[tuple[Any, ...]]:
    """Return rows as the driver gives them: of a hundred thousand, SQLAlchemy's take as long again."""
    with closing(connection.execute(statement)) as result:
        return list(result.cursor.fetchall())
