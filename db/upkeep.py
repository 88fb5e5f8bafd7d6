"""What the operator of a store does: backup, export, check."""

import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import BigInteger, Connection, Engine, func, literal, select, tuple_, type_coerce

from db.engine import Transactions
from db.errors import StoreError
from db.filters import conditions, in_series, is_by_series, of_each_run, ordering, unindexed
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
    """Yield whole runs, newest first, reading a chunk at a time; between two chunks no connection is held."""
    left = limit
    for seqs in _chunks_by_time(database, where) if is_by_series(where) else _chunks_of_all(database, where):
        some = seqs if left is None else seqs[:left]
        with database.read() as connection:
            ids = dict(connection.execute(select(Run.seq, Run.id).where(Run.seq.in_(some))).all())
            records = {run.id: run for run in load_runs(connection, list(ids.values()))}
        # One that was deleted meanwhile is no longer there.
        yield from (records[ids[seq]] for seq in some if ids.get(seq) in records)
        left = None if left is None else left - len(some)
        if left == 0:
            return


def _chunks_by_time(database: Transactions, where: RunFilter) -> Iterator[list[int]]:
    """Yield the numbers of runs, a chunk at a time, each from behind the one before in an index."""
    number = unindexed(Run.series_id)
    time = type_coerce(Run.time, BigInteger)
    newest = select(time, Run.seq).where(in_series(number, where), *of_each_run(where))
    newest = newest.order_by(Run.time.desc(), Run.seq.desc()).limit(EXPORT_CHUNK)
    page = newest
    while True:
        with database.read() as connection:
            rows = connection.execute(page).all()
        if not rows:
            return
        yield [seq or 0 for _, seq in rows]
        page = newest.where(tuple_(time, Run.seq) < tuple_(*map(literal, rows[-1])))


def _chunks_of_all(database: Transactions, where: RunFilter) -> Iterator[list[int]]:
    """Yield the numbers of runs of a filter that is asked once: all are held, 8 bytes each."""
    statement = (
        select(Run.seq).where(*conditions(where)).order_by(*ordering("time", descending=True, indexed=False))
    )
    with database.read() as connection:
        seqs = array("q", connection.scalars(statement))
    for i in range(0, len(seqs), EXPORT_CHUNK):
        yield seqs[i : i + EXPORT_CHUNK].tolist()


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
