"""How far a run over a data set is: one value, taken at one moment."""

from dataclasses import dataclass
from enum import StrEnum

from core.vlm.setrun.budget import Spending


class Phase(StrEnum):
    """What a run is doing, or why it ended."""

    RUNNING = "running"
    PAUSED = "paused"
    """Calls under way come to their end; no other begins."""
    DONE = "done"
    """Every call is done, well or not."""
    BUDGET = "budget"
    """The budget has no room for the next call."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """Something here broke: the store, a missing package, a bug."""


ENDED = frozenset({Phase.DONE, Phase.BUDGET, Phase.CANCELLED, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    set_id: str
    phase: Phase
    total: int
    done: int
    """Calls with a row, those of earlier sittings included."""
    failed: int
    """Of those, the ones that brought no answer."""
    under_way: int
    spending: Spending
    elapsed_s: float
    """Of this sitting, pauses left out."""
    left_s: float | None
    """At the pace of this sitting; None before its first call is done."""
    message: str = ""
    """Why it ended before its end."""
