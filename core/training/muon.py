"""Muon: gradient descent whose step on a matrix changes all its directions equally.

On the scenes it left the first plateau (which patches are objects is known, which shapes they are is not) in
fewer steps than AdamW.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial whose iteration drives every singular value towards 1 (Jordan et al. 2024)."""


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return matrices ... M N with the same singular vectors and all singular values near 1 (0.7 to 1.2)."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; for matrices only.

    `torch.optim.Muon` computes in bfloat16, which takes a second a step on a CPU without such units; this one
    keeps the gradient's format and treats all matrices of one shape at once. The learning rate is AdamW's:
    steps are scaled to its usual size (Liu et al. 2025, "Muon is Scalable", section 2.2).
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in (p for p in group["params"] if p.grad is not None):
                by_shape[parameter.shape].append(parameter)
            for parameters in by_shape.values():
                self._step_alike(parameters, group["lr"], group["weight_decay"], group["momentum"])

    def _step_alike(
        self, parameters: list[nn.Parameter], lr: float, weight_decay: float, momentum: float
    ) -> None:
        directions = []
        for parameter in parameters:
            assert parameter.grad is not None
            mean = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            mean.lerp_(parameter.grad, 1 - momentum)
            directions.append(parameter.grad.lerp(mean, momentum))
        size = 0.2 * math.sqrt(max(parameters[0].shape))
        for parameter, direction in zip(parameters, orthogonalised(torch.stack(directions)), strict=True):
            parameter.mul_(1 - lr * weight_decay).sub_(direction, alpha=lr * size)
