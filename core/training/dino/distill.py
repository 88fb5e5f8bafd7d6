"""Student and teacher, and what one step does to them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.nn import VisionTransformer
from core.training.dino.config import DinoConfig
from core.training.dino.crops import Crops
from core.training.dino.head import DinoHead
from core.training.dino.loss import DinoLoss
from core.training.dino.monitor import CollapseSigns, collapse_signs
from core.training.dino.schedule import cosine_between, learning_rate, warmed_up
from core.training.initialise import initialise
from core.training.muon import Muon


@dataclass(frozen=True, eq=False, slots=True)
class StepResult:
    """What one step came to; `signs` reads more from it where that is wanted."""

    loss: float
    lr: float
    targets: Tensor
    """N K: the teacher's, of all large crops of the last pass."""
    student_logits: Tensor
    """N K, of the same crops."""
    features: Tensor
    """N D, the student's."""
    temperature: float

    def signs(self) -> CollapseSigns:
        """Return the signs of collapse."""
        return collapse_signs(self.targets, self.student_logits, self.temperature, self.features)


class DinoNetwork(nn.Module):
    """A Vision Transformer with the projection head on its CLS token."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.backbone = VisionTransformer(**config.architecture())
        initialise(self.backbone)
        self.head = DinoHead(config.dim, config.prototypes, config.hidden_dim, config.bottleneck_dim)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return CLS features V B D and logits V B K of V views, pixels V B 3 S S."""
        tokens = self._encode(self.backbone.embed(pixels.flatten(0, 1)))  # V*B N D
        features = tokens[:, 0].view(*pixels.shape[:2], -1)  # V B D
        return features, self.head(features)

    def _encode(self, tokens: Tensor) -> Tensor:
        if tokens.device.type != "cpu" or not torch.is_grad_enabled():
            return self.backbone.encode(tokens)
        for block in self.backbone.blocks:
            # the explicit formula: the fused kernel's gradient takes most of a step for so few tokens (CPU)
            tokens, _ = block(tokens, return_weights=True)
        normed: Tensor = self.backbone.norm(tokens)
        return normed


class Distillation(nn.Module):
    """A student, its slowly following teacher, the loss between them, and the student's optimizers."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.config, self.device = config, torch.device(config.device)
        self.student = DinoNetwork(config)
        self.teacher = DinoNetwork(config).requires_grad_(False)
        self.teacher.load_state_dict(self.student.state_dict())
        self.loss = DinoLoss(
            config.prototypes, config.centring, config.student_temperature, config.center_momentum
        )
        self.to(self.device)
        self.optimizers = make_optimizers(self.student, config)

    @property
    def in_half(self) -> bool:
        """Whether matrix products run in bfloat16."""
        if not self.config.half:
            return False
        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported())
        return bool(self.device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())

    def learn(self, crops: Crops, step: int) -> StepResult:
        """Take step number `step`, counted from 0."""
        config = self.config
        lr = self._schedule(step)
        with torch.no_grad(), self._half():
            _, teacher_logits = self.teacher(crops.large)  # 2 B K
        warmup = round(config.temperature_warmup * config.steps)
        temperature = warmed_up(config.teacher_temperature_start, config.teacher_temperature, step, warmup)
        targets = self.loss.targets(teacher_logits, temperature)
        self.student.zero_grad()
        loss, last = self.gradients(crops, targets)
        if step < config.freeze_share * config.steps:
            self.student.head.prototypes.grad = None  # frozen: no step and no decay
        nn.utils.clip_grad_norm_(self.student.parameters(), config.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.loss.update_center(teacher_logits)
        self.follow(cosine_between(config.teacher_momentum, 1.0, step, config.steps))
        seen = targets[:, -config.batch_size :].flatten(0, 1)
        return StepResult(loss, lr, seen, last[1], last[0], config.student_temperature)

    def gradients(self, crops: Crops, targets: Tensor) -> tuple[float, tuple[Tensor, Tensor]]:
        """Add up the gradient of the mean loss over all pictures, `batch_size` of them at a time.

        Returns:
            The loss; and of the last pass the student's features N D and logits N K of the large crops.
        """
        size, total = self.config.batch_size, 0.0
        passes = crops.large.shape[1] // size
        for start in range(0, passes * size, size):
            part = slice(start, start + size)
            with self._half():
                features, logits = self.student(crops.large[:, part])
                views = list(logits)
                if len(crops.small):
                    views += list(self.student(crops.small[:, part])[1])
            loss = self.loss(views, targets[:, part]) / passes
            loss.backward()
            total += loss.item()
        return total, (features.detach().flatten(0, 1), logits.detach().flatten(0, 1))

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the teacher towards the student: momentum x itself + (1 - momentum) x the student."""
        for own, other in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            own.lerp_(other, 1 - momentum)

    def _schedule(self, step: int) -> float:
        """Set learning rate and weight decay of the step; return the learning rate."""
        config = self.config
        warmup = round(config.warmup_share * config.steps)
        lr = learning_rate(step, config.steps, warmup, config.lr, config.last_lr)
        decay = cosine_between(config.weight_decay, config.last_weight_decay, step, config.steps)
        for group in (g for optimizer in self.optimizers for g in optimizer.param_groups):
            group["lr"] = lr
            if group["decays"]:
                group["weight_decay"] = decay
        return lr

    def _half(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_half)


def make_optimizers(student: nn.Module, config: DinoConfig) -> Sequence[torch.optim.Optimizer]:
    """Return Muon for the matrices of blocks and head, AdamW for the rest; only matrices decay."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in student.named_parameters():
        is_matrix = parameter.ndim == 2 and name != "head.prototypes"
        (matrices if is_matrix else rest).append(parameter)
    muon = Muon(matrices, config.lr, config.weight_decay)
    adamw = torch.optim.AdamW([{"params": rest, "weight_decay": 0.0, "decays": False}], lr=config.lr)
    muon.param_groups[0]["decays"] = True
    return muon, adamw
