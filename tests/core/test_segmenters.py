"""Which segmenters there are, how the pool hands them out, and which weights are refused."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.checkpoints import Architecture, Card, ModelInput, Score, read_card, save_checkpoint
from core.errors import InputError, VisionBenchError
from core.images import from_rgb
from core.loaders import ModelPool
from core.registry import SEGMENTATION, VIT_TASKS, catalog, resolve
from core.segment import Point, Prompts, decode, embed
from core.segment.original import OriginalSam
from core.segment.small_sam import build_small_sam
from core.segment.transformers_sam import MODEL_TYPES, TransformersSam
from core.settings import ROOT, settings

ARGUMENTS: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 8,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "prompt_dim": 16,
    "global_blocks": [0],
}
VIT = "random/vit_tiny_patch16_224"
PUBLISHED = "sam_vit_b_01ec64.pth"


def card(arguments: dict[str, Any] = ARGUMENTS, class_name: str = "Sam") -> Card:
    return Card(
        kind="segmentation",
        architecture=Architecture(class_name, arguments),
        labels=(),
        input=ModelInput(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        command="python -m core train sam",
        seed=0,
        data="nothing",
        score=Score("mean IoU", 0.5, 2, "two pictures"),
        date="2026-01-31",
        duration_s=1.0,
        licence="MIT",
        title="Tiny",
        note="A tiny one.",
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkpoints folder."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(folder))
    settings.cache_clear()
    return folder


@pytest.fixture
def tiny(checkpoints: Path) -> Path:
    """The weights of a small segmenter, with its card, in the checkpoints folder."""
    torch.manual_seed(0)
    path = checkpoints / "tiny-sam.safetensors"
    save_checkpoint(path, build_small_sam(**ARGUMENTS), card())
    return path


def refusal(name: str | Path, kind: type[VisionBenchError] = InputError) -> VisionBenchError:
    """Return the error of loading a model for segmentation."""
    spec = resolve(str(name), task="segmentation")
    with pytest.raises(kind) as caught, ModelPool(device="cpu").segmenter(spec):
        pass
    assert caught.value.message.endswith((".", "…"))
    assert caught.value.remedy.endswith(".")
    return caught.value


# What there is


def test_shipped_segmenters_are_for_segmentation(tiny: Path) -> None:
    spec = resolve("shipped/tiny-sam")
    written = read_card(tiny)
    assert (spec.source, spec.tasks, spec.title) == ("shipped", SEGMENTATION, "Tiny")
    assert (spec.revision, spec.parameters) == (written.sha256[:12], written.parameters)
    assert resolve("shipped/tiny-sam", task="segmentation") == spec
    assert spec in catalog()


def test_the_one_that_comes_with_this_repository() -> None:
    spec = resolve("shipped/sam-scenes")
    assert spec.tasks == SEGMENTATION
    assert read_card(ROOT / "checkpoints" / "sam-scenes.json").architecture.class_name == "Sam"
    with ModelPool(device="cpu").segmenter(spec) as model:
        assert isinstance(model, OriginalSam)
        assert sum(p.numel() for p in model.module.parameters()) == spec.parameters
        assert model.memory_mb >= 4 * (spec.parameters or 0) / 1e6 > 0


def test_an_unknown_architecture_is_not_listed(checkpoints: Path) -> None:
    save_checkpoint(checkpoints / "odd.safetensors", build_small_sam(**ARGUMENTS), card(class_name="Odd"))
    assert "shipped/odd" not in [spec.id for spec in catalog()]


def test_published_files_are_listed_by_their_names(checkpoints: Path) -> None:
    for name in (PUBLISHED, "sam_vit_h_4b8939.pth", "vit_small.pth"):
        (checkpoints / name).write_bytes(b"-")
    tasks = {spec.id: spec.tasks for spec in catalog()}
    assert tasks[f"file/{PUBLISHED}"] == tasks["file/sam_vit_h_4b8939.pth"] == SEGMENTATION
    assert tasks["file/vit_small.pth"] == VIT_TASKS
    assert resolve(PUBLISHED).tasks == SEGMENTATION


def test_a_file_is_taken_for_what_it_is_wanted_for(checkpoints: Path) -> None:
    (checkpoints / "mine.pth").write_bytes(b"-")
    assert resolve("file/mine.pth").tasks == VIT_TASKS
    assert resolve("file/mine.pth", task="segmentation").tasks == SEGMENTATION
    assert resolve("hf/somebody/sam", task="segmentation").tasks == SEGMENTATION
    assert resolve(VIT, task="segmentation").tasks == VIT_TASKS


def test_the_published_ones_are_listed() -> None:
    found = {spec.id: spec for spec in catalog() if spec.tasks == SEGMENTATION}
    assert "hf/facebook/sam-vit-base" in found
    assert resolve("facebook/sam-vit-base") == found["hf/facebook/sam-vit-base"]
    assert len(found) > 5


# The pool


def test_a_segmenter_from_the_pool_answers_and_is_shared(tiny: Path) -> None:
    pool = ModelPool(device="cpu")
    image = from_rgb(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8), "noise")
    with pool.segmenter(resolve("shipped/tiny-sam")) as model, pool.segmenter(model.spec) as again:
        assert again is model
        masks = decode(model, embed(model, image), Prompts((Point(9, 9),)))
        assert not model.module.training
        assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert masks.mask(0).shape == (40, 56)
    assert (model.device, model.dtype, model.side) == ("cpu", "float32", 64)
    assert model.load_ms > 0
    assert [loaded.spec.id for loaded in pool.loaded()] == ["shipped/tiny-sam"]
    assert pool.unload("shipped/tiny-sam")


def test_the_weights_are_those_of_the_file(tiny: Path) -> None:
    torch.manual_seed(0)
    expected = build_small_sam(**ARGUMENTS).state_dict()
    with ModelPool(device="cpu").segmenter(resolve("shipped/tiny-sam")) as model:
        found = model.module.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_segmenter_is_no_vision_transformer_and_the_other_way_round(tiny: Path) -> None:
    pool = ModelPool(device="cpu")
    with pytest.raises(InputError, match="shipped/tiny-sam is not a plain vision transformer") as caught:
        pool.use(resolve("shipped/tiny-sam")).__enter__()
    assert "vit_" in caught.value.remedy
    with pytest.raises(InputError, match="shipped/tiny-sam has no classifier"):
        pool.classifier(resolve("shipped/tiny-sam")).__enter__()
    with pytest.raises(InputError, match=f"{VIT} is no promptable segmenter") as caught:
        pool.segmenter(resolve(VIT, task="segmentation")).__enter__()
    assert caught.value.remedy == "Choose a Segment Anything model."
    with pool.segmenter(resolve("shipped/tiny-sam")), pool.use(resolve(VIT)):
        assert len(pool.loaded()) == 2


def test_a_segmenter_makes_room_for_another(tiny: Path) -> None:
    other = tiny.with_name("other.safetensors")
    save_checkpoint(other, build_small_sam(**ARGUMENTS), card())
    pool = ModelPool(budget_mb=0.2, device="cpu")  # one takes 0.18
    for name in ("shipped/tiny-sam", "shipped/other"):
        with pool.segmenter(resolve(name)):
            pass
    assert [loaded.spec.id for loaded in pool.loaded()] == ["shipped/other"]


# Checkpoints that cannot be used


def rewrite(weights: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the card of a checkpoint."""
    path = weights.with_suffix(".json")
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "changed", [{"image_size": 128}, {"dim": 32}, {"depth": 2}, {"prompt_dim": 24}, {"window": 3, "depth": 3}]
)
def test_a_card_of_another_size_does_not_fit(tiny: Path, changed: dict[str, int]) -> None:
    rewrite(tiny, lambda values: values["architecture"]["arguments"].update(changed))
    assert "weights do not fit Sam" in refusal("shipped/tiny-sam").message


