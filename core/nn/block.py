"""One layer of the transformer: tokens look at each other, then each thinks for itself."""

from typing import Literal, overload

from torch import Tensor, nn

from core.nn.attention import MultiHeadAttention

NORM_EPS = 1e-6
"""Of every LayerNorm, as in the ViT paper's code and timm; PyTorch's own default is 1e-5."""


class Mlp(nn.Module):
    """Two linear maps with a GELU between them, the same for every token."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return ... D of tokens ... D."""
        out: Tensor = self.dropout(self.fc2(self.dropout(self.act(self.fc1(x)))))
        return out


class Block(nn.Module):
    """Attention, then MLP, each with a norm before and a shortcut around it (ViT, equations 2-3)."""

    def __init__(
        self, dim: int, heads: int, mlp_dim: int, dim_head: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = MultiHeadAttention(dim, heads, dim_head, dropout)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, mlp_dim, dropout)

    @overload
    def forward(self, x: Tensor, return_weights: Literal[False] = ...) -> Tensor: ...
    @overload
    def forward(self, x: Tensor, return_weights: Literal[True]) -> tuple[Tensor, Tensor]: ...
    def forward(self, x: Tensor, return_weights: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Return tokens B N D, and on request the attention weights B H N N."""
        if return_weights:
            mixed, weights = self.attn(self.norm1(x), return_weights=True)
            x = x + mixed
            x = x + self.mlp(self.norm2(x))
            return x, weights
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
