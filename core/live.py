"""The long runs that work in this process, found again by their id and by whose they are.

A page that is closed loses nothing: the thread goes on, and another page of the same owner finds the run.
What ended stays for a while, because what it worked on is still at hand when somebody wants to go on with it.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from core.errors import InputError

MOST_AT_ONCE = 3
"""Runs of one owner and kind that are under way."""
MOST_ENDED = 8
"""Runs of everybody that ended and are still held."""


class Job(Protocol):
    """A run that works in the thread that it is given."""

    @property
    def set_id(self) -> str: ...
    @property
    def progress(self) -> Any: ...

    def work(self) -> Any: ...


JobT = TypeVar("JobT", bound=Job)


class LiveRun(Generic[JobT]):
    """A run, whose it is, and the thread that works at it."""

    def __init__(self, run: JobT, owner: str) -> None:
        self.run, self.owner = run, owner
        self.error: BaseException | None = None
        """What broke it."""
        self._thread = threading.Thread(target=self._work, name=f"run {run.set_id}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self.run.work()
        except BaseException as error:  # told by whoever looks at the run
            logging.getLogger(__name__).exception("The run %s broke.", self.run.set_id)
            self.error = error

    @property
    def is_alive(self) -> bool:
        """Whether it is still at work, or closing itself."""
        return self._thread.is_alive()

    @property
    def progress(self) -> Any:
        """Where it stands."""
        return self.run.progress

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when it is closed, or after the timeout."""
        self._thread.join(timeout_s)


class LiveRuns(Generic[JobT]):
    """The runs of one kind in one process. Safe for many threads; nobody finds those of another owner.

    Args:
        what: As a person calls several of them.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._held: dict[str, LiveRun[JobT]] = {}
        self._lock, self._starting = threading.Lock(), threading.Lock()

    def start(self, owner: str, make: Callable[[], JobT]) -> LiveRun[JobT]:
        """Make a run and let it work.

        Args:
            make: Begins or resumes it; not called where there is no room.

        Raises:
            InputError: The owner has `MOST_AT_ONCE` runs under way.
        """
        with self._starting:
            under_way = sum(live.is_alive for live in self.of(owner))
            if under_way >= MOST_AT_ONCE:
                raise InputError(
                    f"{under_way} {self._what} of yours are under way.", "Wait for one of them, or cancel it."
                )
            live = LiveRun(make(), owner)
        with self._lock:
            self._held.pop(live.run.set_id, None)
            self._held[live.run.set_id] = live
            self._forget()
        return live

    def find(self, set_id: str, owner: str) -> LiveRun[JobT] | None:
        """Return an own run that works here, or worked here a while ago."""
        with self._lock:
            live = self._held.get(set_id)
        return live if live is not None and live.owner == owner else None

    def of(self, owner: str) -> tuple[LiveRun[JobT], ...]:
        """Return all own runs that are held, the oldest first."""
        with self._lock:
            return tuple(live for live in self._held.values() if live.owner == owner)

    def _forget(self) -> None:
        ended = [set_id for set_id, live in self._held.items() if not live.is_alive]
        for set_id in ended[:-MOST_ENDED]:
            del self._held[set_id]