@pytest.mark.parametrize(
    "changed",
    [
        {"patch_size": 0},
        {"heads": 0},
        {"heads": 3},
        {"image_size": "large"},
        {"dim": -16},
        {"colour": "red"},
        {"prompt_dim": 15},
        {"global_blocks": 3},
        {"depth": "two"},
        {"image_size": None},
    ],
    ids=repr,
)
def test_a_card_that_describes_no_network_is_refused(tiny: Path, changed: dict[str, Any]) -> None:
    rewrite(tiny, lambda values: values["architecture"]["arguments"].update(changed))
    message = refusal("shipped/tiny-sam").message
    assert "tiny-sam.safetensors describes no network" in message or "weights do not fit" in message


def test_a_card_of_a_vision_transformer_is_refused(tiny: Path) -> None:
    rewrite(tiny, lambda values: values["architecture"].update(class_name="VisionTransformer"))
    assert "holds a VisionTransformer" in refusal(tiny).message


def test_a_file_cut_short_is_refused(tiny: Path) -> None:
    spec_before = resolve("shipped/tiny-sam")
    tiny.write_bytes(tiny.read_bytes()[:-100])
    assert "another file than expected" in refusal("shipped/tiny-sam").message
    rewrite(tiny, lambda values: values.update(sha256=_digest(tiny)))
    assert resolve("shipped/tiny-sam") != spec_before
    assert "cut short" in refusal("shipped/tiny-sam").message


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wrong_digest_is_refused(tiny: Path) -> None:
    rewrite(tiny, lambda values: values.update(sha256="0" * 64))
    error = refusal("shipped/tiny-sam")
    assert "its SHA-256 is" in error.message
    assert "000000000000" in error.message


