"""Features of pictures: computed once for each picture, model and options, kept in memory and in the store.

    cache.get(spec, image, options, pool)      memory -> store -> the model
    cache.get_many(spec, images, ...)          the same for many pictures; those missing run in batches

What is found needs no model and loads none. Features of another revision have another key: the commit that a
branch of the hub stands for is looked up first.
"""

import json
import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Literal

from safetensors.numpy import load, save

from core.derived import derived_key
from core.derived_cache import DerivedCache, Found
from core.errors import SetupError
from core.features.values import FeatureOptions, ImageFeatures
from core.images import ImageInput
from core.loaders import ModelPool
from core.preprocess import Frame
from core.recording import ms_since
from core.registry import ModelSpec
from core.sealed import DAMAGED, seal, unsealed
from core.sources import with_commit

Key = tuple[str, str, str, FeatureOptions]
"""Digest of the picture, model, revision, options."""

FORMAT = "patch features 1"
"""Begins the keys in the store; another number makes all that is kept there count as absent."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class Featured:
    """Features, and what it took to get them."""

    features: ImageFeatures
    source: Literal["memory", "store", "computed"]
    """Where they came from; for a request that waited for another one, where that found them."""
    load_ms: float
    """How long this picture waited for the model; of several only the first did."""
    model_ms: float
    """This picture's share of the time that the model took for its batch; 0 where this request ran none."""
    ms: float
    """How long it took to find, to prepare and compute, or to wait for, in ms; without `load_ms`."""


class FeatureCache(DerivedCache[Key, ImageFeatures]):
    """Features of one process, on the CPU. Safe to use from many threads."""

    noun = "A picture's features"

    def get(self, spec: ModelSpec, image: ImageInput, options: FeatureOptions, pool: ModelPool) -> Featured:
        """Return the picture's features by the model.

        Raises:
            InputError: The model cannot give them, or gives no answer; see `core.features.extract.extract`.
            SetupError: The model cannot be loaded, or the memory does not suffice.
        """
        return self.get_many(spec, [image], options, pool)[0]

    def get_many(
        self,
        spec: ModelSpec,
        images: Sequence[ImageInput],
        options: FeatureOptions,
        pool: ModelPool,
        progress: Callable[[int, int], object] | None = None,
    ) -> tuple[Featured, ...]:
        """Return the features of each picture, in their order; otherwise as `get`.

        Args:
            progress: Told how many different pictures are done, of how many. What it raises ends the work;
                what was computed until then is kept.
        """
        revision = revision_of(spec, pool)
        keys = [(image.sha256, spec.id, revision, options) for image in images]
        by_key = dict(zip(keys, images, strict=True))
        told = count(1)
        spent: dict[Key, tuple[float, float]] = {}  # waiting for the model, and its time
        found = self._find(
            by_key,
            from_bytes,
            partial(self._compute, spec, by_key, pool, spent),
            lambda: progress(next(told), len(by_key)) if progress else None,
        )
        return tuple(_featured(found[key], *spent.get(key, (0.0, 0.0))) for key in keys)

    def kept(
        self, sha256: str, model_id: str, revision: str, options: FeatureOptions
    ) -> ImageFeatures | None:
        """Return the features of a picture, known by its digest alone, where they are here; else None.

        What is found in the store is not held: this is for going over many.
        """
        key = (sha256, model_id, revision, options)
        with self._lock:
            held = self._held.get(key)
        if held is not None:
            return held
        stored = self._from_store(key, from_bytes)
        return None if stored is None else stored.value

    def _compute(
        self,
        spec: ModelSpec,
        images: Mapping[Key, ImageInput],
        pool: ModelPool,
        spent: dict[Key, tuple[float, float]],
        missing: Sequence[Key],
    ) -> Generator[tuple[Key, ImageFeatures, float]]:
        from core.features.extract import extract_each  # imports torch, which what is found does not need

        started = time.perf_counter()
        with pool.use(spec) as model:
            load_ms = ms_since(started)
            _, _, revision, options = missing[0]
            if model.spec.revision != revision:
                raise SetupError(f"The weights of {spec.id} were exchanged meanwhile.", "Try again.")
            for one in extract_each(model, [images[key] for key in missing], options):
                key = missing[one.index]
                spent[key], load_ms = (load_ms, one.model_ms), 0.0
                self._computing_ms[spec.id] = ms = one.prepare_ms + one.model_ms
                yield key, one.features, ms

    def _name(self, key: Key) -> str:
        *facts, options = key
        return derived_key(FORMAT, *facts, json.dumps(options.as_json(), sort_keys=True))

    def _to_bytes(self, value: ImageFeatures) -> bytes:
        return to_bytes(value)

    def _size_mb(self, value: ImageFeatures) -> float:
        return value.memory_mb


def _featured(found: Found[ImageFeatures], load_ms: float, model_ms: float) -> Featured:
    return Featured(found.value, found.source, load_ms, model_ms, found.ms)


def revision_of(spec: ModelSpec, pool: ModelPool) -> str:
    """Return which weights `spec` stands for now: those in the pool, else those on this disk.

    A branch of the hub (`main`) is one commit today and another tomorrow. Weights that are not here yet
    are fetched.
    """
    if spec.source != "huggingface":
        return spec.revision
    loaded = next((model.spec for model in pool.loaded() if model.spec.id == spec.id), None)
    here = loaded or with_commit(spec)
    if here is not spec:
        return here.revision
    with pool.use(spec) as model:
        return model.spec.revision


# As bytes


def to_bytes(features: ImageFeatures) -> bytes:
    """Return a sealed file: `patches` and, where there is one, `cls`; its layout has everything else."""
    tensors = {"patches": features.patches}
    if features.cls is not None:
        tensors["cls"] = features.cls
    layout = _facts(_key(features)) | {"box": features.frame.box, "grid": features.frame.grid}
    return seal(save, tensors, json.dumps(layout))


def from_bytes(key: Key, data: bytes) -> ImageFeatures | None:
    """Return what `to_bytes` wrote of the features that `key` names; None for any other bytes."""
    try:
        tensors = load(data)  # checks the header, before anything here believes it
        layout = unsealed(save, tensors, data)
        return _parsed(key, tensors, layout)
    except DAMAGED as error:
        _log.warning("Features in the store cannot be used and are computed again: %s", error)
        return None


def _parsed(key: Key, tensors: dict[str, Any], layout: dict[str, Any]) -> ImageFeatures:
    """Return the features in a file; a bad one raises what `from_bytes` catches."""
    if any(layout[name] != value for name, value in _facts(key).items()):
        raise ValueError("they are of another picture, model, revision or options")
    x0, y0, x1, y1 = (float(value) for value in layout["box"])
    rows, columns = (int(value) for value in layout["grid"])
    sha256, model_id, revision, options = key
    return ImageFeatures(
        patches=tensors["patches"],
        cls=tensors.get("cls"),
        frame=Frame((x0, y0, x1, y1), (rows, columns)),
        sha256=sha256,
        model_id=model_id,
        revision=revision,
        options=options,
    )


def _key(features: ImageFeatures) -> Key:
    return features.sha256, features.model_id, features.revision, features.options


def _facts(key: Key) -> dict[str, Any]:
    sha256, model_id, revision, options = key
    return {"sha256": sha256, "model": model_id, "revision": revision, "options": options.as_json()}
