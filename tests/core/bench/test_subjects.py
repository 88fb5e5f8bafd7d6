"""Every kind of model in three stages says what it says elsewhere in this program."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from core.bench.answers import Classes, Features, Outline, Said
from core.bench.options import Options
from core.bench.subjects import Subject, load_subject
from core.bench.text_subjects import MAX_TOKENS, PROMPT
from core.errors import InputError
from core.features.extract import extract
from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.registry import resolve
from core.runs import LOCAL_OWNER
from core.samples import load_sample
from core.segment import Point, Prompts, decode, embed
from core.workflows import classify

VIT, DINO, SAM = "shipped/vit-scenes", "shipped/dino-scenes", "shipped/sam-scenes"
CAPTIONER = "shipped/captioner-small"
ALL = (VIT, DINO, SAM, CAPTIONER)


@pytest.fixture(scope="module")
def pool() -> ModelPool:
    return ModelPool(device="cpu")


def subject(model: str, **options: Any) -> Subject:
    return load_subject(resolve(model), Options(**options), "cpu").subject


def staged(subject: Subject, *images: ImageInput) -> tuple[Any, ...]:
    return subject.postprocess(subject.run(subject.preprocess(images)))


def test_a_classifier_says_what_the_workflow_says(pool: ModelPool) -> None:
    images = [load_sample("scene/3"), load_sample("astronaut")]
    found = staged(subject(VIT), *images)
    for answer, result in zip(
        found, classify(images, resolve(VIT), pool=pool, sink=None, owner=LOCAL_OWNER), strict=True
    ):
        assert isinstance(answer, Classes)
        assert answer.names == tuple(one.label for one in result.predictions)
        assert answer.scores == pytest.approx([one.score for one in result.predictions], abs=1e-5)


def test_features_are_those_that_are_extracted(pool: ModelPool) -> None:
    image = load_sample("scene/3")
    (found,) = staged(subject(DINO), image)
    with pool.use(resolve(DINO)) as model:
        (expected,) = extract(model, [image])
    assert isinstance(found, Features)
    assert found.grid == expected.frame.grid
    assert expected.cls is not None
    np.testing.assert_allclose(found.vector, expected.cls.astype(np.float32), rtol=2e-3, atol=2e-3)


def test_a_mask_is_the_answer_to_one_click(pool: ModelPool) -> None:
    images = [load_sample("scene/3"), load_sample("scene/5")]
    found = staged(subject(SAM), *images)
    with pool.segmenter(resolve(SAM)) as model:
        for answer, image in zip(found, images, strict=True):
            click = Prompts(points=(Point(image.width / 2, image.height / 2),))
            masks = decode(model, embed(model, image), click)
            assert isinstance(answer, Outline)
            assert answer.predicted_iou == pytest.approx(float(masks.predicted_iou.max()), abs=1e-4)
            assert (answer.mask != masks.mask(masks.best)).mean() < 1e-3


def test_a_caption_is_what_the_model_answers(pool: ModelPool) -> None:
    image = load_sample("scene/3")
    (found,) = staged(subject(CAPTIONER), image)
    with pool.vlm(resolve(CAPTIONER)) as model:
        expected = model.generate(
            image,
            PROMPT,
            max_tokens=MAX_TOKENS,
            temperature=0.0,
            on_text=lambda _: None,
            cancelled=lambda: False,
        )
    assert isinstance(found, Said)
    assert found.text == expected.text != ""


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_used_and_says_nearly_the_same(model: str, precision: str) -> None:
    image = load_sample("scene/3")
    full, half = subject(model), subject(model, precision=precision)
    dtypes = {parameter.dtype for parameter in half.network.parameters()}
    assert {"bf16": torch.bfloat16, "fp16": torch.float16}[precision] in dtypes
    assert full.parameters == half.parameters
    (first,), (second,) = staged(full, image), staged(half, image)
    if isinstance(first, Classes):
        assert first.names[0] == second.names[0]
    elif isinstance(first, Features):
        cosine = first.vector @ second.vector / np.linalg.norm(first.vector) / np.linalg.norm(second.vector)
        assert cosine > 0.99
    elif isinstance(first, Outline):
        assert (first.mask != second.mask).mean() < 0.02
    else:
        assert first.text.split()[0] == second.text.split()[0]


def test_another_input_size_where_the_model_takes_it() -> None:
    image = load_sample("scene/3")
    larger = subject(VIT, size=100)
    assert larger.input_size == (96, 96)
    assert larger.preprocess((image,)).shape[2:] == (96, 96)
    assert larger.answer(image).names[0] in larger.labels  # type: ignore[attr-defined]
    for model in (SAM, CAPTIONER):
        with pytest.raises(InputError, match="takes pictures of"):
            subject(model, size=100)


def test_what_a_model_cannot_do_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match=r"Leave torch\.compile off"):
        subject(CAPTIONER, compiled=True)
    image = load_sample("scene/3")
    with pytest.raises(InputError, match="one picture at a time"):
        subject(CAPTIONER).preprocess((image, image))
    wide = from_rgb(np.zeros((50, 200, 3), np.uint8), "wide")
    with pytest.raises(InputError, match="different shapes"):
        subject(DINO).preprocess((image, wide))


def test_weights_that_are_damaged_give_no_answer() -> None:
    broken = subject(VIT)
    next(broken.network.parameters()).data.fill_(torch.nan)
    with pytest.raises(InputError, match="not finite"):
        broken.answer(load_sample("scene/3"))


def test_everything_in_the_picture_is_counted_where_a_segmenter_is_compared() -> None:
    found = subject(SAM).answer(load_sample("scene/3"))
    assert isinstance(found, Outline)
    assert found.count is not None
    assert found.count >= 1
    assert replace(found, count=None).to_json()["share"] == pytest.approx(found.mask.mean())
