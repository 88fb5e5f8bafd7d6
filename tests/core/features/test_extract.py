"""Features are what each library itself returns, of the right patches, and reading them changes nothing."""

import copy
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from core.errors import InputError, SetupError
from core.features.extract import (
    MAX_PATCHES,
    check_options,
    cls_features,
    extract,
    extract_each,
    global_features,
    patch_features,
)
from core.features.overlap import overlapped_frame, overlapped_grid, side_by_side
from core.features.values import FACETS, Facet, FeatureOptions
from core.images import ImageInput, from_rgb
from core.loaders import ModelPool
from core.nn import VisionTransformer
from core.preprocess import Frame, prepare
from core.registry import resolve
from core.vision_model import VisionModel
from tests.support.vision import SMALL, sharpened, timm_model, vision_model

TIMM = {
    "vit": "vit_tiny_patch16_224",
    "vit, mean of the patches": "vit_medium_patch16_gap_240",
    "dinov2": "vit_small_patch14_dinov2",
    "dinov2, four registers": "vit_small_patch14_reg4_dinov2",
    "dinov3, rotary positions": "vit_small_patch16_dinov3",
    "dinov3, biases apart": "vit_small_patch16_dinov3_qkvb",
    "clip, a norm in front": "vit_base_patch16_clip_224",
    "siglip, no CLS": "vit_base_patch16_siglip_224",
    "deit, two prefix tokens": "deit_tiny_distilled_patch16_224",
    "eva, queries, keys and values apart": "eva02_tiny_patch14_224",
}
FIXED = {"beit, positions between tokens": "beit_base_patch16_224", "relpos": "vit_relpos_small_patch16_224"}
GRID = (3, 5)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def timm_one(name: str) -> VisionModel:
    return timm_model(name)


@cache
def own(pool: str = "cls") -> VisionModel:
    torch.manual_seed(0)
    module = VisionTransformer((32, 48), 8, 10, 24, 3, 2, 48, pool=pool)  # type: ignore[arg-type]
    prefix = int(pool == "cls")
    return vision_model(
        sharpened(module), depth=3, heads=2, prefix_tokens=prefix, has_cls=bool(prefix), patch=8
    )


@pytest.fixture
def vit() -> VisionModel:
    return timm_one("vit_tiny_patch16_224")


def pixels_of(model: VisionModel, grid: tuple[int, int] = GRID, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    height, width = (n * side for n, side in zip(grid, model.input.patch, strict=True))
    return torch.randn(batch, 3, height, width, generator=generator)


def picture(seed: int, height: int = 48, width: int = 70) -> ImageInput:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return from_rgb(rgb, f"picture {seed}")


# The same as the libraries' own


@pytest.mark.parametrize("name", TIMM.values(), ids=TIMM)
def test_tokens_of_every_layer_are_timms_intermediates(name: str) -> None:
    model = timm_one(name)
    pixels = pixels_of(model)
    with torch.inference_mode():
        own = model.module.forward_intermediates(  # type: ignore[operator]
            pixels, norm=True, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
        )
        last = model.module.forward_features(pixels)  # type: ignore[operator]
    assert len(own) == model.depth
    for layer, each in enumerate(own):
        patches, prefix = each if model.prefix_tokens else (each, each[:, :0])
        options = FeatureOptions(layer)
        found = patch_features(model, pixels, options)
        torch.testing.assert_close(found, patches.unflatten(1, GRID), **CLOSE)
        torch.testing.assert_close(global_features(model, pixels, options), patches.mean(dim=1), **CLOSE)
        if model.has_cls:
            torch.testing.assert_close(cls_features(model, pixels, options), prefix[:, 0], **CLOSE)
    final = patch_features(model, pixels)
    assert torch.equal(final.flatten(1, 2), last[:, model.prefix_tokens :])


@pytest.mark.parametrize("name", FIXED.values(), ids=FIXED)
def test_a_model_of_one_size(name: str) -> None:
    import timm

    torch.manual_seed(0)
    module = sharpened(timm.create_model(name, img_size=64, **SMALL))
    prefix = int(module.num_prefix_tokens)  # type: ignore[arg-type]
    model = vision_model(module, depth=4, heads=3, prefix_tokens=prefix, has_cls=prefix > 0)
    pixels = pixels_of(model, (4, 4))
    with torch.inference_mode():
        own = module.forward_intermediates(  # type: ignore[operator]
            pixels, norm=True, output_fmt="NLC", intermediates_only=True
        )
    for layer in range(4):
        found = patch_features(model, pixels, FeatureOptions(layer)).flatten(1, 2)
        torch.testing.assert_close(found, own[layer], **CLOSE)


def dinov2(registers: int, classifier: bool) -> nn.Module:
    from transformers import (
        Dinov2Config,
        Dinov2ForImageClassification,
        Dinov2Model,
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersForImageClassification,
        Dinov2WithRegistersModel,
    )

    small = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 14}
    if registers:
        config = Dinov2WithRegistersConfig(**small, image_size=56, num_register_tokens=registers)
        return (Dinov2WithRegistersForImageClassification if classifier else Dinov2WithRegistersModel)(config)
    return (Dinov2ForImageClassification if classifier else Dinov2Model)(Dinov2Config(**small, image_size=56))


