"""Masks are cleaned by what counts as a hole or an island, compared as published, and outlined exactly."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from core.errors import InputError
from core.scenes import generate_scene
from core.segment.regions import Cleaning, Ring, boundary_iou, clean, fill, iou, keyholes, polygons

Mask = NDArray[np.bool_]
MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
FOUR = ((0, 1), (1, 0), (0, -1), (-1, 0))
EIGHT = tuple(step for step in product((-1, 0, 1), repeat=2) if step != (0, 0))


def drawn(*rows: str) -> Mask:
    """Return the mask that is drawn with # and any other character."""
    return np.array([[character == "#" for character in row] for row in rows])


def flood(mask: Mask, steps: tuple[tuple[int, int], ...]) -> list[set[tuple[int, int]]]:
    """Return the connected parts of a mask, walked step by step."""
    left, parts = set(zip(*map(np.ndarray.tolist, np.nonzero(mask)), strict=True)), []
    while left:
        part, todo = set(), [left.pop()]
        while todo:
            row, column = todo.pop()
            part.add((row, column))
            near = {(row + down, column + right) for down, right in steps} & left
            left -= near
            todo += near
        parts.append(part)
    return parts


def holes(mask: Mask) -> list[set[tuple[int, int]]]:
    """Return the parts of the background that cannot be left to the border in four directions."""
    height, width = mask.shape
    edge = {
        (r, c) for r in range(height) for c in range(width) if r in (0, height - 1) or c in (0, width - 1)
    }
    return [part for part in flood(~mask, FOUR) if not part & edge]


def shoelace(ring: Ring) -> float:
    """Return twice the signed area."""
    return float(
        sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True))
    )


# Cleaning


def test_holes_are_filled_by_size_and_only_those_inside() -> None:
    mask = drawn(
        "#####.##",  # the notch is open to the border
        "#.##..##",
        "##.#..##",  # touches the first hole by a corner only: a hole of its own
        "########",
    )
    filled = drawn(
        "#####.##",
        "####..##",
        "####..##",
        "########",
    )
    assert np.array_equal(clean(mask, Cleaning(fill_holes_px=1)), filled)
    assert np.array_equal(clean(mask, Cleaning(fill_holes_px=99)), filled)


def test_islands_are_dropped_by_size_and_count_diagonals_as_connected() -> None:
    mask = drawn(
        "###....#",
        "###...#.",
        "........",
        "..#...##",
    )
    kept = clean(mask, Cleaning(drop_islands_px=1))
    assert np.array_equal(kept, mask & ~drawn("........", "........", "........", "..#....."))
    assert np.array_equal(
        clean(mask, Cleaning(drop_islands_px=99)), drawn("###.....", "###.....", "........", "........")
    )


@settings(deadline=None)
@given(MASKS, st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.0, 0.7, 2.0]))
def test_no_small_hole_or_island_is_left(mask: Mask, hole: int, island: int, smooth: float) -> None:
    before = mask.copy()
    cleaned = clean(mask, Cleaning(hole, island, smooth))
    assert np.array_equal(mask, before)
    assert cleaned.any() == mask.any()
    assert all(len(part) > hole for part in holes(cleaned))
    parts = flood(cleaned, EIGHT)
    assert all(len(part) > island for part in parts) or len(parts) == 1
    if not smooth:
        largest = max((len(part) for part in flood(mask, EIGHT)), default=0)
        assert max((len(part) for part in parts), default=0) >= largest


def test_no_cleaning_changes_nothing() -> None:
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    assert np.array_equal(clean(mask, Cleaning()), mask)


def test_smoothing_takes_spikes_away_and_leaves_straight_edges() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[:, :20] = True
    spiked = mask.copy()
    spiked[20, 20:30] = True
    assert np.array_equal(clean(mask, Cleaning(smooth_px=2)), mask)
    smoothed = clean(spiked, Cleaning(smooth_px=2))
    assert not smoothed[20, 23:].any()
    assert iou(smoothed, mask) > 0.98


def test_smoothing_never_wipes_a_mask_out() -> None:
    mask = np.zeros((30, 30), dtype=bool)
    mask[15, 15] = True
    assert np.array_equal(clean(mask, Cleaning(smooth_px=5)), mask)


@pytest.mark.parametrize(
    "values",
    [{"fill_holes_px": -1}, {"drop_islands_px": -1}, {"fill_holes_px": 1.5}]
    + [{"smooth_px": value} for value in (-0.1, float("nan"), float("inf"), 51.0)],
)
def test_impossible_cleanings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Cleaning(**values)


# Comparing


def test_iou_counts_pixels() -> None:
    a, b = drawn("##..", "##.."), drawn(".##.", ".##.")
    assert iou(a, b) == 2 / 6
    assert iou(a, a) == 1
    assert iou(a, ~a) == 0
    assert iou(a & ~a, a & ~a) == 1
    with pytest.raises(InputError, match="4 x 2 and 2 x 4"):
        iou(a, a.T)


