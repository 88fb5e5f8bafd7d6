"""The ledger of data-set runs and sweeps: which call of which model is open, claimed, or done with its run.

A call is a question or a measurement. It is claimed in a transaction of its own before anything is paid for,
and done in the transaction that records its run: after a crash what is done is never asked again, and what
was only claimed can be opened.
Each function works inside a transaction that its caller holds.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from db import cells, workers
from db.errors import InvalidRunError, RunNotFoundError
from db.models import Call, Metric, Run, RunArtifact
from db.reading import visible_to
from db.records import CallCount, CallRecord, CallResult, NewCall
from db.rows import Row, clean_row
from db.writing import delete_unused, owned_by, shared_by, update_run

RECORD = select(Call.position, Call.model_id, Call.task, Call.item)


def rows_of(set_id: str, calls: Sequence[NewCall]) -> list[Row]:
    """Return the rows of new calls, numbered in their order."""
    return [
        clean_row(
            set_id=set_id, position=i, model_id=call.model_id, task=call.task, item=call.item, state="open"
        )
        for i, call in enumerate(calls)
    ]


def plan(connection: Connection, set_id: str, rows: list[Row]) -> None:
    """Insert the calls of a set. The caller writes alone.

    Raises:
        RunNotFoundError: There is no run of this set.
        InvalidRunError: It has calls already.
    """
    if connection.scalar(select(Run.id).where(Run.id == set_id)) is None:
        raise RunNotFoundError(set_id)
    if connection.scalar(select(Call.position).where(Call.set_id == set_id).limit(1)) is not None:
        raise InvalidRunError("The calls of this run are planned already.", "Resume it, or start a new one.")
    if rows:
        connection.execute(insert(Call), rows)


def claim(connection: Connection, set_id: str, limit: int, models: Collection[str]) -> tuple[CallRecord, ...]:
    """Mark the first open calls as claimed and return them, so that nobody else is given them."""
    statement = RECORD.where(Call.set_id == set_id, Call.state == "open").order_by(Call.position).limit(limit)
    if models:
        statement = statement.where(Call.model_id.in_(models))
    found = connection.execute(statement.with_for_update(skip_locked=True)).all()
    claimed = tuple(CallRecord(*row) for row in found)
    chosen = Call.position.in_([call.position for call in claimed])
    change = update(Call).where(Call.set_id == set_id, chosen)
    if claimed:
        connection.execute(change.values(state="claimed", claimed=datetime.now(UTC)))
        workers.heard_of(connection, set_id)
    return claimed


def finish(connection: Connection, set_id: str, position: int, run_id: str) -> None:
    """Mark a call as done by a run.

    Raises:
        RunNotFoundError: There is no such call.
        InvalidRunError: It is done already.
    """
    this = (Call.set_id == set_id, Call.position == position)
    done = update(Call).where(*this, Call.state != "done").values(state="done", run_id=run_id)
    if connection.execute(done).rowcount == 1:
        return
    if connection.scalar(select(Call.state).where(*this)) is None:
        raise RunNotFoundError(set_id)
    raise InvalidRunError(f"Call {position} of this run is done already.", "Nothing was written.")


def release(connection: Connection, set_id: str) -> int:
    """Open the calls that are claimed and not done; return how many there were."""
    statement = update(Call).where(Call.set_id == set_id, Call.state == "claimed")
    return connection.execute(statement.values(state="open", claimed=None)).rowcount


def reopen(connection: Connection, set_id: str, owner: str | None) -> None:
    """Make a data-set run that ended a running one of this process. The caller writes alone.

    What was measured at its end goes: the next end measures it again.

    Raises:
        RunNotFoundError: `owner` has no such run.
        InvalidRunError: It is still going, or it is no data-set run.
    """
    if not connection.scalars(select(Run.id).where(Run.id == set_id, *owned_by(owner))).all():
        raise RunNotFoundError(set_id)
    if connection.scalar(select(Call.position).where(Call.set_id == set_id).limit(1)) is None:
        raise InvalidRunError(f"The run {set_id} has no calls to go on with.", "Start a new one.")
    fresh = {"status": "running", "duration_ms": None, "error_class": "", "error_message": ""}
    if connection.scalar(select(Run.id).where(Run.id == set_id, Run.status != "running").with_for_update()):
        with cells.recounted(connection, [set_id]):
            update_run(connection, set_id, fresh)
    else:
        raise InvalidRunError(f"The run {set_id} is still going.", "Wait for its end, or cancel it.")
    shared = shared_by(connection, [set_id])
    connection.execute(delete(Metric).where(Metric.run_id == set_id))
    connection.execute(delete(RunArtifact).where(RunArtifact.run_id == set_id))
    delete_unused(connection, shared)
    workers.register(connection, set_id)


def not_done(connection: Connection, set_id: str) -> tuple[CallRecord, ...]:
    """Return the calls that are open or claimed, in order."""
    statement = RECORD.where(Call.set_id == set_id, Call.state != "done").order_by(Call.position)
    return tuple(CallRecord(*row) for row in connection.execute(statement))


def counts(connection: Connection, set_id: str, owner: str | None) -> tuple[CallCount, ...]:
    """Return how many calls are in which state, in order of model, task and state."""
    _require_seen(connection, set_id, owner)
    status, error_class = func.coalesce(Run.status, ""), func.coalesce(Run.error_class, "")
    key = (Call.model_id, Call.task, Call.state, status, error_class)
    statement: Select[*tuple[Any, ...]] = select(*key, func.count()).outerjoin(Run, Run.id == Call.run_id)
    rows = connection.execute(statement.where(Call.set_id == set_id).group_by(*key)).all()
    return tuple(CallCount(*row) for row in sorted(rows))  # here: each database sorts texts in its own way


def total(connection: Connection, set_id: str, name: str) -> float:
    """Return the sum of a metric over the calls that are done."""
    statement = select(func.sum(Metric.value)).join(Call, Call.run_id == Metric.run_id)
    return connection.scalar(statement.where(Call.set_id == set_id, Metric.name == name)) or 0.0


def results(
    connection: Connection, set_id: str, owner: str | None, names: Collection[str], after: int, limit: int
) -> tuple[CallResult, ...]:
    """Return what calls came to, in order, from behind the position `after`."""
    _require_seen(connection, set_id, owner)
    outcome = (Run.id.label("run_id"), Run.status, Run.error_class)
    statement = (
        RECORD.add_columns(*outcome)
        .join(Run, Run.id == Call.run_id)
        .where(Call.set_id == set_id, Call.position > after, visible_to(owner))
        .order_by(Call.position)
        .limit(limit)
    )
    rows = connection.execute(statement).mappings().all()
    metrics = _metrics(connection, [row["run_id"] for row in rows], names)
    return tuple(CallResult(**row, metrics=metrics[row["run_id"]]) for row in rows)


def _metrics(
    connection: Connection, run_ids: Sequence[str], names: Collection[str]
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    statement = select(Metric.run_id, Metric.name, Metric.value)
    for some in _chunks(run_ids):
        wanted = (Metric.run_id.in_(some), Metric.name.in_(names), Metric.step.is_(None))
        for run_id, name, value in connection.execute(statement.where(*wanted)):
            found[run_id][name] = value
    return found


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[i : i + 1_000] for i in range(0, len(ids), 1_000))


def _require_seen(connection: Connection, set_id: str, owner: str | None) -> None:
    if connection.scalar(select(Run.id).where(Run.id == set_id, visible_to(owner))) is None:
        raise RunNotFoundError(set_id)
