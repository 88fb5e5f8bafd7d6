"""Greedy answers of a captioner, one token at a time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.captioner.network import Captioner
from core.captioner.picture import squeezed
from core.captioner.vocabulary import ANSWER, END, PAD, START, UNKNOWN, Tokenizer

MEAN, STD = 0.5, 0.25
"""Of the pixels, after / 255, that the network takes; the same for all channels."""


NEVER_SAID = [PAD, START, ANSWER, UNKNOWN]


class Answered(NamedTuple):
    """What a captioner said."""

    text: str
    tokens: int
    ended: bool
    """Whether it came to an end by itself; else the limit of tokens, or somebody, cut it short."""


def normalised(rgb: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return squeezed pictures B S S 3 (0-255) as the network takes them: B 3 S S, float32."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(0, 3, 1, 2).float() / 255
    return ((pixels - MEAN) / STD).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def look(model: Captioner, rgb: NDArray[np.uint8]) -> Tensor:
    """Return what the model sees in a picture H W 3: visual tokens 1 V D."""
    device = next(model.parameters()).device
    visual: Tensor = model.encoder(normalised(squeezed(rgb, model.image_size)[None], device)).visual
    return visual


@torch.inference_mode()
def answer(
    model: Captioner,
    tokenizer: Tokenizer,
    visual: Tensor,
    prompt: str,
    max_tokens: int,
    on_text: Callable[[str], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Answered:
    """Answer a prompt about what was seen: always the likeliest next token that is a word of the vocabulary.

    Args:
        visual: 1 V D, of `look`.
        on_text: Takes each new piece of the answer.
        cancelled: Asked before each token.
    """
    tokens = tokenizer.prompt(prompt)
    asked = len(tokens)
    limit = min(max_tokens, model.max_text - asked)
    said, ended = "", False
    while not ended and len(tokens) - asked < limit and not cancelled():
        logits = model(visual, torch.tensor([tokens], device=visual.device))[0, -1]  # vocabulary
        logits[NEVER_SAID] = float("-inf")
        token = int(logits.argmax())
        ended = token == END
        if not ended:
            tokens.append(token)
            text = tokenizer.decode(tokens[asked:])
            on_text(text[len(said) :])
            said = text
    return Answered(said, len(tokens) - asked, ended)