def dinov3() -> nn.Module:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    small = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    return DINOv3ViTModel(DINOv3ViTConfig(**small, patch_size=14, image_size=56, num_register_tokens=4))


def plain_vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    small = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    return ViTForImageClassification(ViTConfig(**small, patch_size=14, image_size=56, num_labels=3))


TRANSFORMERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "dinov2": (lambda: dinov2(0, False), 1),
    "dinov2 with a classifier": (lambda: dinov2(0, True), 1),
    "dinov2, four registers": (lambda: dinov2(4, False), 5),
    "dinov2, four registers and a classifier": (lambda: dinov2(4, True), 5),
    "dinov3": (dinov3, 5),
    "vit with a classifier": (plain_vit, 1),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_features_of_a_folder_are_the_hidden_states_of_transformers(name: str, tmp_path: Path) -> None:
    build, prefix = TRANSFORMERS[name]
    torch.manual_seed(0)
    sharpened(build()).save_pretrained(tmp_path)  # type: ignore[operator]
    with ModelPool(budget_mb=100, device="cpu").use(resolve(str(tmp_path))) as model:
        assert (model.prefix_tokens, model.has_cls) == (prefix, True)
        reference: Any = copy.deepcopy(model.module)
        backbone = reference.base_model if "classifier" in name else reference
        last_norm = getattr(backbone, "layernorm", None) or backbone.norm
        pixels = pixels_of(model, (4, 4))
        with torch.inference_mode():
            own = backbone(pixels, output_hidden_states=True)
            states = [last_norm(state) for state in own.hidden_states[1:]]
        assert torch.equal(patch_features(model, pixels).flatten(1, 2), own.last_hidden_state[:, prefix:])
        assert torch.equal(cls_features(model, pixels), own.last_hidden_state[:, 0])
        for layer, state in enumerate(states):
            found = patch_features(model, pixels, FeatureOptions(layer))
            torch.testing.assert_close(found.flatten(1, 2), state[:, prefix:], **CLOSE)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_tokens_of_the_vit_from_scratch(pool: str) -> None:
    model = own(pool)
    module: Any = model.module
    pixels = pixels_of(model)
    with torch.inference_mode():
        x = module.embed(pixels)
        for layer, block in enumerate(module.blocks):
            x = block(x)
            expected = module.norm(x)[:, model.prefix_tokens :].unflatten(1, GRID)
            assert torch.equal(patch_features(model, pixels, FeatureOptions(layer)), expected)


# Keys, queries and values


