"""Whose turn it is to ask: a provider's places, a pause, the end of a run, and the budget.

A turn lasts from the moment a question goes out to the end of its last attempt. What comes before and after
it, the picture and the row, takes no place: a provider is kept as busy as its limit allows.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from core.vlm.setrun.budget import Budget, Room

LOOK_EVERY_S = 0.05
"""How often a thread looks whether the budget has room again."""


class NoTurn(Exception):
    """The call is not made: the run has ended, or it ends now because the budget has no room."""

    def __init__(self, room: Room | None = None) -> None:
        super().__init__(room)
        self.room = room
        """What the budget says, where it is the reason."""


@dataclass(slots=True)
class Turn:
    """A call that waits for its turn, or has had it."""

    lane: str
    most_usd: float | None
    """The most that it may cost, which the budget holds from its beginning on."""
    begun: bool = False


class Turns:
    """The turns of one run.

    Args:
        places: How many calls each lane may have under way.
        going: Cleared while the run is paused.
        stop: Set when the run has ended; then `going` is set, too.
    """

    def __init__(
        self, places: Mapping[str, int], budget: Budget, going: threading.Event, stop: threading.Event
    ) -> None:
        self._places = {lane: threading.BoundedSemaphore(number) for lane, number in places.items()}
        self._budget, self._going, self._stop = budget, going, stop
        self._lock, self._under_way = threading.Lock(), 0

    @property
    def under_way(self) -> int:
        """How many calls are being made."""
        with self._lock:
            return self._under_way

    @contextmanager
    def take(self, turn: Turn) -> Iterator[None]:
        """Wait for a turn and have it while the block runs; the budget is left to be settled by the caller.

        Raises:
            NoTurn: It does not come any more.
        """
        with self._places[turn.lane]:
            self.wait_for_going()
            self._hold(turn.most_usd)
            turn.begun = True
            self._count(1)
            try:
                yield
            finally:
                self._count(-1)

    def wait_for_going(self) -> None:
        """Wait until the run is not paused."""
        while not self._going.wait(1.0):
            pass

    def _hold(self, most_usd: float | None) -> None:
        while not self._stop.is_set():
            room = self._budget.reserve(most_usd)
            if room is Room.YES:
                return
            if room is not Room.LATER:
                raise NoTurn(room)
            self._stop.wait(LOOK_EVERY_S)
        raise NoTurn

    def _count(self, change: int) -> None:
        with self._lock:
            self._under_way += change
