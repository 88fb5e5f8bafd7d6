"""Values that can be computed again, each computed once: memory -> store -> compute.

Whoever asks for the same value at the same time waits for the one that is being found. A store that fails is
passed over, with a warning in the log.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Literal, TypeVar

from core.derived import DerivedStore
from core.recording import ms_since

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class Found(Generic[Value]):
    """A value, and what it took to get it."""

    value: Value
    source: Literal["memory", "store", "computed"]
    """Where it came from; for a request that waited for another one, where that found it."""
    ms: float
    """How long it took to find, to compute, or to wait for, in milliseconds."""


class DerivedCache(ABC, Generic[Key, Value]):
    """Values of one process. Safe to use from many threads.

    Args:
        store: Keeps values across restarts; None keeps them in memory alone.
        memory_mb: What values may take in memory, in MB (10^6 bytes); the least recently used go. One that is
            larger is not held.
        store_mb: What all derived values may take in the store, in MB.
    """

    noun: ClassVar[str]
    """What a value is called in the log, with its article."""

    def __init__(
        self, store: DerivedStore | None, memory_mb: float = 512.0, store_mb: float = 1024.0
    ) -> None:
        self._store = store
        self._memory_budget_mb = memory_mb
        self._store_budget_mb = store_mb
        self._held: OrderedDict[Key, Value] = OrderedDict()
        self._pending: dict[Key, Future[Found[Value]]] = {}
        self._computing_ms: dict[str, float] = {}
        self._lock = threading.Lock()  # guards _held and _pending; never held while one computes

    @abstractmethod
    def _name(self, key: Key) -> str:
        """Return what the store calls it, as `core.derived.derived_key` makes it."""

    @abstractmethod
    def _to_bytes(self, value: Value) -> bytes:
        """Return what the store keeps."""

    @abstractmethod
    def _size_mb(self, value: Value) -> float:
        """Return what a value takes in memory, in MB (10^6 bytes)."""

    def expected_ms(self, model_id: str) -> float | None:
        """Return how long the model took for its last picture in this process, None before the first."""
        return self._computing_ms.get(model_id)

    @property
    def memory_mb(self) -> float:
        """What the values held in memory take, in MB (10^6 bytes)."""
        with self._lock:
            return self._held_mb()

    def clear(self) -> None:
        """Forget what is held in memory; the store keeps its own."""
        with self._lock:
            self._held.clear()

    def _find(
        self,
        keys: Iterable[Key],
        read: Callable[[Key, bytes], Value | None],
        compute: Callable[[Sequence[Key]], Generator[tuple[Key, Value, float]]],
        told: Callable[[], object] = lambda: None,
    ) -> dict[Key, Found[Value]]:
        """Return the value of every key.

        Args:
            read: Return what the store's bytes hold, None where they cannot be used.
            compute: Yield key, value and the milliseconds it took, for each key that is nowhere.
            told: Called as often as there are keys, whenever one more is found.
        """
        started = time.perf_counter()
        found, mine, others = self._claim(list(dict.fromkeys(keys)), started)
        try:
            for _ in found:
                told()
            for key in mine:
                if (stored := self._from_store(key, read)) is not None:
                    found[key] = self._settle(key, stored)
                    told()
            missing = [key for key in mine if key not in found]
            with closing(compute(missing)) as computing:
                for key, value, ms in computing if missing else ():
                    found[key] = self._settle(key, Found(value, "computed", ms))
                    self._keep(key, value)
                    told()
        except BaseException as error:
            self._give_up([key for key in mine if key not in found], error if len(mine) == 1 else None)
            raise
        for key, pending in others.items():
            try:
                found[key] = replace(pending.result(), ms=ms_since(started))
            except CancelledError:
                found |= self._find([key], read, compute)
            told()
        return found

    def _claim(
        self, keys: Sequence[Key], started: float
    ) -> tuple[dict[Key, Found[Value]], list[Key], dict[Key, Future[Found[Value]]]]:
        """Return what is in memory, which keys are to be found here, and those that others are finding."""
        found: dict[Key, Found[Value]] = {}
        mine: list[Key] = []
        others: dict[Key, Future[Found[Value]]] = {}
        with self._lock:
            for key in keys:
                if key in self._held:
                    self._held.move_to_end(key)
                    found[key] = Found(self._held[key], "memory", ms_since(started))
                elif key in self._pending:
                    others[key] = self._pending[key]
                else:
                    self._pending[key] = Future()
                    mine.append(key)
        return found, mine, others

    def _settle(self, key: Key, found: Found[Value]) -> Found[Value]:
        """Hold a value, and give it to everybody who waits for it."""
        with self._lock:
            self._hold(key, found.value)
            pending = self._pending.pop(key)
        pending.set_result(found)
        return found

    def _give_up(self, keys: Sequence[Key], error: BaseException | None) -> None:
        """Tell everybody who waits for these what went wrong; None lets them find it themselves.

        Of several it is not known whose the error is.
        """
        for key in keys:
            with self._lock:
                pending = self._pending.pop(key)
            if error is None:
                pending.cancel()
            else:
                pending.set_exception(error)

    def _from_store(self, key: Key, read: Callable[[Key, bytes], Value | None]) -> Found[Value] | None:
        if self._store is None:
            return None
        started = time.perf_counter()
        try:
            data = self._store.derived(self._name(key))
        except Exception:  # the store's errors are of `db`, which is not known here
            _log.warning("%s cannot be read from the store.", self.noun, exc_info=True)
            return None
        value = None if data is None else read(key, data)
        return None if value is None else Found(value, "store", ms_since(started))

    def _keep(self, key: Key, value: Value) -> None:
        if self._store is None:
            return
        data = self._to_bytes(value)
        try:
            self._store.keep_derived(self._name(key), data, self._store_budget_mb)
        except Exception:  # as above
            _log.warning("%s cannot be kept in the store.", self.noun, exc_info=True)

    def _hold(self, key: Key, value: Value) -> None:
        """Hold a value, and drop the least recently used until the rest fits. Needs the lock."""
        if self._size_mb(value) > self._memory_budget_mb:
            return
        self._held[key] = value
        while self._held_mb() > self._memory_budget_mb:
            self._held.popitem(last=False)

    def _held_mb(self) -> float:
        return sum(self._size_mb(value) for value in self._held.values())