@pytest.mark.parametrize("name", TIMM.values(), ids=TIMM)
@pytest.mark.parametrize("layer", [0, -1])
def test_facets_are_what_the_attention_of_the_layer_projects(name: str, layer: int) -> None:
    """Seen by hooks, on a copy of its own, in front of the norms of queries and keys."""
    model = timm_one(name)
    alone: Any = copy.deepcopy(model.module)
    block = alone.blocks[layer]
    entering: list[Tensor] = []
    block.attn.register_forward_pre_hook(lambda module, args: entering.append(args[0]))
    pixels = pixels_of(model)
    with torch.inference_mode():
        alone.forward_features(pixels)
        attn, x = block.attn, entering[0]
        if getattr(attn, "qkv", None) is not None:
            bias = attn.qkv.bias
            if getattr(attn, "q_bias", None) is not None:
                bias = torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
            query, key, value = F.linear(x, attn.qkv.weight, bias).chunk(3, dim=-1)
        else:
            query, key, value = attn.q_proj(x), attn.k_proj(x), attn.v_proj(x)
    for facet, expected in (("query", query), ("key", key), ("value", value)):
        found = patch_features(model, pixels, FeatureOptions(layer, facet))  # type: ignore[arg-type]
        torch.testing.assert_close(found.flatten(1, 2), expected[:, model.prefix_tokens :], **CLOSE)


def test_facets_are_those_that_attention_uses_where_nothing_comes_between(vit: VisionModel) -> None:
    from torch.overrides import TorchFunctionMode

    used: list[tuple[Tensor, ...]] = []

    class Spy(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is F.scaled_dot_product_attention:
                used.append(args[:3])
            return func(*args, **(kwargs or {}))

    pixels = pixels_of(vit)
    with torch.inference_mode(), Spy():
        vit.forward(pixels)
    for layer, heads in enumerate(used):
        for facet, expected in zip(("query", "key", "value"), heads, strict=True):
            found = patch_features(vit, pixels, FeatureOptions(layer, facet))  # type: ignore[arg-type]
            joined = expected.transpose(1, 2).flatten(2)[:, 1:]  # B H N D to B N H*D, without CLS
            torch.testing.assert_close(found.flatten(1, 2), joined, **CLOSE)


@pytest.mark.parametrize("name", ["dinov2, four registers", "dinov3", "vit with a classifier"])
def test_facets_of_transformers(name: str) -> None:
    build, prefix = TRANSFORMERS[name]
    torch.manual_seed(0)
    model = vision_model(sharpened(build()), depth=3, heads=2, prefix_tokens=prefix, patch=14)
    alone = copy.deepcopy(model.module)
    seen: dict[str, Tensor] = {}
    for path, child in alone.named_modules():
        kind = path.rpartition(".")[2]
        if ".1.attention." in path and kind in ("q_proj", "k_proj", "v_proj"):
            child.register_forward_hook(
                lambda module, args, output, kind=kind: seen.__setitem__(kind, output)
            )
    pixels = pixels_of(model, (4, 4))
    with torch.inference_mode():
        alone(pixels)
    for facet, kind in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
        found = patch_features(model, pixels, FeatureOptions(1, facet))  # type: ignore[arg-type]
        torch.testing.assert_close(found.flatten(1, 2), seen[kind][:, prefix:], **CLOSE)


# Nothing is changed on a shared model


@pytest.mark.parametrize("facet", FACETS)
def test_a_model_in_use_by_others_is_left_alone(vit: VisionModel, facet: Any) -> None:
    pixels = pixels_of(vit, (4, 4))
    with torch.inference_mode():
        expected = vit.forward(pixels)
    before = {name: (id(child), dict(child.__dict__)) for name, child in vit.module.named_modules()}
    layers = [0, 1, 2, -1]
    alone = {layer: patch_features(vit, pixels, FeatureOptions(layer, facet)) for layer in layers}
    barrier = threading.Barrier(len(layers) + 1)
    found: dict[int, Tensor] = {}
    plain: list[Tensor] = []

    def read(layer: int) -> None:
        barrier.wait(timeout=20)
        for _ in range(5):
            found[layer] = patch_features(vit, pixels, FeatureOptions(layer, facet))

    def run() -> None:
        barrier.wait(timeout=20)
        with torch.inference_mode():
            plain.extend(vit.forward(pixels) for _ in range(5))

    threads = [threading.Thread(target=read, args=(layer,)) for layer in layers]
    threads.append(threading.Thread(target=run))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[layer], alone[layer]) for layer in layers)
    assert len(plain) == 5
    assert all(torch.equal(one, expected) for one in plain)
    after = {name: (id(child), dict(child.__dict__)) for name, child in vit.module.named_modules()}
    assert after.keys() == before.keys()
    for name, (identity, state) in after.items():
        assert identity == before[name][0]
        assert state.keys() == before[name][1].keys()
        assert all(value is before[name][1][key] for key, value in state.items())


