"""The Vision Transformer: timm's numbers from timm's weights, and what its callers rely on."""

import pytest
import timm
import torch
from torch import nn

from core.errors import InputError
from core.nn import PatchEmbedding, VisionTransformer, count_parameters, load_timm_state

SIZES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}


def tiny_vit(**changes: object) -> VisionTransformer:
    torch.manual_seed(0)
    options = {"image_size": 32, "patch_size": 8, "num_classes": 5, "dim": 16, "depth": 2, "heads": 2}
    return VisionTransformer(**(options | {"mlp_dim": 32} | changes)).eval()  # type: ignore[arg-type]


def shaken(model: nn.Module) -> nn.Module:
    """Give every weight, norms and biases included, a value of its own, large enough to matter."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("name", SIZES)
def test_timms_weights_give_timms_logits(name: str) -> None:
    dim, heads = SIZES[name]
    theirs = shaken(timm.create_model(f"vit_{name}_patch16_224", pretrained=False))
    ours = VisionTransformer(224, 16, 1000, dim, 12, heads, 4 * dim).eval()
    load_timm_state(ours, theirs.state_dict())
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        logits, expected = ours(x), theirs(x)
        assert expected.std() > 0.1  # a comparison of zeros would prove nothing
        assert (logits - expected).abs().max() < 1e-4
        assert (ours.forward_features(x) - theirs.forward_features(x)).abs().max() < 1e-4
    assert count_parameters(ours) == sum(p.numel() for p in theirs.parameters())


def test_timms_mean_pooling_and_other_sizes_agree_too() -> None:
    options = {"img_size": 64, "global_pool": "avg", "class_token": False, "dynamic_img_size": True}
    theirs = shaken(timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=7, **options))
    ours = VisionTransformer(64, 16, 7, 192, 12, 3, 768, pool="mean").eval()
    load_timm_state(ours, theirs.state_dict())
    for height, width in ((64, 64), (32, 96), (80, 64)):
        x = torch.randn(1, 3, height, width)
        with torch.inference_mode():
            assert (ours(x) - theirs(x)).abs().max() < 1e-4


def test_weights_of_another_architecture_are_refused() -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=7, depth=2)
    with pytest.raises(InputError, match="do not fit VisionTransformer"):
        load_timm_state(VisionTransformer(224, 16, 7, 192, 3, 3, 768), theirs.state_dict())


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_asking_for_attention_changes_no_logit(pool: str) -> None:
    model, x = tiny_vit(pool=pool), torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        logits, attention = model(x, return_attention=True)
        torch.testing.assert_close(logits, model(x))
    tokens = 16 + model.prefix_tokens
    assert len(attention) == model.depth == len(model.blocks) == 2
    for weights in attention:
        assert weights.shape == (2, model.heads, tokens, tokens)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, model.heads, tokens))


def test_what_callers_rely_on() -> None:
    model = tiny_vit(image_size=(32, 48), patch_size=(8, 4))
    assert (model.patch_size, model.prefix_tokens, model.num_classes) == ((8, 4), 1, 5)
    assert model.forward_features(torch.zeros(1, 3, 32, 48)).shape == (1, 1 + 4 * 12, 16)
    assert model(torch.zeros(3, 3, 16, 20)).shape == (3, 5)
    assert tiny_vit(pool="mean").prefix_tokens == 0
    assert tiny_vit(dim_head=5, channels=1)(torch.zeros(1, 1, 32, 32)).shape == (1, 5)


def test_without_positions_the_order_of_patches_does_not_matter() -> None:
    model = tiny_vit()
    nn.init.zeros_(model.position.weight)
    x = torch.randn(1, 3, 32, 32)
    swapped = torch.cat((x[..., 16:, :], x[..., :16, :]), dim=2)
    torch.testing.assert_close(model(x), model(swapped))


def test_positions_do_matter() -> None:
    model, x = tiny_vit(), torch.randn(1, 3, 32, 32)
    assert (model(x) - model(x.flip(2).flip(3))).abs().max() > 1e-4


@pytest.mark.parametrize("size", [(33, 32), (32, 31), (4, 32), (0, 32)])
def test_a_part_of_a_patch_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="not a whole number of patches of 8 x 8"):
        tiny_vit()(torch.zeros(1, 3, *size))


def test_an_unknown_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'cls' or 'mean'"):
        tiny_vit(pool="max")


def test_patches_are_read_row_by_row() -> None:
    layer = PatchEmbedding((2, 3), 2 * 3, channels=1)
    layer.proj.weight.data = torch.eye(6).view(6, 1, 2, 3)
    nn.init.zeros_(layer.proj.bias)
    picture = torch.arange(24.0).view(1, 1, 4, 6)
    expected = [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11], [12, 13, 14, 18, 19, 20], [15, 16, 17, 21, 22, 23]]
    assert layer(picture)[0].tolist() == expected


def test_gradients_of_a_whole_model_are_right() -> None:
    model = tiny_vit(image_size=4, patch_size=2, dim=4, depth=1, mlp_dim=4, num_classes=2).double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (x,))
    assert torch.autograd.gradcheck(lambda pixels: model(pixels, return_attention=True)[1][0], (x,))


def test_dropout_works_in_training_only() -> None:
    model, x = tiny_vit(dropout=0.5, emb_dropout=0.5), torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(model(x), model(x))
    model.train()
    assert (model(x) - model(x)).abs().max() > 1e-4
