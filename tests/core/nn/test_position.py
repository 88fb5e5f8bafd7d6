"""Position encodings: the formula by hand, and interpolation as timm does it."""

import math

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from core.nn import LearnedPositionEncoding, SinusoidalPositionEncoding


def test_sines_and_cosines_by_hand() -> None:
    encoding = SinusoidalPositionEncoding(4).encoding(3)
    assert encoding[0].tolist() == [0, 1, 0, 1]
    expected = [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]
    assert encoding[2].tolist() == pytest.approx(expected)


def test_the_sinusoidal_encoding_is_added_and_has_no_weights() -> None:
    layer, x = SinusoidalPositionEncoding(8), torch.randn(2, 5, 8)
    torch.testing.assert_close(layer(x) - x, layer.encoding(5).expand(2, -1, -1))
    assert not list(layer.parameters())
    assert layer(x.double()).dtype == torch.float64


def test_a_shift_is_the_same_rotation_everywhere() -> None:
    """PE(n + k) is a linear function of PE(n) that does not depend on n (Vaswani et al., section 3.5)."""
    encoding = SinusoidalPositionEncoding(2).encoding(20).double()
    angle = torch.tensor(3.0, dtype=torch.float64)
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]], dtype=torch.float64)
    torch.testing.assert_close(encoding[:-3] @ turn, encoding[3:], atol=1e-6, rtol=0)


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="dim is 5"):
        SinusoidalPositionEncoding(5)


@pytest.mark.parametrize("grid", [(7, 7), (3, 5), (4, 9), (1, 1)])
@pytest.mark.parametrize("prefix_tokens", [0, 1])
def test_learned_positions_are_resized_as_in_timm(grid: tuple[int, int], prefix_tokens: int) -> None:
    layer = LearnedPositionEncoding((4, 6), 8, prefix_tokens)
    expected = resample_abs_pos_embed(
        layer.weight.data, list(grid), old_size=[4, 6], num_prefix_tokens=prefix_tokens
    )
    torch.testing.assert_close(layer.resized(grid).data, expected)


def test_learned_positions_are_added() -> None:
    layer, x = LearnedPositionEncoding((2, 3), 8, 1), torch.randn(2, 7, 8)
    torch.testing.assert_close(layer(x) - x, layer.weight.expand(2, -1, -1))
    assert layer(torch.zeros(1, 13, 8), (3, 4)).shape == (1, 13, 8)
