"""Measurements on one machine take turns: two at once would disturb each other's times.

Whose turn it is holds a lock of the operating system on one file, so that it ends with its process, however
that ends. Those of one process stand in line; among processes whoever asks next after the end goes next.
"""

import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from core.errors import SetupError
from core.settings import settings

LOOK_EVERY_S = 0.2
"""How often one that waits looks whether it is its turn."""
WAITS = "Another measurement on this machine goes first: two at once would disturb each other's times."

_lock = threading.Lock()
_line: "list[Turn]" = []
"""Of this process: those that have a turn or wait for one, in the order in which they asked."""


def turn_file() -> Path:
    """Return the file that is locked: one for each person on a machine, unless the settings name one."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return settings().turn_file or Path(tempfile.gettempdir()) / f"vision-bench-{user}.turn"


class Turn:
    """One measurement's place in the line. For one thread."""

    def __init__(self) -> None:
        from filelock import FileLock

        self._path = turn_file()
        self._file = FileLock(self._path, thread_local=False, on_acquired=_sign)

    @property
    def is_mine(self) -> bool:
        """Whether it is this one's turn."""
        return self._file.is_locked

    def try_take(self) -> bool:
        """Stand in line, and say whether it is this one's turn; never waits.

        Raises:
            SetupError: The file cannot be locked.
        """
        from filelock import Timeout

        if self.is_mine:
            return True
        with _lock:
            if self not in _line:
                _line.append(self)
            if next(turn for turn in _line if turn._path == self._path) is not self:
                return False
        try:
            self._file.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            self.give_up()
            raise SetupError(
                f"Measurements cannot take turns: {self._path} cannot be locked ({error.strerror or error}).",
                "Set VISION_BENCH_TURN_FILE to a file that can be written, not on a network drive.",
            ) from error
        return True

    def give_up(self) -> None:
        """End the turn, or leave the line; does nothing where neither is."""
        if self.is_mine:
            self._file.release()
        with _lock:
            if self in _line:
                _line.remove(self)

    @property
    def why(self) -> str:
        """Why it waits, in a sentence; names the process that measures where it is another one."""
        holder = _signed(self._path)
        if holder is None or holder == os.getpid():
            return WAITS
        return WAITS.replace("measurement", f"measurement (process {holder})", 1)


def _sign(descriptor: int) -> None:
    """Write into the file who holds it; without that it is held as well."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())


def _signed(path: Path) -> int | None:
    try:
        return int(path.read_bytes()[:20])
    except (OSError, ValueError):  # not written yet
        return None