# Overlapping patches


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    patch=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    data=st.data(),
)
def test_side_by_side_is_a_convolution_of_another_stride(
    rows: int, columns: int, patch: tuple[int, int], data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, min(patch)))
    pixels = torch.randn(2, 3, rows * patch[0] + 1, columns * patch[1])
    weight = torch.randn(4, 3, *patch)
    found = F.conv2d(side_by_side(pixels, patch, stride), weight, stride=patch)
    expected = F.conv2d(pixels, weight, stride=stride)
    assert found.shape == expected.shape
    assert found.shape[2:] == overlapped_grid((pixels.shape[2], pixels.shape[3]), patch, stride)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3"])
def test_a_cell_at_a_multiple_of_the_patch_is_that_patch(name: str) -> None:
    """In front of the blocks, by keys of the first layer without positions: no other patch has a say."""
    model = timm_one(name)
    module: Any = copy.deepcopy(model.module)
    if getattr(module, "pos_embed", None) is not None:
        module.pos_embed.zero_()
    alone = vision_model(module, depth=4, heads=3, prefix_tokens=model.prefix_tokens)
    pixels = pixels_of(alone)
    plain = patch_features(alone, pixels, FeatureOptions(0, "key"))
    overlapping = patch_features(alone, pixels, FeatureOptions(0, "key", stride=4))
    assert overlapping.shape[1:3] == (9, 17)  # 1 + (48 - 16) // 4, 1 + (80 - 16) // 4
    torch.testing.assert_close(overlapping[:, ::4, ::4], plain, **CLOSE)
    shifted = patch_features(alone, pixels[:, :, 8:40, 4:68], FeatureOptions(0, "key"))
    torch.testing.assert_close(overlapping[:, 2:9:4, 1:17:4][:, :2], shifted, **CLOSE)


def test_positions_of_overlapping_patches_are_those_of_the_larger_grid() -> None:
    model = timm_one("vit_tiny_patch16_224")
    module: Any = model.module
    pixels = pixels_of(model)
    with torch.inference_mode():
        embedded = F.conv2d(pixels, module.patch_embed.proj.weight, module.patch_embed.proj.bias, stride=8)
        tokens = module.norm_pre(module._pos_embed(embedded.permute(0, 2, 3, 1)))
        expected = module.norm(module.blocks(tokens))[:, 1:]
    found = patch_features(model, pixels, FeatureOptions(stride=8))
    torch.testing.assert_close(found.flatten(1, 2), expected, **CLOSE)


def test_a_stride_of_the_patch_is_no_overlap(vit: VisionModel) -> None:
    pixels = pixels_of(vit)
    assert torch.equal(patch_features(vit, pixels, FeatureOptions(stride=16)), patch_features(vit, pixels))
    plain, same = (extract(vit, [picture(1)], FeatureOptions(stride=s))[0] for s in (None, 16))
    assert np.array_equal(plain.patches, same.patches)
    assert plain.frame == same.frame


