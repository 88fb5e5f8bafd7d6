"""Values that can be computed again: kept by what they were computed from, the least recently used out.

A read marks a value as used in its own transaction, where that costs no waiting; it is a read all the same.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, case, delete, func, select, update

from db.cells import upsert
from db.errors import StoreError, translated
from db.models import Derived

MARK_INTERVAL = timedelta(minutes=1)
"""A value that was marked as used within this time is not marked again, so that most reads write nothing."""


def load(connection: Connection, key: str) -> bytes | None:
    """Return a value, and mark it as used; None where there is none."""
    row = connection.execute(select(Derived.data, Derived.used).where(Derived.key == key)).one_or_none()
    if row is None:
        return None
    now = datetime.now(UTC)
    if abs(now - row.used) >= MARK_INTERVAL:  # it is later than now where a clock was corrected
        _try_to_mark(connection, key, now)
    return row.data  # type: ignore[no-any-return]


def _try_to_mark(connection: Connection, key: str, now: datetime) -> None:
    """Mark a value as used, unless somebody is writing or nobody may.

    Nobody waits here: SQLite does not for a lock in a transaction that has read already, and PostgreSQL
    passes over a row that is held.
    """
    free = select(Derived.key).where(Derived.key == key).with_for_update(skip_locked=True)
    try:
        with translated():
            connection.execute(update(Derived).where(Derived.key.in_(free)).values(used=now))
            connection.commit()
    except StoreError:
        connection.rollback()


def keep(connection: Connection, key: str, data: bytes, budget_bytes: int) -> None:
    """Put a value in, or in the place of the one that is there, and drop others until all fit the budget.

    A value that is larger than the budget is not put in. The caller writes alone, so that the sum is right.
    """
    if len(data) <= budget_bytes:
        row = {"key": key, "size": len(data), "used": datetime.now(UTC), "data": data}
        connection.execute(
            upsert(connection, Derived).on_conflict_do_update(index_elements=["key"], set_=row), row
        )
    _drop_least_recently_used(connection, key, budget_bytes)


def _drop_least_recently_used(connection: Connection, newest: str, budget_bytes: int) -> None:
    """Drop values until the rest fits; `newest` goes last, whatever the clocks of other machines say."""
    order = case((Derived.key == newest, 0), else_=1), Derived.used.desc(), Derived.key
    sums = select(Derived.key, func.sum(Derived.size).over(order_by=order).label("total")).subquery()
    connection.execute(
        delete(Derived).where(Derived.key.in_(select(sums.c.key).where(sums.c.total > budget_bytes)))
    )
