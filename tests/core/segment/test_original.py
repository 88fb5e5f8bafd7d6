"""Models of the segment-anything package, against its own `SamPredictor` on the same weights."""

import io
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.utils.amg import calculate_stability_score
from torch import nn

from core.errors import InputError, SetupError
from core.images import ImageInput, from_rgb
from core.images import decode as decode_picture
from core.registry import ModelSpec, resolve
from core.samples import load_sample
from core.segment import Geometry, ImageEmbedding, Masks, Point, Prompts, decode, embed
from core.segment.masks import STABILITY_OFFSET, stability_score
from core.segment.original import OriginalSam
from core.segment.segmenter import SURE, mask_logits
from core.segment.small_sam import build_small_sam
from core.sources import build_model

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

ROUNDING = 1e-5
SIZES = {
    "landscape": (60, 97),
    "portrait": (130, 71),
    "panorama": (9, 300),
    "square": (64, 64),
    "one pixel": (1, 1),
    "a column": (150, 1),
}
"""Height and width."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def wrapped(module: "Sam") -> OriginalSam:
    spec = ModelSpec("shipped/x", "x", "shipped", ("segmentation",), "x", revision="1")
    return OriginalSam(spec, module.eval().requires_grad_(False), "cpu", "float32", 0.0, 0.0)


def untrained(image_size: int = 96) -> OriginalSam:
    torch.manual_seed(0)
    module = build_small_sam(
        image_size, 8, dim=16, depth=2, heads=2, window=5, global_blocks=(1,), prompt_dim=16
    )
    with torch.no_grad():  # at initialisation positions do not count, and all masks look alike
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return wrapped(module)


@pytest.fixture(scope="module", params=["untrained", "shipped"])
def model(request: pytest.FixtureRequest) -> OriginalSam:
    if request.param == "untrained":
        return untrained()
    started = time.perf_counter()
    built = build_model(resolve("shipped/sam-scenes"), "cpu", lambda: (time.perf_counter() - started) * 1000)
    assert isinstance(built, OriginalSam)
    return built


def picture(height: int, width: int, seed: int = 0) -> ImageInput:
    """Return a smooth picture with a few edges."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    rgb = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
    rgb[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
    return from_rgb(rgb, f"{width} x {height}")


def predictor(model: OriginalSam, image: ImageInput) -> SamPredictor:
    """Return the reference, with the picture set."""
    found = SamPredictor(model.module)
    found.set_image(image.rgb)
    return found


def reference(
    found: SamPredictor, prompts: Prompts, multimask: bool, logits: bool = False
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
    """Return full-size masks (or logits), predicted IoUs and low-resolution logits of the reference."""
    points = np.array([(p.x, p.y) for p in prompts.points]) if prompts.points else None
    labels = np.array([int(p.include) for p in prompts.points]) if prompts.points else None
    masks, predicted_iou, low = found.predict(
        points,
        labels,
        None if prompts.box is None else np.array(prompts.box),
        None if prompts.logits is None else prompts.logits[None],
        multimask,
        return_logits=logits,
    )
    return masks, predicted_iou, low


def every_prompt(width: int, height: int, low_res_side: int) -> dict[str, Prompts]:
    """Return prompts of each kind for a picture of this size."""
    inside = Point(width * 0.4, height * 0.45)
    signs = (inside, Point(width * 0.8, height * 0.2, False), Point(width, 0.0), Point(0, height, False))
    tiny = width * height == 1  # one pixel cannot be included and excluded
    box = (width * 0.2, height * 0.1, max(width * 0.9, width * 0.2 + 1), max(height * 0.8, height * 0.1 + 1))
    box = (0.0, 0.0, float(width), float(height)) if min(width, height) < 3 else box
    logits = np.random.default_rng(1).normal(0, 6, (low_res_side, low_res_side)).astype(np.float32)
    return {
        "point": Prompts((inside,)),
        "excluding point": Prompts((replace(inside, include=False),)),
        "points of both signs": Prompts((inside, Point(width, height)) if tiny else signs),
        "box": Prompts(box=box),
        "box and points": Prompts((inside, Point(width * 0.9, height * 0.7, tiny)), box=box),
        "logits": Prompts(logits=logits),
        "everything": Prompts((inside,), box, logits),
    }


def assert_same(masks: Masks, found: SamPredictor, prompts: Prompts, multimask: bool) -> None:
    """The masks to the pixel; the numbers within the rounding of float32."""
    full, predicted_iou, low = reference(found, prompts, multimask)
    assert len(masks) == (3 if multimask else 1)
    assert np.allclose(masks.low_res, low, rtol=ROUNDING, atol=ROUNDING)
    assert np.allclose(masks.predicted_iou, predicted_iou, rtol=ROUNDING, atol=ROUNDING)
    for index in range(len(masks)):
        assert np.array_equal(masks.mask(index), full[index])


# The same masks


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_those_of_the_predictor(model: OriginalSam, size: str) -> None:
    image = picture(*SIZES[size])
    found, embedding = predictor(model, image), embed(model, image)
    for prompts in every_prompt(image.width, image.height, model.low_res_side).values():
        for multimask in (True, False):
            assert_same(decode(model, embedding, prompts, multimask), found, prompts, multimask)


def test_every_part_of_a_prompt_counts(model: OriginalSam) -> None:
    """Else the comparison above would compare nothing."""
    image = picture(60, 97)
    embedding = embed(model, image)
    answers = [
        decode(model, embedding, prompts).low_res
        for prompts in every_prompt(97, 60, model.low_res_side).values()
    ]
    assert all(not np.allclose(one, other) for one, other in itertools.combinations(answers, 2))


def test_a_mask_that_was_answered_leads_to_the_next(model: OriginalSam) -> None:
    image = picture(60, 97)
    found, embedding = predictor(model, image), embed(model, image)
    first = decode(model, embedding, Prompts((Point(30, 20),)))
    again = Prompts((Point(30, 20), Point(80, 50, False)), logits=first.low_res[first.best])
    assert_same(decode(model, embedding, again, multimask=False), found, again, multimask=False)


def test_a_photograph_by_the_shipped_model() -> None:
    model = build_model(resolve("shipped/sam-scenes"), "cpu", lambda: 0.0)
    assert isinstance(model, OriginalSam)
    image = load_sample("chelsea")
    found, embedding = predictor(model, image), embed(model, image)
    prompts = Prompts((Point(200, 120), Point(20, 20, False)))
    masks = decode(model, embedding, prompts)
    assert_same(masks, found, prompts, multimask=True)
    assert 0 < masks.mask(masks.best).mean() < 1


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def odd_files() -> dict[str, bytes]:
    """Return PNG files that do not hold 8-bit RGB, each 40 x 30."""
    ramp = np.add.outer(np.arange(30), np.arange(40) * 3).astype(np.uint8)
    alpha = np.dstack(
        [ramp, ramp[::-1], 255 - ramp, np.repeat([[0], [128], [255]], 10, axis=0) * np.ones(40)]
    )
    return {
        "grey": png(Image.fromarray(ramp)),
        "alpha": png(Image.fromarray(alpha.astype(np.uint8))),
        "16 bits": png(Image.fromarray(ramp.astype(np.uint16) * 257)),
        "palette": png(Image.fromarray(ramp).convert("P")),
    }


@pytest.mark.parametrize("kind", odd_files())
def test_pictures_of_other_kinds(model: OriginalSam, kind: str) -> None:
    image = decode_picture(odd_files()[kind], kind)
    prompts = Prompts((Point(12, 9),), (2, 3, 30, 25))
    assert_same(decode(model, embed(model, image), prompts), predictor(model, image), prompts, multimask=True)


@pytest.mark.parametrize(("height", "width"), [(1, 700), (700, 1)])
def test_a_line_longer_than_the_model_can_show_keeps_one_pixel(
    model: OriginalSam, height: int, width: int
) -> None:
    """Here the predictor itself fails: its picture would be no pixel high."""
    embedding = embed(model, picture(height, width))
    assert min(embedding.geometry.resized) == 1
    assert decode(model, embedding, Prompts((Point(0.5, 0.5),))).mask(0).shape == (height, width)


def test_how_the_picture_lies_in_the_square() -> None:
    model = untrained(64)
    geometry = embed(model, picture(60, 97)).geometry
    assert geometry == Geometry((60, 97), (40, 64), 64)
    assert geometry.is_padded
    assert not embed(model, picture(90, 90)).geometry.is_padded
    assert np.allclose(geometry.to_model(np.array([97.0, 60.0])), (64, 40))
    assert (model.side, model.low_res_side) == (64, 32)


def test_full_size_logits_and_thresholds(model: OriginalSam) -> None:
    image = picture(60, 97)
    prompts = Prompts((Point(30, 20),))
    masks = decode(model, embed(model, image), prompts)
    expected, _, _ = reference(predictor(model, image), prompts, True, logits=True)
    for index in range(3):
        assert np.allclose(masks.logits(index), expected[index], rtol=ROUNDING, atol=ROUNDING)
        for threshold in (-2.5, 0.0, 1.5):
            assert np.array_equal(masks.mask(index, threshold), masks.logits(index) > threshold)
    assert masks.best == np.argmax(masks.predicted_iou)


# No state


def everything_on(module: nn.Module) -> dict[str, object]:
    """Return every attribute of a network and of its parts, but tensors and parts themselves."""
    return {
        f"{name}.{key}": repr(value)
        for name, part in module.named_modules()
        for key, value in vars(part).items()
        if not key.startswith("_")
    }


def test_nothing_on_the_model_changes(model: OriginalSam) -> None:
    attributes, own = everything_on(model.module), dict(vars(model))
    weights = {name: value.clone() for name, value in model.module.state_dict().items()}
    image = picture(60, 97)
    embedding = embed(model, image)
    for prompts in every_prompt(97, 60, model.low_res_side).values():
        decode(model, embedding, prompts)
    assert everything_on(model.module) == attributes
    assert vars(model) == own
    after = model.module.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in model.module.parameters()
    )


def test_neither_picture_nor_prompts_nor_embedding_change(model: OriginalSam) -> None:
    image = picture(60, 97)
    prompts = every_prompt(97, 60, model.low_res_side)["everything"]
    assert prompts.logits is not None
    embedding = embed(model, image)
    before = image.rgb.copy(), prompts.logits.copy(), embedding.tensors[0].clone()
    decode(model, embedding, prompts)
    assert np.array_equal(image.rgb, before[0])
    assert np.array_equal(prompts.logits, before[1])
    assert torch.equal(embedding.tensors[0], before[2])


def test_two_pictures_in_turn_do_not_mix(model: OriginalSam) -> None:
    pictures = [picture(60, 97, seed=1), picture(130, 71, seed=2)]
    references = [predictor(model, image) for image in pictures]
    embeddings = [embed(model, image) for image in pictures]
    prompts = Prompts((Point(30, 20),), (10, 5, 60, 50))
    for index in (0, 1, 0, 1):
        assert_same(decode(model, embeddings[index], prompts), references[index], prompts, multimask=True)
    assert [embedding.sha256 for embedding in embeddings] == [image.sha256 for image in pictures]


@pytest.mark.parametrize("change", [{"model_id": "shipped/y"}, {"revision": "2"}])
def test_an_embedding_of_another_model_is_a_bug(change: dict[str, str]) -> None:
    model = untrained()
    embedding = replace(embed(model, picture(60, 97)), **change)
    with pytest.raises(ValueError, match="embedding is of"):
        decode(model, embedding, Prompts((Point(1, 1),)))


# Stability


def test_stability_is_the_originals(model: OriginalSam) -> None:
    image = picture(130, 71)
    prompts = Prompts((Point(30, 20),))
    masks = decode(model, embed(model, image), prompts)
    full, _, _ = reference(predictor(model, image), prompts, True, logits=True)
    expected = calculate_stability_score(torch.from_numpy(full), model.threshold, STABILITY_OFFSET)
    defined = ~expected.isnan().numpy()
    assert np.allclose(masks.stability[defined], expected.numpy()[defined], atol=ROUNDING)
    assert (masks.stability[~defined] == 0).all()


def test_stability_of_random_logits_and_of_none() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (4, 20, 30)).astype(np.float32))
    for offset in (0.0, 0.5, 2.0):
        expected = calculate_stability_score(logits, 0.3, offset)
        assert torch.allclose(stability_score(logits, 0.3, offset), expected)
    assert stability_score(torch.full((1, 5, 5), -9.0), 0.0).item() == 0


