"""The projection head: features to logits over prototypes. It is thrown away after training."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DinoHead(nn.Module):
    """Three linear maps with GELU between, onto the unit sphere, then cosines to K prototypes.

    The last layer is weight-normalised with its gain fixed at 1 (Caron et al. 2021, appendix C), so logits
    lie in -1 to 1.
    """

    def __init__(self, dim: int, prototypes: int, hidden_dim: int = 2048, bottleneck_dim: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, bottleneck_dim),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                # 1 / sqrt(fan-in) and not the paper's 0.02, which at these widths makes all pictures alike
                nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck_dim))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits ... K, each -1 to 1, of features ... D."""
        points = F.normalize(self.mlp(features), dim=-1)  # ... bottleneck
        logits: Tensor = points @ F.normalize(self.prototypes, dim=-1).T
        return logits
