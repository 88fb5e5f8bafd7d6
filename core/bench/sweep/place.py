"""A process that measures one cell after the other, and is replaced when it dies or hangs.

The process is one of loky's: it does not run the main module again (which may be a page), and it is killed
together with what it started. It ends by itself when the process that started it is gone.
"""

import json
import os
import re
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.bench.sweep.plan import TASK, Measure
from core.environment import describe_environment
from core.errors import SetupError, VisionBenchError
from core.runs import LOCAL_OWNER, RunDraft

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

START_S = 120.0
"""How long a new process may take until it is ready."""
LOOK_EVERY_S = 0.5
"""How often a process looks whether its parent lives."""
LONGEST_MESSAGE = 2_000
NO_LEAK = str(10**15)
"""loky ends a process that grew; here a model that is held is no leak."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The run of a cell, and how long it took altogether."""

    run: RunDraft
    seconds: float


class PlaceClosedError(Exception):
    """The place was closed while it measured: nothing is known of the cell."""


class Place:
    """Measures cells in a process of its own. One thread measures; any other may close it meanwhile."""

    def __init__(self, measure: Measure, deadline_s: float) -> None:
        self._measure, self._deadline_s = measure, deadline_s
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    def run(self, model_id: str, item: str, data: bytes = b"") -> Measured:
        """Measure a cell. Whatever happens to it there is a failed run.

        Args:
            data: The file of its picture, where that is one.

        Raises:
            SetupError: No process can be started.
            PlaceClosedError: See there.
        """
        pool = self._ready()
        began = time.perf_counter()
        try:
            future = pool.submit(measure_cell_here, self._measure, model_id, item, data)
            run = future.result(self._deadline_s)
        except TimeoutError:
            run = failed_run(model_id, item, "Deadline", f"It took longer than {self._deadline_s:g} s.")
            self._replace()
        except BrokenProcessPool as error:
            run = failed_run(model_id, item, *_ending(str(error)))
            self._replace()
        except Exception as error:  # its run cannot be sent here, or the pool was closed
            if self._closed:
                raise PlaceClosedError from error
            run = failed_run(model_id, item, type(error).__name__, str(error))
            self._replace()
        if self._closed:
            raise PlaceClosedError
        return Measured(run, time.perf_counter() - began)

    def close(self) -> None:
        """Kill the process, with whatever it measures."""
        self._closed = True
        self._replace()

    def _ready(self) -> "ProcessPoolExecutor":
        with self._lock:
            if self._pool is not None:
                return self._pool
            if self._closed:
                raise PlaceClosedError
            self._pool = pool = _new_pool()
        try:
            pool.submit(_know, self._measure).result(START_S)
        except Exception as error:
            self._replace()
            if self._closed:
                raise PlaceClosedError from error
            raise SetupError(
                f"No process to measure in could be started ({_ending(str(error))[1]})",
                "See its messages above; free some memory.",
            ) from error
        return pool

    def _replace(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(kill_workers=True)


def measure_cell_here(measure: Measure, model_id: str, item: str, data: bytes) -> RunDraft:
    """Measure a cell in this process; what it raises is a failed run."""
    try:
        return measure(model_id, item, data)
    except VisionBenchError as error:
        return failed_run(model_id, item, type(error).__name__, f"{error.message} {error.remedy}".strip())
    except BaseException as error:  # a model that calls sys.exit fails for itself
        return failed_run(model_id, item, type(error).__name__, str(error))


def failed_run(model_id: str, item: str, error_class: str, message: str) -> RunDraft:
    """Return the run of a cell that could not be measured."""
    return RunDraft(
        kind=TASK,
        model_id=model_id,
        model_revision="",
        environment=describe_environment("cpu", ""),
        owner=LOCAL_OWNER,
        status="failed",
        parameters={"cell": {"model_id": model_id, **json.loads(item)}},
        error_class=error_class,
        error_message=message[:LONGEST_MESSAGE],
    )


def _new_pool() -> "ProcessPoolExecutor":
    from loky import ProcessPoolExecutor

    return ProcessPoolExecutor(
        max_workers=1,
        initializer=_settle,
        initargs=(os.getpid(),),
        env={"LOKY_MAX_MEMORY_LEAK_SIZE": NO_LEAK},
    )


def _know(measure: Measure) -> int:
    """Do nothing; what it takes to import `measure` was done when this process was told of it."""
    return os.getpid()


def _settle(parent: int) -> None:
    """Prepare a new process: Ctrl-C is its parent's to hear, and stdout its parent's to write."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(parent,), name="parent watch", daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process and what it started once `parent` is gone; it may have been killed."""
    import psutil

    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


def _ending(text: str) -> tuple[str, str]:
    """Return the class and a sentence for how a process ended, from what loky says of it."""
    found = re.search(r"\{(?:EXIT\((\d+)\)|(SIG\w+)\(-\d+\)|UNKNOWN\((-?\d+)\))", text)
    code, name = (found[1] or found[3], found[2]) if found else (None, None)
    if name == "SIGKILL":
        return "Killed", "Its process was killed (SIGKILL): for want of memory, or by hand."
    if name:
        return "Crashed", f"Its process crashed ({name})."
    return "Crashed", f"Its process ended (exit code {code})." if code else "Its process ended."