def test_cells_of_overlapping_patches_lie_around_their_centres() -> None:
    whole = Frame((0, 0, 96, 64), (4, 6))  # the input, 32 x 48, shows twice as many pixels
    frame = overlapped_frame(whole, (32, 48), (8, 8), 4)
    assert frame.grid == (7, 11)
    for row, column in ((0, 0), (3, 5), (6, 10)):
        x0, y0, x1, y1 = frame.patch_box(row, column)
        assert (x1 - x0, y1 - y0) == pytest.approx((8, 8))  # a stride
        centre = ((x0 + x1) / 2, (y0 + y1) / 2)
        assert centre == pytest.approx((2 * (4 + 4 * column), 2 * (4 + 4 * row)))
        assert frame.patch_at(*centre) == (row, column)
    assert overlapped_frame(whole, (32, 48), (8, 8), 8) == whole


# Pictures


def test_pictures_of_any_shape_come_back_in_their_order(vit: VisionModel) -> None:
    shapes = [(48, 70), (64, 64), (48, 70), (5, 3), (20, 400), (64, 64), (48, 70)]
    images = [picture(i, *shape) for i, shape in enumerate(shapes)]
    found = extract(vit, images, batch_size=2)
    for image, features in zip(images, found, strict=True):
        assert (features.sha256, features.model_id) == (image.sha256, "random/test")
        pixels, frame = prepare(image, vit.input, fit="whole")
        assert features.frame == frame
        expected = patch_features(vit, pixels)[0].numpy()
        np.testing.assert_allclose(features.patches, expected, rtol=2e-3, atol=2e-3)
        assert features.cls is not None
        cls = cls_features(vit, pixels)[0].numpy()
        np.testing.assert_allclose(features.cls, cls, rtol=2e-3, atol=2e-3)
    assert found[3].frame.box == (0, 0, 3, 5)  # smaller than one patch
    assert {image.frame.grid for image in found} == {(4, 6), (4, 4), (7, 4), (4, 16)}


def test_pictures_of_one_size_run_together_and_within_the_batch(vit: VisionModel) -> None:
    batches: list[int] = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = vit.module.blocks

        def forward_features(self, pixels: Tensor) -> Tensor:
            batches.append(len(pixels))
            tokens: Tensor = vit.module.forward_features(pixels)  # type: ignore[operator]
            return tokens

    model = vision_model(Counting(), depth=4, heads=3)
    images = [picture(i, *((48, 70), (64, 64))[i % 2]) for i in range(7)]
    one_by_one = [extract(vit, [image])[0] for image in images]
    for features, expected in zip(extract(model, images, batch_size=3), one_by_one, strict=True):
        np.testing.assert_allclose(features.patches, expected.patches, rtol=2e-3, atol=2e-3)
    assert batches == [3, 1, 3]


def test_batches_come_as_they_are_ready(vit: VisionModel) -> None:
    coming = extract_each(vit, [picture(i) for i in range(5)], FeatureOptions(), batch_size=2)
    first = next(coming)
    assert first.index == 0
    assert first.model_ms > 0
    assert [one.index for one in coming] == [1, 2, 3, 4]


def test_the_size_is_of_the_shorter_side(vit: VisionModel) -> None:
    wide, tall = extract(vit, [picture(1, 40, 80), picture(2, 80, 40)], FeatureOptions(size=100))
    assert (wide.frame.grid, tall.frame.grid) == ((6, 12), (12, 6))  # 96 is the nearest
    assert wide.frame.box == (0, 0, 80, 40)
    assert extract(vit, [picture(1)], FeatureOptions(size=1))[0].frame.grid == (1, 1)


def test_values_are_read_only_and_their_own(vit: VisionModel) -> None:
    found = extract(vit, [picture(1), picture(2)])[0]
    assert found.patches.dtype == np.float16
    for values in (found.patches, found.cls):
        assert values is not None
        assert not values.flags.writeable
        assert values.base is None  # no view of a whole batch


# What is refused


