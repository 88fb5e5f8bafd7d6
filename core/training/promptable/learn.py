"""Prompts, as a person would give them, and the loss of the masks that answer them.

Source: Kirillov et al. 2023 (Segment Anything), section 3 and appendix A: focal and dice loss 20 to 1, the
best of three masks learns, the IoU head learns the IoU each mask really has, and later clicks fall into what
is wrong, of the sign that mends it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from core.training.promptable.data import PromptableBatch

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

BOX_JITTER = 0.1
"""Standard deviation of a box's edge as a share of its side; at most 20 pixels."""
MASK_SHARE = 0.75
"""Share of the later rounds that see the mask of the round before."""
FOCAL_WEIGHT, FOCAL_GAMMA, FOCAL_ALPHA = 20.0, 2.0, 0.25


@dataclass
class Prompts:
    """What has been prompted for N objects so far; coordinates in pixels of the model's picture."""

    points: Tensor
    """N K 2, float32, x and y."""
    labels: Tensor
    """N K, 1 include and 0 exclude."""
    boxes: Tensor | None
    """N 4, x0 y0 x1 y1, or None."""
    logits: Tensor | None = None
    """N 1 4G 4G: the mask of the round before, or None."""


def decode_rows(sam: "Sam", embeddings: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Return mask logits N 4 s s and predicted IoUs N 4 (the single mask first) for prompts of many pictures.

    `embeddings` is N C G G, each object's picture. `MaskDecoder.predict_masks` takes one picture at a time;
    row by row this is the same computation.
    """
    points = (prompts.points, prompts.labels) if prompts.points.shape[1] else None
    with torch.autocast(embeddings.device.type, enabled=False):  # places need more digits than bfloat16 has
        sparse, dense = sam.prompt_encoder(points, prompts.boxes, prompts.logits)
    decoder = sam.mask_decoder
    fixed = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])  # 5 C
    tokens = torch.cat((fixed.expand(len(embeddings), -1, -1), sparse), dim=1)  # N 5+P C
    position = sam.prompt_encoder.get_dense_pe().expand(len(embeddings), -1, -1, -1)
    hidden, source = decoder.transformer(embeddings + dense, position, tokens)
    upscaled = decoder.output_upscaling(source.transpose(1, 2).reshape(embeddings.shape))  # N c s s
    weights = torch.stack(
        [mlp(hidden[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )  # N 4 c
    masks = (weights @ upscaled.flatten(2)).view(*weights.shape[:2], *upscaled.shape[2:])
    return masks, decoder.iou_prediction_head(hidden[:, 0])


def mask_loss(logits: Tensor, truth: Tensor, predicted_iou: Tensor) -> Tensor:
    """Return the mean loss of masks N 4 h w, whose first is the single mask, against truth N h w.

    Args:
        logits: Above 0 means inside.
        truth: float, 0 or 1.
        predicted_iou: N 4.
    """
    target = truth[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    share = logits.sigmoid()
    right = share * target + (1 - share) * (1 - target)
    balance = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    focal = (balance * (1 - right) ** FOCAL_GAMMA * entropy).mean(dim=(2, 3))  # N 4
    overlap = (share * target).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (share.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)  # N 4
    each = FOCAL_WEIGHT * focal + dice
    error = (predicted_iou - mask_iou(logits > 0, truth > 0.5)).square().mean()
    return each[:, 0].mean() + each[:, 1:].amin(dim=1).mean() + error


def mask_iou(masks: Tensor, truth: Tensor) -> Tensor:
    """Return the IoU of masks N M h w (bool) with truth N h w (bool): N M."""
    target = truth[:, None]
    union = (masks | target).sum(dim=(2, 3)).clamp(min=1)
    return (masks & target).sum(dim=(2, 3)) / union


def first_prompts(truth: Tensor, by_box: bool, scale: float) -> Prompts:
    """Return a random click inside each object (truth N h w, bool), or a roughly drawn box around it.

    `scale` is how many of the model's pixels one of `truth` is wide.
    """
    if by_box:
        none = torch.zeros(len(truth), 0, 2, device=truth.device)
        return Prompts(none, none[..., 0], _boxes(truth, scale))
    points = _random_places(truth.float(), scale)
    return Prompts(points, torch.ones_like(points[..., 0]), None)


def _boxes(truth: Tensor, scale: float) -> Tensor:
    rows, columns = truth.any(dim=2), truth.any(dim=1)  # N h, N w
    edges = []
    for seen in (columns, rows):
        length = seen.shape[1]
        first = seen.float().argmax(dim=1)
        last = length - seen.flip(1).float().argmax(dim=1)
        side = (last - first).float()
        jitter = (torch.randn(2, len(seen), device=seen.device) * BOX_JITTER * side).clamp(-20, 20)
        steady = torch.rand(len(seen), device=seen.device) < 0.5  # half of the boxes are exact
        jitter = jitter.masked_fill(steady, 0.0)
        edges.append((torch.stack((first, last)) + jitter).clamp(0, length) * scale)
    (x0, x1), (y0, y1) = edges
    return torch.stack((x0, y0, x1, y1), dim=1)


def _random_places(weights: Tensor, scale: float) -> Tensor:
    """Return one place N 1 2 (x, y) for each map of weights N h w, drawn in proportion to them."""
    rising = (weights.flatten(1) + 1e-12).cumsum(dim=1)  # N hw
    drawn = torch.rand(len(weights), 1, device=weights.device) * rising[:, -1:]
    place = torch.searchsorted(rising, drawn)[:, 0].clamp(max=rising.shape[1] - 1)
    xy = torch.stack((place % weights.shape[2], place // weights.shape[2]), dim=1)
    return ((xy + torch.rand_like(xy.float())) * scale)[:, None]


def next_click(prompts: Prompts, mask: Tensor, truth: Tensor, scale: float) -> Prompts:
    """Return `prompts` with one more click each, where `mask` (N h w, bool) is wrong.

    Half of the clicks fall anywhere in the error, half near the middle of a large part of it. Where nothing
    is wrong the click falls inside the object.
    """
    wrong = (mask ^ truth).float()
    wrong = torch.where(wrong.sum(dim=(1, 2), keepdim=True) > 0, wrong, truth.float())
    rows = F.avg_pool2d(wrong[:, None], (11, 1), stride=1, padding=(5, 0))
    middle = F.avg_pool2d(rows, (1, 11), stride=1, padding=(0, 5))[:, 0] ** 4 * wrong
    anywhere = torch.rand(len(wrong), 1, 1, device=wrong.device) < 0.5
    points = _random_places(torch.where(anywhere, wrong, middle), scale)
    at = (points[:, 0] / scale).long()
    labels = truth[torch.arange(len(truth)), at[:, 1], at[:, 0]].float()[:, None]
    return Prompts(
        torch.cat((prompts.points, points), dim=1), torch.cat((prompts.labels, labels), dim=1), prompts.boxes
    )


@dataclass(frozen=True)
class StepLoss:
    """What one step came to."""

    loss: Tensor
    """Scalar, to be minimised."""
    click_iou: Tensor
    """Scalar: mean IoU of the mask of highest predicted IoU after the first click."""
    box_iou: Tensor
    """Scalar: the same after the box."""


def batch_loss(sam: "Sam", batch: PromptableBatch, rounds: int) -> StepLoss:
    """Return the mean loss over `rounds` of prompts; every other object starts with a box."""
    embeddings = sam.image_encoder(batch.pixels)  # B C G G
    scale = batch.pixels.shape[-1] / batch.truth.shape[-1]
    parts = []
    for start, by_box in ((0, False), (1, True)):
        rows = slice(start, None, 2)
        of_object = embeddings[batch.picture[rows]]
        parts.append(_rounds_loss(sam, of_object, batch.truth[rows], rounds, by_box, scale))
    (click_loss, click_iou), (box_loss, box_iou) = parts
    return StepLoss((click_loss + box_loss) / 2, click_iou, box_iou)


def _rounds_loss(
    sam: "Sam", embeddings: Tensor, truth: Tensor, rounds: int, by_box: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """Return the mean loss over the rounds, and the mean IoU after the first."""
    prompts = first_prompts(truth, by_box, scale)
    losses, first_iou = [], torch.zeros(())
    for number in range(rounds):
        low, predicted_iou = decode_rows(sam, embeddings, prompts)
        logits = F.interpolate(low.float(), truth.shape[1:], mode="bilinear", align_corners=False)
        losses.append(mask_loss(logits, truth.float(), predicted_iou.float()))
        if number == 0:
            best = 1 + predicted_iou[:, 1:].argmax(dim=1, keepdim=True)
            first_iou = mask_iou(logits.detach() > 0, truth).gather(1, best).mean()
        if number + 1 < rounds:
            prompts = _after(prompts, low.detach().float(), logits.detach(), predicted_iou, truth, scale)
    return torch.stack(losses).mean(), first_iou


def _after(
    prompts: Prompts, low: Tensor, logits: Tensor, predicted_iou: Tensor, truth: Tensor, scale: float
) -> Prompts:
    """Return the prompts of the next round: a click into the error of the mask that a person would keep."""
    several = torch.rand(()) < 0.5  # of the three, or the single one
    chosen = 1 + predicted_iou[:, 1:].argmax(dim=1) if several else torch.zeros_like(truth[:, 0, 0]).long()
    row = torch.arange(len(truth))
    following = next_click(prompts, logits[row, chosen] > 0, truth, scale)
    if torch.rand(()) < MASK_SHARE:
        following.logits = low[row, chosen][:, None]
    return following
