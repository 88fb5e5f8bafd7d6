"""Pictures on their way into a model, against timm's own transform; and the way back, by ground truth."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import InputError
from core.images import ImageInput, from_rgb
from core.preprocess import Fit, Frame, InputConfig, prepare

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def config(side: int = 224, patch: int = 16, **options: object) -> InputConfig:
    facts = {"size": (side, side), "patch": (patch, patch), "mean": HALF, "std": HALF} | options
    return InputConfig(**facts)  # type: ignore[arg-type]


def picture(width: int, height: int, seed: int = 0) -> ImageInput:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return from_rgb(rgb, "noise")


SIZES = [(640, 480), (480, 640), (333, 517), (224, 224), (31, 17), (1, 1), (1000, 100), (249, 250)]
"""Width and height: landscape, portrait, odd, exact, tiny, one pixel, elongated, nearly square."""


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    ("side", "fraction", "mode", "interpolation"),
    [
        (224, 0.9, "center", "bicubic"),
        (224, 1.0, "center", "bilinear"),
        (98, 0.875, "center", "bicubic"),
        (112, 1.15, "center", "bicubic"),
        (112, 0.9, "squash", "bicubic"),
        (112, 1.0, "squash", "bilinear"),
    ],
)
def test_crop_is_timms_evaluation_transform_to_the_last_bit(
    width: int, height: int, side: int, fraction: float, mode: str, interpolation: str
) -> None:
    from timm.data import create_transform

    image = picture(width, height)
    reference = create_transform(
        input_size=(3, side, side),
        interpolation=interpolation,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        crop_pct=fraction,
        crop_mode=mode,
    )(Image.fromarray(image.rgb))
    options = {"crop_fraction": fraction, "crop_mode": mode, "interpolation": interpolation}
    pixels, frame = prepare(
        image, config(side, 14, mean=IMAGENET_MEAN, std=IMAGENET_STD, **options), fit="crop"
    )
    assert torch.equal(pixels[0], reference)
    assert frame.grid == (side // 14, side // 14)


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (64, 1000)])
def test_crop_of_a_model_that_is_not_square_is_timms_too(width: int, height: int) -> None:
    from timm.data import create_transform

    image = picture(width, height)
    options = {"mean": HALF, "std": HALF, "crop_pct": 0.9, "interpolation": "bicubic"}
    reference = create_transform(input_size=(3, 64, 96), **options)(Image.fromarray(image.rgb))
    pixels, frame = prepare(image, config(size=(64, 96), crop_fraction=0.9), fit="crop")
    assert torch.equal(pixels[0], reference)
    assert frame.grid == (4, 6)


def lit(pixels: torch.Tensor, patch: int) -> np.ndarray:
    """Mean brightness of each patch, 0-1."""
    grid = torch.nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), patch)[0, 0]
    return (grid * 0.5 + 0.5).numpy()


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(90, 700),
    height=st.integers(90, 700),
    fit=st.sampled_from(["whole", "crop"]),
    any_size=st.booleans(),
    fraction=st.sampled_from([0.9, 1.0]),
    data=st.data(),
)
def test_a_square_painted_at_a_patch_lights_that_patch(
    width: int, height: int, fit: Fit, any_size: bool, fraction: float, data: st.DataObject
) -> None:
    facts = config(64, 16, any_size=any_size, crop_fraction=fraction)
    dark = from_rgb(np.zeros((height, width, 3), np.uint8), "dark")
    frame = prepare(dark, facts, fit=fit)[1]
    row = data.draw(st.integers(0, frame.grid[0] - 1))
    column = data.draw(st.integers(0, frame.grid[1] - 1))
    x0, y0, x1, y1 = (round(edge) for edge in frame.patch_box(row, column))
    painted = np.zeros((height, width, 3), np.uint8)
    painted[y0:y1, x0:x1] = 255
    pixels, same = prepare(from_rgb(painted, "painted"), facts, fit=fit)
    light = lit(pixels, 16)
    assert same == frame
    assert light.shape == frame.grid
    assert light[row, column] > 0.85
    light[row, column] = 0
    assert light.max() < 0.15  # the painted edges are whole pixels, so a little spills


@given(
    box=st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(60, 4000), st.floats(60, 4000)),
    grid=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    across=st.floats(0.01, 0.99),
    data=st.data(),
)
def test_patch_at_undoes_patch_box(
    box: tuple[float, float, float, float], grid: tuple[int, int], across: float, data: st.DataObject
) -> None:
    frame = Frame(box, grid)
    row, column = data.draw(st.integers(0, grid[0] - 1)), data.draw(st.integers(0, grid[1] - 1))
    x0, y0, x1, y1 = frame.patch_box(row, column)
    assert frame.patch_at(x0 + across * (x1 - x0), y0 + (1 - across) * (y1 - y0)) == (row, column)


def test_patches_tile_what_the_model_saw() -> None:
    frame = prepare(picture(640, 480), config(), fit="crop")[1]
    assert frame.patch_box(0, 0)[:2] == pytest.approx(frame.box[:2])
    assert frame.patch_box(13, 13)[2:] == pytest.approx(frame.box[2:])
    assert frame.patch_box(3, 4)[2] == pytest.approx(frame.patch_box(3, 5)[0])
    assert frame.box == pytest.approx((80, 0, 560, 480), abs=3)  # the centre square of 640 x 480


def test_crop_stays_inside_the_picture() -> None:
    for width, height in SIZES:
        x0, y0, x1, y1 = prepare(picture(width, height), config(crop_fraction=0.9), fit="crop")[1].box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (224, 224, (14, 14)),
        (448, 224, (14, 28)),
        (230, 230, (14, 14)),  # no multiple of the patch
        (300, 451, (21, 14)),
        (5000, 10, (14, 56)),  # squeezed to 4 : 1
        (10, 5000, (56, 14)),
        (3, 2, (14, 21)),
    ],
)
def test_whole_keeps_the_shape_in_whole_patches(width: int, height: int, grid: tuple[int, int]) -> None:
    pixels, frame = prepare(picture(width, height), config(), fit="whole")
    assert frame == Frame((0, 0, width, height), grid)
    assert pixels.shape == (1, 3, 16 * grid[0], 16 * grid[1])
    assert pixels.dtype == torch.float32


def test_whole_squeezes_into_a_model_of_one_size() -> None:
    pixels, frame = prepare(picture(500, 100), config(any_size=False), fit="whole")
    assert pixels.shape == (1, 3, 224, 224)
    assert frame == Frame((0, 0, 500, 100), (14, 14))


def test_normalisation_is_per_channel() -> None:
    rgb = np.full((32, 32, 3), (255, 128, 0), np.uint8)
    pixels, _ = prepare(from_rgb(rgb, "flat"), config(32, mean=IMAGENET_MEAN, std=IMAGENET_STD), fit="whole")
    expected = [(v / 255 - m) / s for v, m, s in zip((255, 128, 0), IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    assert pixels[0, :, 5, 9].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_thread_of_a_picture_is_refused_for_a_crop_before_memory_is_taken() -> None:
    with pytest.raises(InputError, match="200000 x 10 pixels, too elongated"):
        prepare(from_rgb(np.zeros((10, 200_000, 3), np.uint8), "thread"), config(), fit="crop")


@pytest.mark.parametrize(("row", "column"), [(14, 0), (0, 14), (-1, 0), (0, -1)])
def test_a_patch_outside_the_grid_names_the_range(row: int, column: int) -> None:
    frame = Frame((0, 0, 224, 224), (14, 14))
    with pytest.raises(InputError, match="Rows go from 0 to 13 and columns from 0 to 13") as raised:
        frame.patch_box(row, column)
    assert raised.value.message == f"There is no patch in row {row}, column {column}."


@pytest.mark.parametrize(("x", "y"), [(79.9, 10), (560, 10), (100, -1), (100, 480), (float("nan"), 0)])
def test_a_point_outside_the_crop_names_the_range(x: float, y: float) -> None:
    with pytest.raises(InputError, match="Choose x from 80 to 560 and y from 0 to 480"):
        Frame((80, 0, 560, 480), (14, 14)).patch_at(x, y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"interpolation": "magic"}, "expected one of nearest"),
        ({"size": (224, 230)}, "not a whole number of patches"),
        ({"crop_fraction": 0.0}, "above 0 and at most 2"),
        ({"crop_fraction": 2.1}, "above 0 and at most 2"),
    ],
)
def test_facts_that_cannot_be_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**wrong)
