"""The part of the store that keeps views of the history by a name."""

from db import views
from db.engine import Transactions
from db.records import ViewRecord


class ViewStore:
    """What `Store` keeps of how people look at the history; each sees their own."""

    _database: Transactions

    def keep_view(self, owner: str, name: str, address: str) -> None:
        """Keep a view, in the place of an older one of that name.

        Args:
            address: The parameters of its address, as they stand behind the question mark.

        Raises:
            InvalidRunError: It has no name, is too long, or the owner has `views.MOST_VIEWS` others.
        """
        with self._database.write(alone=True) as connection:
            views.keep(connection, owner, name, address)

    def views(self, owner: str) -> tuple[ViewRecord, ...]:
        """Return an owner's views, the newest first."""
        with self._database.read() as connection:
            return views.load(connection, owner)

    def drop_view(self, owner: str, name: str) -> bool:
        """Delete a view, and say whether there was one."""
        with self._database.write() as connection:
            return views.drop(connection, owner, name)
