"""The loss of DINO: the student's answer to each view should be the teacher's answer to another one.

Source: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers", section 3.1 and
algorithm 1; the Sinkhorn-Knopp targets are those of SwAV and DINOv2 (Oquab et al. 2023, section 4).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.training.dino.config import Centring

SINKHORN_ROUNDS = 3


class DinoLoss(nn.Module):
    """Cross entropy between the teacher's sharpened targets and the student. It owns only its centre."""

    center: Tensor
    """K: running mean of the teacher's logits."""

    def __init__(
        self,
        prototypes: int,
        centring: Centring = "mean",
        student_temperature: float = 0.1,
        center_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        self.centring, self.student_temperature = centring, student_temperature
        self.center_momentum = center_momentum
        self.register_buffer("center", torch.zeros(prototypes))

    @torch.no_grad()
    def targets(self, teacher_logits: Tensor, temperature: float) -> Tensor:
        """Return the teacher's targets V B K, each row a distribution, of its logits V B K for V views.

        With `sinkhorn` the batch is balanced over all views at once.
        """
        logits = teacher_logits.float()
        if self.centring == "sinkhorn":
            return sinkhorn(logits.flatten(0, 1) / temperature).view_as(logits)
        return ((logits - self.center) / temperature).softmax(dim=-1)

    def forward(self, student_logits: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Return the mean cross entropy over all pairs of a target and another view.

        Args:
            student_logits: One B K for each view; the first ones are the views that the teacher saw.
            targets: V B K, as `targets` made them.
        """
        terms = []
        for view, logits in enumerate(student_logits):
            log_share = F.log_softmax(logits.float() / self.student_temperature, dim=-1)  # B K
            for seen, target in enumerate(targets):
                if seen != view:  # a view is never compared with itself
                    terms.append(-(target * log_share).sum(dim=-1).mean())
        return torch.stack(terms).mean()

    @torch.no_grad()
    def update_center(self, teacher_logits: Tensor) -> None:
        """Move the centre towards the mean of the teacher's logits V B K; once a step, after the targets."""
        if self.centring == "mean":
            mean = teacher_logits.float().flatten(0, -2).mean(dim=0)  # K
            self.center.lerp_(mean, 1 - self.center_momentum)


def sinkhorn(scores: Tensor) -> Tensor:
    """Return assignments N K whose rows sum to 1 and whose columns sum to about N / K, nearest to the scores.

    Args:
        scores: N K, logits already divided by the temperature.
    """
    shares = (scores - scores.max()).exp()  # N K
    shares = shares / shares.sum()
    for _ in range(SINKHORN_ROUNDS):
        shares = shares / (shares.sum(dim=0, keepdim=True).clamp(min=1e-30) * shares.shape[1])
        shares = shares / (shares.sum(dim=1, keepdim=True).clamp(min=1e-30) * shares.shape[0])
    return shares * shares.shape[0]
