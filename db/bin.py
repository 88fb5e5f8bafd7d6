"""The bin: where deleted runs wait for a while. Each function works inside a transaction of its caller."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, select, update

from db import cells
from db.errors import RunDeletedError, RunNotFoundError
from db.history_records import BIN_KEEPS, RUNNING
from db.models import Run
from db.rows import clean_text
from db.writing import CHUNK, delete_runs, owned_by


def trash(connection: Connection, run_ids: Collection[str], owner: str | None) -> int:
    """Put own finished runs into the bin; return how many went."""
    return _move(connection, run_ids, owner, datetime.now(UTC))


def restore(connection: Connection, run_ids: Collection[str], owner: str | None) -> int:
    """Take own runs out of the bin; return how many there were."""
    return _move(connection, run_ids, owner, None)


def _move(
    connection: Connection, run_ids: Collection[str], owner: str | None, deleted: datetime | None
) -> int:
    moved = 0
    others = Run.deleted.is_(None) if deleted else Run.deleted.is_not(None)
    for some in _chunks(sorted({clean_text(run_id) for run_id in run_ids})):
        wanted = (Run.id.in_(some), Run.status != RUNNING, others, *owned_by(owner))
        ids = connection.scalars(select(Run.id).where(*wanted).with_for_update()).all()
        with cells.recounted(connection, ids):
            connection.execute(update(Run).where(Run.id.in_(ids)).values(deleted=deleted))
        moved += len(ids)
    return moved


def is_due(connection: Connection, before: datetime) -> bool:
    """Say whether anything went into the bin before a time."""
    return connection.scalar(select(Run.id).where(Run.deleted < before).limit(1)) is not None


def purge(connection: Connection, before: datetime) -> int:
    """Delete for good what went into the bin before a time; the caller writes alone."""
    return delete_runs(connection, Run.deleted < before)


def refuse(connection: Connection, run_id: str, owner: str | None) -> RunNotFoundError:
    """Return why a run cannot be opened: it is in the bin, or there is none that `owner` may know of."""
    mine = select(Run.deleted).where(Run.id == run_id, Run.deleted.is_not(None), *owned_by(owner))
    deleted = connection.scalar(mine)
    return (
        RunNotFoundError(run_id) if deleted is None else RunDeletedError(run_id, deleted, deleted + BIN_KEEPS)
    )


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK))
