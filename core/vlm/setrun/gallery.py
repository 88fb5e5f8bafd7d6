"""The pictures that calls under way look at: several models and tasks ask about the same one at once."""

import threading
from collections import OrderedDict
from concurrent.futures import Future

from core.images import ImageInput
from core.vlm.datasets.values import Item, Items

BUDGET_MB = 64.0
"""Of decoded pictures that wait for the next call, in MB (10^6 bytes)."""
MOST = 64
"""Of pictures, those that could not be read included."""

Loaded = tuple[Item, ImageInput]


class Gallery:
    """Items with their pictures, the last used kept within `BUDGET_MB`. Each is read once at a time."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._kept: OrderedDict[str, Future[Loaded]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, item_id: str) -> Loaded:
        """Return an item and its picture.

        Raises:
            InputError: There is no such item, or its picture cannot be used.
        """
        with self._lock:
            found = self._kept.get(item_id)
            mine = found is None
            if found is None:
                found = self._kept[item_id] = Future()
            self._kept.move_to_end(item_id)
        if mine:
            self._read(item_id, found)
        return found.result()

    def _read(self, item_id: str, into: Future[Loaded]) -> None:
        try:
            item = self._items.find(item_id)
            into.set_result((item, item.load()))
        except BaseException as error:
            into.set_exception(error)
        with self._lock:
            self._shrink()

    def _shrink(self) -> None:
        """Let go of what was not used for longest; those being read weigh nothing yet."""
        total = sum(_mb(future) for future in self._kept.values())
        for item_id in list(self._kept)[:-1]:
            if total <= BUDGET_MB and len(self._kept) <= MOST:
                return
            total -= _mb(self._kept[item_id])
            if self._kept[item_id].done():
                del self._kept[item_id]


def _mb(future: Future[Loaded]) -> float:
    if not future.done() or future.exception() is not None:
        return 0.0
    image = future.result()[1]
    return (image.rgb.nbytes + len(image.data)) / 1e6
