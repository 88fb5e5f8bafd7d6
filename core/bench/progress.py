"""How far a benchmark is, and how long the rest will take."""

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a benchmark is doing, or how it ended."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    """The step under way came to its end; no other begins."""
    DONE = "done"
    """Every model is recorded, well or not."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """Something here broke: the store, a bug."""


ENDED = frozenset({Phase.DONE, Phase.CANCELLED, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a benchmark stands, at one moment."""

    id: str
    phase: Phase
    total: int
    """Entries: models times options."""
    done: int
    """Recorded, those of earlier sittings included."""
    failed: int
    """Of this sitting, the ones that could not be measured."""
    share: float
    """0-1, of the expected time."""
    elapsed_s: float
    """Of this sitting, pauses left out."""
    left_s: float
    """As expected before, corrected by the pace until now."""
    message: str = ""
    """What is being done, or why it ended before its end."""


class Pace:
    """How much of the expected work is done, and how long the rest takes.

    Args:
        expected_s: Of everything that is still to do.
    """

    TRUSTED_SHARE = 0.1
    """From here on the pace counts, before that the estimate."""

    def __init__(self, expected_s: float) -> None:
        self._expected_s, self._done_s = max(expected_s, 1e-9), 0.0

    @property
    def share(self) -> float:
        """0-1."""
        return min(1.0, self._done_s / self._expected_s)

    def add(self, expected_s: float) -> None:
        """Count work that was expected to take so long."""
        self._done_s += expected_s

    def left_s(self, elapsed_s: float) -> float:
        """Return how long the rest will take, about."""
        rest = 1.0 - self.share
        pace = elapsed_s / self._done_s if self.share >= self.TRUSTED_SHARE else 1.0
        return rest * self._expected_s * pace
