"""A checkpoint of this repository: weights with a card that says what to build."""

from pathlib import Path

from core.checkpoints import load_into, read_card, read_weights
from core.errors import InputError
from core.preprocess import InputConfig
from core.registry import ModelSpec
from core.sources.network import Network, Tokens


def from_card(spec: ModelSpec) -> Network:
    """A checkpoint of this repository, or its untrained twin (seed 0): the card says what to build."""
    from core.nn import VisionTransformer
    from core.seeded import Seeded

    path = Path(spec.weights)
    card = read_card(path)
    if card.architecture.class_name != "VisionTransformer":
        raise InputError(
            f"{path.name} holds a {card.architecture.class_name}.", "Choose a vision transformer."
        )
    try:
        with Seeded(0):
            module = VisionTransformer(**card.architecture.arguments)
        if len(card.labels) not in (0, module.num_classes):
            raise ValueError(f"{len(card.labels)} labels for {module.num_classes} classes")
        size = (card.input.height, card.input.width)
        # training squeezed whole pictures into this size (core/training/scene_pool.py)
        config = InputConfig(size, module.patch_size, card.input.mean, card.input.std, crop_mode="squash")
    except (TypeError, ValueError, InputError) as error:
        reason = error.message if isinstance(error, InputError) else str(error)
        raise InputError(
            f"The card of {path.name} describes no network: {reason.rstrip('.')}.",
            "Restore the card that came with it.",
        ) from error
    if not spec.is_random:
        load_into(module, read_weights(path, card.sha256))
    return Network(
        module,
        config,
        card.labels,
        Tokens(module.prefix_tokens, module.prefix_tokens > 0, module.depth, module.heads),
    )
