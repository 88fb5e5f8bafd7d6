"""The attention that is read is the network's own, and reading it changes nothing."""

import copy
import math
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from core.errors import InputError
from core.explain.attention import (
    Attention,
    AttentionChecks,
    attention_weights,
    check_attention,
    check_layer,
    extract_attention,
)
from core.nn import VisionTransformer
from core.vision_model import VisionModel
from tests.support.vision import sharpened, timm_model, vision_model

TIMM = {
    "vit": ("vit_tiny_patch16_224", 1, True),
    "dinov2, four registers": ("vit_small_patch14_reg4_dinov2", 5, True),
    "dinov3, rotary positions": ("vit_small_patch16_dinov3", 5, True),
    "siglip, no CLS, pooling head": ("vit_base_patch16_siglip_224", 0, False),
}
GRID = (3, 5)
ROUNDING = 2e-5
"""Single precision, through layers whose rounding differs a little."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def vit() -> VisionModel:
    return timm_model("vit_tiny_patch16_224")


def picture(model: VisionModel, seed: int = 0, grid: tuple[int, int] = GRID) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        1, 3, *(n * p for n, p in zip(grid, model.input.patch, strict=True)), generator=generator
    )


def plain(model: VisionModel, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return model.forward(pixels)


def unfused(module: nn.Module, pixels: Tensor) -> list[np.ndarray]:
    """Return H N N of each block by timm's own explicit path, in a copy."""
    module, found = copy.deepcopy(module), []
    for block in module.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _m, _i, weights: found.append(weights[0].numpy()))
    with torch.inference_mode():
        module(pixels)
    return found


@pytest.mark.parametrize(("name", "prefix_tokens", "has_cls"), TIMM.values(), ids=TIMM)
def test_weights_are_those_of_timms_explicit_path(name: str, prefix_tokens: int, has_cls: bool) -> None:
    model = timm_model(name)
    assert (model.prefix_tokens, model.has_cls) == (prefix_tokens, has_cls)
    pixels = picture(model)
    attention, output, _ = extract_attention(model, pixels, GRID, range(model.depth))
    expected = unfused(model.module, pixels)
    assert list(attention.weights) == list(range(model.depth)) and attention.keeps_all_layers
    for layer, weights in attention.weights.items():
        assert weights.shape == (3, prefix_tokens + 15, prefix_tokens + 15) and weights.dtype == np.float32
        np.testing.assert_allclose(weights, expected[layer], atol=ROUNDING)
    assert max(w.max() for w in expected) > 0.5, "the test needs attention that is not uniform"
    assert torch.equal(output, plain(model, pixels)), "reading must not change one bit of the output"
    assert attention.checks.passed


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_weights_are_those_that_our_own_network_returns(pool: str) -> None:
    torch.manual_seed(0)
    module = sharpened(VisionTransformer(64, 16, 7, dim=48, depth=3, heads=3, mlp_dim=96, pool=pool))
    model = vision_model(module, depth=3, heads=3, prefix_tokens=module.prefix_tokens, has_cls=pool == "cls")
    attention, output, _ = extract_attention(model, picture(model), GRID, range(3))
    with torch.inference_mode():
        _, expected = module(picture(model), return_attention=True)
    for layer in range(3):
        np.testing.assert_allclose(attention.weights[layer], expected[layer][0].numpy(), atol=ROUNDING)
    assert torch.equal(output, plain(model, picture(model)))


def test_weights_are_those_of_transformers_eager_attention() -> None:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=3, image_size=28, patch_size=14
    )
    module = sharpened(Dinov2Model._from_config(copy.deepcopy(config), attn_implementation="sdpa"))
    eager = Dinov2Model._from_config(copy.deepcopy(config), attn_implementation="eager").eval()
    eager.load_state_dict(module.state_dict())
    model = vision_model(module, depth=3, heads=3, patch=14)
    attention, output, _ = extract_attention(model, picture(model), GRID, range(3))
    with torch.inference_mode():
        expected = eager(picture(model), output_attentions=True).attentions
    for layer in range(3):
        np.testing.assert_allclose(attention.weights[layer], expected[layer][0].numpy(), atol=ROUNDING)
    assert torch.equal(output, plain(model, picture(model)))


def test_only_the_wanted_layers_are_kept_and_they_are_the_right_ones(vit: VisionModel) -> None:
    expected = unfused(vit.module, picture(vit))
    attention, _, _ = extract_attention(vit, picture(vit), GRID, [2, 0])
    assert sorted(attention.weights) == [0, 2] and not attention.keeps_all_layers
    for layer in (0, 2):
        np.testing.assert_allclose(attention.weights[layer], expected[layer], atol=ROUNDING)


