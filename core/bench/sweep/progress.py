"""How far a sweep is, and how long the rest will take."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a sweep is doing, or why it ended."""

    RUNNING = "running"
    IN_LINE = "in line"
    """Another measurement on this machine goes first."""
    WAITING = "waiting"
    """The store cannot be written; it is tried again."""
    PAUSED = "paused"
    """Cells under way come to their end; no other begins."""
    DONE = "done"
    """Every cell is done, well or not."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """Something here broke: the store, the cluster, a bug."""


ENDED = frozenset({Phase.DONE, Phase.CANCELLED, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a sweep stands, at one moment."""

    set_id: str
    phase: Phase
    total: int
    done: int
    """Cells with a row, those of earlier sittings included."""
    failed: int
    """Of those, the ones that could not be measured."""
    under_way: int
    """Given to a worker, or next in its queue."""
    elapsed_s: float
    """Of this sitting; pauses, and waiting for its turn, left out."""
    left_s: float | None
    """At the pace of this sitting; None before its first cell is done."""
    message: str = ""
    """Why it waits, or ended before its end."""


class Pace:
    """How long cells take, by model: large models take longer than small ones, and may come last."""

    def __init__(self, open_cells: Mapping[str, int]) -> None:
        self._open = Counter(open_cells)
        self._done: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def add(self, model_id: str, seconds: float) -> None:
        """Count a cell that took so long."""
        self._open[model_id] -= 1
        self._done[model_id] += 1
        self._seconds[model_id] = self._seconds.get(model_id, 0.0) + seconds

    def left_s(self, elapsed_s: float) -> float | None:
        """Return how long the open cells will take if as many are under way at once as were until now.

        None before the first cell is done, unless none is open.
        """
        if not self._open.total():
            return 0.0
        if not (worked_s := sum(self._seconds.values())):
            return None
        usual_s = worked_s / self._done.total()
        ahead_s = sum(count * self._mean_s(model, usual_s) for model, count in self._open.items())
        return elapsed_s * ahead_s / worked_s

    def _mean_s(self, model_id: str, usual_s: float) -> float:
        done = self._done[model_id]
        return self._seconds[model_id] / done if done else usual_s
