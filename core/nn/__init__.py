"""A Vision Transformer from scratch, one idea a file."""

from core.nn.attention import MultiHeadAttention, scaled_dot_product_attention
from core.nn.block import Block, Mlp
from core.nn.patch_embed import PatchEmbedding
from core.nn.position import LearnedPositionEncoding, SinusoidalPositionEncoding
from core.nn.timm_weights import load_timm_state
from core.nn.vit import VisionTransformer, count_parameters

__all__ = [
    "Block",
    "LearnedPositionEncoding",
    "Mlp",
    "MultiHeadAttention",
    "PatchEmbedding",
    "SinusoidalPositionEncoding",
    "VisionTransformer",
    "count_parameters",
    "load_timm_state",
    "scaled_dot_product_attention",
]
