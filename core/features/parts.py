"""Parts of things: patches of one or several pictures, grouped by what they look like to a model."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.features.similarity import unit

MAX_PARTS = 24
"""More colours than these nobody tells apart."""
STARTS = 4
"""How often k-means begins anew; the best end counts."""

_ONE_AT_A_TIME = threading.Lock()
"""scikit-learn changes the process's number of threads for a while: two at once could leave it changed."""


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """Groups of patches; equal labels in several pictures are equal parts."""

    labels: tuple[NDArray[np.int32], ...]
    """rows columns of each picture: from 0, the part with most patches first."""
    centres: NDArray[np.float32]
    """k D: the mean direction of each part, of length 1."""
    sizes: NDArray[np.intp]
    """k: how many patches, of all pictures together."""
    tightness: NDArray[np.float32]
    """k: mean cosine of a part's patches and its centre, at most 1."""


def kmeans_parts(grids: Sequence[NDArray[Any]], k: int, seed: int = 0) -> Parts:
    """Group the patches of all pictures together by k-means on vectors of length 1.

    The parts are ordered by size, then by where they first appear, and there are fewer than `k` where fewer
    patches differ: one in a uniform picture. The same patches and seed give the same parts.

    Args:
        grids: rows columns D of each picture, features of any length.
        k: 2 to 24, and at most the number of patches.

    Raises:
        InputError: `k` cannot be.
        ValueError: The pictures' features have different lengths, or there is none.
    """
    vectors = np.concatenate([unit(grid).reshape(-1, grid.shape[2]) for grid in grids])  # n D
    most = min(MAX_PARTS, len(vectors))
    if not 2 <= k <= most:
        raise InputError(f"{k} parts cannot be made of {len(vectors)} patches.", f"Choose 2 to {most}.")
    labels = _ordered(_grouped(vectors, k, seed))
    sizes = np.bincount(labels)
    sums = np.stack([vectors[labels == part].sum(axis=0, dtype=np.float64) for part in range(len(sizes))])
    centres = unit(sums)
    tightness = np.einsum("kd,kd->k", sums, centres) / sizes
    ends = np.cumsum([grid.shape[0] * grid.shape[1] for grid in grids])[:-1]
    maps = tuple(
        part.reshape(grid.shape[:2]) for part, grid in zip(np.split(labels, ends), grids, strict=True)
    )
    return Parts(maps, centres, sizes, tightness.astype(np.float32))


def _grouped(vectors: NDArray[np.float32], k: int, seed: int) -> NDArray[np.int32]:
    """Return the group of each vector (n D), in no particular order."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    different = len({vector.tobytes() for vector in vectors})
    with _ONE_AT_A_TIME, threadpool_limits(1, "openmp"):  # sums of several threads round as they come
        fitted = KMeans(min(k, different), n_init=STARTS, random_state=seed).fit(vectors)
    labels: NDArray[np.int32] = fitted.labels_
    return labels


def _ordered(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the labels renumbered: the most frequent first, of equal ones that which appears first."""
    _, first, groups, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), np.int32)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes), dtype=np.int32)
    return rank[groups]
