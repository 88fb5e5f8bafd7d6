"""What stands out from the rest of a picture, by a normalised cut of the graph of its patches.

TokenCut (Wang et al. 2022): patches are joined by 1 where their features are alike and by almost nothing
where they are not; the second smallest eigenvector of that graph's Laplacian cuts it in two at its mean. The
paper takes the keys of the last layer (`FeatureOptions(facet="key")`).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.features.similarity import unit

TAU = 0.2
"""Cosine from which two patches are joined."""
EPSILON = 1e-5
"""What joins all others."""
MAX_NODES = 5_476
"""Most patches that become nodes, 74 x 74: the matrix takes 120 MB. A larger grid is averaged first, over
squares of 2 x 2 patches or more, and its mask is as coarse."""
CORNERS = 3
"""What holds so many of the four corners is the background (MaskCut, Wang et al. 2023, section 3.2)."""
TOLERANCE = 1e-5
"""Relative error at which the eigenvector is exact enough."""
MAX_ROUNDS = 100
"""Restarts of the search for it; pictures take a few."""


@dataclass(frozen=True, eq=False, slots=True)
class Cut:
    """What a normalised cut takes for the foreground of one picture."""

    mask: NDArray[np.bool_]
    """rows columns: the connected part of the foreground that holds `seed`; nothing where nothing stands
    out."""
    side: NDArray[np.bool_]
    """rows columns: all of the foreground's side of the cut."""
    vector: NDArray[np.float32]
    """rows columns: the eigenvector, -1 to 1, high where it is foreground; 0 where nothing stands out."""
    seed: tuple[int, int] | None
    """Row and column of the patch that stands out most; None where nothing does."""
    by_corners: bool
    """Whether the side of the largest value held three corners or more, so the other is the foreground."""
    averaged: int
    """Side of the squares of patches that were averaged first; 1 for none."""

    @property
    def found(self) -> bool:
        """Whether anything stands out."""
        return self.seed is not None


def normalised_cut(grid: NDArray[Any], tau: float = TAU) -> Cut:
    """Return what stands out in one picture.

    The foreground is the side of the cut with the largest absolute value, unless that holds three corners of
    the picture or more. Nothing stands out where all patches are joined, or none: a uniform picture.

    Args:
        grid: rows columns D, features of the patches, of any length.
        tau: Cosine from which two patches are joined, -1 to 1.

    Raises:
        InputError: `tau` is no cosine, or the graph is one that cannot be cut in reasonable time.
    """
    if not -1 <= tau <= 1:
        raise InputError(f"The threshold of similarity is {tau}.", "Give a cosine, from -1 to 1.")
    averaged = max(1, math.ceil(math.sqrt(grid.shape[0] * grid.shape[1] / MAX_NODES)))
    small = _averaged(grid, averaged)
    vector = _second_vector(unit(small).reshape(-1, grid.shape[2]), tau)
    if vector is None:
        nothing = np.zeros(grid.shape[:2], bool)
        return Cut(nothing, nothing, nothing.astype(np.float32), None, False, averaged)
    return _divided(vector.reshape(small.shape[:2]), averaged, (grid.shape[0], grid.shape[1]))


def _averaged(grid: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Return means over squares of patches; those at the right and lower edge may be smaller."""
    if side == 1:
        return grid.astype(np.float32)
    rows, columns = np.arange(0, grid.shape[0], side), np.arange(0, grid.shape[1], side)
    sums: NDArray[np.float32] = np.add.reduceat(
        np.add.reduceat(grid.astype(np.float32), rows, axis=0), columns, axis=1
    )
    heights, widths = np.diff(rows, append=grid.shape[0]), np.diff(columns, append=grid.shape[1])
    sums /= np.outer(heights, widths)[..., None]
    return sums


def _second_vector(vectors: NDArray[np.float32], tau: float) -> NDArray[np.float64] | None:
    """Return the second smallest generalised eigenvector of (D - W, D), n; None where nothing is cut.

    It is the largest but one of D^-1/2 W D^-1/2. The largest, the square root of the degrees, is known and
    taken out: single precision could not tell the two apart where a graph all but falls in two.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    joined = np.matmul(vectors, vectors.T)
    np.greater(joined, tau, out=joined, casting="unsafe")
    np.fill_diagonal(joined, 1)
    n, edges = len(joined), joined.sum(axis=1, dtype=np.float64)
    if n < 2 or edges.min() == n or edges.max() == 1:
        return None
    scale = 1 / np.sqrt((1 - EPSILON) * edges + EPSILON * n)
    known = (1 / scale) / np.linalg.norm(1 / scale)

    def times(x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = scale * x.reshape(-1)
        product = (1 - EPSILON) * (joined @ y.astype(np.float32)) + EPSILON * y.sum()
        found: NDArray[np.float64] = scale * product - known * (known @ x.reshape(-1))
        return found

    operator = LinearOperator((n, n), matvec=times, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(n)
    try:
        _, found = eigsh(operator, k=1, which="LA", v0=start, tol=TOLERANCE, maxiter=MAX_ROUNDS)
    except ArpackNoConvergence as error:
        raise InputError(
            "The patches hang together in so long a chain that no cut was found.",
            "Choose another threshold of similarity.",
        ) from error
    return scale * found[:, 0]  # type: ignore[no-any-return]


def _divided(vector: NDArray[np.float64], averaged: int, grid: tuple[int, int]) -> Cut:
    """Return the foreground of a picture, of which `vector` (rows columns) is the eigenvector."""
    from scipy.ndimage import label

    mean = vector.mean()
    if (vector > mean).ravel()[np.abs(vector).argmax()] == 0:
        vector, mean = -vector, -mean
    corners = vector[[0, 0, -1, -1], [0, -1, 0, -1]]
    by_corners = int((corners > mean).sum()) >= CORNERS
    if by_corners:
        vector, mean = -vector, -mean
    seed = np.unravel_index(int(vector.argmax()), vector.shape)
    side = vector > mean
    parts, _ = label(side)
    mask, side, shown = (
        values.repeat(averaged, axis=0).repeat(averaged, axis=1)[: grid[0], : grid[1]]
        for values in (parts == parts[seed], side, (vector / np.abs(vector).max()).astype(np.float32))
    )
    row, column = (min(int(at) * averaged + averaged // 2, n - 1) for at, n in zip(seed, grid, strict=True))
    return Cut(mask, side, shown, (row, column), by_corners, averaged)
