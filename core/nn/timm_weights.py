"""timm's weights in our Vision Transformer: the proof that both compute the same function."""

from collections.abc import Mapping

from torch import Tensor

from core.checkpoints import load_into
from core.nn.vit import VisionTransformer

OUR_NAMES = {"pos_embed": "position.weight"}
"""timm's names that differ from ours; every other tensor has the same name and layout."""


def load_timm_state(model: VisionTransformer, state_dict: Mapping[str, Tensor]) -> None:
    """Load the state dict of a plain timm ViT (`vit_{tiny,small,base}_patch16_224` …) into `model`.

    Source: timm/models/vision_transformer.py, class VisionTransformer.

    Raises:
        InputError: It is of another architecture or size.
    """
    load_into(model, {OUR_NAMES.get(name, name): value for name, value in state_dict.items()})
