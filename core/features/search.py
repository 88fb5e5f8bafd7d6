"""One picture, or a region of it, against the pictures in the store that a visitor may see.

    search = PictureSearch(store, cache)                  one for the process
    search.index_missing(spec, options, pool=…, owner=…)  once for each new picture; may take long
    search.rank(features, spec, pool=…, …)                the pictures most like one, with maps

A whole picture is compared by its CLS token, or by the mean of its patches. A region is compared in two
steps: the `SHORTLIST` pictures whose mean is most like it, ordered by the patch that is most like it. A
picture whose mean gives nothing of a small thing away is therefore not found.

Vectors belong to pictures, not to visitors. Whom a picture may be shown to is asked of the store anew in each
search, and nothing that a search returns depends on pictures of others.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.features.cache import FeatureCache, revision_of
from core.features.query import PatchQuery
from core.features.search_values import FoundPicture, Hit, Indexed, PictureStore
from core.features.similarity import UnitGrid, query_vector, unit, vector_map
from core.features.values import FeatureOptions, ImageFeatures
from core.features.vector_index import VECTOR_KINDS, Space, VectorIndex, VectorKind, vector_bytes
from core.images import ImageInput, Limits, decode
from core.loaders import ModelPool
from core.registry import ModelSpec
from core.settings import settings

SHORTLIST = 200
"""How many pictures are looked at patch by patch for a region."""
MAX_HITS = 100
"""Most pictures that one search returns."""
TOGETHER = 16
"""How many pictures are read, decoded and given to the model together."""
LOOKED_UP = 1_000
"""Most pictures that the store is asked for at once."""
MAX_INDEXES = 4
"""Spaces held in memory, the most recently used: 154 MB for 100,000 vectors of 384 numbers."""

Progress = Callable[[int, int], object]
"""Told how many pictures are done, of how many. What it raises ends the work; what is done is kept."""


class PictureSearch:
    """Finds pictures of a store. One for the process; safe to use from many threads."""

    def __init__(self, store: PictureStore, cache: FeatureCache) -> None:
        self._store = store
        self._cache = cache
        self._indexes: OrderedDict[Space, VectorIndex] = OrderedDict()
        self._lock = threading.Lock()  # guards _indexes

    # Making pictures findable

    def missing(
        self,
        spec: ModelSpec,
        options: FeatureOptions,
        *,
        pool: ModelPool,
        owner: str | None,
        kind: VectorKind = "mean",
    ) -> int:
        """Return how many pictures that `owner` may see cannot be found until `index_missing` has run."""
        space = Space(spec.id, revision_of(spec, pool), options, kind)
        return len(self._store.pictures_without_vector(space.key, owner))

    def index_missing(
        self,
        spec: ModelSpec,
        options: FeatureOptions,
        *,
        pool: ModelPool,
        owner: str | None,
        kind: VectorKind = "mean",
        progress: Progress | None = None,
    ) -> Indexed:
        """Make every kept picture that `owner` may see findable; the model sees those that are new to it.

        A picture that cannot be read, or of which the model makes nothing, is told and passed over.

        Raises:
            SetupError: The model cannot be loaded.
        """
        space = Space(spec.id, revision_of(spec, pool), options, kind)
        missing = self._store.pictures_without_vector(space.key, owner)
        done, failed = 0, list[tuple[str, str]]()
        for start in range(0, len(missing), TOGETHER):
            found = self._store.find_pictures(missing[start : start + TOGETHER], owner)
            features, wrong = self._features(list(found.values()), spec, space, pool, owner)
            self._keep(features.values())
            done += len(features)
            failed += [(found[sha256].name, reason) for sha256, reason in wrong.items()]
            if progress:
                progress(min(start + TOGETHER, len(missing)), len(missing))
        return Indexed(done, tuple(failed))

    def _features(
        self,
        pictures: Sequence[FoundPicture],
        spec: ModelSpec,
        space: Space,
        pool: ModelPool,
        owner: str | None,
    ) -> tuple[dict[str, ImageFeatures], dict[str, str]]:
        """Return the features of pictures by digest, and of the rest why there are none."""
        found: dict[str, ImageFeatures] = {}
        wrong: dict[str, str] = {}
        images: list[ImageInput] = []
        for picture in pictures:
            kept = self._cache.kept(picture.sha256, space.model_id, space.revision, space.options)
            if kept is not None:
                found[picture.sha256] = kept
                continue
            try:
                images.append(self._decoded(picture, owner))
            except InputError as error:
                wrong[picture.sha256] = error.message
        computed, refused = self._computed(images, spec, space.options, pool)
        return found | computed, wrong | refused

    def _decoded(self, picture: FoundPicture, owner: str | None) -> ImageInput:
        data = self._store.picture_data(picture.run_id, picture.role, owner)
        if data is None:
            raise InputError(f"{picture.name} is no longer kept.", "Open it again.")
        return decode(data, picture.name, Limits(settings().max_upload_mb, settings().max_megapixels))

    def _computed(
        self, images: Sequence[ImageInput], spec: ModelSpec, options: FeatureOptions, pool: ModelPool
    ) -> tuple[dict[str, ImageFeatures], dict[str, str]]:
        """Return features by the model; one picture that it refuses does not cost the others theirs."""
        if not images:
            return {}, {}
        try:
            found = self._cache.get_many(spec, images, options, pool)
        except InputError as error:
            if len(images) == 1:
                return {}, {images[0].sha256: error.message}
            halves = [self._computed(part, spec, options, pool) for part in _halved(images)]
            return halves[0][0] | halves[1][0], halves[0][1] | halves[1][1]
        return {one.features.sha256: one.features for one in found}, {}

    def _keep(self, features: Collection[ImageFeatures]) -> None:
        """Put the vectors of pictures into the store, under what they were computed by."""
        by_space: dict[Space, dict[str, bytes]] = {}
        for one in features:
            for kind in VECTOR_KINDS:
                if (vector := _vector(one, kind)) is not None:
                    by_space.setdefault(_space(one, kind), {})[one.sha256] = vector_bytes(vector)
        for space, vectors in by_space.items():
            self._store.put_vectors(space.key, vectors)

    # Finding

    def nearest(
        self,
        space: Space,
        vector: NDArray[np.float32],
        n: int,
        *,
        owner: str | None,
        without: Collection[str] = (),
    ) -> list[tuple[FoundPicture, float]]:
        """Return the `n` pictures that `owner` may see whose vectors are most like one, with their cosines.

        It looks at the nearest of all first, which is quick for who sees most of them; where too few of those
        may be seen, at the vectors of those alone that may.

        Args:
            vector: D, of length 1.
            without: Digests of pictures that are not wanted.
        """
        index = self._index(space, len(vector))
        index.refresh(self._store)
        asked = min(LOOKED_UP, 4 * n + 16)
        found = self._visible(index.nearest(vector, asked), owner, without)
        if len(found) < n and asked < len(index):
            seen = self._store.seen_pictures(owner)
            found = self._visible(index.nearest(vector, asked, seen), owner, without)
        return found[:n]

    def _visible(
        self, nearest: Sequence[tuple[str, float]], owner: str | None, without: Collection[str]
    ) -> list[tuple[FoundPicture, float]]:
        pictures = self._store.find_pictures([sha256 for sha256, _ in nearest], owner)
        return [(pictures[one], score) for one, score in nearest if one in pictures and one not in without]

    def _index(self, space: Space, dim: int) -> VectorIndex:
        with self._lock:
            if space not in self._indexes:
                self._indexes[space] = VectorIndex(space.key, dim)
            self._indexes.move_to_end(space)
            while len(self._indexes) > MAX_INDEXES:
                self._indexes.popitem(last=False)
            return self._indexes[space]

    def rank(
        self,
        features: ImageFeatures,
        spec: ModelSpec,
        *,
        pool: ModelPool,
        owner: str | None,
        top: int,
        region: PatchQuery | None = None,
        kind: VectorKind = "mean",
        progress: Progress | None = None,
    ) -> tuple[Hit, ...]:
        """Return the pictures that are most like one, or like a region of it, the most alike first.

        The picture itself is never among them. Maps come from the features of each picture that is looked at:
        kept ones, or the model's.

        Args:
            features: Of the picture, by the model that `spec` names.
            top: How many pictures, 1 to 100.
            region: What to look for; None for the whole picture.
            kind: What stands for a whole picture; a region is compared with means.
            progress: Told how many pictures were looked at patch by patch.

        Raises:
            InputError: The model has no CLS token, the region is outside or says nothing, or `top` is no
                number of pictures.
        """
        check_asked(features, top, region, kind)
        wanted = _wanted(features, region)
        vector = _vector(features, kind) if region is None else wanted
        assert vector is not None  # checked
        space = _space(features, kind if region is None else "mean")
        n = top if region is None else SHORTLIST
        found = self.nearest(space, vector, n, owner=owner, without={features.sha256})
        hits: list[Hit] = []
        for start in range(0, len(found), TOGETHER):
            some = found[start : start + TOGETHER]
            there, _ = self._features([picture for picture, _ in some], spec, space, pool, owner)
            hits += [
                _hit(picture, None if region else score, wanted, there[picture.sha256])
                for picture, score in some
                if picture.sha256 in there
            ]
            if progress:
                progress(min(start + TOGETHER, len(found)), len(found))
        return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.sha256))[:top])

    def again(
        self,
        scores: Mapping[str, float],
        features: ImageFeatures,
        spec: ModelSpec,
        *,
        pool: ModelPool,
        owner: str | None,
        region: PatchQuery | None = None,
    ) -> tuple[Hit, ...]:
        """Return the hits of an earlier search with their scores of then, as far as `owner` still sees them.

        Args:
            scores: By the digests of the pictures, the most alike first; at most 100.
            features, region: Of what was looked for, as in `rank`.
        """
        wanted = _wanted(features, region)
        pictures = self._store.find_pictures(list(scores), owner)
        seen = [pictures[sha256] for sha256 in scores if sha256 in pictures]
        there, _ = self._features(seen, spec, _space(features, "mean"), pool, owner)
        return tuple(
            _hit(picture, scores[picture.sha256], wanted, there[picture.sha256])
            for picture in seen
            if picture.sha256 in there
        )


def _halved(images: Sequence[ImageInput]) -> tuple[Sequence[ImageInput], Sequence[ImageInput]]:
    middle = len(images) // 2
    return images[:middle], images[middle:]


def _space(features: ImageFeatures, kind: VectorKind) -> Space:
    return Space(features.model_id, features.revision, features.options, kind)


def _wanted(features: ImageFeatures, region: PatchQuery | None) -> NDArray[np.float32]:
    """Return what the patches of a hit are compared with, D."""
    return unit(features.mean) if region is None else query_vector(region, UnitGrid.of(features))


def _vector(features: ImageFeatures, kind: VectorKind) -> NDArray[np.float32] | None:
    """Return what stands for a whole picture, D; None where the model has no such thing."""
    if kind == "mean":
        return unit(features.mean)
    return None if features.cls is None else unit(features.cls)


def check_asked(features: ImageFeatures, top: int, region: PatchQuery | None, kind: VectorKind) -> None:
    """Raise an InputError unless `PictureSearch.rank` can look for this."""
    if not 1 <= top <= MAX_HITS:
        raise InputError(f"{top} pictures were asked for.", f"Ask for 1 to {MAX_HITS}.")
    if region is None and _vector(features, kind) is None:
        raise InputError(f"{features.model_id} has no CLS token.", "Compare the means of patches.")
    if region is not None and not query_vector(region, UnitGrid.of(features)).any():
        raise InputError(
            "What the region includes and excludes is the same on average.", "Choose other patches."
        )


def _hit(
    picture: FoundPicture, score: float | None, wanted: NDArray[np.float32], features: ImageFeatures
) -> Hit:
    """Return a picture with its map; its score is that of the best patch where there is no other."""
    values = vector_map(wanted, UnitGrid.of(features))
    return Hit(
        sha256=picture.sha256,
        name=picture.name,
        run_id=picture.run_id,
        role=picture.role,
        score=float(values.max()) if score is None else score,
        map=values,
        frame=features.frame,
    )
