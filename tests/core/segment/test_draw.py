"""Masks drawn over a picture: which pixels change, and into what."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from core.images import from_rgb
from core.segment.draw import Layer, composite, jpeg, resized, shrunk

RED, BLUE = "#ff2000", "#0040ff"
RGB = {RED: (255, 32, 0), BLUE: (0, 64, 255)}


def grey(height: int = 20, width: int = 30, value: int = 100) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def block(height: int = 20, width: int = 30) -> NDArray[np.bool_]:
    """Return a mask of 10 x 12 pixels inside."""
    mask = np.zeros((height, width), np.bool_)
    mask[5:15, 8:20] = True
    return mask


def test_exactly_the_mask_is_tinted() -> None:
    picture = grey()
    drawn = composite(picture, [Layer(block(), RED)], 0.25)
    assert np.array_equal((drawn != picture).any(axis=2), block())
    assert (picture == 100).all()  # the given one stays
    assert (drawn.dtype, drawn.shape) == (np.uint8, picture.shape)


def test_the_tint_is_the_blend_and_the_outline_is_the_colour() -> None:
    drawn = composite(grey(), [Layer(block(), RED)], 0.25)
    inner = np.zeros((20, 30), np.bool_)
    inner[7:13, 10:18] = True  # all but the outermost two pixels
    assert (drawn[inner] == [int(75 + 0.25 * channel) for channel in RGB[RED]]).all()
    assert (drawn[block() & ~inner] == RGB[RED]).all()


def test_no_outline_where_the_picture_ends() -> None:
    """The object goes on there."""
    drawn = composite(grey(), [Layer(np.ones((20, 30), np.bool_), BLUE)], 0.5)
    assert (drawn == [50, 82, 177]).all()
    left = np.zeros((20, 30), np.bool_)
    left[:, :10] = True
    drawn = composite(grey(), [Layer(left, BLUE)], 0.5)
    assert (drawn[:, 8:10] == RGB[BLUE]).all()
    assert (drawn[:, :8] == [50, 82, 177]).all()


def test_a_hole_is_left_free_and_outlined() -> None:
    mask = block()
    mask[9:11, 13:15] = False
    drawn = composite(grey(), [Layer(mask, RED)], 0.25)
    assert (drawn[9:11, 13:15] == 100).all()
    assert (drawn[8, 13:15] == RGB[RED]).all()
    assert (drawn[9:11, 12] == RGB[RED]).all()


def test_a_gap_of_one_pixel_is_outlined_along_itself() -> None:
    mask = np.ones((20, 30), np.bool_)
    mask[:, 15] = False
    drawn = composite(grey(), [Layer(mask, RED)], 0.25)
    assert (drawn[:, 13:15] == RGB[RED]).all()
    assert (drawn[:, 16:18] == RGB[RED]).all()
    assert (drawn[:, 12] != RGB[RED]).any()


def test_a_single_pixel_is_seen() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[4, 7] = True
    drawn = composite(grey(), [Layer(mask, RED)], 0.1)
    assert tuple(drawn[4, 7]) == RGB[RED]
    assert ((drawn != 100).any(axis=2)).sum() == 1


def test_later_masks_are_in_front() -> None:
    other = np.zeros((20, 30), np.bool_)
    other[8:20, 12:30] = True
    drawn = composite(grey(), [Layer(block(), RED), Layer(other, BLUE)], 1.0)
    assert (drawn[other] == RGB[BLUE]).all()
    assert (drawn[block() & ~other] == RGB[RED]).all()
    swapped = composite(grey(), [Layer(other, BLUE), Layer(block(), RED)], 1.0)
    assert (swapped[block()] == RGB[RED]).all()


def test_nothing_to_draw() -> None:
    assert np.array_equal(composite(grey(), [], 0.5), grey())
    empty = np.zeros((20, 30), np.bool_)
    assert np.array_equal(composite(grey(), [Layer(empty, RED)], 0.5), grey())


@pytest.mark.parametrize("factor", [2, 5])
def test_a_mask_of_another_size_is_drawn_at_the_pictures(factor: int) -> None:
    large = block().repeat(factor, axis=0).repeat(factor, axis=1)
    drawn = composite(grey(), [Layer(large, RED)], 0.25)
    assert np.array_equal(drawn, composite(grey(), [Layer(block(), RED)], 0.25))
    wide = composite(grey(20 * factor, 30 * factor), [Layer(block(), RED)], 0.25)
    assert np.array_equal((wide != 100).any(axis=2), large)


def test_resizing_keeps_the_kind_and_the_place() -> None:
    mask = block()
    assert resized(mask, 30, 20) is mask
    small = resized(mask, 15, 10)
    assert (small.dtype, small.shape) == (np.bool_, (10, 15))
    assert abs(small.mean() - mask.mean()) < 0.1
    assert resized(mask, 7, 90).shape == (90, 7)


@given(
    arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    st.floats(0, 1),
    st.integers(0, 255),
)
def test_any_mask_changes_none_of_the_other_pixels(
    mask: NDArray[np.bool_], opacity: float, value: int
) -> None:
    picture = grey(mask.shape[0], mask.shape[1], value)
    drawn = composite(picture, [Layer(mask, BLUE)], opacity)
    assert np.array_equal(drawn[~mask], picture[~mask])
    low, high = np.minimum(picture, RGB[BLUE]), np.maximum(picture, RGB[BLUE])
    assert ((drawn >= np.maximum(low, 1) - 1) & (drawn <= high)).all()


def test_a_picture_at_another_size() -> None:
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:, 30:] = (200, 100, 50)
    small = shrunk(from_rgb(rgb, "two halves"), 12, 8)
    assert (small.dtype, small.shape) == (np.uint8, (8, 12, 3))
    assert (small[:, :5] == 0).all()
    assert (small[:, 7:] == (200, 100, 50)).all()


def test_a_jpeg_file_shows_the_picture() -> None:
    rgb = np.asarray(Image.linear_gradient("L").resize((60, 40)).convert("RGB"))
    opened = Image.open(io.BytesIO(jpeg(rgb)))
    assert (opened.format, opened.size) == ("JPEG", (60, 40))
    assert np.abs(np.asarray(opened).astype(int) - rgb).mean() < 3
    assert len(jpeg(rgb, 20)) < len(jpeg(rgb, 95))