def test_weights_that_are_gone_are_refused(tiny: Path) -> None:
    tiny.unlink()
    assert "tiny-sam.safetensors cannot be read" in refusal("shipped/tiny-sam").message


def test_weights_of_a_tensor_less_are_refused(tiny: Path) -> None:
    tensors = build_small_sam(**ARGUMENTS).state_dict()
    tensors.pop("mask_decoder.iou_token.weight")
    save_file(tensors, tiny)
    rewrite(tiny, lambda values: values.update(sha256=_digest(tiny)))
    assert "1 missing (mask_decoder.iou_token.weight)" in refusal("shipped/tiny-sam").message


def test_a_refused_one_can_be_mended(tiny: Path) -> None:
    whole, pool = tiny.read_bytes(), ModelPool(device="cpu")
    tiny.write_bytes(whole[:-1])
    with pytest.raises(InputError), pool.segmenter(resolve("shipped/tiny-sam")):
        pass
    assert pool.loaded() == ()
    tiny.write_bytes(whole)
    with pool.segmenter(resolve("shipped/tiny-sam")) as model:
        assert model.side == 64


# Files without a card


class Malicious:
    """Would make a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", [PUBLISHED, "sam_vit_b_mine.pth", "mine.pth"])
@pytest.mark.parametrize("is_torch", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_runs_none(
    checkpoints: Path, tmp_path: Path, name: str, is_torch: bool
) -> None:
    harm = tmp_path / "harm"
    if is_torch:
        torch.save({"weights": Malicious(harm)}, checkpoints / name)
    else:
        (checkpoints / name).write_bytes(pickle.dumps({"weights": Malicious(harm)}, protocol=2))
    message = refusal(f"file/{name}").message
    assert "another file than expected" in message or "could run a stranger's code" in message
    assert not harm.exists()


def test_a_published_name_needs_the_published_digest(checkpoints: Path) -> None:
    torch.save(build_small_sam(**ARGUMENTS).state_dict(), checkpoints / PUBLISHED)
    error = refusal(f"file/{PUBLISHED}")
    assert "another file than expected" in error.message
    assert "not ec2df6273261" in error.message


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"], ids=["empty", "text", "zip"])
@pytest.mark.parametrize("name", ["sam_vit_x.pth", "sam_vit_x.safetensors"])
def test_files_that_are_no_weights_are_refused(checkpoints: Path, name: str, content: bytes) -> None:
    (checkpoints / name).write_bytes(content)
    assert name in refusal(f"file/{name}").message


def test_small_weights_without_their_card_are_refused(checkpoints: Path) -> None:
    save_file(build_small_sam(**ARGUMENTS).state_dict(), checkpoints / "sam_vit_own.safetensors")
    error = refusal("sam_vit_own.safetensors")
    assert "picture encoder 16 wide" in error.message
    assert "card" in error.remedy


def test_weights_of_a_vision_transformer_are_refused(checkpoints: Path) -> None:
    save_file({"pos_embed": torch.zeros(1, 5, 16)}, checkpoints / "vit.safetensors")
    assert "another network than Segment Anything" in refusal("file/vit.safetensors").message


def test_weights_with_a_card_anywhere_are_a_file(tiny: Path, tmp_path: Path) -> None:
    for suffix in (".safetensors", ".json"):
        tiny.with_suffix(suffix).rename(tmp_path / f"moved{suffix}")
    spec = resolve(str(tmp_path / "moved.safetensors"), task="segmentation")
    with ModelPool(device="cpu").segmenter(spec) as model:
        assert (model.spec.source, model.side) == ("file", 64)


# Folders of transformers


@pytest.fixture
def folder(checkpoints: Path) -> Path:
    """A small SAM with random weights, as transformers saves it."""
    from transformers import SamConfig, SamImageProcessor, SamModel

    vision = {"hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 64, "patch_size": 16, "window_size": 2, "mlp_dim": 16, "num_pos_feats": 8}
    prompts = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "image_embedding_size": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    config = SamConfig(
        vision_config=vision | {"global_attn_indexes": [0]},
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder,
    )
    path = checkpoints / "my-sam"
    torch.manual_seed(0)
    SamModel(config).save_pretrained(path)
    sizes = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    SamImageProcessor(**sizes).save_pretrained(path)
    return path


def test_a_folder_of_transformers_is_recognised_and_loaded(folder: Path) -> None:
    listed = {spec.id: spec for spec in catalog()}["file/my-sam"]
    assert listed.tasks == SEGMENTATION
    assert resolve(str(folder)) == resolve("file/my-sam", task="segmentation") == listed
    with ModelPool(device="cpu").segmenter(listed) as model:
        assert isinstance(model, TransformersSam)
        assert model.side == 64
        image = from_rgb(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8), "noise")
        assert len(decode(model, embed(model, image), Prompts(box=(2, 2, 30, 30)))) == 3


@pytest.mark.parametrize("model_type", sorted(MODEL_TYPES))
def test_every_type_that_can_be_loaded_is_recognised(checkpoints: Path, model_type: str) -> None:
    path = checkpoints / "some"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert resolve("file/some").tasks == SEGMENTATION


@pytest.mark.parametrize("text", ['{"model_type": "vit"}', "[]", "", "{", '{"model_type": ["sam"]}', '"sam"'])
def test_other_folders_are_none(checkpoints: Path, text: str) -> None:
    path = checkpoints / "some"
    path.mkdir()
    (path / "config.json").write_text(text)
    assert resolve("file/some").tasks == VIT_TASKS


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "my-sam" in refusal("file/my-sam", VisionBenchError).message


def test_a_folder_with_other_weights_is_another_revision(tmp_path: Path) -> None:
    folder = tmp_path / "sam"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "sam"}')
    weights = folder / "model.safetensors"
    weights.write_bytes(b"one")
    before = resolve(str(folder)).revision
    assert resolve(str(folder)).revision == before
    with weights.open("r+b") as file:  # in place: the folder itself stays as it is
        file.write(b"two, and longer")
    assert resolve(str(folder)).revision != before
