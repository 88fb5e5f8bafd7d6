"""Models from files and folders on this machine: exact weights, and every file that must be refused."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.checkpoints import Architecture, Card, ModelInput, Score, save_checkpoint
from core.errors import InputError, VisionBenchError
from core.loaders import ModelPool
from core.nn import VisionTransformer
from core.preprocess import InputConfig
from core.registry import resolve
from core.sources import build_model
from core.vision_model import ImageModel, VisionModel

NAME = "test_vit"
"""timm's smallest vision transformer: 160 px, patch 16, width 64, 6 layers, 2 heads."""


def load(path: Path | str) -> VisionModel:
    return build_model(resolve(str(path)), "cpu", lambda: 12.5)


def refusal(path: Path | str) -> VisionBenchError:
    """Return the error that loading ends in."""
    with pytest.raises(VisionBenchError) as raised:
        load(path)
    assert "\n" not in raised.value.message
    assert raised.value.message.endswith((".", "…"))
    assert raised.value.remedy.endswith(".")
    return raised.value


def same(module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    """Whether a network holds exactly these tensors."""
    found = module.state_dict()
    return found.keys() == weights.keys() and all(torch.equal(found[k], weights[k]) for k in weights)


def timm_weights(name: str = NAME, **arguments: Any) -> dict[str, torch.Tensor]:
    """Return random values in the shapes of a timm network; quicker than its own first weights."""
    import timm

    with torch.device("meta"):
        outline = timm.create_model(name, **arguments).state_dict()
    generator = torch.Generator().manual_seed(3)
    return {key: 0.05 * torch.randn(value.shape, generator=generator) for key, value in outline.items()}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A folder that appears when a hostile pickle is run."""
    return tmp_path / "code-was-run"


class Hostile:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


# Checkpoints with a card


CARD = Card(
    kind="classification",
    architecture=Architecture(
        "VisionTransformer",
        {
            "image_size": 32,
            "patch_size": 8,
            "num_classes": 3,
            "dim": 16,
            "depth": 2,
            "heads": 2,
            "mlp_dim": 32,
        },
    ),
    labels=("circle", "square", "star"),
    input=ModelInput(32, 32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)),
    command="python -m core train vit",
    seed=1,
    data="scenes",
    score=Score("top-1", 0.5, 10, "none"),
    date="2026-11-23",
    duration_s=1.0,
    licence="MIT",
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.safetensors"
    save_checkpoint(path, VisionTransformer(**CARD.architecture.arguments), CARD)
    return path


@pytest.mark.parametrize("prefix", ["", "file/"])
def test_a_checkpoint_is_what_its_card_says(checkpoint: Path, prefix: str) -> None:
    model = load(f"{prefix}{checkpoint}")
    assert same(model.module, load_file(checkpoint))
    assert model.labels == CARD.labels
    assert (model.prefix_tokens, model.has_cls, model.depth, model.heads) == (1, True, 2, 2)
    assert (model.input.size, model.input.patch, model.input.mean) == ((32, 32), (8, 8), (0.5, 0.4, 0.3))
    assert model.load_ms == 12.5
    assert model.memory_mb == pytest.approx(
        sum(t.numel() for t in model.module.state_dict().values()) * 4 / 1e6, rel=0.05
    )
    assert model.forward(torch.zeros(1, 3, 32, 48)).shape == (1, 3)


def test_a_shipped_checkpoint_goes_by_its_name(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(checkpoint.parent))
    model = load("shipped/shapes")
    assert same(model.module, load_file(checkpoint))
    assert len(model.spec.revision) == 12


def test_the_untrained_twin_of_a_shipped_checkpoint(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISION_BENCH_CHECKPOINTS", str(checkpoint.parent))
    checkpoint.write_bytes(b"what was trained is not even read")
    model = load("random/shipped/shapes")
    torch.manual_seed(0)
    assert same(model.module, VisionTransformer(**CARD.architecture.arguments).state_dict())
    assert (model.labels, model.input.size, model.input.mean) == (CARD.labels, (32, 32), (0.5, 0.4, 0.3))


def test_a_model_is_ready_for_inference_only(checkpoint: Path) -> None:
    module = load(checkpoint).module
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())


def test_other_bytes_than_the_card_names_are_refused(checkpoint: Path) -> None:
    save_file({k: v + 1 for k, v in load_file(checkpoint).items()}, checkpoint)
    assert "is another file than expected" in refusal(checkpoint).message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"class_name": "Perceiver"}, "holds a Perceiver"),
        ({"arguments": CARD.architecture.arguments | {"dim": 24}}, "wrong shape"),
        ({"arguments": CARD.architecture.arguments | {"depth": 3}}, "missing"),
        ({"arguments": CARD.architecture.arguments | {"wings": 2}}, "describes no network"),
        ({"arguments": CARD.architecture.arguments | {"patch_size": 5}}, "describes no network"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(checkpoint: Path, change: dict[str, Any], says: str) -> None:
    card = checkpoint.with_suffix(".json")
    text = json.loads(card.read_text())
    text["architecture"] |= change
    card.write_text(json.dumps(text))
    assert says in refusal(checkpoint).message


def test_a_card_whose_picture_is_no_whole_number_of_patches_is_refused(checkpoint: Path) -> None:
    odd = replace(CARD, input=replace(CARD.input, height=33))
    save_checkpoint(checkpoint, VisionTransformer(**CARD.architecture.arguments), odd)
    assert "describes no network" in refusal(checkpoint).message


# Files that are named after their architecture


def save_torch(weights: dict[str, torch.Tensor], path: Path) -> None:
    torch.save({"model": weights, "epoch": 3}, path)


@pytest.mark.parametrize(("suffix", "save"), [(".safetensors", save_file), (".pth", save_torch)])
def test_a_file_named_after_its_architecture(
    tmp_path: Path, suffix: str, save: Callable[[dict[str, torch.Tensor], Path], None]
) -> None:
    weights = timm_weights(num_classes=7)
    path = tmp_path / f"{NAME}{suffix}"
    save(weights, path)
    model = load(path)
    assert same(model.module, weights)  # the head of 7 classes too
    assert model.labels == tuple(f"class {i}" for i in range(7))
    assert (model.prefix_tokens, model.depth, model.heads) == (1, 6, 2)
    assert model.forward(torch.zeros(1, 3, 64, 96)).shape == (1, 7)


def test_a_file_with_1000_classes_speaks_imagenet(tmp_path: Path) -> None:
    save_file(timm_weights(), tmp_path / f"{NAME}.r160_in1k.safetensors")
    assert load(tmp_path / f"{NAME}.r160_in1k.safetensors").labels[0] == "tench, Tinca tinca"


def test_weights_that_were_first_released_in_another_format(tmp_path: Path) -> None:
    weights = timm_weights("vit_tiny_patch16_224")  # timm's own entry says custom_load: a .npz of 2021
    save_file(weights, tmp_path / "vit_tiny_patch16_224.safetensors")
    assert same(load(tmp_path / "vit_tiny_patch16_224.safetensors").module, weights)


def test_a_backbone_without_a_head_gets_none(tmp_path: Path) -> None:
    weights = timm_weights(num_classes=0)
    save_file(weights, tmp_path / f"{NAME}.safetensors")
    model = load(tmp_path / f"{NAME}.safetensors")
    assert same(model.module, weights)
    assert model.labels == ()
    assert model.forward(torch.zeros(1, 3, 160, 160)).shape == (1, 64)


def test_positions_of_another_picture_size_are_resampled(tmp_path: Path) -> None:
    from timm.layers import resample_abs_pos_embed

    weights = timm_weights(num_classes=0, img_size=224)
    save_file(weights, tmp_path / f"{NAME}.safetensors")
    model = load(tmp_path / f"{NAME}.safetensors")
    expected = resample_abs_pos_embed(weights["pos_embed"], [10, 10], num_prefix_tokens=1)
    assert torch.allclose(model.module.state_dict()["pos_embed"], expected)
    assert model.input.size == (160, 160)


def test_dinov2_at_518_px_with_its_own_names(tmp_path: Path) -> None:
    weights = timm_weights("vit_small_patch14_dinov2", num_classes=0)
    assert weights["pos_embed"].shape == (1, 1 + 37 * 37, 384)
    save_file(weights, tmp_path / "vit_small_patch14_dinov2.safetensors")
    model = load(tmp_path / "vit_small_patch14_dinov2.safetensors")
    assert same(model.module, weights)
    assert (model.input.size, model.input.any_size, model.labels) == ((518, 518), True, ())
    with torch.inference_mode():
        assert model.forward(torch.zeros(1, 3, 56, 42)).shape == (1, 384)


def test_one_tensor_less_or_another_shape_is_named(tmp_path: Path) -> None:
    weights, path = timm_weights(), tmp_path / f"{NAME}.safetensors"
    save_file({k: v for k, v in weights.items() if k != "blocks.1.attn.qkv.bias"}, path)
    assert "blocks.1.attn.qkv.bias" in refusal(path).message
    save_file(weights | {"norm.weight": torch.ones(5)}, path)
    error = refusal(path)
    assert "size mismatch for norm.weight" in error.message
    assert "this architecture" in error.remedy


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file(timm_weights(), tmp_path / "test_vit2.safetensors")
    assert "do not fit" in refusal(tmp_path / "test_vit2.safetensors").message


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"{NAME}{suffix}"
    (save_file if suffix == ".safetensors" else save_torch)(timm_weights(), path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:3], b"", b"<!DOCTYPE html><html></html>"):
        path.write_bytes(data)
        assert refusal(path).message.startswith(path.name)


def test_a_pickle_is_refused_and_its_code_is_not_run(tmp_path: Path, marker: Path) -> None:
    path = tmp_path / f"{NAME}.pth"
    for write in (
        lambda thing: path.write_bytes(pickle.dumps(thing, protocol=2)),
        lambda thing: torch.save(thing, path),
    ):
        write({"state_dict": Hostile(marker)})
        assert "pickle that holds more than tensors" in refusal(path).message
        assert not marker.exists()


def test_a_name_that_is_no_architecture_says_how_to_name_it(tmp_path: Path) -> None:
    save_file(timm_weights(), tmp_path / "my-best-run.safetensors")
    error = refusal(tmp_path / "my-best-run.safetensors")
    assert "does not say which network" in error.message
    assert "vit_tiny_patch16_224.safetensors" in error.remedy


@pytest.mark.parametrize(
    ("name", "classes"), [("test_resnet", 7), ("test_resnet", 0), ("test_efficientnet", 3), ("test_vit", 4)]
)
def test_a_file_of_any_architecture_has_the_classes_of_its_weights(
    tmp_path: Path, name: str, classes: int
) -> None:
    import timm

    path, module = tmp_path / f"{name}.safetensors", timm.create_model(name, num_classes=classes)
    save_file(module.state_dict(), path)
    model = build_model(resolve(str(path)), "cpu", lambda: 12.5)
    assert isinstance(model, ImageModel)
    assert isinstance(model, VisionModel) == (name == "test_vit")
    assert same(model.module, module.state_dict())
    assert model.labels == tuple(f"class {i}" for i in range(classes))


def test_a_file_of_another_architecture_has_no_patches_to_look_into(tmp_path: Path) -> None:
    path, pool = tmp_path / "test_resnet.safetensors", ModelPool(device="cpu")
    save_file(timm_weights("test_resnet", num_classes=0), path)
    with pytest.raises(InputError, match=r"test_resnet\.safetensors is not a plain vision transformer"):
        pool.use(resolve(str(path))).__enter__()
    with pytest.raises(InputError, match=r"test_resnet\.safetensors has no classifier"):
        pool.classifier(resolve(str(path))).__enter__()


# Folders


@pytest.mark.parametrize("safe", [True, False])
def test_a_folder_that_timm_saved(tmp_path: Path, safe: bool) -> None:
    import timm
    from timm.models import save_for_hf

    module = timm.create_model(NAME, num_classes=2, img_size=64, depth=2)
    names = {"model_config": {"label_names": ["n1", "n2"], "label_descriptions": {"n1": "ant", "n2": "bee"}}}
    save_for_hf(module, str(tmp_path / "mine"), safe_serialization=safe, **names)
    model = load(tmp_path / "mine")
    assert same(model.module, module.state_dict())
    assert model.labels == ("ant", "bee")
    assert model.depth == 2


SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}


@pytest.fixture(scope="module")
def classifier() -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(**SIZES, id2label={0: "cat", 1: "dog"}))


def test_a_folder_that_transformers_saved(tmp_path: Path, classifier: Any) -> None:
    classifier.save_pretrained(tmp_path / "pets")
    model = load(tmp_path / "pets")
    assert same(model.module, classifier.state_dict())
    assert model.labels == ("cat", "dog")
    assert (model.prefix_tokens, model.depth, model.heads) == (1, 2, 3)
    assert model.input == InputConfig(
        (32, 32), (8, 8), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), crop_mode=model.input.crop_mode, any_size=False
    )
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(model.forward(pixels), classifier.eval()(pixels).logits, atol=1e-6)


def test_half_precision_is_loaded_as_float32(tmp_path: Path, classifier: Any) -> None:
    from copy import deepcopy

    deepcopy(classifier).half().save_pretrained(tmp_path / "half")
    model = load(tmp_path / "half")
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    assert model.dtype == "float32"


def test_deit_has_two_tokens_in_front(tmp_path: Path) -> None:
    from transformers import DeiTConfig, DeiTModel

    DeiTModel(DeiTConfig(**SIZES)).save_pretrained(tmp_path / "deit")
    assert load(tmp_path / "deit").prefix_tokens == 2


def test_a_model_without_its_pooler_is_whole(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(**SIZES), add_pooling_layer=False).save_pretrained(tmp_path / "bare")
    model = load(tmp_path / "bare")
    pixels = torch.randn(1, 3, 32, 32)
    assert model.labels == ()
    with torch.inference_mode():
        assert torch.equal(model.forward(pixels), model.module(pixels).last_hidden_state[:, 0])


@pytest.mark.parametrize("lost", ["classifier.weight", "vit.layernorm.bias"])
def test_a_part_left_random_is_refused(tmp_path: Path, classifier: Any, lost: str) -> None:
    classifier.save_pretrained(tmp_path / "pets")
    path = tmp_path / "pets/model.safetensors"
    tensors = load_file(path)
    del tensors[lost]
    save_file(tensors, path, {"format": "pt"})
    assert f"lack 1 tensors ({lost})" in refusal(tmp_path / "pets").message


def test_a_folder_with_broken_weights_is_refused(tmp_path: Path, classifier: Any) -> None:
    classifier.save_pretrained(tmp_path / "pets")
    path = tmp_path / "pets/model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    assert "broken" in refusal(tmp_path / "pets").message


def test_a_folder_with_a_pickle_is_refused(tmp_path: Path, classifier: Any, marker: Path) -> None:
    classifier.save_pretrained(tmp_path / "pets")
    (tmp_path / "pets/model.safetensors").unlink()
    (tmp_path / "pets/pytorch_model.bin").write_bytes(pickle.dumps(Hostile(marker), protocol=2))
    assert "pickle that holds more than tensors" in refusal(tmp_path / "pets").message
    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "has no config.json"),
        ("{", "has no config.json that can be read"),
        ("[]", "no JSON object"),
        ("{}", "cannot be loaded"),
        ('{"model_type": "bert"}', "is a bert, not a plain vision transformer"),
        ('{"model_type": "nonsense"}', "cannot be loaded"),
        ('{"architecture": "nonsense"}', "cannot be loaded"),
        ('{"architecture": "test_vit", "pretrained_cfg": {}}', "cannot be loaded"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, text: str | None, says: str) -> None:
    (tmp_path / "folder").mkdir()
    if text is not None:
        (tmp_path / "folder/config.json").write_text(text)
    assert says in refusal(tmp_path / "folder").message


def test_a_path_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file or folder"):
        resolve(str(tmp_path / "nothing.safetensors"))
