"""Votes between two answers. Each function works inside a transaction that its caller holds."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, insert, or_, select

from db.errors import InvalidRunError, RunNotFoundError
from db.models import Run, Vote
from db.reading import visible_to
from db.records import NewVote, VoteRecord, VoteTally
from db.rows import clean_row

FIELDS = (
    "owner",
    "first_run",
    "second_run",
    "first_model",
    "second_model",
    "task",
    "choice",
    "blind",
    "set_aside",
    "first_length",
    "second_length",
    "loopback",
)
COUNTED = (Vote.blind, Vote.set_aside == "", ~Vote.loopback)
"""Which votes count: those of people who did not know, on answers that gave nothing away, of real models."""

# Halves are rounded up by whole numbers alone: databases round fractions differently.
TOTAL = Vote.first_length + Vote.second_length
FIRST_SHARE = case((TOTAL == 0, 50), else_=(200 * Vote.first_length + TOTAL) // (2 * TOTAL))


def put(connection: Connection, vote: NewVote, owner: str | None) -> int:
    """Insert a vote and return its id. The caller writes alone, so that nobody votes twice at once.

    Raises:
        RunNotFoundError: `owner` may not see one of the runs.
        InvalidRunError: Its owner voted on these two answers before, in either order.
    """
    pair = (vote.first_run, vote.second_run)
    seen = set(connection.scalars(select(Run.id).where(Run.id.in_(pair), visible_to(owner))))
    for run_id in pair:
        if run_id not in seen:
            raise RunNotFoundError(run_id)
    same = or_(
        (Vote.first_run == pair[0]) & (Vote.second_run == pair[1]),
        (Vote.first_run == pair[1]) & (Vote.second_run == pair[0]),
    )
    if connection.scalar(select(Vote.id).where(same, Vote.owner == vote.owner)) is not None:
        raise InvalidRunError("These two answers have a vote already.", "Ask again to vote again.")
    row = clean_row(time=datetime.now(UTC), **{name: getattr(vote, name) for name in FIELDS})
    return connection.scalars(insert(Vote).values(row).returning(Vote.id)).one()


def load(connection: Connection, owner: str | None, limit: int, offset: int) -> tuple[VoteRecord, ...]:
    """Return the votes that `owner` cast, newest first; None is the operator, who sees all."""
    columns = (Vote.id, Vote.time, *(getattr(Vote, name) for name in FIELDS))
    statement: Select[*tuple[Any, ...]] = select(*columns).where(*_cast_by(owner))
    rows = connection.execute(statement.order_by(Vote.id.desc()).limit(limit).offset(offset))
    return tuple(VoteRecord(*row) for row in rows)


def tallies(connection: Connection, owner: str | None, task: str | None) -> tuple[VoteTally, ...]:
    """Return the votes that count, counted by models, choice and lengths, in a fixed order."""
    key = (Vote.first_model, Vote.second_model, Vote.choice, FIRST_SHARE.label("first_share"))
    inner = select(*key).where(*COUNTED, *_cast_by(owner))
    cells = (inner if task is None else inner.where(Vote.task == task)).subquery()
    statement: Select[*tuple[Any, ...]] = select(*cells.c, func.count()).group_by(*cells.c)
    rows = connection.execute(statement).all()
    return tuple(VoteTally(*row) for row in sorted(rows))  # here: each database sorts texts in its own way


def _cast_by(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [Vote.owner == owner]
