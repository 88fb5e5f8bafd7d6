"""Attention: the explicit formula against PyTorch's kernel, and what must hold of any attention."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from core.nn import MultiHeadAttention, scaled_dot_product_attention

SIZES = st.integers(1, 6)


def tensors(seed: int, *shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@settings(max_examples=60, deadline=None)
@given(
    lead=st.sampled_from([(), (2,), (2, 3)]),
    n=SIZES,
    m=SIZES,
    d=SIZES,
    e=SIZES,
    mask_kind=st.sampled_from(["none", "bool", "int", "float", "per key", "per batch"]),
    seed=st.integers(0, 2**31),
)
def test_it_equals_pytorchs_attention(
    lead: tuple[int, ...], n: int, m: int, d: int, e: int, mask_kind: str, seed: int
) -> None:
    q, k, v, noise = tensors(seed, (*lead, n, d), (*lead, m, d), (*lead, m, e), (*lead, n, m))
    allowed = noise > -0.3  # some rows allow nothing
    allowed = {"per key": allowed[..., :1, :], "per batch": allowed}.get(
        mask_kind, allowed.flatten(0, -3)[0] if lead else allowed
    )
    mask = {"none": None, "int": allowed.int(), "float": allowed.float() * 2}.get(mask_kind, allowed)
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else allowed)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    full = torch.ones_like(weights, dtype=torch.bool) if mask is None else allowed.expand_as(weights)
    torch.testing.assert_close(weights.sum(-1), full.any(-1).float())
    assert not weights[~full].any() and (weights >= 0).all()


def test_a_row_that_may_see_nothing_is_zero_and_has_finite_gradients() -> None:
    q, k, v = (t.requires_grad_() for t in tensors(0, (2, 4), (3, 4), (3, 4)))
    mask = torch.tensor([[1, 0, 1], [0, 0, 0]])
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    assert not output[1].any() and not weights[1].any()
    output.sum().backward()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in (q, k, v))


def test_a_single_allowed_key_is_copied() -> None:
    q, k, v = tensors(1, (2, 4), (3, 4), (3, 4))
    output, weights = scaled_dot_product_attention(q, k, v, torch.tensor([False, True, False]))
    torch.testing.assert_close(output, v[1].expand(2, -1))
    torch.testing.assert_close(weights, torch.tensor([[0.0, 1.0, 0.0]]).expand(2, -1))


def test_weights_by_hand() -> None:
    q, k, v = torch.tensor([[2.0]]), torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [3.0]])
    output, weights = scaled_dot_product_attention(q, k, v)
    likely = torch.tensor(2.0).sigmoid().item()  # softmax of (0, 2)
    assert weights.tolist() == [[pytest.approx(1 - likely), pytest.approx(likely)]]
    assert output.item() == pytest.approx(1 + 2 * likely)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_right(masked: bool) -> None:
    shapes = ((2, 3, 4), (2, 5, 4), (2, 5, 2))
    inputs = [t.requires_grad_() for t in tensors(2, *shapes, dtype=torch.float64)]
    mask = torch.rand(3, 5, generator=torch.Generator().manual_seed(3)) > 0.4 if masked else None
    assert torch.autograd.gradcheck(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask), inputs)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 7))
def test_shuffled_tokens_give_shuffled_results(seed: int, n: int) -> None:
    torch.manual_seed(seed)
    layer, x, order = MultiHeadAttention(8, 2), torch.randn(2, n, 8), torch.randperm(n)
    mixed, weights = layer(x, return_weights=True)
    shuffled, shuffled_weights = layer(x[:, order], return_weights=True)
    torch.testing.assert_close(shuffled, mixed[:, order])
    torch.testing.assert_close(shuffled_weights, weights[:, :, order][..., order])


@pytest.mark.parametrize("dim_head", [None, 5])
@pytest.mark.parametrize("masked", [False, True])
def test_the_fused_and_the_explicit_path_agree(dim_head: int | None, masked: bool) -> None:
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(12, 3, dim_head), torch.randn(2, 6, 12)
    mask = torch.tril(torch.ones(6, 6)) if masked else None
    mixed, weights = layer(x, mask, return_weights=True)
    torch.testing.assert_close(layer(x, mask), mixed)
    assert weights.shape == (2, 3, 6, 6)


def test_multi_head_attention_equals_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(2, 5, 16)
    mixed, weights = ours(x, return_weights=True)
    expected, expected_weights = theirs(x, x, x, average_attn_weights=False)
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(weights, expected_weights)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="dim is 10, which 3 heads do not divide"):
        MultiHeadAttention(10, 3)
