"""Views of the history that people kept by a name. Each function works inside its caller's transaction."""

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, select

from db.errors import InvalidRunError
from db.models import SavedView
from db.records import ViewRecord
from db.rows import clean_text

MOST_VIEWS = 100
"""Of one owner."""
LONGEST_NAME = 80
LONGEST_ADDRESS = 20_000


def keep(connection: Connection, owner: str, name: str, address: str) -> None:
    """Keep a view, in the place of an older one of that name. The caller writes alone.

    Raises:
        InvalidRunError: It has no name, is too long, or the owner has too many.
    """
    name, address = clean_text(name.strip()), clean_text(address)
    if not 0 < len(name) <= LONGEST_NAME:
        raise InvalidRunError("A view needs a name.", f"Give it one of up to {LONGEST_NAME} characters.")
    if len(address) > LONGEST_ADDRESS:
        raise InvalidRunError("This view has too many filters to be kept.", "Take some of them away.")
    connection.execute(delete(SavedView).where(SavedView.owner == owner, SavedView.name == name))
    count = select(func.count()).select_from(SavedView).where(SavedView.owner == owner)
    if (connection.scalar(count) or 0) >= MOST_VIEWS:
        raise InvalidRunError(f"You keep {MOST_VIEWS} views already.", "Delete one of them first.")
    row = {"owner": owner, "name": name, "address": address, "time": datetime.now(UTC)}
    connection.execute(insert(SavedView).values(row))


def load(connection: Connection, owner: str) -> tuple[ViewRecord, ...]:
    """Return an owner's views, the newest first."""
    statement = select(SavedView.name, SavedView.address, SavedView.time).where(SavedView.owner == owner)
    rows = connection.execute(statement.order_by(SavedView.time.desc(), SavedView.name))
    return tuple(ViewRecord(*row) for row in rows)


def drop(connection: Connection, owner: str, name: str) -> bool:
    """Delete a view, and say whether there was one."""
    gone = connection.execute(delete(SavedView).where(SavedView.owner == owner, SavedView.name == name))
    return bool(gone.rowcount)
