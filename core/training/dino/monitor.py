"""Whether the teacher still tells pictures apart: the two ways to collapse, and their signs.

Source: Caron et al. 2021, section 5.3 and figure 7: without centring one prototype takes all (entropy 0);
without sharpening all are alike (entropy ln K). Either way the targets no longer depend on the picture.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_INFORMATION = 0.02
"""Least information between picture and prototype, as a share of the most there can be (ln K)."""
MIN_FEATURE_STD = 0.1
"""Least spread of features; 1 is that of directions drawn at random."""


@dataclass(frozen=True, slots=True)
class CollapseSigns:
    """What a batch of targets and features says. Entropies are in nats."""

    teacher_entropy: float
    """Mean entropy of the targets: 0 is one prototype for each picture, ln K is no choice at all."""
    mean_entropy: float
    """Entropy of the mean target: 0 is one prototype for all pictures, ln K is all used alike."""
    kl: float
    """Mean Kullback-Leibler divergence from the student's answer to the target of the same view."""
    feature_std: float
    """Mean over the channels of the standard deviation of unit features, times sqrt(D)."""
    prototypes: int

    @property
    def information(self) -> float:
        """Information between picture and prototype over ln K, 0-1; 0 where all targets are the same."""
        return (self.mean_entropy - self.teacher_entropy) / math.log(self.prototypes)

    @property
    def warning(self) -> str:
        """One sentence on what is going wrong; empty where nothing is."""
        if self.feature_std < MIN_FEATURE_STD:
            return f"The features of all pictures are nearly alike (spread {self.feature_std:.3f})."
        if self.information >= MIN_INFORMATION:
            return ""
        if self.mean_entropy < 0.5 * math.log(self.prototypes):
            return "The teacher gives every picture the same prototypes: raise the centring."
        return "The teacher gives every picture all prototypes alike: lower the teacher's temperature."


@torch.no_grad()
def collapse_signs(
    targets: Tensor, student_logits: Tensor, temperature: float, features: Tensor
) -> CollapseSigns:
    """Return the signs of one batch.

    Args:
        targets: N K, each row a distribution.
        student_logits: N K, of the same views.
        temperature: The student's.
        features: N D, of the student.
    """
    log_share = F.log_softmax(student_logits.float() / temperature, dim=-1)
    entropy = torch.special.entr(targets).sum(dim=-1).mean()
    cross = -(targets * log_share).sum(dim=-1).mean()
    spread = F.normalize(features.float(), dim=-1).std(dim=0).mean() * math.sqrt(features.shape[1])
    mean_entropy = torch.special.entr(targets.mean(dim=0)).sum()
    return CollapseSigns(
        entropy.item(), mean_entropy.item(), (cross - entropy).item(), spread.item(), targets.shape[1]
    )
