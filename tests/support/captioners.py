"""Captioners so small that a test builds one, with weights so large that answers depend on what is asked."""

from pathlib import Path
from typing import Any

import torch

from core.captioner.network import Captioner
from core.captioner.vocabulary import END, Tokenizer, make_vocabulary
from core.checkpoints import Architecture, Card, ModelInput, Score, save_checkpoint

VOCABULARY = make_vocabulary()
TOKENIZER = Tokenizer(VOCABULARY)
ARGUMENTS: dict[str, Any] = {
    "image_size": 64,
    "channels": 32,
    "encoder_depth": 1,
    "dim": 16,
    "heads": 2,
    "decoder_depth": 2,
    "vocabulary": len(VOCABULARY),
}


def tiny_captioner(seed: int = 0, **changes: Any) -> Captioner:
    """Return an untrained captioner; it seldom comes to an end by itself."""
    torch.manual_seed(seed)
    model = Captioner(**(ARGUMENTS | changes)).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(3.0)
    return model


def ends_after(model: Captioner, tokens: int) -> Captioner:
    """Let the end be the likeliest word behind `tokens` tokens of prompt and answer together."""
    end = model.words.weight[END] - model.words.weight[END].mean()
    direction = end / end.norm()
    model.words.weight.sub_((model.words.weight @ direction)[:, None] * direction)
    model.words.weight[END] = direction
    model.norm.bias.sub_(2 * direction)  # elsewhere the end is unlikely
    model.text_position[:, tokens:] = 1000 * direction
    return model


def card(arguments: dict[str, Any] = ARGUMENTS, class_name: str = "Captioner") -> Card:
    """Return the card of a small captioner."""
    return Card(
        kind="vlm",
        architecture=Architecture(class_name, arguments),
        labels=VOCABULARY,
        input=ModelInput(64, 64, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        command="python -m core train captioner",
        seed=0,
        data="nothing",
        score=Score("object list F1", 0.5, 2, "two scenes"),
        date="2026-01-31",
        duration_s=1.0,
        licence="MIT",
        title="Tiny",
        note="A tiny one.",
    )


def save_captioner(path: Path, model: Captioner) -> Path:
    """Write a captioner with its card; return `path`."""
    save_checkpoint(path, model, card())
    return path
