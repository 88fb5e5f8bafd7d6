"""The contract of a vision-language model on this machine, and what one generation gives."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from core.images import ImageInput
from core.registry import ModelSpec
from core.vlm.base import TextSink

Finish = Literal["stop", "length", "cancelled"]
"""Why a generation ended: by itself, at the limit of tokens, or because `cancelled` said so."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote."""

    text: str
    """All of it: the pieces that `on_text` was given, joined."""
    finish: Finish
    input_tokens: int
    """Of the whole request, those of the picture included."""
    image_tokens: int | None
    """Those of the picture; None where it does not enter the text as tokens."""
    output_tokens: int
    """Written before the end; a mark of the end counts."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LocalModel(ABC):
    """Weights on a device, ready to answer. It is shared by everybody."""

    spec: ModelSpec
    device: str
    dtype: str
    load_ms: float
    memory_mb: float
    """Size of the weights, in MB (10^6 bytes)."""
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held by whoever generates: models of transformers keep positions of the running request on themselves,
    and two at once on one device would only slow each other down."""

    @abstractmethod
    def generate(
        self,
        image: ImageInput,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float | None,
        on_text: TextSink,
        cancelled: Callable[[], bool],
    ) -> Generated:
        """Answer a prompt about a picture. Needs `turn`.

        Args:
            max_tokens: Most tokens of the answer.
            temperature: 0 always takes the likeliest token; None leaves the model's own way of choosing.
            on_text: Takes each piece of text as it is written.
            cancelled: Asked before each further token.

        Raises:
            InputError: The model cannot take this picture or prompt.
            SetupError: The memory does not suffice.
        """
