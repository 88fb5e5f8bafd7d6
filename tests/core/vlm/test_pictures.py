"""Pictures as providers take them: within the limits, exact where they can be, and nothing but pixels."""

import gc
import io
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.images import decode, from_rgb
from core.vlm.pictures import PROVIDER_LIMITS, Fitted, Limit, fit, fitted
from core.vlm.providers import REMOTE

SECRET = "52.5200 N 13.4050 E"
ORIENTATION, DESCRIPTION, GPS = 274, 270, 0x8825


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def opened(picture: Fitted) -> Image.Image:
    image = Image.open(io.BytesIO(picture.data))
    assert picture.media_type == f"image/{str(image.format).lower()}"
    assert image.mode == "RGB"
    return image


sides = st.integers(1, 150)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 200), st.integers(1, 80_000), st.integers(0, 9))
def test_whatever_the_size_the_limits_hold(
    width: int, height: int, max_side: int, max_bytes: int, seed: int
) -> None:
    rgb = noise(width, height, seed)
    picture = fitted(from_rgb(rgb, "x"), Limit(max_bytes, max_side))
    image = opened(picture)
    assert max(image.size) <= max_side
    assert len(picture.data) <= max_bytes or image.size == (1, 1)
    assert ("made smaller" in picture.note) == (image.size != (width, height))
    assert ("JPEG" in picture.note) == (image.format == "JPEG")
    if not picture.note:
        assert np.array_equal(np.asarray(image), rgb)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 60), st.sampled_from(REMOTE), st.booleans())
def test_the_shape_stays_as_far_as_whole_pixels_allow(
    long: int, short: int, provider: str, is_wide: bool
) -> None:
    width, height = (long, short) if is_wide else (short, long)
    image = opened(fit(from_rgb(np.zeros((height, width, 3), np.uint8), "x"), provider))
    scale = min(1.0, PROVIDER_LIMITS[provider].max_side / max(width, height))
    assert abs(image.width - max(1.0, width * scale)) <= 1
    assert abs(image.height - max(1.0, height * scale)) <= 1


@pytest.mark.parametrize("provider", REMOTE)
def test_a_small_picture_is_sent_with_all_its_pixels(provider: str) -> None:
    rgb = noise(320, 200)
    picture = fit(from_rgb(rgb, "x"), provider)
    assert (picture.media_type, picture.note) == ("image/png", "")
    assert np.array_equal(np.asarray(opened(picture)), rgb)


def test_a_smaller_picture_is_said_with_both_sizes() -> None:
    picture = fit(from_rgb(np.zeros((10, 4000, 3), np.uint8), "x"), "openai")
    assert picture.note == "The picture was made smaller, from 4000 x 10 to 2048 x 5 pixels."


def test_a_large_one_becomes_a_jpeg_of_the_best_quality_that_fits() -> None:
    plain = fit(from_rgb(np.full((2048, 2048, 3), 99, np.uint8), "x"), "together")
    assert (plain.media_type, plain.note) == ("image/jpeg", "It was sent as JPEG of quality 95.")
    rough = fit(from_rgb(noise(2048, 2048), "x"), "together")
    assert len(rough.data) <= PROVIDER_LIMITS["together"].max_bytes
    assert rough.note == "It was sent as JPEG of quality 85."


@pytest.mark.parametrize("provider", REMOTE)
def test_nothing_but_pixels_leaves(provider: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[DESCRIPTION], exif[GPS] = 6, SECRET, {1: "N", 2: (52.0, 31.0, 12.0), 3: "E"}
    jpeg, png, notes = io.BytesIO(), io.BytesIO(), PngInfo()
    notes.add_text("Comment", SECRET)
    photo = Image.fromarray(noise(60, 40))
    photo.save(jpeg, "JPEG", exif=exif, comment=SECRET.encode())
    photo.save(png, "PNG", exif=exif, pnginfo=notes)
    for file in (jpeg, png):
        data = file.getvalue()
        assert SECRET.encode() in data
        picture = fit(decode(data, "photo"), provider)
        image = opened(picture)
        assert SECRET.encode() not in picture.data and b"Exif" not in picture.data
        assert not image.getexif() and not set(image.info) - {"jfif", "jfif_version", "jfif_unit"}
        assert image.size == (40, 60)  # upright


def test_the_models_of_a_comparison_share_one_file_as_long_as_the_picture_lives() -> None:
    image = from_rgb(noise(30, 20), "x")
    first = fit(image, "openai")
    assert fit(image, "openai") is first and fit(image, "compatible") is first
    assert fit(from_rgb(noise(30, 20, 1), "x"), "openai").data != first.data
    held = weakref.ref(image)
    del image
    gc.collect()
    assert held() is None


def test_every_remote_provider_has_its_limits() -> None:
    assert set(PROVIDER_LIMITS) == set(REMOTE)
