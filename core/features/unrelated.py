"""A small fixed set of pictures that have nothing to do with each other: what similarities are held against.

Twelve photographs that scikit-image installs and four scenes, all different in kind. A picture that is itself
compared is left out, by its digest; a picture that merely resembles one of them is not recognised.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from core.features.background import Background
from core.features.image_similarity import ImageSimilarity, cosine
from core.features.nearest import correspond
from core.features.similarity import UnitGrid
from core.features.values import FeatureOptions, ImageFeatures
from core.images import ImageInput
from core.samples import load_sample, samples

if TYPE_CHECKING:
    from core.features.cache import FeatureCache
    from core.loaders import ModelPool
    from core.registry import ModelSpec

PHOTOS = (
    *("astronaut", "chelsea", "coffee", "rocket", "camera", "coins"),
    *("page", "text", "retina", "hubble", "tissue", "brick"),
)
"""Samples. The stereo pair is not among them: its two pictures are meant to be compared."""
SCENES = tuple(f"scene/{seed}" for seed in (7001, 7002, 7003, 7004))
"""Of seeds that nobody is offered, and that are no training's."""
PATCHES = 64
"""Most patches taken from one picture."""
REACH = 2
"""Best buddies are counted between each picture and so many after it, around in a circle."""
SEED = 20150
"""Of the choice of patches."""


class Pair(NamedTuple):
    """Two unrelated pictures, by number, and how alike they are (`core.features.image_similarity`)."""

    first: int
    second: int
    cls: float | None
    mean: float
    best_buddies: float | None
    """Counted for some pairs only, because it takes a product of matrices."""


class Standing(NamedTuple):
    """Where a number lies among those of unrelated pictures."""

    percentile: float
    """0-100."""
    n: int
    """How many pairs of pictures it is held against."""


@dataclass(frozen=True, eq=False, slots=True)
class Unrelated:
    """What unrelated pictures look like to one model with one set of options."""

    sha256s: tuple[str, ...]
    """Digest of each picture."""
    patches: NDArray[np.float32]
    """n D: some patches of each picture, at most `PATCHES`, of unit length."""
    picture: NDArray[np.intp]
    """n: the number of the picture that each patch is of."""
    pairs: tuple[Pair, ...]

    @property
    def n(self) -> int:
        """How many patches there are."""
        return len(self.patches)

    def without(self, *sha256s: str) -> Self:
        """Return what is left without some pictures, such as those that are being compared."""
        gone = {number for number, sha256 in enumerate(self.sha256s) if sha256 in sha256s}
        kept = ~np.isin(self.picture, list(gone))
        pairs = tuple(pair for pair in self.pairs if not {pair.first, pair.second} & gone)
        return replace(self, patches=self.patches[kept], picture=self.picture[kept], pairs=pairs)

    def background(self, vector: NDArray[np.float32]) -> Background | None:
        """Return the cosines of a unit vector (D) and every patch; None where there is no patch."""
        return Background.of(self.patches @ vector) if self.n else None

    def standings(self, similarity: ImageSimilarity) -> dict[str, Standing]:
        """Return where the numbers of two pictures lie, by name; one that is not defined is left out."""
        found = {}
        for name, value in similarity.as_json().items():
            others = [score for pair in self.pairs if (score := getattr(pair, name)) is not None]
            if value is not None and others:
                found[name] = Standing(Background.of(np.array(others)).percentile(value), len(others))
        return found


def gather(
    spec: "ModelSpec",
    options: FeatureOptions,
    *,
    cache: "FeatureCache",
    pool: "ModelPool",
    progress: Callable[[int, int], object] | None = None,
) -> Unrelated:
    """Return what the fixed set looks like to a model. Features that the cache holds are not computed again.

    `progress` is told how many pictures are done, of how many, and may raise to cancel.
    """
    found = cache.get_many(spec, unrelated_pictures(), options, pool, progress)
    return unrelated_of([one.features for one in found])


@lru_cache(maxsize=1)
def unrelated_pictures() -> tuple[ImageInput, ...]:
    """Return the pictures of the fixed set that are on this machine."""
    here = {sample.id for sample in samples()}
    return tuple(load_sample(name) for name in (*(photo for photo in PHOTOS if photo in here), *SCENES))


def unrelated_of(features: Sequence[ImageFeatures]) -> Unrelated:
    """Return what pictures look like whose features these are: the same for the same features.

    It takes the memory of two pictures at length 1 beside its result.
    """
    taken = [_sample(UnitGrid.of(one), number) for number, one in enumerate(features)]
    return Unrelated(
        tuple(one.sha256 for one in features),
        np.concatenate(taken),
        np.repeat(np.arange(len(taken)), [len(some) for some in taken]),
        tuple(_pairs(features)),
    )


def _sample(grid: UnitGrid, number: int) -> NDArray[np.float32]:
    """Return the patches taken from picture `number`: chosen by chance, but always the same ones."""
    n = len(grid.flat)
    chosen = np.random.default_rng((SEED, number)).choice(n, min(n, PATCHES), replace=False)
    return grid.flat[np.sort(chosen)]


def _pairs(features: Sequence[ImageFeatures]) -> Iterator[Pair]:
    n = len(features)
    for (i, one), (j, other) in combinations(enumerate(features), 2):
        both = None if one.cls is None or other.cls is None else cosine(one.cls, other.cls)
        buddies = None
        if min(j - i, n - (j - i)) <= REACH:
            buddies = correspond(UnitGrid.of(one), UnitGrid.of(other)).best_buddies
        yield Pair(i, j, both, cosine(one.mean, other.mean), buddies)
