"""The normalised cut: planted regions, a plain dense solver, the corners, and what cannot be cut."""

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import InputError
from core.features.foreground import normalised_cut


def planted(where: NDArray[np.bool_], noise: float = 0.3, seed: int = 0) -> NDArray[np.float16]:
    """Return patches of two kinds, unlike each other, of different lengths."""
    rng = np.random.default_rng(seed)
    kinds = np.eye(24)[where.astype(int)]
    lengths = rng.uniform(0.5, 5, (*where.shape, 1))
    return ((kinds + noise * rng.normal(size=kinds.shape) / np.sqrt(24)) * lengths).astype(np.float16)


def region(rows: int, columns: int, top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
    where = np.zeros((rows, columns), bool)
    where[top : top + height, left : left + width] = True
    return where


def dense(grid: NDArray[np.float16], tau: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two eigenvalues after the smallest and the vector of the first, as TokenCut solves it."""
    vectors = grid.reshape(-1, grid.shape[2]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = np.where(vectors @ vectors.T > tau, 1.0, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    values, found = scipy.linalg.eigh(degrees - weights, degrees, subset_by_index=[1, 2])
    return values, found[:, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(3, 6), st.integers(3, 6), st.integers(0, 99))
def test_a_planted_region_is_found(top: int, left: int, height: int, width: int, seed: int) -> None:
    where = region(12, 13, top, left, height, width)
    cut = normalised_cut(planted(where, seed=seed))
    assert (cut.mask == where).all()
    assert (cut.side == where).all()
    assert cut.found
    assert not cut.by_corners
    assert cut.seed is not None
    assert where[cut.seed]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tau", [0.0, 0.2])
def test_the_vector_is_that_of_a_dense_solver(seed: int, tau: float) -> None:
    """Patches that hang together in many ways, so that nothing falls apart by itself."""
    rng = np.random.default_rng(seed)
    axes = np.linspace(0, 3, 14)
    smooth = np.stack([np.cos(axes[:, None] * f + axes[None] * g) for f, g in rng.uniform(0, 2, (6, 2))], 2)
    grid = (smooth + 0.3 * rng.normal(size=smooth.shape)).astype(np.float16)
    values, expected = dense(grid, tau)
    assert values[1] - values[0] > 1e-3  # else any mixture of both vectors would do
    found = normalised_cut(grid, tau).vector.ravel().astype(np.float64)
    assert abs(found @ expected) / np.linalg.norm(found) / np.linalg.norm(expected) > 0.9999
    assert np.abs(found).max() == pytest.approx(1)


def test_only_the_part_that_holds_the_seed_is_the_mask() -> None:
    large, small = region(10, 10, 1, 1, 4, 4), region(10, 10, 7, 6, 2, 2)
    cut = normalised_cut(planted(large | small))
    assert (cut.side == (large | small)).all()
    assert cut.seed is not None
    assert (cut.mask == (large if large[cut.seed] else small)).all()


def test_what_holds_three_corners_is_the_background() -> None:
    """The ring around a large object is the smaller side, so the largest values are its."""
    inner = region(12, 12, 1, 1, 10, 10)
    cut = normalised_cut(planted(inner))
    assert cut.by_corners
    assert (cut.mask == inner).all()
    assert (cut.vector[inner] > cut.vector[~inner].max()).all()


def test_two_corners_may_be_foreground() -> None:
    where = region(10, 10, 0, 0, 10, 3)
    cut = normalised_cut(planted(where))
    assert (cut.mask == where).all()
    assert not cut.by_corners


@pytest.mark.parametrize(
    "grid",
    [
        np.ones((5, 5, 4)),
        np.zeros((5, 5, 4)),
        np.ones((1, 1, 4)),
        np.eye(36).reshape(6, 6, 36),
        1 + 1e-3 * np.random.default_rng(0).normal(size=(6, 6, 8)),
    ],
    ids=["uniform", "zero", "one patch", "all different", "nearly uniform"],
)
def test_where_nothing_stands_out_there_is_no_foreground(grid: NDArray[np.float64]) -> None:
    cut = normalised_cut(grid.astype(np.float16))
    assert not cut.found
    assert cut.seed is None
    assert not cut.mask.any()
    assert not cut.side.any()
    assert (cut.vector == 0).all()


def test_the_same_again_is_the_same() -> None:
    grid = np.random.default_rng(2).normal(size=(15, 15, 5)).astype(np.float16)
    assert (normalised_cut(grid).vector == normalised_cut(grid).vector).all()


def test_a_large_grid_is_averaged_first() -> None:
    where = region(101, 93, 20, 31, 40, 30)
    grid = planted(where, noise=0.1)
    tracemalloc.start()
    cut = normalised_cut(grid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cut.averaged == 2
    assert cut.mask.shape == cut.vector.shape == where.shape
    assert (cut.mask ^ where).sum() <= 2 * (40 + 30)  # its edge lies within squares
    assert cut.seed is not None
    assert where[cut.seed]
    assert peak < 250e6


@pytest.mark.parametrize("tau", [-1.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(tau: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        normalised_cut(np.ones((2, 2, 2)), tau)
