"""Matches and their marks of trust, against plain loops over the whole matrix."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import InputError
from core.features.matching import ask, best_match, matches, spread_pairs, top_k
from core.features.nearest import Correspondence, correspond
from core.features.query import PatchQuery
from core.features.similarity import BLOCK_MB, UnitGrid, query_vector, similarity_matrix, unit
from core.features.unrelated import Unrelated
from core.preprocess import Frame

PX = 10


def grid_of(vectors: NDArray[np.floating]) -> UnitGrid:
    rows, columns = vectors.shape[:2]
    return UnitGrid(unit(vectors), Frame((0, 0, PX * columns, PX * rows), (rows, columns)))


def random_grid(seed: int, rows: int, columns: int, dim: int = 8) -> UnitGrid:
    return grid_of(np.random.default_rng(seed).normal(size=(rows, columns, dim)))


def shuffled(grid: UnitGrid, seed: int) -> tuple[UnitGrid, NDArray[np.intp]]:
    """Return the same patches elsewhere, and where each went."""
    order = np.random.default_rng(seed).permutation(len(grid.flat))
    return UnitGrid(grid.flat[order].reshape(grid.vectors.shape), grid.frame), np.argsort(order)


# Maps


def test_best_match_is_the_highest_place() -> None:
    assert best_match(np.array([[0.1, 0.9, 0.3], [0.2, 0.9, 0.5]], np.float32)).patch == (0, 1)


def test_peaks_leave_out_the_neighbourhood_of_better_ones() -> None:
    values = np.array([[9, 8, 1, 7], [8, 8, 1, 6], [5, 1, 4, 2]], np.float32)
    assert [peak.patch for peak in top_k(values, 3, radius=1)] == [(0, 0), (0, 3), (2, 0)]
    assert [peak.score for peak in top_k(values, 9, radius=1)] == [9, 7, 5, 4]
    assert [peak.score for peak in top_k(values, 3, radius=0)] == [9, 8, 8]
    assert top_k(values, 0) == ()


@given(st.integers(0, 500), st.integers(1, 6), st.integers(0, 2))
def test_peaks_are_apart_and_fall(seed: int, k: int, radius: int) -> None:
    values = np.random.default_rng(seed).normal(size=(6, 7)).astype(np.float32)
    peaks = top_k(values, k, radius)
    assert [p.score for p in peaks] == sorted((p.score for p in peaks), reverse=True)
    for i, one in enumerate(peaks):
        assert one.score == values[one.patch]
        for other in peaks[:i]:
            assert max(abs(one.patch[0] - other.patch[0]), abs(one.patch[1] - other.patch[1])) > radius


# Nearest neighbours of everything


def far(grid: tuple[int, int], index: int, radius: int) -> NDArray[np.bool_]:
    """Return which patches are outside of the neighbourhood of one, by its definition."""
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    row, column = divmod(index, grid[1])
    return np.maximum(abs(rows - row), abs(columns - column)) > radius


@pytest.mark.parametrize("block_mb", [1e-9, 0.0003, BLOCK_MB])
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_neighbours_are_those_of_the_whole_matrix(block_mb: float, radius: int) -> None:
    first, second = random_grid(1, 4, 5), random_grid(2, 6, 3)
    matrix = similarity_matrix(first, second)
    found = correspond(first, second, radius=radius, block_mb=block_mb)
    assert found.forward.tolist() == matrix.argmax(axis=1).tolist()
    assert found.backward.tolist() == matrix.argmax(axis=0).tolist()
    assert np.allclose(found.score, matrix.max(axis=1), atol=1e-6)
    rest = [row[far(second.grid, int(row.argmax()), radius)].max() for row in matrix]
    assert np.allclose(found.second_score, rest, atol=1e-6)


def test_more_columns_than_are_searched_at_once() -> None:
    first, second = random_grid(3, 5, 6), random_grid(4, 20, 30)
    found = correspond(first, second, block_mb=0.01)
    assert found.backward.tolist() == similarity_matrix(first, second).argmax(axis=0).tolist()


@given(st.integers(0, 500))
def test_mutual_is_symmetric(seed: int) -> None:
    first, second = random_grid(seed, 4, 5), random_grid(seed + 1, 3, 6)
    there, back = correspond(first, second), correspond(second, first)
    pairs = {(i, int(there.forward[i])) for i in np.flatnonzero(there.mutual)}
    assert pairs == {(int(back.forward[j]), j) for j in np.flatnonzero(back.mutual).tolist()}
    assert there.best_buddies == back.best_buddies == len(pairs) / 18
    assert pairs  # the best pair of all is always mutual


@given(st.integers(0, 500))
def test_patches_moved_about_are_found_again(seed: int) -> None:
    first = random_grid(seed, 5, 5)
    second, places = shuffled(first, seed)
    found = correspond(first, second)
    assert (found.forward == places).all()
    assert found.mutual.all()
    assert found.best_buddies == 1
    assert np.allclose(found.score, 1, atol=1e-6)


def test_a_picture_against_itself_without_neighbourhoods() -> None:
    grid = random_grid(7, 6, 6)
    matrix = similarity_matrix(grid, grid)
    found = correspond(grid, grid, radius=1, apart=True)
    for index in range(36):
        allowed = np.where(far(grid.grid, index, 1), matrix[index], -2)
        assert found.forward[index] == found.backward[index] == allowed.argmax()


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (3, 3)])
def test_nothing_left_is_said(grid: tuple[int, int]) -> None:
    small = random_grid(0, *grid)
    for action in (
        lambda: correspond(small, small, radius=2, apart=True),
        lambda: ask(PatchQuery(((0, 0),)), small, small, radius=2, apart=True),
        lambda: matches(small, small, 3, radius=2, apart=True),
    ):
        with pytest.raises(InputError, match="left out"):
            action()
    with pytest.raises(ValueError, match="not of the same picture"):
        correspond(small, random_grid(0, 4, 5), apart=True)


def test_one_patch_against_one_has_no_margin() -> None:
    one = random_grid(0, 1, 1)
    found = ask(PatchQuery(((0, 0),)), one, one)
    assert (found.match.margin, found.match.others_percentile, found.others) == (None, None, None)
    assert matches(one, one, 1)[0].margin is None


def test_memory_is_bounded_at_two_large_pictures() -> None:
    first, second = random_grid(0, 74, 74, dim=4), random_grid(1, 74, 74, dim=4)
    tracemalloc.start()
    found = correspond(first, second)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    results = 5476 * (8 + 8 + 4 + 4)
    assert peak < (BLOCK_MB + 4) * 1e6 + results < 5476**2 * 4
    assert len(found.forward) == 5476


# A query with its marks


@pytest.mark.parametrize("apart", [False, True])
def test_a_query_of_one_patch_has_the_marks_of_its_row(apart: bool) -> None:
    first = random_grid(11, 6, 7)
    second = first if apart else random_grid(12, 5, 8)
    found = correspond(first, second, radius=1, apart=apart)
    for index in range(42):
        start = divmod(index, 7)
        match = ask(PatchQuery((start,)), first, second, radius=1, apart=apart).match
        landing = divmod(int(found.landing[index]), 7)
        distance = np.hypot(landing[0] - start[0], landing[1] - start[1])
        assert match.first == start
        assert match.second == divmod(int(found.forward[index]), second.grid[1])
        assert match.mutual == found.mutual[index] == (landing == start)
        assert match.score == pytest.approx(found.score[index], abs=1e-6)
        assert match.margin == pytest.approx(found.score[index] - found.second_score[index], abs=1e-6)
        assert match.cycle_error_patches == pytest.approx(distance)
        assert match.cycle_error_px == pytest.approx(distance * PX)


def test_places_are_centres_in_each_picture() -> None:
    first = random_grid(1, 2, 2)
    second = UnitGrid(first.vectors, Frame((100, 50, 140, 150), (2, 2)))
    match = ask(PatchQuery(((1, 0),)), first, second).match
    assert (match.first_xy, match.second_xy) == ((5, 15), (110, 125))


def test_a_region_lands_within_itself() -> None:
    angles = np.radians([[0, 10, 90, 200]])
    first = grid_of(np.stack([np.cos(angles), np.sin(angles)], axis=2))
    second = grid_of(first.vectors[:, ::-1])
    found = ask(PatchQuery(((0, 0), (0, 1))), first, second, radius=0)
    # the mean direction, 5 degrees, is as near to 0 as to 10, and either finds itself back
    assert found.match.mutual
    assert found.match.second in ((0, 3), (0, 2))
    assert found.match.first == (0, 3 - found.match.second[1])
    assert found.match.score == pytest.approx(np.cos(np.radians(5)), abs=1e-6)
    away = ask(PatchQuery(((0, 1),), ((0, 0),)), first, second, radius=0).match
    assert away.second == (0, 1)  # the direction from 0 to 10 degrees is 95 degrees, nearest to 90
    assert (away.first, away.mutual, away.cycle_error_patches) == ((0, 1), False, 1)


def unrelated_patches(seed: int, n: int) -> Unrelated:
    return Unrelated(("a",), random_grid(seed, n, 1).flat, np.zeros(n, np.intp), ())


def test_percentiles_of_a_query() -> None:
    first, second = random_grid(1, 4, 4), random_grid(2, 5, 5)
    unrelated = unrelated_patches(3, 64)
    found = ask(PatchQuery(((2, 1), (0, 3))), first, second, unrelated=unrelated)
    vector = query_vector(PatchQuery(((2, 1), (0, 3))), first)
    own = [first.vectors[r, c] @ vector for r in range(4) for c in range(4) if (r, c) not in ((2, 1), (0, 3))]
    assert found.others is not None and found.unrelated is not None
    assert (found.others.n, found.unrelated.n) == (14, 64)
    assert found.match.others_percentile == pytest.approx(100 * np.mean(np.array(own) < found.match.score))
    scores = unrelated.patches @ vector
    assert found.match.unrelated_percentile == pytest.approx(100 * np.mean(scores < found.match.score))


def test_pictures_of_one_colour_are_said_to_be_flat() -> None:
    grey = grid_of(np.ones((4, 4, 8)))
    found = ask(PatchQuery(((1, 1),)), grey, grey)
    assert found.flat
    assert found.match.margin == pytest.approx(0, abs=1e-6)
    assert np.isfinite([found.match.score, found.match.cycle_error_px]).all()
    assert not ask(PatchQuery(((1, 1),)), random_grid(0, 4, 4), random_grid(1, 4, 4)).flat


def test_as_many_peaks_as_asked_for() -> None:
    first, second = random_grid(1, 9, 9), random_grid(2, 9, 9)
    for top in (0, 1, 4):
        found = ask(PatchQuery(((0, 0),)), first, second, top=top)
        assert found.peaks == top_k(found.cross_map, top)
        assert found.match.margin is not None


# Pairs, spread


def all_mutual(scores: NDArray[np.float32]) -> Correspondence:
    places = np.arange(len(scores))
    return Correspondence(places, places, scores, scores - 1)


def test_pairs_are_spread_over_the_picture() -> None:
    scores = np.zeros((8, 8), np.float32)
    scores[:2, :2] = 0.9  # the four best lie side by side
    scores[0, 0] = 1
    scores[5, 6] = 0.5
    scores[6, 1] = 0.4
    scores[1, 6] = 0.3
    found = all_mutual(scores.ravel())
    assert [divmod(int(i), 8) for i in spread_pairs(found, (8, 8), 4)] == [(0, 0), (5, 6), (6, 1), (1, 6)]
    assert len(spread_pairs(found, (8, 8), 64)) == 64
    assert spread_pairs(found, (8, 8), 1).tolist() == [0]


def test_where_few_are_mutual_all_are_returned() -> None:
    backward = np.zeros(16, np.intp)
    backward[5] = 5
    found = Correspondence(
        np.arange(16), backward, np.linspace(0, 1, 16, dtype=np.float32), np.zeros(16, np.float32)
    )
    assert spread_pairs(found, (4, 4), 10).tolist() == [5, 0]


@given(st.integers(0, 300), st.integers(1, 30))
def test_matches_are_mutual_ranked_and_all_different(seed: int, n: int) -> None:
    first, second = random_grid(seed, 5, 6), random_grid(seed + 1, 6, 4)
    found = correspond(first, second)
    result = matches(first, second, n, found=found)
    assert result == matches(first, second, n)
    assert len(result) == min(n, int(found.mutual.sum()))
    assert [m.score for m in result] == sorted((m.score for m in result), reverse=True)
    assert len({m.first for m in result}) == len({m.second for m in result}) == len(result)
    for match in result:
        alone = ask(PatchQuery((match.first,)), first, second).match
        assert alone.mutual
        assert (alone.second, alone.first_xy, alone.second_xy) == (
            match.second,
            match.first_xy,
            match.second_xy,
        )
        assert (match.cycle_error_patches, match.cycle_error_px) == (0, 0)
        assert alone.others_percentile == pytest.approx(match.others_percentile)
        assert alone.margin == pytest.approx(match.margin, abs=1e-6)


def test_matches_have_their_background() -> None:
    first, second = random_grid(1, 4, 4), random_grid(2, 4, 4)
    unrelated = unrelated_patches(3, 32)
    for match in matches(first, second, 3, unrelated=unrelated):
        background = unrelated.background(first.vectors[match.first])
        assert background is not None
        assert match.unrelated_percentile == background.percentile(match.score)


def test_a_picture_against_itself_pairs_what_lies_apart() -> None:
    grid = random_grid(5, 7, 7)
    for match in matches(grid, grid, 5, radius=1, apart=True):
        assert max(abs(a - b) for a, b in zip(match.first, match.second, strict=True)) > 1


def test_no_matches_are_refused() -> None:
    with pytest.raises(InputError, match="0 matches"):
        matches(random_grid(0, 2, 2), random_grid(1, 2, 2), 0)
