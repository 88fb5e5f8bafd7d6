"""The picture with its map as a file: colours are the charts', pixels are the patches'."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from plotly.colors import sample_colorscale, unlabel_rgb

from core.charts.overlay import colour_table, overlay_png
from core.charts.theme import COLOUR_MAPS
from core.images import ImageInput, from_rgb
from core.preprocess import Frame

FRAME = Frame((10, 0, 50, 30), (3, 4))
"""The middle of a picture of 60 x 30 pixels, in patches of 10 x 10."""


def noise(width: int = 60, height: int = 30) -> ImageInput:
    return from_rgb(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8), "noise")


def ramp() -> NDArray[np.float32]:
    return np.linspace(0.2, 0.7, 12, dtype=np.float32).reshape(3, 4)


def overlay(opacity: float, *, smooth: bool = False, colour_map: str = "magma") -> NDArray[np.uint8]:
    looks = {"colour_map": colour_map, "smooth": smooth, "colour_bar": False}
    data = overlay_png(noise(), ramp(), FRAME, opacity=opacity, **looks)
    return np.asarray(Image.open(io.BytesIO(data)))


def test_each_patch_has_the_colour_of_its_value_and_the_rest_stays_bare() -> None:
    shown = overlay(1.0)
    for row, column in np.ndindex(3, 4):
        x0, y0, x1, y1 = (int(edge) for edge in FRAME.patch_box(row, column))
        share = (ramp()[row, column] - 0.2) / 0.5
        (colour,) = sample_colorscale("magma", [share], colortype="rgb")
        assert np.abs(shown[y0:y1, x0:x1] - np.array(unlabel_rgb(colour))).max() <= 2
    for outside in (slice(0, 10), slice(50, 60)):
        np.testing.assert_array_equal(shown[:, outside], noise().rgb[:, outside])


def test_opacity_mixes_map_and_picture() -> None:
    mixed = overlay(0.25).astype(float)
    expected = 0.75 * noise().rgb + 0.25 * overlay(1.0)
    expected[:, :10], expected[:, 50:] = noise().rgb[:, :10], noise().rgb[:, 50:]
    assert np.abs(mixed - expected).max() <= 1.5
    np.testing.assert_array_equal(overlay(0.0), noise().rgb)


def test_a_smooth_map_has_the_same_colours_at_the_centres_of_patches() -> None:
    sharp = overlay(1.0, colour_map="gray").astype(int)[:, 10:50, 0]
    smooth = overlay(1.0, colour_map="gray", smooth=True).astype(int)[:, 10:50, 0]
    centres = np.ix_(range(5, 30, 10), range(5, 40, 10))
    assert np.abs(sharp[centres] - smooth[centres]).max() <= 6  # half a pixel beside the exact centre
    assert np.abs(np.diff(sharp, axis=0)).max() > 90
    assert np.abs(np.diff(smooth, axis=0)).max() <= 15, "no steps between patches"


def test_a_map_of_one_value_is_drawn() -> None:
    data = overlay_png(
        noise(), np.full((3, 4), 0.1, np.float32), FRAME, colour_map="gray", opacity=1, smooth=True
    )
    assert np.asarray(Image.open(io.BytesIO(data)))[:30, 10:50].max() == 0


@pytest.mark.parametrize("size", [(60, 30), (900, 1200), (1, 1)])
def test_the_colour_bar_stands_beside_the_picture_brightest_on_top(size: tuple[int, int]) -> None:
    image = noise(*size)
    frame = Frame((0, 0, *size), (3, 4))
    data = overlay_png(image, ramp(), frame, colour_map="gray", opacity=0, smooth=False)
    shown = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    np.testing.assert_array_equal(shown[: size[1], : size[0]], image.rgb)
    unit = min(max(size[1] // 24, 12), 48)
    bar = shown[unit : shown.shape[0] - unit, size[0] + unit + unit // 2, 0]
    assert bar[0] == colour_table("gray")[-1, 0] and bar[-1] == 0 and (np.diff(bar) <= 0).all()
    labels = shown[:, size[0] + 2 * unit + 1 :]
    assert (labels == 255).all(axis=(1, 2)).any() and labels.min() < 64, "its ends are labelled"


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_each_colour_map_gets_brighter_throughout(name: str) -> None:
    table = colour_table(name).astype(float)
    assert table.shape == (256, 3)
    luma = table @ (0.2126, 0.7152, 0.0722)
    assert luma[-1] - luma[0] > 120 and (np.diff(luma) > -1).all()