def test_what_is_kept_is_on_its_own(vit: VisionModel) -> None:
    """A later pass over another picture must not write into the arrays of an earlier one."""
    first, _, _ = extract_attention(vit, picture(vit), GRID, range(4))
    before = {layer: weights.copy() for layer, weights in first.weights.items()}
    extract_attention(vit, picture(vit, seed=1), GRID, range(4))
    for layer, weights in before.items():
        assert np.array_equal(first.weights[layer], weights)
    assert not np.shares_memory(first.weights[0], first.weights[1])


def test_nothing_is_left_on_the_model(vit: VisionModel) -> None:
    state = copy.deepcopy(vit.module.state_dict())
    attributes = {name: _attributes(module) for name, module in vit.module.named_modules()}
    extract_attention(vit, picture(vit), GRID, range(4), rollout="mean")
    with pytest.raises(InputError):
        extract_attention(vit, picture(vit), (5, 5), [0])
    assert {name: _attributes(module) for name, module in vit.module.named_modules()} == attributes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in vit.module.modules())
    assert all(torch.equal(value, state[name]) for name, value in vit.module.state_dict().items())
    assert torch._C._len_torch_function_stack() == 0


def _attributes(module: nn.Module) -> dict[str, object]:
    return {
        name: value for name, value in vars(module).items() if isinstance(value, bool | int | float | str)
    }


def test_two_threads_on_one_model_do_not_mix(vit: VisionModel) -> None:
    grids = ((3, 5), (4, 4))
    expected = [unfused(vit.module, picture(vit, seed, grid)) for seed, grid in enumerate(grids)]
    outputs = [plain(vit, picture(vit, seed, grid)) for seed, grid in enumerate(grids)]
    layers = ([0, 2], [1, 2, 3])
    barrier, faults = threading.Barrier(3), []

    def extract(who: int) -> None:
        for _ in range(15):
            barrier.wait(timeout=30)
            attention, output, _ = extract_attention(
                vit, picture(vit, who, grids[who]), grids[who], layers[who]
            )
            same = sorted(attention.weights) == layers[who] and torch.equal(output, outputs[who])
            for layer, weights in attention.weights.items():
                same &= np.allclose(weights, expected[who][layer], atol=ROUNDING)
            if not same or not attention.checks.passed:
                faults.append(who)

    def run_plainly() -> None:
        for _ in range(15):
            barrier.wait(timeout=30)
            if not torch.equal(plain(vit, picture(vit)), outputs[0]):
                faults.append(2)

    threads = [threading.Thread(target=extract, args=(who,)) for who in (0, 1)]
    threads.append(threading.Thread(target=run_plainly))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert faults == [] and not any(thread.is_alive() for thread in threads)


SHAPES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 2),
        "kv_heads": st.integers(1, 3),
        "group": st.integers(1, 3),
        "queries": st.integers(1, 8),
        "keys": st.integers(1, 8),
        "dim": st.integers(1, 9),
        "mask": st.sampled_from(["none", "bool", "float", "causal"]),
        "scale": st.sampled_from([None, 0.3, 2.0]),
        "seed": st.integers(0, 2**31),
    }
)


@given(SHAPES)
@settings(deadline=None, max_examples=100)
def test_weights_are_those_of_torch_for_every_argument(case: dict[str, object]) -> None:
    """Torch's function over an identity matrix of values returns its weights."""
    draw = torch.Generator().manual_seed(case["seed"])
    batch, keys, heads = case["batch"], case["keys"], case["kv_heads"] * case["group"]
    query = torch.randn(batch, heads, case["queries"], case["dim"], generator=draw) * 2
    key = torch.randn(batch, case["kv_heads"], keys, case["dim"], generator=draw) * 2
    arguments = {"scale": case["scale"], "enable_gqa": case["group"] > 1} | _mask(case, draw)
    identity = torch.eye(keys).expand(batch, case["kv_heads"], keys, keys)
    expected = F.scaled_dot_product_attention(query, key, identity, **arguments)
    torch.testing.assert_close(attention_weights(query, key, **arguments), expected, atol=2e-6, rtol=0)


def _mask(case: dict[str, object], draw: torch.Generator) -> dict[str, object]:
    shape = (case["batch"], 1, case["queries"], case["keys"])
    if case["mask"] == "bool":
        return {"attn_mask": torch.rand(shape, generator=draw) > 0.5}  # some rows may attend to nothing
    if case["mask"] == "float":
        return {"attn_mask": torch.randn(shape, generator=draw)}
    return {"is_causal": case["mask"] == "causal"}


