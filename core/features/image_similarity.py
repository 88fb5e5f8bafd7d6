"""How alike two pictures are as a whole, in three ways."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from core.features.nearest import Correspondence, correspond
from core.features.similarity import UnitGrid, unit
from core.features.values import ImageFeatures


@dataclass(frozen=True, slots=True)
class ImageSimilarity:
    """The similarity of two pictures."""

    cls: float | None
    """Cosine of the CLS tokens, -1 to 1; None for a model without one."""
    mean: float
    """Cosine of the means of all patches, -1 to 1."""
    best_buddies: float
    """Share (0-1) of patches that are each other's nearest neighbours, in the most there could be: the number
    of patches of the picture that has fewer (Best-Buddies Similarity, Dekel et al. 2015)."""

    def as_json(self) -> dict[str, float | None]:
        """Return the numbers by name."""
        return asdict(self)


def image_similarity(
    first: ImageFeatures, second: ImageFeatures, found: Correspondence | None = None
) -> ImageSimilarity:
    """Return how alike two pictures are.

    Args:
        found: What `core.features.nearest.correspond` returned for the two, where that is there already.
    """
    found = found or correspond(UnitGrid.of(first), UnitGrid.of(second))
    both = None if first.cls is None or second.cls is None else cosine(first.cls, second.cls)
    return ImageSimilarity(both, cosine(first.mean, second.mean), found.best_buddies)


def cosine(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the cosine of two vectors, -1 to 1; 0 where one of them is 0."""
    return float(np.clip(unit(first) @ unit(second), -1, 1))
