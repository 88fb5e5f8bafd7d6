"""A process of its own for each model that is measured.

Its memory is the model's alone, and whatever happens to it (a crash, a hang, a kill for want of memory) is
one model's failure. It is a plain `python -m core.bench.child`: no copy of this process, which may be an app
with many threads, and its main module is not run again. Messages go over a pair of sockets.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

from core.errors import SetupError
from core.settings import ROOT

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

DEADLINE_S = 600.0
"""How long one message may take."""
END_S = 5.0
"""How long a process may take to end by itself before it is killed."""


class Raised(Exception):
    """The model, or what is done with it, raised; the process goes on.

    Args:
        error_class: Name of the exception there.
        message: A sentence.
        remedy: How to mend it, where that is known.
    """

    def __init__(self, error_class: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.error_class, self.message, self.remedy = error_class, message, remedy


class Gone(Raised):
    """The process has ended or was ended: nothing more can be asked of it.

    `error_class` is `Killed`, `Crashed`, `Deadline`, `Cancelled` or `Closed`.
    """


class Worker:
    """A process that measures one model. One thread asks; any other may kill it meanwhile.

    Raises:
        SetupError: No process can be started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: Gone | None = None
        ours, theirs = Pipe()
        self._pipe: Connection[Any, Any] = ours
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "core.bench.child", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for this process to hear
            )
        except OSError as error:
            ours.close()
            raise SetupError(
                f"No process to measure in could be started ({error}).", "Free some memory and try again."
            ) from error
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ask(self, name: str, *arguments: Any, deadline_s: float = DEADLINE_S) -> Any:
        """Return what the process answers to a message: a method of `core.bench.child.Sitting`.

        Raises:
            Raised: It raised.
            Gone: It ended, or did not answer in time and was killed.
        """
        if self._ended is not None:
            raise self._ended
        try:
            self._pipe.send((name, arguments))
            if not self._pipe.poll(deadline_s):
                self._end(Gone("Deadline", f"It did not answer within {deadline_s:g} seconds."))
            answer = self._pipe.recv() if self._ended is None else ()
        except (EOFError, OSError):
            self._end(None)
        if self._ended is not None:
            raise self._ended
        if not answer[0]:
            raise Raised(*answer[1:])
        return answer[1]

    def kill(self) -> None:
        """End the process, with whatever it measures; who waits for it gets `Gone`."""
        self._end(Gone("Cancelled", "It was cancelled."))

    def close(self) -> None:
        """End the process; nothing there is worth keeping."""
        self._end(Gone("Closed", "It is closed."))
        self._pipe.close()

    def _end(self, reason: Gone | None) -> None:
        """Kill what is left of the process; without a `reason` the way in which it ended is one."""
        with self._lock:
            if reason is None:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(END_S)
                reason = _ending(self._process.poll())
            self._ended = self._ended or reason
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # with what it started, such as compilers
            self._process.wait()


def _ending(code: int | None) -> Gone:
    """Return what the code means with which a process ended: below 0, a signal."""
    if code == -signal.SIGKILL:
        return Gone("Killed", "Its process was killed (SIGKILL): for want of memory, or by hand.")
    if code is not None and code < 0:
        with suppress(ValueError):
            return Gone("Crashed", f"Its process crashed ({signal.Signals(-code).name}).")
    return Gone("Crashed", f"Its process ended (exit code {code}).")
