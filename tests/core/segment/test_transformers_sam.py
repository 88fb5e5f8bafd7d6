"""Segmenters of transformers against the same networks' own plain calls, with small random weights."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from core.errors import InputError, OfflineError, VisionBenchError
from core.images import ImageInput, from_rgb
from core.registry import ModelSpec
from core.segment import Geometry, Masks, Point, Prompts, Segmenter, decode, embed
from core.segment.transformers_sam import MODEL_TYPES, build_transformers_segmenter
from core.settings import ROOT
from tests.support.hub import serve_hub

SIDE, DIM = 128, 32
ROUNDING = 1e-5
DECODER = {"hidden_size": DIM, "mlp_dim": DIM, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
PROMPT_ENCODER = {"hidden_size": DIM, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4}
FEATURES = {"backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]], "fpn_hidden_size": DIM}


def sam_config(kind: type, **decoder: Any) -> Any:
    vision = {
        "hidden_size": DIM,
        "output_channels": DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 16,
        "window_size": 3,
        "global_attn_indexes": [1],
        "mlp_dim": DIM,
        "num_pos_feats": DIM // 2,
    }
    prompts = PROMPT_ENCODER | {"image_embedding_size": SIDE // 16}
    return kind(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=DECODER | decoder)


def sam2_config(kind: type, **more: Any) -> Any:
    hiera = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 2, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 4, 2],
        "global_attention_blocks": [4],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = FEATURES | {"backbone_config": hiera, "backbone_channel_list": [64, 32, 16, 8]}
    return kind(
        vision_config=vision, prompt_encoder_config=PROMPT_ENCODER, mask_decoder_config=DECODER, **more
    )


def edgetam_config(kind: type) -> Any:
    from transformers import TimmWrapperConfig

    levels = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    convnext = TimmWrapperConfig(architecture="test_convnext", model_args=levels, num_labels=2)
    vision = FEATURES | {"backbone_config": convnext, "backbone_channel_list": [64, 48, 32, 24]}
    return kind(vision_config=vision, prompt_encoder_config=PROMPT_ENCODER, mask_decoder_config=DECODER)


def sam3_config(kind: type) -> Any:
    vit = {
        "model_type": "sam3_vit_model",
        "hidden_size": DIM,
        "intermediate_size": DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "pretrain_image_size": SIDE,
        "patch_size": 16,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    vision = FEATURES | {"backbone_config": vit}
    return kind(vision_config=vision, prompt_encoder_config=PROMPT_ENCODER, mask_decoder_config=DECODER)


MEMORY = {
    "image_size": SIDE,
    "memory_attention_num_layers": 1,
    "memory_attention_hidden_size": DIM,
    "memory_attention_feed_forward_hidden_size": DIM,
    "memory_encoder_hidden_size": DIM,
    "memory_encoder_output_channels": DIM // 2,
    "mask_downsampler_embed_dim": DIM,
    "memory_fuser_embed_dim": DIM,
    "memory_fuser_intermediate_dim": DIM,
}
"""What the video model of SAM 2 has beside the network for single pictures."""


@dataclass(frozen=True)
class Family:
    """One kind of network: what is saved, and what transformers reads from it for single pictures."""

    saved: str
    config: Callable[[type], Any]
    config_class: str
    network: str
    processor: str = "Sam2Processor"
    image_processor: str = "Sam2ImageProcessor"

    def save(self, folder: Path) -> None:
        """Write weights, config.json and processor as the published repositories have them."""
        import transformers

        torch.manual_seed(4)
        model = getattr(transformers, self.saved)(self.config(getattr(transformers, self.config_class)))
        with torch.no_grad():
            for parameter in model.parameters():  # so that masks have an inside and an outside
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder)
        square = {"height": SIDE, "width": SIDE}
        sizes = {"size": {"longest_edge": SIDE}, "pad_size": square}
        pads = self.image_processor == "SamImageProcessor"
        images = getattr(transformers, self.image_processor)(**(sizes if pads else {"size": square}))
        images.save_pretrained(folder)

    def reference(self, folder: Path) -> tuple[Any, Any]:
        """Return network and processor as transformers' documentation loads them."""
        import transformers

        images = getattr(transformers, self.image_processor).from_pretrained(folder)
        network = getattr(transformers, self.network).from_pretrained(folder)
        return network.eval(), getattr(transformers, self.processor)(images)


