"""Embeddings of pictures: computed once for each picture and model, kept in memory and in the store.

    cache.get(model, image)     memory -> store -> the encoder

Whoever asks for the same embedding at the same time waits for the one that is being computed. An embedding
from the store equals the computed one to the bit, in its values and in how they lie in memory.
"""

import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from core.derived import DerivedStore, derived_key
from core.explain.attention import synchronise
from core.images import ImageInput
from core.recording import ms_since
from core.segment.masks import Geometry
from core.segment.segmenter import ImageEmbedding, Segmenter, embed

Source = Literal["memory", "store", "encoded"]
Key = tuple[str, str, str, str, str]
"""Digest of the picture, model, revision, dtype, device."""

FORMAT = "segmenter embedding 1"
"""Begins the keys in the store; another number makes all that is kept there count as absent."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class Embedded:
    """An embedding, and what it took to get it."""

    embedding: ImageEmbedding
    source: Source
    """Where it came from; for a request that waited for another one, where that found it."""
    ms: float
    """How long it took to find, to encode, or to wait for, in milliseconds."""


class EmbeddingCache:
    """Embeddings of one process. Safe to use from many threads.

    Args:
        store: Keeps embeddings across restarts; None keeps them in memory alone.
        memory_mb: What embeddings may take in memory, on whatever device, in MB (10^6 bytes); the least
            recently used go. One that is larger is not held.
        store_mb: What all derived values may take in the store, in MB.
    """

    def __init__(
        self, store: DerivedStore | None, memory_mb: float = 512.0, store_mb: float = 1024.0
    ) -> None:
        self._store = store
        self._memory_budget_mb = memory_mb
        self._store_budget_mb = store_mb
        self._held: OrderedDict[Key, ImageEmbedding] = OrderedDict()
        self._pending: dict[Key, Future[Embedded]] = {}
        self._encoding_ms: dict[str, float] = {}
        self._lock = threading.Lock()  # guards _held and _pending; never held while one computes

    def get(self, model: Segmenter, image: ImageInput) -> Embedded:
        """Return the picture's embedding by the model, on the model's device.

        A store that fails is passed over, with a warning in the log.

        Raises:
            SetupError: The memory does not suffice to encode it; the next request tries again.
        """
        started = time.perf_counter()
        key = (image.sha256, model.spec.id, model.spec.revision, model.dtype, model.device)
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return Embedded(held, "memory", ms_since(started))
            pending = self._pending.get(key)
            first = pending is None
            if pending is None:
                pending = self._pending[key] = Future()
        if first:
            return self._answer(key, pending, model, image)
        return replace(pending.result(), ms=ms_since(started))

    def expected_ms(self, model_id: str) -> float | None:
        """Return how long the model took for its last picture in this process, None before the first."""
        return self._encoding_ms.get(model_id)

    @property
    def memory_mb(self) -> float:
        """What the embeddings held in memory take, in MB (10^6 bytes)."""
        with self._lock:
            return self._held_mb()

    def clear(self) -> None:
        """Forget what is held in memory; the store keeps its own."""
        with self._lock:
            self._held.clear()

    def _answer(self, key: Key, pending: Future[Embedded], model: Segmenter, image: ImageInput) -> Embedded:
        """Find or compute an embedding for everybody who waits for `pending`."""
        name = derived_key(FORMAT, *key[:4])
        try:
            found = self._from_store(name, model, image) or self._encode(model, image)
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            pending.set_exception(error)
            raise
        with self._lock:
            self._hold(key, found.embedding)
            del self._pending[key]
        pending.set_result(found)
        if found.source == "encoded":
            self._keep(name, found.embedding)
        return found

    def _encode(self, model: Segmenter, image: ImageInput) -> Embedded:
        started = time.perf_counter()
        embedding = embed(model, image)
        synchronise(model.device)
        self._encoding_ms[model.spec.id] = ms = ms_since(started)
        return Embedded(embedding, "encoded", ms)

    def _from_store(self, name: str, model: Segmenter, image: ImageInput) -> Embedded | None:
        if self._store is None:
            return None
        started = time.perf_counter()
        try:
            data = self._store.derived(name)
        except Exception:  # the store's errors are of `db`, which is not known here
            _log.warning("An embedding cannot be read from the store.", exc_info=True)
            return None
        embedding = None if data is None else from_bytes(data, model, image)
        return None if embedding is None else Embedded(embedding, "store", ms_since(started))

    def _keep(self, name: str, embedding: ImageEmbedding) -> None:
        if self._store is None:
            return
        data = to_bytes(embedding)
        try:
            self._store.keep_derived(name, data, self._store_budget_mb)
        except Exception:  # as above
            _log.warning("An embedding cannot be kept in the store.", exc_info=True)

    def _hold(self, key: Key, embedding: ImageEmbedding) -> None:
        """Hold an embedding, and drop the least recently used until the rest fits. Needs the lock."""
        if size_mb(embedding) > self._memory_budget_mb:
            return
        self._held[key] = embedding
        while self._held_mb() > self._memory_budget_mb:
            self._held.popitem(last=False)

    def _held_mb(self) -> float:
        return sum(size_mb(embedding) for embedding in self._held.values())


def size_mb(embedding: ImageEmbedding) -> float:
    """Return what an embedding takes in memory, in MB (10^6 bytes); a view keeps the whole alive."""
    storages = [tensor.untyped_storage() for tensor in embedding.tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values()) / 1e6


# As bytes


def to_bytes(embedding: ImageEmbedding) -> bytes:
    """Return a file of safetensors: the tensors, named by their numbers, and this metadata.

    layout   JSON: the geometry, and for each tensor its dimensions in the order in which the file has them
    sha256   digest of the same file without this entry
    """
    geometry = embedding.geometry
    orders = [_memory_order(tensor) for tensor in embedding.tensors]
    layout = {
        "original": geometry.original,
        "resized": geometry.resized,
        "side": geometry.side,
        "orders": orders,
    }
    tensors = {  # copied, because safetensors refuses tensors that share memory
        str(i): tensor.permute(order).to("cpu", copy=True, memory_format=torch.contiguous_format)
        for i, (tensor, order) in enumerate(zip(embedding.tensors, orders, strict=True))
    }
    return _sealed(tensors, json.dumps(layout))[0]


def _memory_order(tensor: Tensor) -> list[int]:
    """Return its dimensions, the outermost in memory first.

    Some encoders leave the channels innermost, and kernels may round in another way for another order.
    """
    return sorted(range(tensor.ndim), key=tensor.stride, reverse=True)


def _sealed(tensors: dict[str, Tensor], layout: str) -> tuple[bytes, str]:
    """Return the file and the digest in it."""
    sha256 = hashlib.sha256(save(tensors, {"layout": layout})).hexdigest()
    return save(tensors, {"layout": layout, "sha256": sha256}), sha256


def from_bytes(data: bytes, model: Segmenter, image: ImageInput) -> ImageEmbedding | None:
    """Return what `to_bytes` wrote, of this picture and model, on its device; None for any other bytes."""
    try:
        with torch.inference_mode():
            tensors, layout = _parsed(data)
            geometry = _geometry(layout, model, image)
            placed = tuple(tensor.to(model.device) for tensor in tensors)
    except (SafetensorError, LookupError, TypeError, ValueError, AssertionError, RuntimeError) as error:
        _log.warning("An embedding in the store cannot be used and is computed again: %s", error)
        return None
    return ImageEmbedding(placed, geometry, image.sha256, model.spec.id, model.spec.revision)


def _parsed(data: bytes) -> tuple[list[Tensor], dict[str, Any]]:
    """Return tensors and layout of a file; a bad one raises what `from_bytes` catches."""
    named = load(data)  # checks the header, before anything here believes it
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    if _sealed(named, metadata["layout"])[1] != metadata["sha256"]:
        raise ValueError("its digest is another one")
    layout = json.loads(metadata["layout"])
    if not len(named) == len(layout["orders"]) > 0:
        raise ValueError("it has another number of tensors")
    # cloned, because the bytes of a file are not aligned as PyTorch aligns its own
    tensors = [
        named[str(i)].clone().permute(sorted(range(len(order)), key=order.__getitem__))
        for i, order in enumerate(layout["orders"])
    ]
    return tensors, layout


def _geometry(layout: dict[str, Any], model: Segmenter, image: ImageInput) -> Geometry:
    height, width = layout["resized"]
    if not all(isinstance(n, int) and 0 < n <= model.side for n in (height, width)):
        raise ValueError("the picture does not lie in the model's square")
    geometry = Geometry((image.height, image.width), (height, width), model.side)
    if (layout["original"], layout["side"]) != (list(geometry.original), geometry.side):
        raise ValueError("it is of another size")
    return geometry
