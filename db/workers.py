"""Which process works on a run, and whether it still lives.

A run that is still going has a row in `worker`. Its process is known to be gone when it ran in the same
process table as this one and is not there any more. Of another machine or container nothing can be known
but silence, so a run there counts as interrupted when nothing was heard of it for `SILENCE`.
"""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import psutil
from sqlalchemy import Connection, delete, insert, select, update

from db import cells
from db.models import Run, Worker

SILENCE = timedelta(hours=24)
CLOCK_SLACK_S = 2.0
"""A process's start may be told differently by this much after the clock was corrected."""


@cache
def this_machine() -> str:
    """Return a name for the process table that this process is in: the machine, and the container in it."""
    namespace = Path("/proc/self/ns/pid")
    return f"{platform.node()} {namespace.readlink() if namespace.exists() else ''}".strip()


def register(connection: Connection, run_id: str) -> None:
    """Write down that this process works on a run."""
    process = psutil.Process()
    row = {
        "run_id": run_id,
        "machine": this_machine(),
        "pid": process.pid,
        "process_started_s": process.create_time(),
        "seen": datetime.now(UTC),
    }
    connection.execute(insert(Worker), row)


def heard_of(connection: Connection, run_id: str) -> None:
    """Write down that a run showed a sign of life."""
    connection.execute(update(Worker).where(Worker.run_id == run_id).values(seen=datetime.now(UTC)))


def release(connection: Connection, run_id: str) -> None:
    """Forget who worked on a run."""
    connection.execute(delete(Worker).where(Worker.run_id == run_id))


def interrupted_runs(connection: Connection) -> list[str]:
    """Return the runs whose process is gone."""
    columns = (Worker.run_id, Worker.machine, Worker.pid, Worker.process_started_s, Worker.seen)
    rows = connection.execute(select(*columns)).all()
    return [
        run_id for run_id, machine, pid, started_s, seen in rows if _is_gone(machine, pid, started_s, seen)
    ]


def mark_interrupted(connection: Connection, run_ids: Sequence[str]) -> int:
    """Make runs failed ones, but for those that were finished meanwhile; return how many were made."""
    outcome = {
        "status": "failed",
        "error_class": "Interrupted",
        "error_message": "The process that worked on it ended before the run did.",
    }
    still = select(Run.id).where(Run.id.in_(run_ids), Run.status == "running").with_for_update()
    changed = connection.scalars(still).all()
    with cells.recounted(connection, changed):
        connection.execute(update(Run).where(Run.id.in_(changed)).values(outcome))
    connection.execute(delete(Worker).where(Worker.run_id.in_(run_ids)))
    return len(changed)


def _is_gone(machine: str, pid: int, started_s: float, seen: datetime) -> bool:
    if machine != this_machine():
        return datetime.now(UTC) - seen > SILENCE
    try:
        process = psutil.Process(pid)
        is_another: bool = abs(process.create_time() - started_s) > CLOCK_SLACK_S
        return is_another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