PADS = ("SamImageProcessor",)
FAMILIES = {
    "sam": Family("SamModel", sam_config, "SamConfig", "SamModel", "SamProcessor", *PADS),
    "sam_hq": Family(
        "SamHQModel",
        lambda kind: sam_config(kind, vit_dim=DIM),
        "SamHQConfig",
        "SamHQModel",
        "SamHQProcessor",
        *PADS,
    ),
    "sam2": Family("Sam2Model", sam2_config, "Sam2Config", "Sam2Model"),
    "sam2_video": Family(
        "Sam2VideoModel", lambda kind: sam2_config(kind, **MEMORY), "Sam2VideoConfig", "Sam2Model"
    ),
    "edgetam": Family("EdgeTamModel", edgetam_config, "EdgeTamConfig", "EdgeTamModel"),
    "sam3_tracker": Family(
        "Sam3TrackerModel",
        sam3_config,
        "Sam3TrackerConfig",
        "Sam3TrackerModel",
        "Sam3TrackerProcessor",
        "Sam3ImageProcessor",
    ),
}


@dataclass(frozen=True)
class Loaded:
    """A segmenter of ours, and transformers' network and processor of the same files."""

    model: Segmenter
    network: Any
    processor: Any

    def plain(
        self, image: ImageInput, prompts: Prompts, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return masks M H W, logits M h w and IoUs M by one whole call, as the documentation has it."""
        asked = {}
        if prompts.points:
            asked["input_points"] = [[[[float(p.x), float(p.y)] for p in prompts.points]]]
            asked["input_labels"] = [[[int(p.include) for p in prompts.points]]]
        if prompts.box:
            asked["input_boxes"] = [[[float(v) for v in prompts.box]]]
        inputs = self.processor(images=image.rgb.copy(), return_tensors="pt", **asked)
        sizes = {k: inputs.pop(k) for k in ("original_sizes", "reshaped_input_sizes") if k in inputs}
        start = None if prompts.logits is None else torch.from_numpy(prompts.logits)[None, None]
        with torch.inference_mode():
            output = self.network(**inputs, input_masks=start, multimask_output=multimask)
        masks = self.processor.post_process_masks(output.pred_masks, *sizes.values())[0][0]
        return masks, output.pred_masks[0, 0], output.iou_scores[0, 0]

    def post_processed(self, low: torch.Tensor, geometry: Geometry) -> NDArray[np.bool_]:
        """Return the masks M H W that the processor makes of logits 1 1 M h w."""
        sizes = [[geometry.original], [geometry.resized]] if self.model.pads else [[geometry.original]]
        masks: NDArray[np.bool_] = self.processor.post_process_masks(low, *sizes)[0][0].numpy()
        return masks


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name, family in FAMILIES.items():
        family.save(root / name)
    return root


@pytest.fixture(scope="module")
def loaded(folders: Path) -> dict[str, Loaded]:
    return {
        name: Loaded(build(folders / name), *family.reference(folders / name))
        for name, family in FAMILIES.items()
    }


def spec_of(name: str) -> ModelSpec:
    return ModelSpec(name, name, "huggingface", ("segmentation",), name, "main")


def build(folder: Path) -> Segmenter:
    return build_transformers_segmenter(
        spec_of(f"file/{folder.name}"), "cpu", lambda: 12.5, source=str(folder), local=True
    )


def picture(height: int, width: int, seed: int = 0) -> ImageInput:
    """Return smooth random colours, so that resizing them matters."""
    from scipy.ndimage import zoom

    coarse = np.random.default_rng(seed).uniform(0, 255, (8, 8, 3))
    rgb = zoom(coarse, (height / 8, width / 8, 1), order=1).clip(0, 255).astype(np.uint8)
    return from_rgb(rgb, f"random-{seed}.png")


LANDSCAPE, PORTRAIT = picture(90, 150), picture(151, 83, seed=1)
POINT = Prompts(points=(Point(40, 30),))
SIGNED = Prompts(points=(Point(40, 30), Point(70.5, 61, include=False), Point(10, 80)))
BOX = Prompts(box=(12, 20.5, 66, 74))
BOTH = Prompts(points=SIGNED.points, box=BOX.box)
PROMPTS = {"point": POINT, "both signs": SIGNED, "box": BOX, "box and points": BOTH}


def assert_same_masks(one: Loaded, answer: Masks, expected: torch.Tensor) -> None:
    """Compare masks M H W by the pixel.

    Ours must be the processor's work on our logits, and the plain call's, but where a logit is 0 up to
    rounding: SAM's processor scales points in float64, and resizing one mask alone or among others may add in
    another order.
    """
    own = one.post_processed(torch.from_numpy(answer.low_res)[None, None], answer.geometry)
    for index, mask in enumerate(expected.numpy()):
        clear = np.abs(answer.logits(index)) > ROUNDING
        assert clear.mean() > 0.99
        assert np.array_equal(answer.mask(index)[clear], own[index][clear])
        assert np.array_equal(answer.mask(index)[clear], mask[clear])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("image", [LANDSCAPE, PORTRAIT], ids=["landscape", "portrait"])
@pytest.mark.parametrize("multimask", [True, False])
def test_masks_are_those_of_the_networks_own_call(
    loaded: dict[str, Loaded], name: str, image: ImageInput, multimask: bool
) -> None:
    one = loaded[name]
    embedding = embed(one.model, image)
    areas = []
    for prompts in PROMPTS.values():
        answer = decode(one.model, embedding, prompts, multimask)
        masks, logits, predicted_iou = one.plain(image, prompts, multimask)
        assert len(answer) == (3 if multimask else 1)
        assert answer.low_res.dtype == answer.predicted_iou.dtype == np.float32
        np.testing.assert_allclose(answer.low_res, logits, atol=1e-4)
        np.testing.assert_allclose(answer.predicted_iou, predicted_iou, atol=1e-5)
        assert_same_masks(one, answer, masks)
        areas += [float(mask.float().mean()) for mask in masks]
    assert any(0.02 < area < 0.98 for area in areas)  # a mask with an inside and an outside was compared
    assert len(set(areas)) > 1  # and the prompts matter


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("beside", [Prompts(), POINT, BOX], ids=["alone", "point", "box"])
def test_a_mask_to_start_from(loaded: dict[str, Loaded], name: str, beside: Prompts) -> None:
    one = loaded[name]
    embedding = embed(one.model, LANDSCAPE)
    first = decode(one.model, embedding, SIGNED)
    start = 5 * first.low_res[first.best]
    prompts = Prompts(beside.points, beside.box, start)
    answer = decode(one.model, embedding, prompts)
    masks, logits, _ = one.plain(LANDSCAPE, prompts, True)
    np.testing.assert_allclose(answer.low_res, logits, atol=1e-4)
    assert_same_masks(one, answer, masks)
    if not beside.is_empty:
        assert not np.allclose(answer.low_res, decode(one.model, embedding, beside).low_res, atol=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("with_logits", [False, True])
def test_many_objects_at_once_are_as_one_by_one(
    loaded: dict[str, Loaded], name: str, with_logits: bool
) -> None:
    model = loaded[name].model
    generator = torch.Generator().manual_seed(2)
    points = SIDE * torch.rand(3, 2, 2, generator=generator)
    labels = torch.tensor([[1, 0], [1, 1], [0, 1]])
    corners = SIDE * torch.rand(3, 2, 2, generator=generator).sort(dim=1).values
    side = model.low_res_side
    logits = 4 * torch.randn(3, 1, side, side, generator=generator) if with_logits else None
    with torch.inference_mode():
        tensors, _ = model.encode(PORTRAIT.rgb)
        together = model.predict(tensors, points, labels, corners.flatten(1), logits, True)
        for n in range(3):
            one = slice(n, n + 1)
            start = None if logits is None else logits[one]
            low, iou = model.predict(tensors, points[one], labels[one], corners[one].flatten(1), start, True)
            torch.testing.assert_close(together[0][one], low, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(together[1][one], iou, atol=1e-5, rtol=1e-4)
    assert together[0].shape == (3, 3, side, side)
    assert together[1].shape == (3, 3)


@pytest.mark.parametrize("name", FAMILIES)
def test_two_pictures_in_turn_do_not_mix(loaded: dict[str, Loaded], name: str) -> None:
    one = loaded[name]
    pictures = [LANDSCAPE, PORTRAIT]
    embeddings = [embed(one.model, image) for image in pictures]
    for prompts in (POINT, BOX):
        for image, embedding in zip(pictures, embeddings, strict=True):
            _, logits, _ = one.plain(image, prompts, True)
            np.testing.assert_allclose(decode(one.model, embedding, prompts).low_res, logits, atol=1e-4)
    assert not torch.allclose(embeddings[0].tensors[0], embeddings[1].tensors[0], atol=1e-2)


@pytest.mark.parametrize(
    ("name", "resized"), [("sam", (77, 128)), ("sam_hq", (77, 128)), ("sam2", (128, 128))]
)
def test_how_the_picture_lies_in_the_square(
    loaded: dict[str, Loaded], name: str, resized: tuple[int, int]
) -> None:
    model = loaded[name].model
    assert embed(model, LANDSCAPE).geometry == Geometry((90, 150), resized, SIDE)
    assert model.pads == (resized != (SIDE, SIDE))
    assert (model.side, model.low_res_side) == (SIDE, 32)


def test_a_picture_three_pixels_high_is_not_mistaken_for_three_channels(loaded: dict[str, Loaded]) -> None:
    strip = picture(3, 60)
    for name in ("sam", "sam2"):
        embedding = embed(loaded[name].model, strip)
        assert embedding.geometry.original == (3, 60)
        assert decode(loaded[name].model, embedding, Prompts(points=(Point(30, 1),))).mask(0).shape == (3, 60)


@pytest.mark.parametrize("name", FAMILIES)
def test_facts_of_a_loaded_model(loaded: dict[str, Loaded], name: str) -> None:
    model = loaded[name].model
    assert (model.device, model.dtype, model.load_ms) == ("cpu", "float32", 12.5)
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert {tensor.dtype for tensor in model.module.parameters()} == {torch.float32}
    counted = sum(parameter.numel() for parameter in model.module.parameters())
    assert model.memory_mb == pytest.approx(4 * counted / 1e6, rel=0.05)


def test_half_precision_is_loaded_as_float32(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "sam", tmp_path / "half")
    weights = {key: value.half() for key, value in load_file(tmp_path / "half/model.safetensors").items()}
    save_file(weights, tmp_path / "half/model.safetensors", {"format": "pt"})
    text = json.loads((tmp_path / "half/config.json").read_text()) | {"dtype": "float16"}
    (tmp_path / "half/config.json").write_text(json.dumps(text))
    model = build(tmp_path / "half")
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}


# What must be refused


def refusal(folder: Path) -> VisionBenchError:
    with pytest.raises(InputError) as raised:
        build(folder)
    assert "\n" not in raised.value.message
    assert raised.value.remedy.endswith(".")
    return raised.value


@pytest.mark.parametrize(
    ("name", "lost"), [("sam", "mask_decoder.iou_token.weight"), ("sam2_video", "no_memory_embedding")]
)
def test_a_part_left_random_is_refused(folders: Path, tmp_path: Path, name: str, lost: str) -> None:
    shutil.copytree(folders / name, tmp_path / name)
    weights = load_file(tmp_path / name / "model.safetensors")
    del weights[lost]
    save_file(weights, tmp_path / name / "model.safetensors", {"format": "pt"})
    assert f"lack 1 tensors ({lost})" in refusal(tmp_path / name).message


def test_a_processor_of_another_size_is_refused(folders: Path, tmp_path: Path) -> None:
    for name, change in (
        ("sam", {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}),
        ("sam2", {"size": {"height": 64, "width": 64}}),
    ):
        shutil.copytree(folders / name, tmp_path / name)
        path = tmp_path / name / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        assert "pictures of 64 x 64, and its network takes 128 x 128" in refusal(tmp_path / name).message


def test_a_folder_without_its_processor_is_refused(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "sam", tmp_path / "sam")
    (tmp_path / "sam/preprocessor_config.json").unlink()
    assert "cannot be loaded" in refusal(tmp_path / "sam").message


def test_broken_weights_are_refused(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "sam", tmp_path / "sam")
    path = tmp_path / "sam/model.safetensors"
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(VisionBenchError, match="broken"):
        build(tmp_path / "sam")


@pytest.mark.parametrize("model_type", ["sam3", "vit"])
def test_a_network_that_takes_no_points_is_refused(folders: Path, tmp_path: Path, model_type: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text(json.dumps({"model_type": model_type}))
    error = refusal(tmp_path / "other")
    assert f"is a {model_type}, not a network that segments by points" in error.message
    assert model_type not in MODEL_TYPES


# The hub


def test_a_hub_that_does_not_answer_is_said_so() -> None:
    with pytest.raises(OfflineError, match="not on this machine"):
        build_transformers_segmenter(
            spec_of("hf/acme/sam"), "cpu", lambda: 0.0, source="acme/sam", local=False
        )


SCRIPT = """
import json, sys
from core.segment import decode, embed
from core.segment.transformers_sam import build_transformers_segmenter
from tests.core.segment.test_transformers_sam import LANDSCAPE, SIGNED, spec_of

spec = spec_of("hf/acme/sam")
model = build_transformers_segmenter(spec, "cpu", lambda: 0.0, source="acme/sam", local=False)
answer = decode(model, embed(model, LANDSCAPE), SIGNED)
print(json.dumps([answer.low_res[0].tolist(), answer.predicted_iou.tolist()]))
"""


def test_a_model_from_the_hub_also_when_the_hub_has_gone(
    folders: Path, loaded: dict[str, Loaded], tmp_path: Path
) -> None:
    def answer(endpoint: str) -> Any:
        env = os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    shutil.copytree(folders / "sam", tmp_path / "hub/acme/sam")
    with serve_hub(tmp_path / "hub") as hub:
        online = answer(hub.url)
        assert any("model.safetensors" in request for request in hub.requests)
    assert answer(hub.url) == online
    _, logits, predicted_iou = loaded["sam"].plain(LANDSCAPE, SIGNED, True)
    np.testing.assert_allclose(online[0], logits[0], atol=1e-4)
    np.testing.assert_allclose(online[1], predicted_iou, atol=1e-5)
