"""What a captioner learns from: the exact truth of each patch, and the next word of each answer."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.captioner.generate import normalised
from core.captioner.network import Captioner
from core.training.captioner.data import CaptionBatch, answer_part

NOT_LEARNED = -100
"""Target of a token that is no part of an answer."""


@dataclass(frozen=True, eq=False)
class StepLoss:
    """What a batch came to. Where the encoder stays as it is, the dense loss is told and not learned from."""

    loss: Tensor
    dense: Tensor
    words: Tensor
    """Mean cross-entropy of the answers' tokens; 0 where none were learned."""
    patches_right: Tensor
    """Share (0-1) of patches with an object whose colour and shape are both right."""
    words_right: Tensor
    """Share (0-1) of the answers' tokens that are the likeliest; 0 where none were learned."""


def dense_loss(logits: tuple[Tensor, ...], truth: Tensor) -> Tensor:
    """Return the mean cross-entropy of each head, patches that show something weighing as much as the others.

    Args:
        logits: B N K for each head.
        truth: B N heads, int64, 0 for nothing.
    """
    total = torch.zeros((), device=truth.device)
    for place, head in enumerate(logits):
        target = truth[..., place]
        each = F.cross_entropy(head.flatten(0, 1), target.flatten(), reduction="none")
        something = (target > 0).flatten().float()
        weights = something / something.sum().clamp(min=1) + (1 - something) / (1 - something).sum().clamp(
            min=1
        )
        total = total + 0.5 * (each * weights).sum()
    return total


def answer_loss(model: Captioner, visual: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the summed cross-entropy of all answers' tokens, how many are right, and how many there are.

    Args:
        visual: B V D.
        text: B R T: R prompts with their answers about each picture.
    """
    part = torch.from_numpy(answer_part(text.numpy(force=True))).to(text.device)
    target = text.masked_fill(~part, NOT_LEARNED).flatten(0, 1)[:, 1:]  # BR T-1
    rows = visual.repeat_interleave(text.shape[1], dim=0)  # BR V D
    logits = model(rows, text.flatten(0, 1)[:, :-1])  # BR T-1 vocabulary
    flat = logits.flatten(0, 1).float()
    loss = F.cross_entropy(flat, target.flatten(), ignore_index=NOT_LEARNED, reduction="sum")
    known = target.flatten() != NOT_LEARNED
    return loss, (flat.argmax(dim=-1) == target.flatten())[known].sum(), known.sum()


def batch_loss(
    model: Captioner,
    batch: CaptionBatch,
    device: torch.device,
    *,
    encoder_learns: bool,
    decoder_learns: bool,
) -> StepLoss:
    """Return the losses of a batch, for what learns of it."""
    truth = torch.from_numpy(batch.dense).to(device).long()
    with torch.set_grad_enabled(encoder_learns and torch.is_grad_enabled()):
        seen = model.encoder(normalised(batch.rgb, device))
    dense = dense_loss(seen.dense, truth)
    shown = truth[..., 0] > 0
    found = [seen.dense[head].argmax(dim=-1) == truth[..., head] for head in (0, 1)]
    patches_right = (found[0] & found[1])[shown].float().mean()
    none = torch.zeros((), device=device)
    if not decoder_learns:
        return StepLoss(dense, dense.detach(), none, patches_right, none)
    texts = [torch.from_numpy(text).to(device) for text in (batch.short, batch.captions)]
    parts = [torch.stack(answer_loss(model, seen.visual, text)) for text in texts]
    total, right, count = (parts[0] + parts[1]).unbind()
    words = total / count
    loss = dense + words if encoder_learns else words
    return StepLoss(loss, dense.detach(), words.detach(), patches_right, (right / count).detach())