def test_half_precision_is_read_in_single() -> None:
    query, key, value = torch.randn(3, 1, 2, 9, 8, dtype=torch.bfloat16).unbind(0)
    weights = attention_weights(query, key)
    assert weights.dtype == torch.float32
    checks = check_attention(weights, value, F.scaled_dot_product_attention(query, key, value))
    assert checks.row_sum_error < 1e-6 and checks.output_error < 0.02


def test_random_dropping_is_refused() -> None:
    with pytest.raises(InputError, match="at random"):
        attention_weights(torch.randn(1, 1, 2, 2), torch.randn(1, 1, 2, 2), dropout_p=0.1)


TAMPERINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "shifted by one token": lambda w: w.roll(1, dims=-1),
    "rows in another order": lambda w: w.roll(1, dims=-2),
    "heads exchanged": lambda w: w.flip(1),
    "not normalised": lambda w: w * 1.01,
    "transposed": lambda w: w.transpose(-2, -1),
    "scores before softmax": lambda w: w.log(),
    "one head not a number": lambda w: w.clone().index_fill_(1, torch.tensor([1]), math.nan),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS)
def test_the_check_fails_on_weights_that_are_not_the_networks(tamper: Callable[[Tensor], Tensor]) -> None:
    draw = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 9, 8, generator=draw).unbind(0)
    own = F.scaled_dot_product_attention(query, key, value)
    weights = attention_weights(query, key)
    assert check_attention(weights, value, own).passed
    assert not check_attention(tamper(weights), value, own).passed
    assert not check_attention(weights, value.roll(1, dims=-2), own).passed


def test_errors_that_are_no_numbers_do_not_pass() -> None:
    assert not AttentionChecks(math.nan, 0.0).passed
    assert not AttentionChecks(0.0, math.nan).passed


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_a_layer_that_is_not_a_number_fails_the_run(layer: int) -> None:
    """Whichever layer it is: a fault must not be covered by the numbers of the others."""
    model = timm_model("vit_tiny_patch16_224")
    model.module.blocks[layer].attn.qkv.weight.fill_(math.nan)
    attention, _, _ = extract_attention(model, picture(model), GRID, range(4))
    assert not attention.checks.passed


def test_a_network_that_does_not_use_the_common_function_is_refused() -> None:
    model = timm_model("vit_tiny_patch16_224")
    model.module.blocks[1].attn.fused_attn = False
    with pytest.raises(InputError, match=r"cannot be read.*3") as caught:
        extract_attention(model, picture(model), GRID, [0])
    assert caught.value.remedy


def test_a_network_with_two_attentions_a_layer_is_refused() -> None:
    model = timm_model("vit_tiny_patch16_224", attn_layer="diff")
    with pytest.raises(InputError, match="cannot be read"):
        extract_attention(model, picture(model), GRID, [0])


def test_a_grid_that_is_not_the_networks_is_refused(vit: VisionModel) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        extract_attention(vit, picture(vit), (4, 5), [0])


def test_layers_count_from_the_end_too() -> None:
    assert [check_layer(layer, 4) for layer in (0, 3, -1, -4)] == [0, 3, 3, 0]


@pytest.mark.parametrize("layer", [4, -5, 100])
def test_a_layer_out_of_range_is_refused(layer: int) -> None:
    with pytest.raises(InputError, match=f"no layer {layer}") as caught:
        check_layer(layer, 4)
    assert "0 to 3" in caught.value.remedy


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
def test_rollout_through_the_pass_is_rollout_of_the_kept_layers(vit: VisionModel, fusion: str) -> None:
    """Abnar and Zuidema 2020 in NumPy, in double precision."""
    kept, _, _ = extract_attention(vit, picture(vit), GRID, range(4))
    traced, _, _ = extract_attention(vit, picture(vit), GRID, [1], rollout=fusion)
    assert list(traced.weights) == [1] and traced.rollout_fusion == fusion
    expected = np.eye(16)
    for layer in range(4):
        merged = getattr(np, fusion)(kept.weights[layer].astype(np.float64), axis=0) + np.eye(16)
        expected = (merged / merged.sum(axis=1, keepdims=True)) @ expected
    assert isinstance(traced, Attention) and traced.rollout is not None and kept.rollout is None
    np.testing.assert_allclose(traced.rollout, expected, atol=1e-6)
