"""Who measures the cells of a sweep: a crew. Here, the processes of this machine.

A crew takes a cell and gives a future of what it came to. A cell that raises, hangs or kills its process is a
failed run; the future fails only where the crew itself does, or with `PlaceClosedError` once it is closed.
"""

import atexit
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from core.bench.sweep.place import Measured, Place, PlaceClosedError
from core.bench.sweep.plan import Measure
from core.errors import InputError

MOST_WORKERS = 256
AHEAD = 1
"""Cells that wait for a worker, so that none waits for the store."""


class Crew(Protocol):
    """Measures cells, several at once."""

    @property
    def width(self) -> int:
        """How many cells it takes at once; may change."""
        ...

    def submit(self, model_id: str, item: str, data: bytes = b"") -> "Future[Measured]":
        """Take a cell, and the file of its picture where that is one."""
        ...

    def close(self) -> None:
        """Break off what is under way, and free everything."""
        ...


class Where(Protocol):
    """Where a sweep's cells are measured."""

    def check(self) -> None:
        """Raise a `SetupError` where a package that it needs is missing."""
        ...

    def open(self, measure: Measure, deadline_s: float) -> Crew:
        """Return a crew that is ready.

        Raises:
            SetupError: There is none to be had; the message says why.
        """
        ...

    @property
    def takes_turns(self) -> bool:
        """Whether no other measurement may be under way on this machine."""
        ...

    def __str__(self) -> str:
        """Return it as a person is told."""
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """This machine.

    Args:
        workers: Processes that measure at once. More than one disturb each other's times.
    """

    workers: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MOST_WORKERS:
            raise InputError(f"{self.workers} workers were asked for.", f"Choose 1 to {MOST_WORKERS}.")

    def check(self) -> None:
        """Do nothing: all that it needs is a requirement of the app."""

    def open(self, measure: Measure, deadline_s: float) -> "LocalCrew":
        """Return a crew; its processes start with its first cells."""
        return LocalCrew(measure, deadline_s, self.workers)

    @property
    def takes_turns(self) -> bool:
        """Whether no other measurement may be under way on this machine: so it is."""
        return True

    def __str__(self) -> str:
        return f"this machine, {self.workers} worker{'s' if self.workers > 1 else ''}"


@dataclass(frozen=True, slots=True)
class _Job:
    model_id: str
    item: str
    data: bytes
    future: "Future[Measured]"


class LocalCrew:
    """Processes of this machine, and a thread for each."""

    def __init__(self, measure: Measure, deadline_s: float, workers: int) -> None:
        self.width = workers + AHEAD
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._places = [Place(measure, deadline_s) for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(place,), name=f"sweep worker {number}", daemon=True)
            for number, place in enumerate(self._places)
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)  # before loky waits for its processes, which may hang

    def submit(self, model_id: str, item: str, data: bytes = b"") -> "Future[Measured]":
        """Take a cell, and the file of its picture where that is one."""
        job = _Job(model_id, item, data, Future())
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Kill every process, and wait for the threads."""
        atexit.unregister(self.close)
        for place in self._places:
            place.close()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, place: Place) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.future.set_result(place.run(job.model_id, job.item, job.data))
            except BaseException as error:
                job.future.set_exception(error)
            if isinstance(job.future.exception(), PlaceClosedError):
                return
