"""What every source gives: a network and the facts that only its source knows."""

from typing import TYPE_CHECKING, NamedTuple

from core.preprocess import InputConfig

if TYPE_CHECKING:
    from torch import nn


class Tokens(NamedTuple):
    """What can be looked into in a plain vision transformer; `core.vision_model.VisionModel` explains it."""

    prefix_tokens: int
    has_cls: bool
    depth: int
    heads: int


class Network(NamedTuple):
    """A network as its source built it. `core.vision_model.ImageModel` explains the names."""

    module: "nn.Module"
    input: InputConfig
    labels: tuple[str, ...]
    tokens: Tokens | None
    """None for any other architecture."""
