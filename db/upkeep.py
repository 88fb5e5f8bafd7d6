"""What the operator of a store does: backup, export, check."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select

from db.engine import Transactions
from db.errors import StoreError
from db.filters import conditions
from db.models import Artifact, Run, Series
from db.reading import load_runs
from db.records import RunFilter, RunRecord
from db.rows import sha256
from db.writing import UNUSED

EXPORT_CHUNK = 200


def backup_sqlite(engine: Engine, path: Path) -> None:
    """Copy a SQLite store as it is at one moment into a new file; others may go on writing.

    Raises:
        StoreError: The store is not a SQLite file, or `path` exists.
    """
    if engine.dialect.name != "sqlite":
        raise StoreError("Only a SQLite store can be copied to a file.", "Use pg_dump for PostgreSQL.")
    if path.exists():
        raise StoreError(f"{path.name} exists already.", "Name a new file for the backup.")
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with closing(engine.raw_connection()) as source, closing(sqlite3.connect(part)) as target:
            target.execute("PRAGMA journal_mode = OFF")  # a copy that fails is thrown away
            source.driver_connection.backup(target)  # type: ignore[union-attr]
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def export_runs(database: Transactions, where: RunFilter, limit: int | None) -> Iterator[RunRecord]:
    """Yield whole runs, newest first, reading a chunk at a time."""
    left, older = limit, select(Run.id).where(*conditions(where)).order_by(Run.id.desc())
    page = older
    while left is None or left > 0:
        size = EXPORT_CHUNK if left is None else min(EXPORT_CHUNK, left)
        with database.read() as connection:
            records = load_runs(connection, connection.scalars(page.limit(size)).all())
        if not records:
            return
        yield from reversed(records)
        page = older.where(Run.id < records[0].id)
        left = None if left is None else left - len(records)


def problems(connection: Connection) -> Iterator[str]:
    """Yield what is wrong with a store, a sentence each."""
    if connection.dialect.name == "sqlite":
        yield from _sqlite_problems(connection)
    yield from _wrong_digests(connection)
    yield from _leftovers(connection)


def _sqlite_problems(connection: Connection) -> Iterator[str]:
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"The file is damaged: {line}."
    for table, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"A row of {table} refers to a row of {parent} that is not there."


def _wrong_digests(connection: Connection) -> Iterator[str]:
    statement = select(Artifact.sha256, Artifact.size, Artifact.data).execution_options(yield_per=1)
    for digest, size, data in connection.execute(statement):
        if sha256(data) != digest or len(data) != size:
            yield f"The bytes of {digest} are not those that were stored."


def _leftovers(connection: Connection) -> Iterator[str]:
    for table, unused in UNUSED.items():
        if table is Series:  # one without runs is kept for the next that is like those which went on
            continue
        if n := connection.scalar(select(func.count()).select_from(table).where(unused)):
            yield f"{n} rows of {table.__tablename__} belong to no run."
