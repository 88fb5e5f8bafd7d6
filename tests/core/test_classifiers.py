"""Image classifiers of any architecture: timm's own answers, and timed like every other model."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform, resolve_model_data_config
from timm.models import save_for_hf

from core.bench.answers import Classes
from core.bench.cells import Cell, measure_cell
from core.bench.options import Options
from core.bench.subjects import Subject, load_subject, subject_of
from core.errors import InputError
from core.loaders import ModelPool
from core.registry import available, resolve
from core.runs import LOCAL_OWNER
from core.samples import load_sample
from core.settings import ROOT
from core.sources import build_model
from core.vision_model import ImageModel, VisionModel
from core.workflows import attend, classify
from tests.support.hub import serve_hub

PUBLISHED = ("test_convnext.r160_in1k", "test_efficientnet.r160_in1k", "test_resnet.r160_in1k")
FIXED = "random/swin_tiny_patch4_window7_224"
SCRIPT = """
import json, sys, torch
from core.loaders import ModelPool
from core.preprocess import prepare
from core.registry import available, resolve
from core.samples import load_sample
from core.workflows import classify

torch.set_num_threads(1)
image = load_sample("coffee")
for name in sys.argv[1:]:
    spec, pool = resolve(name), ModelPool(device="cpu")
    before = available(spec)
    (found,) = classify([image], spec, pool=pool, sink=None, owner="local")
    with pool.classifier(spec) as model, torch.inference_mode():
        logits = model.forward(prepare(image, model.input, fit="crop")[0])[0].tolist()
    told = [[one.label, one.score] for one in found.predictions]
    print(json.dumps([before, available(spec), told, logits]))
