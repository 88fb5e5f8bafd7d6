"""Embeddings of pictures: computed once for each picture and model, kept in memory and in the store.

    cache.get(model, image)     memory -> store -> the encoder

Whoever asks for the same embedding at the same time waits for the one that is being computed. An embedding
from the store equals the computed one to the bit, in its values and in how they lie in memory.
"""

import json
import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors.torch import load, save
from torch import Tensor

from core.derived import derived_key
from core.derived_cache import DerivedCache
from core.explain.attention import synchronise
from core.images import ImageInput
from core.recording import ms_since
from core.sealed import DAMAGED, seal, unsealed
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


class EmbeddingCache(DerivedCache[Key, ImageEmbedding]):
    """Embeddings of one process, on whatever device. Safe to use from many threads."""

    noun = "An embedding"

    def get(self, model: Segmenter, image: ImageInput) -> Embedded:
        """Return the picture's embedding by the model, on the model's device.

        Raises:
            SetupError: The memory does not suffice to encode it; the next request tries again.
        """
        key = (image.sha256, model.spec.id, model.spec.revision, model.dtype, model.device)

        def encode(_: Sequence[Key]) -> Generator[tuple[Key, ImageEmbedding, float]]:
            started = time.perf_counter()
            embedding = embed(model, image)
            synchronise(model.device)
            self._computing_ms[model.spec.id] = ms = ms_since(started)
            yield key, embedding, ms

        found = self._find([key], lambda _, data: from_bytes(data, model, image), encode)[key]
        source: Source = "encoded" if found.source == "computed" else found.source
        return Embedded(found.value, source, found.ms)

    def _name(self, key: Key) -> str:
        return derived_key(FORMAT, *key[:4])

    def _to_bytes(self, value: ImageEmbedding) -> bytes:
        return to_bytes(value)

    def _size_mb(self, value: ImageEmbedding) -> float:
        return size_mb(value)


def size_mb(embedding: ImageEmbedding) -> float:
    """Return what an embedding takes in memory, in MB (10^6 bytes); a view keeps the whole alive."""
    storages = [tensor.untyped_storage() for tensor in embedding.tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values()) / 1e6


# As bytes


def to_bytes(embedding: ImageEmbedding) -> bytes:
    """Return a sealed file: the tensors, named by their numbers.

    Its layout has the geometry, and for each tensor its dimensions in the order in which the file has them.
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
    return seal(save, tensors, json.dumps(layout))


def _memory_order(tensor: Tensor) -> list[int]:
    """Return its dimensions, the outermost in memory first.

    Some encoders leave the channels innermost, and kernels may round in another way for another order.
    """
    return sorted(range(tensor.ndim), key=tensor.stride, reverse=True)


def from_bytes(data: bytes, model: Segmenter, image: ImageInput) -> ImageEmbedding | None:
    """Return what `to_bytes` wrote, of this picture and model, on its device; None for any other bytes."""
    try:
        with torch.inference_mode():
            tensors, layout = _parsed(data)
            geometry = _geometry(layout, model, image)
            placed = tuple(tensor.to(model.device) for tensor in tensors)
    except DAMAGED as error:
        _log.warning("An embedding in the store cannot be used and is computed again: %s", error)
        return None
    return ImageEmbedding(placed, geometry, image.sha256, model.spec.id, model.spec.revision)


def _parsed(data: bytes) -> tuple[list[Tensor], dict[str, Any]]:
    """Return tensors and layout of a file; a bad one raises what `from_bytes` catches."""
    named = load(data)  # checks the header, before anything here believes it
    layout = unsealed(save, named, data)
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
