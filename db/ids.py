"""Names of runs: ULIDs, which sort by the time they were made."""

import time
from threading import Lock

from ulid import ULID, ULIDGenerator


class RunIds:
    """Makes ids, each greater than every one before, also when the clock was set back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._generator = ULIDGenerator()
        self._latest_ms = 0

    def next(self) -> ULID:
        """Return a new id."""
        with self._lock:
            self._latest_ms = max(self._latest_ms, time.time_ns() // 1_000_000)
            return self._generator.generate(self._latest_ms)


RUN_IDS = RunIds()
"""The one source of ids in this process."""