def refused(model: VisionModel, options: FeatureOptions, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        extract(model, [picture(1)], options)
    with pytest.raises(InputError, match=sentence):
        check_options(model, options)


def test_what_the_model_cannot_do_is_refused(vit: VisionModel) -> None:
    refused(vit, FeatureOptions(layer=4), "There is no layer 4")
    refused(vit, FeatureOptions(layer=-5), "There is no layer -5")
    refused(vit, FeatureOptions(stride=17), "more than the 16 pixels of a patch")
    with pytest.raises(InputError, match="more than 16384"):
        extract(vit, [picture(1)], FeatureOptions(stride=1, size=512))
    assert MAX_PATCHES == 16384
    with pytest.raises(InputError, match="not a whole number of patches"):
        patch_features(vit, torch.zeros(1, 3, 32, 33))
    with pytest.raises(InputError, match="has no CLS token"):
        cls_features(own("mean"), torch.zeros(1, 3, 32, 48))


def test_a_model_of_one_size_takes_no_other_and_no_overlap(tmp_path: Path) -> None:
    plain_vit().save_pretrained(tmp_path)  # type: ignore[operator]
    with ModelPool(budget_mb=100, device="cpu").use(resolve(str(tmp_path))) as model:
        refused(model, FeatureOptions(size=70), "takes pictures of 56 x 56 pixels only")
        refused(model, FeatureOptions(stride=7), "so its patches cannot overlap")
        same = extract(model, [picture(1)], FeatureOptions(size=56, stride=14))[0]
        assert same.frame == Frame((0, 0, 70, 48), (4, 4))


@pytest.mark.parametrize("name", ["random/resnet18", "random/swin_tiny_patch4_window7_224"])
def test_a_model_without_one_grid_of_patches_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InputError, match="is not a plain vision transformer"):
        ModelPool(device="cpu").use(resolve(name)).__enter__()


def test_a_network_built_in_another_way_is_refused() -> None:
    class Other(nn.Module):
        def __init__(self, blocks: nn.Module, drop: int = 0) -> None:
            super().__init__()
            self.blocks, self.drop = blocks, drop

        def forward_features(self, pixels: Tensor) -> Tensor:
            return torch.zeros(len(pixels), 17 - self.drop, 8)

    identities = nn.ModuleList(nn.Identity() for _ in range(3))
    linears = nn.ModuleList(nn.ModuleDict({"qkv": nn.Linear(8, 24)}) for _ in range(3))
    cases: tuple[tuple[nn.Module, Facet, str], ...] = (
        (Other(identities[:2]), "token", "its blocks are not in one list"),
        (Other(identities), "key", "its layers have no key projection"),
        (Other(linears), "key", "does not use its own key projection"),
        (Other(identities, drop=1), "token", "has 16 tokens instead of 17"),
    )
    for module, facet, sentence in cases:
        model = vision_model(module, depth=3, heads=2)
        with pytest.raises(InputError, match=sentence):
            patch_features(model, torch.zeros(1, 3, 64, 64), FeatureOptions(-1, facet))


@pytest.mark.parametrize(
    ("scale", "sentence"),
    [(float("nan"), "are not finite"), (float("inf"), "are not finite"), (1e6, "over float16's 65504")],
)
def test_features_that_are_no_answer_are_refused(vit: VisionModel, scale: float, sentence: str) -> None:
    module: Any = copy.deepcopy(vit.module)
    module.norm.weight.mul_(scale)
    model = vision_model(module, depth=4, heads=3)
    with pytest.raises(InputError, match=sentence):
        extract(model, [picture(1)])


def test_memory_that_does_not_suffice_is_said() -> None:
    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Identity()])

        def forward_features(self, pixels: Tensor) -> Tensor:
            return torch.zeros(1 << 60)

    with pytest.raises(SetupError, match="memory of cpu does not suffice"):
        extract(vision_model(Hungry(), depth=1, heads=1), [picture(1)])
