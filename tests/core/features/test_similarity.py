"""Cosines of patches: as a matrix, as a map, for queries of several patches, a box or a mask."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from core.errors import InputError
from core.features.query import Direction, PatchQuery, coverage, moved, patch_centres
from core.features.similarity import (
    UnitGrid,
    is_flat,
    near,
    neighbourhood,
    query_map,
    query_vector,
    similarity_blocks,
    similarity_matrix,
    unit,
)
from core.preprocess import Frame


def grid_of(vectors: NDArray[np.float32]) -> UnitGrid:
    """Return vectors rows columns D as the patches of a picture with 10 pixels a patch."""
    rows, columns = vectors.shape[:2]
    return UnitGrid(unit(vectors), Frame((0, 0, 10 * columns, 10 * rows), (rows, columns)))


def random_grid(seed: int, rows: int, columns: int, dim: int = 16) -> UnitGrid:
    return grid_of(np.random.default_rng(seed).normal(size=(rows, columns, dim)).astype(np.float32))


def line(*degrees: float) -> UnitGrid:
    """Return one row of patches, each a direction in the plane."""
    angles = np.radians(degrees)
    return grid_of(np.stack([np.cos(angles), np.sin(angles)], axis=1)[None].astype(np.float32))


halves = arrays(np.float16, (2, 3, 4), elements=st.floats(-60000, 60000, width=16))


@given(halves)
def test_unit_vectors_have_length_one_or_are_zero(features: NDArray[np.float16]) -> None:
    vectors = unit(features)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=2)
    zero = (features == 0).all(axis=2)
    assert vectors.dtype == np.float32
    assert np.allclose(lengths[~zero], 1, atol=1e-5)
    assert (vectors[zero] == 0).all()


def test_unit_keeps_the_direction() -> None:
    assert np.allclose(unit(np.array([[[3, 4], [0, -2]]], np.float16)), [[[0.6, 0.8], [0, -1]]])


def test_a_grid_must_fit_its_frame() -> None:
    with pytest.raises(ValueError, match=r"expected \(2, 2, 'D'\)"):
        UnitGrid(np.zeros((2, 3, 4), np.float32), Frame((0, 0, 1, 1), (2, 2)))
    with pytest.raises(ValueError, match="float64"):
        UnitGrid(np.zeros((2, 2, 4)), Frame((0, 0, 1, 1), (2, 2)))  # type: ignore[arg-type]


def test_matrix_is_the_cosine_of_every_pair() -> None:
    first, second = random_grid(1, 3, 4), random_grid(2, 2, 5)
    matrix = similarity_matrix(first, second)
    assert (matrix.shape, matrix.dtype) == ((12, 10), np.float32)
    a, b = first.vectors[2, 1].astype(float), second.vectors[1, 3].astype(float)
    assert matrix[2 * 4 + 1, 1 * 5 + 3] == pytest.approx(math.fsum(a * b), abs=1e-6)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 6))
def test_similarity_is_symmetric_and_one_with_itself(seed: int, rows: int, columns: int) -> None:
    first, second = random_grid(seed, rows, columns), random_grid(seed + 1, columns, 3)
    assert np.allclose(similarity_matrix(first, second), similarity_matrix(second, first).T, atol=1e-6)
    own = similarity_matrix(first, first)
    assert np.allclose(np.diag(own), 1, atol=1e-6)
    assert np.abs(own).max() <= 1  # so that an angle can be taken of every value


@pytest.mark.parametrize("block_mb", [1e-9, 0.0005, 1])
def test_blocks_are_the_matrix(block_mb: float) -> None:
    first, second = random_grid(3, 5, 7), random_grid(4, 6, 4)
    whole, parts = similarity_matrix(first, second), np.full((35, 24), np.nan, np.float32)
    for rows, block in similarity_blocks(first, second, block_mb):
        assert block.nbytes <= max(block_mb * 1e6, 24 * 4)
        parts[rows] = block
    assert np.allclose(parts, whole, atol=1e-6)


def test_blocks_stay_within_their_memory() -> None:
    first, second = random_grid(5, 40, 40), random_grid(6, 40, 40)
    tracemalloc.start()
    rows = sum(len(block) for _, block in similarity_blocks(first, second, block_mb=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 1600  # 10 MB at once
    assert peak < 1.1e6


def test_map_of_one_patch_is_its_row_of_the_matrix() -> None:
    first, second = random_grid(1, 3, 4), random_grid(2, 2, 5)
    row = similarity_matrix(first, second)[1 * 4 + 2].reshape(2, 5)
    assert np.allclose(query_map(PatchQuery(((1, 2),)), first, second), row, atol=1e-6)
    own = query_map(PatchQuery(((1, 2),)), first, first)
    assert own[1, 2] == pytest.approx(1, abs=1e-6) == own.max()


def test_several_patches_ask_for_the_direction_between_them() -> None:
    source, target = line(0, 60, 90), line(30, 75, 120)
    assert np.allclose(
        query_map(PatchQuery(((0, 0), (0, 1))), source, target),
        np.cos(np.radians([[0, 45, 90]])),
        atol=1e-6,
    )
    # (1, 0) - (0, 1) points to -45 degrees
    excluding = query_map(PatchQuery(((0, 0),), ((0, 2),)), source, target)
    assert np.allclose(excluding, np.cos(np.radians([[75, 120, 165]])), atol=1e-6)


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(0, 4))
def test_map_orders_as_the_difference_of_mean_cosines(seed: int, plus: int, minus: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = random_grid(seed, 4, 4), random_grid(seed + 1, 5, 5)
    places = [divmod(int(i), 4) for i in rng.permutation(16)]
    query = PatchQuery(tuple(places[:plus]), tuple(places[plus : plus + minus]))
    matrix = similarity_matrix(source, target).reshape(4, 4, 5, 5)
    means = [np.mean([matrix[p] for p in part], axis=0) for part in (query.include, query.exclude) if part]
    difference = means[0] - means[1] if minus else means[0]
    values = query_map(query, source, target)
    assert np.abs(values).max() <= 1
    assert np.corrcoef(values.ravel(), difference.ravel())[0, 1] == pytest.approx(1, abs=1e-5)


def test_a_query_that_takes_back_what_it_asks_for_is_flat() -> None:
    alike = grid_of(np.full((3, 3, 4), 0.3, np.float32))
    query = PatchQuery(((0, 0), (0, 1), (1, 1)), ((2, 2),))
    assert (query_vector(query, alike) == 0).all()
    assert is_flat(query_map(query, alike, random_grid(1, 3, 3, dim=4)))


def test_flat_maps_are_told_from_others() -> None:
    alike = np.float16(1) + np.random.default_rng(0).normal(0, 0.0005, (6, 6, 64)).astype(np.float16)
    for grid, flat in ((grid_of(alike), True), (grid_of(np.zeros((3, 3, 4))), True), (line(0, 10), False)):
        values = query_map(PatchQuery(((0, 0),)), grid, grid)
        assert np.isfinite(values).all()
        assert is_flat(values) == flat


def test_neighbourhoods() -> None:
    assert [neighbourhood((n, n)) for n in (1, 4, 14, 37, 74)] == [1, 1, 1, 2, 5]
    assert near((3, 4), ((0, 0), (2, 3)), 1).astype(int).tolist() == [
        [1, 1, 0, 0],
        [1, 1, 1, 1],
        [0, 0, 1, 1],
    ]


# Queries

FRAME = Frame((10, 0, 50, 20), (2, 4))
"""Patches of 10 x 10 pixels, of which the first begins at x = 10."""


def test_centres() -> None:
    centres = patch_centres(FRAME)
    assert centres.shape == (2, 4, 2)
    assert centres[0, 0].tolist() == [15, 5]
    assert centres[1, 3].tolist() == [45, 15]
    assert all(FRAME.patch_at(*centres[r, c]) == (r, c) for r in range(2) for c in range(4))


def test_queries_that_are_none() -> None:
    for include, exclude in (((), ()), (((0, 0), (0, 0)), ()), (((0, 0),), ((0, 0),))):
        with pytest.raises(InputError):
            PatchQuery(include, exclude)


@pytest.mark.parametrize("patch", [(2, 0), (0, 4), (-1, 0), (0, -1)])
def test_a_patch_outside_is_refused_with_the_range(patch: tuple[int, int]) -> None:
    grid = random_grid(0, 2, 4)
    for query in (PatchQuery((patch,)), PatchQuery(((0, 0),), (patch,))):
        with pytest.raises(InputError) as caught:
            query_vector(query, grid)
        assert "Rows go from 0 to 1 and columns from 0 to 3" in caught.value.remedy


def test_queries_go_through_json() -> None:
    query = PatchQuery(((1, 2), (0, 0)), ((3, 1),))
    assert query.as_json() == {"include": [[1, 2], [0, 0]], "exclude": [[3, 1]]}
    assert PatchQuery.from_json(query.as_json()) == query


def test_a_box_takes_the_patches_whose_centre_it_holds() -> None:
    assert PatchQuery.from_box(FRAME, 14, 4, 36, 6).include == ((0, 0), (0, 1), (0, 2))
    assert PatchQuery.from_box(FRAME, 36, 16, 24, 4) == PatchQuery.from_box(FRAME, 24, 4, 36, 16)
    assert PatchQuery.from_box(FRAME, 41, 11, 43, 13).include == ((1, 3),)  # holds no centre
    assert PatchQuery.from_box(FRAME, 0, 0, 11, 1).include == ((0, 0),)


@pytest.mark.parametrize("box", [(0, 0, 10, 20), (50, 0, 60, 20), (20, 20, 30, 30), (math.nan, 0, 1, 1)])
def test_a_box_outside_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError):
        PatchQuery.from_box(FRAME, *box)


def test_coverage_counts_parts_of_pixels() -> None:
    frame = Frame((0.5, 0, 3.5, 2), (1, 2))  # patches of 1.5 x 2 pixels
    mask = np.zeros((2, 4), bool)
    mask[0, 0] = mask[0, 1] = mask[:, 3] = True
    # half a pixel of column 0, half of column 1 ... : (0.5 + 1) / 3 and 2 * 0.5 / 3
    assert np.allclose(coverage(frame, mask), [[1.5 / 3, 1 / 3]])


@given(arrays(bool, (13, 17)))
def test_coverage_is_the_mean_of_a_finely_drawn_mask(mask: NDArray[np.bool_]) -> None:
    frame = Frame((1, 2, 16, 12), (4, 3))
    fine = mask[2:12, 1:16].repeat(4, axis=0)  # 40 15
    assert np.allclose(coverage(frame, mask), fine.reshape(4, 10, 3, 5).mean(axis=(1, 3)))


def test_a_mask_takes_the_patches_that_it_covers_half() -> None:
    mask = np.zeros((20, 60), bool)
    mask[0:10, 15:30] = True  # half of (0, 0), all of (0, 1)
    mask[10:14, 10:20] = True  # 4 of 10 rows of (1, 0)
    assert PatchQuery.from_mask(FRAME, mask, 60, 20).include == ((0, 0), (0, 1))
    small = np.zeros((20, 60), bool)
    small[12, 33:35] = small[12, 41] = True
    assert PatchQuery.from_mask(FRAME, small, 60, 20).include == ((1, 2),)


def test_masks_that_cannot_be_used() -> None:
    outside = np.zeros((20, 60), bool)
    outside[:, :10] = True
    for mask, words in (
        (np.ones((20, 61), bool), "61 x 20 pixels, the picture 60 x 20"),
        (np.zeros((20, 60), bool), "empty"),
        (outside, "outside"),
    ):
        with pytest.raises(InputError, match=words):
            PatchQuery.from_mask(FRAME, mask, 60, 20)


def test_arrow_keys_move_the_last_patch_and_stay_inside() -> None:
    query = PatchQuery(((0, 0), (1, 1)), ((1, 3),))
    assert moved(query, "up", (2, 4)).include == ((0, 0), (0, 1))
    assert moved(query, "right", (2, 4)).include == ((0, 0), (1, 2))
    assert moved(query, "down", (2, 4)) == query
    assert moved(moved(query, "up", (2, 4)), "left", (2, 4)).include == (
        (0, 0),
        (0, 1),
    )  # taken up to the edge
    over = moved(moved(query, "right", (2, 5)), "right", (2, 5))
    assert over == PatchQuery(((0, 0), (1, 4)), ((1, 3),))


@given(st.lists(st.sampled_from(["up", "down", "left", "right"]), max_size=30))
def test_a_moved_query_is_always_in_the_grid(directions: list[Direction]) -> None:
    query = PatchQuery(((0, 1), (2, 2)), ((1, 1),))
    for direction in directions:
        query = moved(query, direction, (3, 4))
        query.check((3, 4))
