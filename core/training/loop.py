"""One step of gradient descent, and how good a model is."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import InputError
from core.nn import VisionTransformer
from core.training.data import Batch, Pictures, make_batch
from core.training.muon import Muon


class Learner(nn.Module):
    """A Vision Transformer and, while it learns from exact masks, a second head on its patch tokens.

    The second head says what each patch shows and whether it belongs to the largest object. It is why a small
    model learns within an hour: a picture then gives one label a patch instead of one. It is not kept.
    """

    def __init__(self, vit: VisionTransformer, dense: bool) -> None:
        super().__init__()
        self.vit = vit
        self.patch_head = nn.Linear(vit.dim, vit.num_classes + 2) if dense else None

    def forward(self, batch: Batch, dense_weight: float, label_smoothing: float) -> Tensor:
        """Return the mean loss of a batch, over all patches or those that the batch names."""
        tokens = self.vit.embed(batch.pixels)  # B N D
        if batch.visible is not None:
            tokens = self._kept(tokens, batch.visible)  # B prefix_tokens+K D
        tokens = self.vit.encode(tokens)
        logits = self.vit.forward_head(tokens)  # B num_classes
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)
        if self.patch_head is None or batch.patch_classes is None or batch.patch_largest is None:
            return loss
        patches = self.patch_head(tokens[:, self.vit.prefix_tokens :])  # B N num_classes+2
        classes = F.cross_entropy(patches[..., :-1].flatten(0, 1), batch.patch_classes.flatten())
        largest = F.binary_cross_entropy_with_logits(patches[..., -1], batch.patch_largest)
        return loss + dense_weight * (classes + largest)

    def _kept(self, tokens: Tensor, visible: Tensor) -> Tensor:
        prefix, patches = tokens[:, : self.vit.prefix_tokens], tokens[:, self.vit.prefix_tokens :]
        chosen = patches.gather(1, visible[..., None].expand(-1, -1, patches.shape[2]))  # B K D
        return torch.cat((prefix, chosen), dim=1)


def make_optimizers(learner: Learner, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the blocks, and AdamW for the rest.

    Biases, norms, positions and the CLS token do not decay.
    """
    matrices = [p for p in learner.vit.blocks.parameters() if p.ndim == 2]
    taken = {id(p) for p in matrices}
    rest = [p for p in learner.parameters() if id(p) not in taken]
    kept = {id(p) for p in (learner.vit.position.weight, learner.vit.cls_token)}
    decayed = [p for p in rest if p.ndim > 1 and id(p) not in kept]
    plain = [p for p in rest if p.ndim <= 1 or id(p) in kept]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [Muon(matrices, lr, weight_decay), torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))]


@dataclass(frozen=True)
class Precision:
    """In which number format a device multiplies."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context that runs matrix products in `dtype`."""
        mixed = self.dtype != torch.float32
        context: AbstractContextManager[None] = torch.autocast(self.device.type, self.dtype, enabled=mixed)
        return context

    def scaler(self) -> torch.amp.GradScaler:
        """Return the loss scaling that float16 needs; it does nothing for other formats."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)


def choose_precision(device: torch.device) -> Precision:
    """Return bfloat16 or float16 on a CUDA device, float32 elsewhere."""
    if device.type != "cuda":
        return Precision(device, torch.float32)
    return Precision(device, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)


@dataclass(frozen=True)
class Objective:
    """What a step minimises and how far it may go."""

    dense_weight: float
    label_smoothing: float
    clip_norm: float


def train_step(
    learner: Learner,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
    batches: Sequence[Batch],
    objective: Objective,
    precision: Precision,
    executor: Executor,
) -> float:
    """Take one step along the mean gradient of `batches` (one or more: gradient accumulation).

    The batches run on `executor`; their gradients are added in order, so the result does not depend on it.

    Returns:
        The mean loss.

    Raises:
        InputError: The loss is not a finite number any more.
    """
    parameters = list(learner.parameters())

    def gradients(batch: Batch) -> tuple[float, tuple[Tensor, ...]]:
        with precision.autocast():
            loss = learner(batch.to(precision.device), objective.dense_weight, objective.label_smoothing)
        return loss.item(), torch.autograd.grad(scaler.scale(loss), parameters)

    total = 0.0
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for loss, found in executor.map(gradients, batches):
        total += loss / len(batches)
        for so_far, gradient in zip(sums, found, strict=True):
            so_far.add_(gradient, alpha=1 / len(batches))
    for parameter, mean in zip(parameters, sums, strict=True):
        parameter.grad = mean
    if not math.isfinite(total):
        raise InputError(f"The training diverged: its loss is {total}.", "Choose a lower learning rate.")
    for optimizer in optimizers:
        scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(parameters, objective.clip_norm)
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
    return total


def chunks(count: int, size: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Yield the indices below `count` in order, `size` at a time."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


@torch.inference_mode()
def top1(vit: VisionTransformer, pictures: Pictures, device: torch.device, batch_size: int = 100) -> float:
    """Return the share (0-1) of pictures whose highest logit is their label's."""
    vit.eval()
    right = 0
    for indices in chunks(len(pictures), batch_size):
        batch = make_batch(pictures, indices).to(device)
        right += int((vit(batch.pixels).argmax(dim=1) == batch.labels).sum())
    vit.train()
    return right / len(pictures)
