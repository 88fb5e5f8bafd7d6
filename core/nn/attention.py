"""Attention: every token takes a weighted mean of the others' values (Vaswani et al. 2017, section 3.2)."""

from typing import Literal, overload

from torch import Tensor, nn
from torch.nn import functional as F


def scaled_dot_product_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return softmax(q kᵀ / √d) v and the softmax itself.

    Args:
        q: ... N D, the queries.
        k: ... M D, the keys.
        v: ... M E, the values.
        mask: Broadcastable to ... N M. True, or any number but 0, may be attended to.

    Returns:
        output ... N E and weights ... N M. Each row of weights sums to 1; a row whose mask allows nothing is
        all 0, in output as in weights, as in `torch.nn.functional.scaled_dot_product_attention`.
    """
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # ... N M
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        forbidden = mask == 0
        nothing_allowed = forbidden.all(dim=-1, keepdim=True)
        # A row of nothing but -inf would give NaN, in the result and in every gradient behind it.
        scores = scores.masked_fill(forbidden, float("-inf")).masked_fill(nothing_allowed, 0.0)
        weights = scores.softmax(dim=-1).masked_fill(forbidden, 0.0)
    return weights @ v, weights


class MultiHeadAttention(nn.Module):
    """Self-attention in several subspaces at once.

    The weights are never formed (PyTorch's fused kernel) unless they are asked for.
    """

    def __init__(self, dim: int, heads: int, dim_head: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if dim_head is None and dim % heads:
            raise ValueError(f"dim is {dim}, which {heads} heads do not divide; give dim_head")
        self.heads = heads
        self.dim_head = dim_head or dim // heads
        inner_dim = heads * self.dim_head
        self.qkv = nn.Linear(dim, 3 * inner_dim)
        self.proj = nn.Linear(inner_dim, dim)
        self.dropout = nn.Dropout(dropout)

    @overload
    def forward(
        self, x: Tensor, mask: Tensor | None = ..., return_weights: Literal[False] = ...
    ) -> Tensor: ...
    @overload
    def forward(
        self, x: Tensor, mask: Tensor | None = ..., *, return_weights: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...
    def forward(
        self, x: Tensor, mask: Tensor | None = None, return_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the mixed tokens B N D, and on request the weights B H N N (before dropout).

        Args:
            x: B N D.
            mask: Broadcastable to B H N N; True, or any number but 0, may be attended to.
            return_weights: Use the explicit formula and return its weights too.
        """
        q, k, v = self.project(x)
        if return_weights:
            mixed, weights = scaled_dot_product_attention(q, k, v, mask)
            if self.training and self.dropout.p:
                mixed = self.dropout(weights) @ v
            return self.merge(mixed), weights
        mixed = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if mask is None else mask != 0,
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        return self.merge(mixed)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of tokens B N D, each B H N dim_head."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, self.dim_head)  # B N 3 H dim_head
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # 3 x B H N dim_head
        return q, k, v

    def merge(self, mixed: Tensor) -> Tensor:
        """Return the heads' results B H N dim_head as tokens B N D."""
        joined: Tensor = self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))  # B N D
        return joined