# A mask of the picture to start from


@pytest.mark.parametrize("size", ["landscape", "portrait", "square", "one pixel"])
def test_a_mask_of_the_picture_says_where_the_object_is(model: OriginalSam, size: str) -> None:
    height, width = SIZES[size]
    geometry = embed(model, picture(height, width)).geometry
    mask = np.zeros((height, width), np.bool_)
    mask[: max(1, height // 2), : max(1, width // 3)] = True
    logits = mask_logits(mask, geometry, model.low_res_side)
    assert logits.shape == (1, 1, model.low_res_side, model.low_res_side)
    assert -SURE <= logits.min() <= logits.max() <= SURE
    back = Masks(logits[0].numpy(), np.ones(1, np.float32), np.ones(1, np.float32), geometry, 0.0)
    assert np.mean(back.mask(0) == mask) > 0.93  # a low-resolution value is a few pixels wide


def test_a_mask_is_asked_as_its_logits(model: OriginalSam) -> None:
    image = picture(60, 97)
    embedding = embed(model, image)
    mask = np.zeros((60, 97), np.bool_)
    mask[10:40, 20:70] = True
    logits = mask_logits(mask, embedding.geometry, model.low_res_side)[0, 0].numpy()
    by_mask = decode(model, embedding, Prompts(mask=mask))
    assert np.array_equal(by_mask.low_res, decode(model, embedding, Prompts(logits=logits)).low_res)


# What cannot be asked


def test_logits_of_another_size_are_refused(model: OriginalSam) -> None:
    wrong = np.zeros((model.low_res_side + 1, model.low_res_side), np.float32)
    with pytest.raises(InputError, match=f"takes {model.low_res_side} x {model.low_res_side}") as caught:
        decode(model, embed(model, picture(60, 97)), Prompts(logits=wrong))
    assert caught.value.remedy


def test_prompts_outside_are_refused(model: OriginalSam) -> None:
    with pytest.raises(InputError, match="outside"):
        decode(model, embed(model, picture(60, 97)), Prompts((Point(98, 3),)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_is_refused(value: float) -> None:
    model = untrained()
    with torch.no_grad():
        next(model.module.mask_decoder.output_hypernetworks_mlps[1].parameters()).fill_(value)
    embedding = embed(model, picture(60, 97))
    with pytest.raises(InputError, match="not finite"):
        decode(model, embedding, Prompts((Point(3, 3),)))


class Hungry(nn.Module):
    """A picture encoder that really asks for more memory than there is, in one way or another."""

    img_size = 96

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.how == "torch":
            return torch.empty(1 << 50)
        if self.how == "numpy":
            return torch.from_numpy(np.empty(1 << 55))
        return pixels @ torch.ones(3, 5)


@pytest.mark.parametrize("how", ["torch", "numpy"])
def test_memory_that_runs_out_is_told(how: str) -> None:
    model = untrained()
    model.module.image_encoder = Hungry(how)
    with pytest.raises(SetupError, match="memory of cpu does not suffice") as caught:
        embed(model, picture(60, 97))
    assert "smaller model" in caught.value.remedy
    assert caught.value.__cause__ is not None


def test_other_failures_of_an_encoder_are_bugs() -> None:
    model = untrained()
    model.module.image_encoder = Hungry("not at all")
    with pytest.raises(RuntimeError, match="shapes"):
        embed(model, picture(60, 97))


def test_an_embedding_names_its_picture_and_model() -> None:
    model, image = untrained(), picture(60, 97)
    embedding = embed(model, image)
    assert isinstance(embedding, ImageEmbedding)
    assert (embedding.sha256, embedding.model_id, embedding.revision) == (image.sha256, "shipped/x", "1")
    assert [tensor.shape for tensor in embedding.tensors] == [(1, 16, 12, 12)]
    assert json.dumps(embedding.geometry.original) == "[60, 97]"
