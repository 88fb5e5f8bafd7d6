"""Where a token stands: attention alone would not notice if the patches were shuffled."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SinusoidalPositionEncoding(nn.Module):
    """Fixed sines and cosines of falling frequency (Vaswani et al. 2017, section 3.5), for any length.

    encoding[n, 2i] = sin(n / 10000^(2i / dim)), encoding[n, 2i + 1] = cos of the same.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim is {dim}; sines and cosines come in pairs, so it must be even")
        self.dim = dim

    def encoding(self, length: int) -> Tensor:
        """Return the encoding of positions 0 to length - 1: length D, float32."""
        position = torch.arange(length, dtype=torch.float64)
        frequency = 10_000.0 ** (-torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
        angle = position[:, None] * frequency  # length D/2
        return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1).float()  # length D

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens B N D with the encoding added."""
        return x + self.encoding(x.shape[1]).to(x)


class LearnedPositionEncoding(nn.Module):
    """A trained vector for each grid cell and prefix token (Dosovitskiy et al. 2021, section 3.1).

    On another grid than the trained one the cells are interpolated bicubically (section 3.2 there).
    """

    def __init__(self, grid: tuple[int, int], dim: int, prefix_tokens: int = 0) -> None:
        super().__init__()
        self.grid = grid
        self.prefix_tokens = prefix_tokens
        self.weight = nn.Parameter(torch.empty(1, prefix_tokens + grid[0] * grid[1], dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Return tokens B N D, prefix tokens first, with the encoding for `grid` (rows, columns) added."""
        return x + self.resized(grid or self.grid)

    def resized(self, grid: tuple[int, int]) -> Tensor:
        """Return the encoding for another grid: 1 prefix_tokens+rows*columns D."""
        if grid == self.grid:
            return self.weight
        prefix, cells = self.weight[:, : self.prefix_tokens], self.weight[:, self.prefix_tokens :]
        plane = cells.reshape(1, *self.grid, -1).permute(0, 3, 1, 2)  # 1 D rows columns
        plane = F.interpolate(plane.float(), size=grid, mode="bicubic", antialias=True).to(cells.dtype)
        return torch.cat((prefix, plane.flatten(2).transpose(1, 2)), dim=1)  # 1 N D
