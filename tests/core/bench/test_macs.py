"""MACs against a count by hand and against what is published."""

import pytest
import timm
import torch
from torch import nn

from core.bench.macs import count_macs

PUBLISHED_GMACS = {
    "vit_tiny_patch16_224": (1.26, 1.08),
    "vit_small_patch16_224": (4.61, 4.25),
    "vit_base_patch16_224": (17.58, 16.87),
}
"""timm's benchmark tables: with attention's two products, and as since its attention is fused, without."""


OTHERS_GMACS = {
    "resnet18": 1.82,
    "mobilenetv3_large_100": 0.22,
    "swin_tiny_patch4_window7_224": 4.51,
    "mobilevit_s": 2.03,
}
"""The same tables, of other architectures; those count a little of what stands between the products, too."""


def by_hand(dim: int, depth: int, tokens: int, patches: int, patch: int, classes: int) -> tuple[int, int]:
    """Return the MACs of a plain vision transformer without attention's two products, and those."""
    projections = depth * tokens * dim * (3 * dim + dim + 4 * dim + 4 * dim)
    ends = patches * dim * 3 * patch**2 + dim * classes
    return projections + ends, depth * 2 * tokens**2 * dim


def test_vision_transformers_have_the_macs_counted_by_hand_and_those_published() -> None:
    for name, (published, published_without) in PUBLISHED_GMACS.items():
        with torch.device("meta"):
            model = timm.create_model(name).eval()
            pixels = torch.zeros(1, 3, 224, 224)
        found = count_macs(lambda model=model, pixels=pixels: model(pixels))
        without, attention = by_hand(model.embed_dim, 12, 197, 196, 16, 1000)
        assert found == without + attention, name
        assert found / 1e9 == pytest.approx(published, rel=0.01), name
        assert without / 1e9 == pytest.approx(published_without, rel=0.01), name


def test_other_architectures_have_about_the_macs_that_are_published() -> None:
    for name, published in OTHERS_GMACS.items():
        with torch.device("meta"):
            model = timm.create_model(name).eval()
            pixels = torch.zeros(1, *model.default_cfg["input_size"])
        found = count_macs(lambda model=model, pixels=pixels: model(pixels)) / 1e9
        assert found == pytest.approx(published, rel=0.05), name


def test_fused_attention_of_this_processor_is_counted() -> None:
    """It is an operation of its own here, unknown to PyTorch's counter."""
    query = torch.randn(2, 3, 5, 8)
    key, value = torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    with torch.inference_mode():
        found = count_macs(lambda: nn.functional.scaled_dot_product_attention(query, key, value))
    assert found == 2 * 3 * 5 * 7 * 8 * 2


def test_convolutions_and_batches_count() -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1)
    assert count_macs(lambda: conv(torch.zeros(2, 3, 10, 10))) == 2 * 100 * 4 * 3 * 9
