"""The pool of loaded models: each is loaded once and shared by everybody.

    with pool.classifier(spec) as model:
        model.forward(pixels)
    with pool.use(spec) as model:
        extract_attention(model, pixels, ...)
    with pool.segmenter(spec) as model:
        embed(model, image)
    with pool.vlm(spec) as model, model.turn:
        model.generate(image, prompt, ...)

A model in use is never dropped. When a new one does not fit the memory budget, those not in use go before it
is loaded, the least recently used first; if all are in use, the budget is exceeded for as long as that
lasts. The one used last stays even when it alone exceeds the budget: it is the likeliest to be used next.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

from core.environment import choose_device
from core.errors import InputError, SetupError
from core.registry import ModelSpec, check_plain, no_classifier, not_plain
from core.sources import build_model
from core.vision_model import ImageModel, VisionModel

if TYPE_CHECKING:
    from core.segment.segmenter import Segmenter
    from core.vlm.local_model import LocalModel

Loaded = Union[ImageModel, "Segmenter", "LocalModel"]
"""What the pool holds."""

FREE_SHARE = 0.5
"""Share of the free memory that models may take where no budget is set."""
BYTES_PER_PARAMETER = 4
"""Weights are float32."""
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container its limits (cgroup v2)."""


@dataclass(slots=True)
class _Entry:
    """A place in the pool; `ready` is set once loading ended, well or badly."""

    ready: threading.Event
    expected_mb: float
    model: Loaded | None = None
    error: BaseException | None = None
    users: int = 0

    @property
    def memory_mb(self) -> float:
        """What the model takes, or is known to take once it is loaded."""
        return self.expected_mb if self.model is None else self.model.memory_mb


class ModelPool:
    """Loaded models of one process, by (id, revision). Safe to use from many threads.

    Args:
        budget_mb: How much memory the weights may take, in MB (10^6 bytes); None takes half of what is free
            now on the device.
        device: `auto`, `cpu`, `cuda` or `mps`.
    """

    def __init__(self, budget_mb: float | None = None, device: str = "auto") -> None:
        self.choice = choose_device(device)
        self.budget_mb = free_mb(self.choice.device) * FREE_SHARE if budget_mb is None else budget_mb
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._lock = threading.Lock()  # guards _entries and the users of each; never held while loading

    @contextmanager
    def use(self, spec: ModelSpec) -> Iterator[VisionModel]:
        """Yield a plain vision transformer, loading it first; requests at once wait for one loading.

        Raises:
            InputError: It is something else; where its facts say so, nothing is loaded.
            VisionBenchError: It cannot be loaded; the next request tries again.
        """
        check_plain(spec)
        with self._use(spec) as model:
            if not isinstance(model, VisionModel):
                raise not_plain(spec.id)
            yield model

    @contextmanager
    def classifier(self, spec: ModelSpec) -> Iterator[ImageModel]:
        """Yield a network of any architecture that names classes; otherwise as `use`."""
        if "classification" not in spec.tasks:
            raise no_classifier(spec.id)
        with self._use(spec) as model:
            if not isinstance(model, ImageModel) or not model.labels:
                raise no_classifier(spec.id)
            yield model

    @contextmanager
    def segmenter(self, spec: ModelSpec) -> "Iterator[Segmenter]":
        """Yield a promptable segmenter; otherwise as `use`."""
        from core.segment.segmenter import Segmenter

        with self._use(spec) as model:
            if not isinstance(model, Segmenter):
                raise InputError(f"{spec.id} is no promptable segmenter.", "Choose a Segment Anything model.")
            yield model

    @contextmanager
    def vlm(self, spec: ModelSpec) -> "Iterator[LocalModel]":
        """Yield a vision-language model; otherwise as `use`."""
        from core.vlm.local_model import LocalModel

        with self._use(spec) as model:
            if not isinstance(model, LocalModel):
                raise InputError(
                    f"{spec.id} answers no prompts about pictures.", "Choose a vision-language model."
                )
            yield model

    @contextmanager
    def _use(self, spec: ModelSpec) -> Iterator[Loaded]:
        key = (spec.id, spec.revision)
        entry = self._enter(key, spec)
        try:
            entry.ready.wait()
            if entry.error is not None:
                raise entry.error
            assert entry.model is not None  # ready without an error
            yield entry.model
        finally:
            with self._lock:
                entry.users -= 1
                self._evict()

    def _enter(self, key: tuple[str, str], spec: ModelSpec) -> _Entry:
        """Take a place in the pool as a user of the model; the first one there loads it."""
        with self._lock:
            entry = self._entries.get(key)
            first = entry is None
            if entry is None:
                expected_mb = (spec.parameters or 0) * BYTES_PER_PARAMETER / 1e6
                entry = self._entries[key] = _Entry(threading.Event(), expected_mb)
            entry.users += 1
            self._entries.move_to_end(key)
            self._evict()
        if first:
            self._load(key, entry, spec)
        return entry

    def _load(self, key: tuple[str, str], entry: _Entry, spec: ModelSpec) -> None:
        started = time.perf_counter()
        try:
            model = build_model(spec, self.choice.device, lambda: (time.perf_counter() - started) * 1000)
        except BaseException as error:
            with self._lock:
                entry.error = _as_ours(error, spec, self.choice.device)
                del self._entries[key]
            entry.ready.set()
            return
        with self._lock:
            entry.model = model
            self._evict()
        entry.ready.set()

    def _evict(self) -> None:
        """Drop models that nobody uses, least recently used first, until the rest fits. Needs the lock."""
        for key in list(self._entries)[:-1]:
            if sum(entry.memory_mb for entry in self._entries.values()) <= self.budget_mb:
                return
            if self._entries[key].users == 0:
                del self._entries[key]

    def loaded(self) -> tuple[Loaded, ...]:
        """Return the loaded models, the most recently used last."""
        with self._lock:
            return tuple(entry.model for entry in self._entries.values() if entry.model is not None)

    def unload(self, model_id: str) -> bool:
        """Drop a model that nobody uses; say whether there was one."""
        with self._lock:
            found = [key for key, entry in self._entries.items() if key[0] == model_id and entry.users == 0]
            for key in found:
                del self._entries[key]
        return bool(found)


def _as_ours(error: BaseException, spec: ModelSpec, device: str) -> BaseException:
    """Return `error`, or what it means for the person where the memory was too small."""
    import torch

    if not isinstance(error, MemoryError | torch.OutOfMemoryError):
        return error
    found = SetupError(
        f"{spec.id} does not fit into the free memory of {device}.",
        "Choose a smaller model, or set VISION_BENCH_MODEL_MEMORY_MB lower, so that other models make room.",
    )
    found.__cause__ = error
    return found


def free_mb(device: str) -> float:
    """Return how much memory a device has free, in MB (10^6 bytes); on a CPU, within this container."""
    if device == "cuda":
        import torch

        return torch.cuda.mem_get_info()[0] / 1e6
    import psutil

    return min(float(psutil.virtual_memory().available) / 1e6, _container_free_mb())


def _container_free_mb() -> float:
    """Return what this container may still take; infinite outside of one. A file cache gives way."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        lines = (CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return math.inf
    if limit == "max":
        return math.inf
    cache = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return max(0.0, (int(limit) - used + cache) / 1e6)
