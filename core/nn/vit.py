"""The Vision Transformer (Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words")."""

from typing import Literal, overload

import torch
from torch import Tensor, nn

from core.nn.block import NORM_EPS, Block
from core.nn.patch_embed import PatchEmbedding
from core.nn.position import LearnedPositionEncoding

Size = int | tuple[int, int]
"""Pixels: one number for a square, or (height, width)."""


class VisionTransformer(nn.Module):
    """Patches to tokens, `depth` blocks, one vector, logits. Pixels of another size are welcome.

    `pool="cls"` classifies by a token of its own in front of the patches; `pool="mean"` has no such token
    and averages the patches before the last norm (timm's `global_pool="avg"`). With `num_classes` 0 there is
    no classifier, and the pooled vector B D stands in for the logits.
    """

    def __init__(
        self,
        image_size: Size,
        patch_size: Size,
        num_classes: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int,
        pool: Literal["cls", "mean"] = "cls",
        channels: int = 3,
        dim_head: int | None = None,
        dropout: float = 0.0,
        emb_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if pool not in ("cls", "mean"):
            raise ValueError(f"pool is {pool!r}; expected 'cls' or 'mean'")
        self.image_size, self.patch_size = _pair(image_size), _pair(patch_size)
        self.num_classes, self.dim, self.depth, self.heads = num_classes, dim, depth, heads
        self.pool, self.prefix_tokens = pool, int(pool == "cls")

        self.patch_embed = PatchEmbedding(self.patch_size, dim, channels)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if pool == "cls" else None
        grid = self.patch_embed.grid(*self.image_size)
        self.position = LearnedPositionEncoding(grid, dim, self.prefix_tokens)
        self.dropout = nn.Dropout(emb_dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_dim, dim_head, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS) if pool == "cls" else nn.Identity()
        self.fc_norm = nn.LayerNorm(dim, eps=NORM_EPS) if pool == "mean" else nn.Identity()
        self.head = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self.apply(_initialise)

    @overload
    def forward(self, x: Tensor, return_attention: Literal[False] = ...) -> Tensor: ...
    @overload
    def forward(self, x: Tensor, return_attention: Literal[True]) -> tuple[Tensor, tuple[Tensor, ...]]: ...
    def forward(
        self, x: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, tuple[Tensor, ...]]:
        """Return logits B num_classes of pixels B C H W, and on request each block's attention B H N N.

        Raises:
            InputError: The picture is not a whole number of patches.
        """
        if not return_attention:
            return self.forward_head(self.forward_features(x))
        x, attention = self.embed(x), []
        for block in self.blocks:
            x, weights = block(x, return_weights=True)
            attention.append(weights)
        return self.forward_head(self.norm(x)), tuple(attention)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens B N D that enter the first block, the CLS token (if any) first."""
        tokens = self.patch_embed(pixels)  # B rows*columns D
        if self.cls_token is not None:
            tokens = torch.cat(
                (self.cls_token.expand(len(tokens), -1, -1), tokens), dim=1
            )  # B 1+rows*columns D
        grid = self.patch_embed.grid(pixels.shape[2], pixels.shape[3])
        out: Tensor = self.dropout(self.position(tokens, grid))
        return out

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the tokens B N D that leave the last block (after the last norm where `pool` is "cls")."""
        return self.encode(self.embed(pixels))

    def encode(self, tokens: Tensor) -> Tensor:
        """Return what all blocks make of tokens B N D; not all of `embed`'s need be there."""
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.norm(tokens)
        return out

    def forward_head(self, tokens: Tensor) -> Tensor:
        """Return logits B num_classes of the tokens B N D that `forward_features` returned."""
        pooled = tokens[:, 0] if self.pool == "cls" else tokens.mean(dim=1)  # B D
        logits: Tensor = self.head(self.fc_norm(pooled))
        return logits


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trained values in `module`."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