"""


@dataclass(frozen=True)
class Served:
    """What came of one published model: in a process that fetched it, and what timm makes of it."""

    available: tuple[bool, bool]
    told: list[tuple[str, float]]
    logits: torch.Tensor
    expected: torch.Tensor


def sharp(name: str) -> torch.nn.Module:
    """Return a network whose classes are far apart, as training leaves them."""
    torch.manual_seed(len(name))
    module = timm.create_model(name).eval()
    with torch.no_grad():
        module.get_classifier().weight.normal_(std=0.5)
    return module


def timms_logits(module: torch.nn.Module) -> torch.Tensor:
    transform = create_transform(**resolve_model_data_config(module), is_training=False)
    with torch.inference_mode():
        logits: torch.Tensor = module(transform(Image.fromarray(load_sample("coffee").rgb)).unsqueeze(0))
    return logits[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Served]:
    root, home = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("home")
    modules = {name: sharp(name) for name in PUBLISHED}
    for name, module in modules.items():
        save_for_hf(module, str(root / "timm" / name), safe_serialization=True)
    with serve_hub(root) as hub:
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-c", SCRIPT, *(f"timm/{name}" for name in PUBLISHED)]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = {}
    for name, line in zip(PUBLISHED, done.stdout.splitlines(), strict=True):
        before, after, told, logits = json.loads(line)
        pairs = [(label, score) for label, score in told]
        found[name] = Served((before, after), pairs, torch.tensor(logits), timms_logits(modules[name]))
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_answer_as_in_timm(served: dict[str, Served], name: str) -> None:
    found = served[name]
    assert found.available == (False, True)
    assert torch.allclose(found.logits, found.expected, atol=1e-4, rtol=1e-4)
    scores, places = found.expected.softmax(dim=-1).topk(5)
    info = ImageNetInfo("imagenet-1k")
    assert [label for label, _ in found.told] == [info.index_to_description(i) for i in places.tolist()]
    assert [score for _, score in found.told] == pytest.approx(scores.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("timm/test_maxvit", "timm publishes no weights"),
        (
            "timm/resnet50_clip.openai",
            "timm/resnet50_clip.openai has no classifier",
        ),  # its end is an embedding
        ("timm/convnext_tiny.dinov3_lvd1689m", "has no classifier"),
    ],
)
def test_published_weights_that_name_no_classes_are_refused_before_a_download(
    name: str, sentence: str
) -> None:
    spec = resolve(name)
    assert not available(spec)
    with pytest.raises(InputError, match=sentence):
        build_model(spec, "cpu", lambda: 0.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def subject(name: str, **options: Any) -> Subject:
    return load_subject(resolve(name), Options(**options), "cpu").subject


@pytest.mark.parametrize("name", ["random/test_efficientnet", "random/test_resnet"])
def test_untrained_ones_are_subjects_like_any_other(name: str) -> None:
    images = [load_sample("coffee"), load_sample("scene/3")]
    found = subject(name)
    assert (found.kind, found.input_size, found.takes_batches) == ("classes", (160, 160), True)
    assert found.parameters == sum(p.numel() for p in timm.create_model(name.partition("/")[2]).parameters())
    answers = found.postprocess(found.run(found.preprocess(images)))
    told = classify(images, resolve(name), pool=ModelPool(device="cpu"), sink=None, owner=LOCAL_OWNER)
    for answer, result in zip(answers, told, strict=True):
        assert isinstance(answer, Classes)
        assert answer.names == tuple(one.label for one in result.predictions)
        assert answer.scores == pytest.approx([one.score for one in result.predictions], abs=1e-5)
    half = subject(name, precision="bf16")
    assert {p.dtype for p in half.network.parameters()} == {torch.bfloat16}
    assert isinstance(half.answer(images[0]), Classes)


def test_untrained_weights_are_the_same_every_time() -> None:
    first, second = (subject("random/test_resnet").network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_size_is_free_where_the_network_takes_it() -> None:
    image = load_sample("coffee")
    free = subject("random/test_resnet", size=97)
    assert free.input_size == (97, 97)
    assert free.preprocess((image,)).shape == (1, 3, 97, 97)
    assert isinstance(free.answer(image), Classes)
    for options in ({}, {"size": 224}):
        assert subject(FIXED, **options).input_size == (224, 224)
    with pytest.raises(InputError, match=f"{FIXED} takes pictures of 224 x 224 pixels only") as raised:
        subject(FIXED, size=192)
    assert "Leave the size out" in raised.value.remedy


def test_a_size_that_turns_out_too_small_is_said_in_a_sentence() -> None:
    """The facts call the size free; its layers find out that they cannot halve one pixel any further."""
    with pytest.raises(InputError, match=r"random/inception_v3 takes no pictures of 32 pixels") as raised:
        measure_cell(Cell("random/inception_v3", "3", Options(size=32, seconds=0.01)), device="cpu")
    assert "Leave the size out" in raised.value.remedy


def test_a_benchmark_of_one_is_a_run_like_any_other() -> None:
    options = Options(batches=(1, 2), seconds=0.05)
    run = measure_cell(Cell("random/mobilenetv3_small_100", "scene/3", options), device="cpu")
    found = {metric.name: metric.value for metric in run.metrics}
    assert (run.status, run.model_id, run.model_revision) == ("ok", "random/mobilenetv3_small_100", "seed 0")
    assert run.parameters["input_size"] == [224, 224]
    assert found["parameters"] == 2_542_856  # as timm's tables have it
    assert found["macs"] / 1e6 == pytest.approx(56.5, rel=0.05)
    assert found["p50_ms"] > 0
    assert found["images_per_s_batch_2"] > 0


@pytest.mark.parametrize("name", ["random/test_resnet", "timm/convnext_tiny.fb_in1k"])
def test_patches_and_attention_are_refused_before_anything_is_loaded(name: str) -> None:
    pool = ModelPool(device="cpu")
    with pytest.raises(InputError, match=f"{name} is not a plain vision transformer") as raised:
        attend(load_sample("coffee"), resolve(name), pool=pool, sink=None, owner=LOCAL_OWNER)
    assert "Choose a vit_" in raised.value.remedy
    assert pool.loaded() == ()


def test_a_network_that_names_nothing_is_refused_as_a_classifier() -> None:
    model = build_model(resolve("random/test_resnet"), "cpu", lambda: 0.0)
    assert isinstance(model, ImageModel)
    assert not isinstance(model, VisionModel)
    object.__setattr__(model, "labels", ())
    with pytest.raises(InputError, match="has no classifier"):
        subject_of(model, Options())
    pool = ModelPool(device="cpu")
    with pytest.raises(InputError, match="has no classifier"):
        pool.classifier(resolve("shipped/dino-scenes")).__enter__()
    assert pool.loaded() == ()
