"""Brings the database to this version's tables when it is opened.

`versions/` holds one file a revision, named `NNNN_what.py`; they run in the order of their numbers.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from db.engine import Transactions, use_wal
from db.errors import NotAStoreError, StoreVersionError, translated

HERE = Path(__file__).parent
REVISIONS = tuple(sorted(path.name[:4] for path in (HERE / "versions").glob("[0-9]*.py")))
HEAD = REVISIONS[-1]

OUR_TABLES = {"alembic_version", "environment", "artifact", "run"}


def migrate(database: Transactions) -> None:
    """Create or upgrade the tables, once, whoever else is opening the same database.

    Alembic is imported only when there is something to do.

    Raises:
        NotAStoreError: There are tables, and they are somebody else's.
        StoreVersionError: A newer version of the app wrote it.
    """
    with database.read() as connection:
        if _revision(connection) == HEAD:
            return
    with translated():
        use_wal(database.engine)
    with database.write(alone=True) as connection:
        if _revision(connection) != HEAD:  # nobody was faster
            _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    """Return the revision of a store, None for an empty database."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if not tables >= OUR_TABLES:
        raise NotAStoreError(
            "This database holds tables of another program.", "Choose another one; this one was not changed."
        )
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision not in REVISIONS:
        raise StoreVersionError(
            f"A newer version of Vision Bench wrote this store (revision {revision}, known up to {HEAD}).",
            "Update the app, or name another store in VISION_BENCH_DATABASE_URL.",
        )
    return str(revision)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
