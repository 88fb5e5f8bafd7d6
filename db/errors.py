"""What can go wrong with the store, as one tree.

    StoreError                    message for a person, and how to mend it
    ├── StoreUnavailableError     the server or the file cannot be reached
    ├── StoreReadOnlyError        it can be read and not written
    ├── StoreLockedError          somebody else held it for too long
    ├── StoreFullError            no room is left for it
    ├── StoreVersionError         a newer version of the app wrote it
    ├── NotAStoreError            it is something else; nothing in it was changed
    ├── StoreDamagedError         its file is broken
    ├── StaleReferenceError       somebody deleted what a new row refers to; nothing was written
    ├── InvalidRunError           (also a ValueError) what should be stored cannot be; nothing was written
    └── RunNotFoundError          no such run, or none that this visitor may see
        └── RunDeletedError       an own run that is in the bin: it can be restored until it is purged

Errors of SQLAlchemy and the drivers become these in `translated`, the one place that knows them. No message
holds a database address: an address may carry a password.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, cast

from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

if TYPE_CHECKING:
    import psycopg


class StoreError(Exception):
    """An expected failure of the store.

    Args:
        message: One sentence: what was wrong.
        remedy: One sentence: how to mend it. Shown after the message.
    """

    passes = False
    """Whether the same may succeed a little later, with nobody doing anything here."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class StoreUnavailableError(StoreError):
    """The server or the file cannot be reached."""

    passes = True


class StoreReadOnlyError(StoreError):
    """The store can be read and not written."""


class StoreLockedError(StoreError):
    """Somebody else held the store for longer than a writer waits."""

    passes = True


class StoreFullError(StoreError):
    """No room is left for the store."""


class StoreVersionError(StoreError):
    """A newer version of the app wrote the store; this one leaves it as it is."""


class NotAStoreError(StoreError):
    """The file or database is something else; nothing in it was changed."""


class StoreDamagedError(StoreError):
    """The store's file is broken."""


class StaleReferenceError(StoreError):
    """Somebody deleted what a new row refers to; nothing was written."""

    passes = True


class InvalidRunError(StoreError, ValueError):
    """What should be stored cannot be; nothing was written."""


class RunNotFoundError(StoreError):
    """There is no such run, or it belongs to somebody else."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {run_id!r}.", "Choose one from the history.")


class RunDeletedError(RunNotFoundError):
    """An own run is in the bin. `deleted` says since when, `kept_until` until when it can be restored."""

    def __init__(self, run_id: str, deleted: datetime, kept_until: datetime) -> None:
        super().__init__(run_id)
        self.message = f"The run {run_id!r} was deleted on {deleted:%Y-%m-%d}."
        self.remedy = f"Restore it from the bin of the history until {kept_until:%Y-%m-%d}."
        self.args = (f"{self.message} {self.remedy}",)
        self.run_id, self.deleted, self.kept_until = run_id, deleted, kept_until


def _unavailable(detail: str) -> StoreError:
    return StoreUnavailableError(
        f"The store cannot be reached ({detail}).",
        "Check VISION_BENCH_DATABASE_URL and that its server runs.",
    )


def _unopened(detail: str) -> StoreError:
    return StoreUnavailableError(
        f"The store's file cannot be opened ({detail}).", "Check that this user may read it and its folder."
    )


def _read_only(detail: str) -> StoreError:
    return StoreReadOnlyError(
        f"The store cannot be written ({detail}).",
        "Give this user the right to write the file and its folder.",
    )


def _locked(detail: str) -> StoreError:
    return StoreLockedError(
        f"The store is locked ({detail}).", "Try again; end a program that keeps it open in a transaction."
    )


def _full(detail: str) -> StoreError:
    return StoreFullError(
        f"The store has no room left ({detail}).",
        "Free some space, or remove old runs with `python -m core db prune`.",
    )


def _damaged(detail: str) -> StoreError:
    return StoreDamagedError(f"The store is damaged ({detail}).", "Put a backup in its place.")


def _foreign(detail: str) -> StoreError:
    return NotAStoreError(
        f"This is not a Vision Bench store ({detail}).", "Choose another file; this one was not changed."
    )


def _refused(detail: str) -> StoreError:
    return InvalidRunError(f"The store refuses this run ({detail}).", "Nothing was written.")


def _stale(detail: str) -> StoreError:
    return StaleReferenceError(f"A part of this run was deleted meanwhile ({detail}).", "Try again.")


def _from_sqlite(error: sqlite3.Error) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    families = {
        "SQLITE_READONLY": _read_only,
        "SQLITE_PERM": _read_only,
        "SQLITE_BUSY": _locked,
        "SQLITE_LOCKED": _locked,
        "SQLITE_FULL": _full,
        "SQLITE_IOERR_WRITE": _full,
        "SQLITE_IOERR_SHMSIZE": _full,
        "SQLITE_NOTADB": _foreign,
        "SQLITE_CORRUPT": _damaged,
        "SQLITE_CANTOPEN": _unopened,
        "SQLITE_CONSTRAINT_FOREIGNKEY": _stale,
        "SQLITE_CONSTRAINT": _refused,
        "SQLITE_TOOBIG": _refused,
    }
    for family, make in families.items():
        if name.startswith(family):
            return make(str(error))
    return StoreError(f"SQLite failed ({error}).", "Check the disk that holds the store.")


def _from_postgres(error: "psycopg.Error") -> StoreError:
    if error.sqlstate is None:
        return _unavailable(_why_no_connection(str(error)))
    detail = error.diag.message_primary or type(error).__name__
    families = {
        "25006": _read_only,
        "42501": _read_only,
        "55P03": _locked,
        "57014": _locked,
        "40": _locked,
        "53100": _full,
        "53": _unavailable,
        "08": _unavailable,
        "28": _unavailable,
        "3D": _unavailable,
        "57P": _unavailable,
        "23503": _stale,
        "23": _refused,
        "XX": _damaged,
    }
    for family, make in families.items():
        if error.sqlstate.startswith(family):
            return make(detail)
    return StoreError(f"PostgreSQL failed ({detail}).", "See the server's log.")


def _why_no_connection(message: str) -> str:
    # libpq repeats parts of the address, and a mistyped address may hold the password anywhere.
    if "authentication" in message:
        return "the server refuses this user or password"
    if "does not exist" in message:
        return "the server has no such database or user"
    return "no answer"


def store_error(error: DBAPIError | PoolTimeoutError | sqlite3.Error) -> StoreError:
    """Return our name for a failure of the database."""
    if isinstance(error, PoolTimeoutError):
        return _locked("every connection is in use")
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _from_sqlite(cause)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return _unavailable("the connection was lost")
    if isinstance(error, DataError):
        return _refused("a value does not fit its column")
    return _from_postgres(cast("psycopg.Error", cause))


@contextmanager
def translated() -> Iterator[None]:
    """Let no failure of the database out: each becomes a `StoreError`, raised from it. Bugs stay bugs."""
    try:
        yield
    except (DBAPIError, PoolTimeoutError, sqlite3.Error) as error:
        raise store_error(error) from error
