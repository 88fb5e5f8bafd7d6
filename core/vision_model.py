"""A loaded network that takes pixels, whichever library it comes from: one set of names.

ImageModel          pixels in, classes out: any architecture
└── VisionModel     a plain vision transformer, whose tokens, layers and heads can be looked into
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.preprocess import InputConfig
from core.registry import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageModel:
    """Weights on a device, ready to run. It is shared by everybody: nothing on it is ever changed.

    `labels` is empty for a model without a classifier.
    """

    spec: ModelSpec
    module: "nn.Module"
    device: str
    dtype: str
    input: InputConfig
    labels: tuple[str, ...]
    load_ms: float
    memory_mb: float
    """Size of the weights, in MB (10^6 bytes)."""

    def forward(self, pixels: "Tensor") -> "Tensor":
        """Return logits B C of pixels B 3 H W; without a classifier, the model's own pooled features B D."""
        output = self.module(pixels)
        if hasattr(output, "last_hidden_state"):  # a backbone of transformers
            output = output.last_hidden_state[:, 0]  # B D
        logits: Tensor = getattr(output, "logits", output)  # a classifier of transformers wraps them
        return logits


@dataclass(frozen=True, eq=False, kw_only=True)
class VisionModel(ImageModel):
    """A plain vision transformer.

    `prefix_tokens` counts the tokens in front of the patches: CLS and registers; `has_cls` says whether the
    first of them is CLS.
    """

    prefix_tokens: int
    has_cls: bool
    depth: int
    heads: int
