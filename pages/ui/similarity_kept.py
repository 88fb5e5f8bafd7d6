"""What the tools of the page computed for these two pictures: once, not with every click."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

from pages.ui import state
from pages.ui.similarity_state import Pair

T = TypeVar("T")

MOST = 16
"""Results that are held for one pair of pictures."""


def once(pair: Pair, key: Hashable, make: Callable[[], T]) -> T:
    """Return what `make` returned for this pair and key, calling it the first time only."""
    held = state.SIMILARITY_DONE.get()
    if held is None or held[0] is not pair.result:
        held = state.SIMILARITY_DONE.set((pair.result, {}))
    done = held[1]
    if key not in done:
        done[key] = make()
        while len(done) > MOST:
            done.pop(next(iter(done)))
    return cast("T", done[key])
