"""A start from which a small Vision Transformer learns fast: some of what trained ones look like.

Source: Trockman & Kolter 2023, "Mimetic Initialization of Self-Attention Layers", section 4.
"""

import math

import torch
from torch import Tensor

from core.nn import MultiHeadAttention, VisionTransformer

LOOKING = 0.7
"""Share of the identity, and of noise, in each head's query-key product: tokens look at those like them."""
MIXING = 0.4
"""Share of minus the identity, and of noise, in the value-output product."""
POSITION_SCALE = 0.5
"""Amplitude of the positions, about that of the embedded patches."""
SLOWEST = 0.05
"""Lowest frequency of the positions, in radians a patch; the highest is 1."""


@torch.no_grad()
def initialise(vit: VisionTransformer) -> None:
    """Set positions to waves in both directions, and attention to look at near and alike tokens."""
    rows, columns = vit.position.grid
    waves = _waves(rows, columns, vit.dim)  # rows*columns D
    vit.position.weight[0, vit.prefix_tokens :] = POSITION_SCALE * waves
    for layer in vit.modules():
        if isinstance(layer, MultiHeadAttention):
            _initialise_attention(layer)


def _waves(rows: int, columns: int, dim: int) -> Tensor:
    """Return sines and cosines of row and column: rows*columns D."""
    frequency = SLOWEST ** torch.linspace(0, 1, dim // 4)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.flatten()[:, None] * frequency for axis in (y, x)]  # rows*columns D/4
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)


def _initialise_attention(attention: MultiHeadAttention) -> None:
    inner, dim = attention.proj.in_features, attention.proj.out_features
    query, key, value = attention.qkv.weight.view(3, inner, dim)
    for start in range(0, inner, attention.dim_head):
        head = slice(start, start + attention.dim_head)
        query[head], key[head] = _factors(_noisy_identity(dim, LOOKING, LOOKING), attention.dim_head)
    value[:], output = _factors(_noisy_identity(dim, MIXING, -MIXING), inner)
    attention.proj.weight.copy_(output.T)


def _noisy_identity(dim: int, noise: float, identity: float) -> Tensor:
    return torch.randn(dim, dim) * (noise / math.sqrt(dim)) + identity * torch.eye(dim)


def _factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return a, b (rank D each) whose product aᵀ b is `product` as nearly as the rank allows."""
    u, s, vh = torch.linalg.svd(product)
    root = s[:rank, None].sqrt()
    return root * u.T[:rank], root * vh[:rank]
