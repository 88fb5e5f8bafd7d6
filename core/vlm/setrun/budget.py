"""What may still be spent, asked before each call: money and calls.

    limit >= charged + held        at every moment, for every call that has a price

Before a call the most that it may cost is held; afterwards what it cost is charged instead. So where a call
never costs more than the most that was held for it, the limit is never passed, however many threads ask.
Sums are whole billionths of a dollar, rounded up: they do not depend on the order of their parts.
"""

import math
import threading
from dataclasses import dataclass
from enum import StrEnum

NANO = 1_000_000_000


class Room(StrEnum):
    """Whether there is room for one more call."""

    YES = "yes"
    LATER = "later"
    """Not now; perhaps when a call that is under way has cost less than was held for it."""
    NO_MONEY = "no money"
    NO_CALLS = "no calls"


@dataclass(frozen=True, slots=True)
class Spending:
    """Where a budget stands at one moment."""

    usd: float
    """Charged."""
    held_usd: float
    """The most that the calls under way may cost."""
    calls: int
    """Made, those under way included."""
    unpriced: int
    """Calls whose cost is unknown; they are not in `usd`."""


class Budget:
    """A limit in US dollars and one in calls, safe to use from many threads.

    A call whose price is unknown (None) is held to the limit of calls only.

    Args:
        usd: Most money; None sets no limit.
        calls: Most calls; None sets no limit.
        spent_usd: Charged earlier, before a run was resumed.
        made: Calls made earlier.
    """

    def __init__(
        self, usd: float | None, calls: int | None, *, spent_usd: float = 0.0, made: int = 0
    ) -> None:
        self._usd = None if usd is None else math.floor(usd * NANO)
        self._calls = calls
        self._spent, self._made, self._unpriced, self._held = _nano(spent_usd), made, 0, 0
        self._lock = threading.Lock()

    def reserve(self, most_usd: float | None) -> Room:
        """Hold the most that a call may cost where there is room for it, and count the call.

        After each `YES` comes one `settle` or `give_back` with the same `most_usd`.
        """
        most = _nano(most_usd or 0.0)
        with self._lock:
            if self._calls is not None and self._made >= self._calls:
                return Room.NO_CALLS
            if self._usd is not None and most and self._spent + self._held + most > self._usd:
                return Room.LATER if self._held and self._spent + most <= self._usd else Room.NO_MONEY
            self._made += 1
            self._held += most
            return Room.YES

    def settle(self, most_usd: float | None, charged_usd: float | None) -> None:
        """Charge what a call cost; None leaves it unknown."""
        with self._lock:
            self._held -= _nano(most_usd or 0.0)
            self._spent += _nano(charged_usd or 0.0)
            self._unpriced += charged_usd is None

    def give_back(self, most_usd: float | None) -> None:
        """Take a reservation back: its call was not made."""
        with self._lock:
            self._held -= _nano(most_usd or 0.0)
            self._made -= 1

    @property
    def spending(self) -> Spending:
        """Where it stands."""
        with self._lock:
            return Spending(self._spent / NANO, self._held / NANO, self._made, self._unpriced)


def _nano(usd: float) -> int:
    return math.ceil(usd * NANO)