def boundary_by_definition(mask: Mask, distance: int) -> Mask:
    """The pixels inside with one outside (or the picture's end) in the square of this distance around."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for row, column in zip(*np.nonzero(mask), strict=True):
        for down, right in product(range(-distance, distance + 1), repeat=2):
            r, c = row + down, column + right
            if not (0 <= r < height and 0 <= c < width and mask[r, c]):
                found[row, column] = True
    return found


@settings(deadline=None, max_examples=40)
@given(MASKS, st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.15, 0.3]))
def test_boundary_iou_is_as_published(a: Mask, seed: int, ratio: float) -> None:
    b = a ^ (np.random.default_rng(seed).random(a.shape) < 0.1)
    distance = max(1, round(ratio * np.sqrt(a.shape[0] ** 2 + a.shape[1] ** 2)))
    first, second = boundary_by_definition(a, distance), boundary_by_definition(b, distance)
    union = (first | second).sum()
    expected = (first & second).sum() / union if union else 1.0
    assert boundary_iou(a, b, ratio) == expected


def test_boundary_iou_is_stricter_than_iou_for_large_masks() -> None:
    a, b = np.zeros((2, 200, 200), dtype=bool)
    a[20:180, 20:180] = True
    b[24:184, 24:184] = True
    assert iou(a, b) > 0.9
    assert boundary_iou(a, b) < 0.3


# Outlines

NESTED = drawn(
    "#########",
    "#.......#",
    "#.#####.#",
    "#.#...#.#",
    "#.#.#.#.#",
    "#.#...#.#",
    "#.#####.#",
    "#.......#",
    "#########",
)
SHAPES = {
    "one pixel": drawn("#"),
    "full": np.ones((3, 5), dtype=bool),
    "corner": drawn("..", ".#"),
    "diagonal": drawn("#.", ".#"),
    "diagonal holes": drawn("####", "#.##", "##.#", "####"),
    "a hole that touches the outside by a corner": drawn("####", "#.##", "##..", "####"),
    "a part around a corner": drawn("###", "#.#", "##.", "#.."),
    "checkers": np.indices((7, 8)).sum(axis=0) % 2 == 0,
    "nested": NESTED,
    "empty": np.zeros((4, 4), dtype=bool),
}


def check_outlines(mask: Mask) -> None:
    height, width = mask.shape
    found = polygons(mask)
    assert len(found) == len(flood(mask, FOUR))
    assert np.array_equal(fill([[part.exterior, *part.holes] for part in found], height, width), mask)
    rings = [ring for part in found for ring in (part.exterior, *part.holes)]
    assert sum(map(shoelace, rings)) == 2 * mask.sum()
    assert all(shoelace(part.exterior) > 0 for part in found)
    assert all(shoelace(hole) < 0 for part in found for hole in part.holes)
    for ring in rings:  # simple lines, of corners alone
        assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)
        steps = np.sign(np.roll(ring, -1, axis=0) - ring)
        assert (np.abs(steps).sum(axis=1) == 1).all()
        assert (steps != np.roll(steps, 1, axis=0)).any(axis=1).all()
    joined = keyholes(mask)
    assert len(joined) == len(found)
    assert np.array_equal(fill([[ring] for ring in joined], height, width), mask)
    assert sum(map(shoelace, joined)) == 2 * mask.sum()


@pytest.mark.parametrize("name", SHAPES)
def test_outlines_of_drawn_masks_are_exact(name: str) -> None:
    check_outlines(SHAPES[name])


@settings(deadline=None, max_examples=200)
@given(MASKS)
def test_outlines_of_any_mask_are_exact(mask: Mask) -> None:
    check_outlines(mask)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.4, 0.6, 0.8, 0.97]))
def test_outlines_of_noise_are_exact(seed: int, density: float) -> None:
    check_outlines(np.random.default_rng(seed).random((24, 31)) < density)


@pytest.mark.parametrize("seed", [3, 8])
def test_outlines_of_scenes_are_exact(seed: int) -> None:
    for item in generate_scene(seed).objects:
        check_outlines(item.mask)


def test_a_square_has_four_corners() -> None:
    mask = np.zeros((6, 7), dtype=bool)
    mask[1:4, 2:6] = True
    (polygon,) = polygons(mask)
    assert polygon.exterior.tolist() == [[2, 1], [6, 1], [6, 4], [2, 4]]
    assert polygon.holes == ()


def test_islands_in_holes_are_parts_of_their_own() -> None:
    assert [len(part.holes) for part in polygons(NESTED)] == [1, 1, 0]


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(3, 7), st.just(2)), elements=st.floats(-3, 12, width=32)),
)
def test_any_polygon_is_filled_by_the_middles_of_pixels(ring: NDArray[np.float64]) -> None:
    filled = fill([[ring]], 9, 8)
    for row, column in product(range(9), range(8)):
        crossings = [
            (x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)) - (column + 0.5)
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True)
            if (y0 <= row + 0.5) != (y1 <= row + 0.5)
        ]
        if all(abs(distance) > 1e-6 for distance in crossings):  # on the line, either is right
            assert filled[row, column] == (sum(distance > 0 for distance in crossings) % 2)


def test_shapes_that_overlap_are_united_and_rings_of_one_are_not() -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], dtype=float)
    inner = np.array([[1, 1], [3, 1], [3, 3], [1, 3]], dtype=float)
    assert fill([[square], [inner]], 4, 4).all()
    assert fill([[square, inner]], 4, 4).sum() == 12


def test_too_many_crossings_are_refused() -> None:
    zigzag = np.tile([[0.0, 0.0], [1.0, 100_000.0]], (200, 1))
    with pytest.raises(InputError, match="too detailed"):
        fill([[zigzag]], 100_000, 2)
