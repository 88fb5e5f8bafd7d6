"""Simulated clicks: inside the object, in the middle of the largest error, and of the right sign."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from core.errors import InputError
from core.segment import Point
from core.segment.clicks import box_of, first_click, next_click

masks = arrays(bool, (9, 12))


def rectangle(rows: slice, columns: slice, height: int = 20, width: int = 30) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    return mask


def depth(mask: NDArray[np.bool_], row: int, column: int) -> float:
    """Return the distance from a pixel to the nearest one outside, beyond the border too, by trying all."""
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    return float(np.sqrt(((outside - (row, column)) ** 2).sum(axis=1)).min())


@given(masks, st.sampled_from(["random", "centre"]), st.integers(0, 99))
def test_the_first_click_lies_in_the_object(truth: NDArray[np.bool_], place: str, seed: int) -> None:
    assume(truth.any())
    point = first_click(truth, np.random.default_rng(seed), place)  # type: ignore[arg-type]
    assert point.include and truth[int(point.y), int(point.x)]
    if place == "centre":
        deepest = max(depth(truth, row, column) for row, column in np.argwhere(truth))
        assert depth(truth, int(point.y), int(point.x)) == pytest.approx(deepest)


def test_random_first_clicks_take_all_pixels_alike() -> None:
    truth = rectangle(slice(2, 4), slice(3, 8))  # 10 pixels
    rng = np.random.default_rng(0)
    counts = np.zeros(truth.shape, int)
    for _ in range(3000):
        point = first_click(truth, rng)
        counts[int(point.y), int(point.x)] += 1
    assert counts[~truth].sum() == 0
    assert counts[truth].min() > 230 and counts[truth].max() < 370  # 300 each, standard deviation 16


def test_the_border_of_the_picture_is_an_edge() -> None:
    truth = rectangle(slice(0, 5), slice(0, 5))
    assert first_click(truth, np.random.default_rng(0), "centre") == Point(2, 2)


def test_the_next_click_includes_the_largest_part_that_was_missed() -> None:
    truth = rectangle(slice(0, 20), slice(5, 26))
    mask = truth.copy()
    mask[2:9, 8:15] = False  # 49 pixels around row 5, column 11
    mask[12:14, 20:22] = False  # 4
    mask[0:8, 0:3] = True  # 24 too many
    assert next_click(truth, mask) == Point(11, 5, include=True)


def test_the_next_click_excludes_the_largest_part_too_many() -> None:
    truth = rectangle(slice(0, 10), slice(0, 10))
    mask = truth.copy()
    mask[12:17, 20:25] = True
    mask[0:4, 0:4] = False
    assert next_click(truth, mask) == Point(22, 14, include=False)


def test_parts_missed_and_parts_too_many_are_not_one_region() -> None:
    """Side by side they are 40 pixels; each alone is less than the 24 elsewhere."""
    truth = rectangle(slice(0, 4), slice(0, 5)) | rectangle(slice(10, 14), slice(20, 26))
    mask = rectangle(slice(0, 4), slice(5, 10))
    point = next_click(truth, mask)
    assert 20 <= point.x < 26 and 10 <= point.y < 14 and point.include


@given(masks, masks)
def test_the_next_click_mends_something(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> None:
    assume((truth ^ mask).any())
    point = next_click(truth, mask)
    row, column = int(point.y), int(point.x)
    assert truth[row, column] != mask[row, column]
    assert point.include == truth[row, column]


def test_where_nothing_is_wrong_the_next_click_confirms_the_object() -> None:
    truth = rectangle(slice(5, 10), slice(5, 10))
    assert next_click(truth, truth) == Point(7, 7, include=True)


@given(masks)
def test_the_box_holds_the_object_and_touches_it_on_all_sides(truth: NDArray[np.bool_]) -> None:
    assume(truth.any())
    x0, y0, x1, y1 = (int(edge) for edge in box_of(truth))
    inside = truth[y0:y1, x0:x1]
    assert inside.sum() == truth.sum()
    assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_an_empty_mask_and_masks_of_two_pictures_are_refused() -> None:
    empty = np.zeros((4, 4), bool)
    for call in (
        lambda: first_click(empty, np.random.default_rng(0)),
        lambda: next_click(empty, empty),
        lambda: box_of(empty),
    ):
        with pytest.raises(InputError, match="empty"):
            call()
    with pytest.raises(InputError, match="one picture"):
        next_click(empty, np.zeros((4, 5), bool))
