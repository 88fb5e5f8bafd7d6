"""How alike two patches are: cosines of their features, as maps over a picture and as a matrix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.features.query import Patch, PatchQuery
from core.features.values import ImageFeatures
from core.preprocess import Frame

FLAT_SPREAD = 0.005
"""A map whose largest and smallest similarity differ by less says nothing: features are kept as float16, and
their rounding alone moves a cosine by up to about 0.001."""
SAME = 1e-5
"""Means of unit vectors that are this near are the same, but for rounding."""
BLOCK_MB = 32.0
"""Most memory that a part of a matrix of similarities takes where the whole is not kept, in MB (10^6 bytes).
All of it for two grids of 74 x 74 patches would take 120 MB."""


def unit(features: NDArray[Any]) -> NDArray[np.float32]:
    """Return vectors of length 1 along the last axis, float32; a vector of zeros stays one, never NaN."""
    vectors = features.astype(np.float32)
    norms = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., None]
    vectors /= np.where(norms > 0, norms, np.float32(1))
    return vectors


@dataclass(frozen=True, eq=False, slots=True)
class UnitGrid:
    """The patches of one picture, ready to be compared: made once for a picture, used for every click.

    Raises:
        ValueError: The vectors do not fit the frame, or are not float32.
    """

    vectors: NDArray[np.float32]
    """rows columns D, each of length 1, or 0."""
    frame: Frame
    """Where the patches lie in the picture."""

    def __post_init__(self) -> None:
        if self.vectors.ndim != 3 or self.vectors.shape[:2] != self.frame.grid:
            raise ValueError(f"vectors of shape {self.vectors.shape}, expected {(*self.frame.grid, 'D')}")
        if self.vectors.dtype != np.float32:
            raise ValueError(f"vectors are {self.vectors.dtype}, expected float32")

    @classmethod
    def of(cls, features: ImageFeatures) -> Self:
        """Return the features of a picture's patches at length 1."""
        return cls(unit(features.patches), features.frame)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.frame.grid

    @property
    def flat(self) -> NDArray[np.float32]:
        """The vectors row by row, N D."""
        return self.vectors.reshape(-1, self.vectors.shape[2])  # N D


def query_vector(query: PatchQuery, source: UnitGrid) -> NDArray[np.float32]:
    """Return the one direction that a query looks for, D: of length 1, or 0 where there is none.

    It is that of the mean of the included patches minus the mean of the excluded ones (Rocchio 1971, with
    weights 1). Its cosines stay within -1 and 1, and order patches as their mean cosine to the included ones
    minus that to the excluded ones does. For a single patch it is that patch. It is 0 where included and
    excluded patches are the same on average.

    Raises:
        InputError: A patch of the query is outside of the grid.
    """
    query.check(source.grid)
    wanted = source.vectors[tuple(np.transpose(query.include))].mean(axis=0, dtype=np.float64)
    if query.exclude:
        wanted -= source.vectors[tuple(np.transpose(query.exclude))].mean(axis=0, dtype=np.float64)
    if np.linalg.norm(wanted) < SAME:
        wanted[:] = 0
    return unit(wanted)


def vector_map(vector: NDArray[np.float32], target: UnitGrid) -> NDArray[np.float32]:
    """Return the cosine of a unit vector (D) and each patch: rows columns, float32, -1 to 1."""
    return _bounded(target.vectors @ vector)


def query_map(query: PatchQuery, source: UnitGrid, target: UnitGrid) -> NDArray[np.float32]:
    """Return how alike each patch of `target` is to what a query in `source` looks for (`query_vector`).

    With `target` the same as `source` it is the self map; else the map across pictures. rows columns of the
    target, float32, -1 to 1.

    Raises:
        InputError: A patch of the query is outside of the grid of `source`.
    """
    return vector_map(query_vector(query, source), target)


def is_flat(values: NDArray[np.float32]) -> bool:
    """Say whether similarities are all alike, within `FLAT_SPREAD`: then no place stands out."""
    return float(np.ptp(values)) < FLAT_SPREAD


def similarity_matrix(first: UnitGrid, second: UnitGrid) -> NDArray[np.float32]:
    """Return the cosine of every patch of `first` and every patch of `second`.

    N M float32, -1 to 1: patches of either grid row by row. It takes 4 N M bytes, 120 MB for two grids of
    74 x 74; `similarity_blocks` goes over the same values in bounded memory.
    """
    matrix = np.empty((first.flat.shape[0], second.flat.shape[0]), np.float32)
    return _bounded(np.matmul(first.flat, second.flat.T, out=matrix))


def similarity_blocks(
    first: UnitGrid, second: UnitGrid, block_mb: float = BLOCK_MB
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield `similarity_matrix` some rows at a time: which ones, and their values n M.

    The values are valid until the next block, which takes the same memory: at most `block_mb`, or one row.
    """
    n, m = first.flat.shape[0], second.flat.shape[0]
    height = min(n, max(1, int(block_mb * 1e6 / (4 * m))))
    room = np.empty((height, m), np.float32)
    for start in range(0, n, height):
        rows = slice(start, min(start + height, n))
        part = room[: rows.stop - start]
        yield rows, _bounded(np.matmul(first.flat[rows], second.flat.T, out=part))


def neighbourhood(grid: tuple[int, int]) -> int:
    """Return how far a patch's neighbourhood reaches, in patches: a sixteenth of the longer side, at least 1.

    1 at 14 x 14, 2 at 37 x 37, 5 at 74 x 74: about the same part of the picture in each.
    """
    return max(1, round(max(grid) / 16))


def near(grid: tuple[int, int], patches: tuple[Patch, ...], radius: int) -> NDArray[np.bool_]:
    """Return which patches lie within `radius` rows and columns of any of `patches`: rows columns."""
    mask = np.zeros(grid, bool)
    for row, column in patches:
        mask[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1] = True
    return mask


def _bounded(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take off, in place, what rounding adds to a cosine beyond -1 and 1."""
    return np.clip(cosines, -1, 1, out=cosines)
