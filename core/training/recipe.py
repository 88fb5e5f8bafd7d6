"""What a configuration stands for: which pictures, which model, and the card that says so."""

from datetime import UTC, datetime
from typing import Any

import torch

from core.checkpoints import Architecture, Card, ModelInput, Score, load_into, read_card, read_weights
from core.nn import VisionTransformer
from core.training.config import TrainConfig
from core.training.data import MEAN, STD, Pictures, digits, scenes
from core.training.initialise import initialise
from core.training.loop import Learner, top1

VALIDATION_SCENES = 500
TRAIN_SEEDS, VALIDATION_SEEDS, TEST_SEEDS = 10**12, 2 * 10**12, 3 * 10**12
"""First scene seeds of three ranges that never meet each other, nor any seed a person would type."""

WHAT_IT_SAYS = {
    "scenes": "Names the largest object of a generated scene, one of twelve shapes.",
    "digits": "Names a handwritten digit.",
}


def pictures(config: TrainConfig) -> tuple[Pictures, Pictures]:
    """Return what to learn from and what to validate on."""
    if config.data == "digits":
        return digits(config.image_size)
    train = _scenes(config, first_train_seed(config), config.scenes)
    return train, _scenes(config, VALIDATION_SEEDS, VALIDATION_SCENES)


def first_train_seed(config: TrainConfig) -> int:
    """Return the seed of the first scene to learn from."""
    return TRAIN_SEEDS + config.seed * 10**8


def _scenes(config: TrainConfig, first: int, count: int) -> Pictures:
    folder = config.work / f"scenes-{first}-{count}-{config.image_size}-{config.patch_size}"
    return scenes(folder, range(first, first + count), config.image_size, config.patch_size)


def architecture(config: TrainConfig, num_classes: int) -> dict[str, Any]:
    """Return the arguments of `VisionTransformer` that `config` stands for."""
    names = ("image_size", "patch_size", "dim", "depth", "heads", "mlp_dim", "pool", "dropout")
    return {name: getattr(config, name) for name in names} | {"num_classes": num_classes}


def new_learner(config: TrainConfig, train: Pictures) -> Learner:
    """Return the model to train: freshly initialised, or with the weights of `start_from`."""
    vit = VisionTransformer(**architecture(config, len(train.names)))
    if config.start_from is None:
        initialise(vit)
    else:
        given = read_card(config.start_from)
        weights = read_weights(config.start_from, given.sha256)
        earlier = VisionTransformer(**given.architecture.arguments)
        load_into(earlier, weights)
        weights["position.weight"] = earlier.position.resized(vit.position.grid).detach()
        load_into(vit, weights)
    dense = config.dense_weight > 0 and train.patch_classes is not None
    return Learner(vit, dense).to(config.device)


def measured(config: TrainConfig, vit: VisionTransformer, held_out: Pictures, device: torch.device) -> Score:
    """Return the score for the card: on fresh scenes, or on the digits that were held out."""
    if config.data == "digits":
        protocol = "every fifth digit, none of them learned from"
        return Score("top-1", top1(vit, held_out, device), len(held_out), protocol)
    test = _scenes(config, TEST_SEEDS, config.test_scenes)
    protocol = f"scenes of the seeds from {TEST_SEEDS}, default options, none of them learned from"
    return Score("top-1", top1(vit, test, device), len(test), protocol)


def describe_card(
    config: TrainConfig, names: tuple[str, ...], score: Score, command: str, duration_s: float
) -> Card:
    """Return the card of a finished training."""
    return Card(
        kind="classification",
        architecture=Architecture("VisionTransformer", architecture(config, len(names))),
        labels=names,
        input=ModelInput(config.image_size, config.image_size, MEAN, STD),
        command=command,
        seed=config.seed,
        data=describe_data(config),
        score=score,
        date=datetime.now(UTC).date().isoformat(),
        duration_s=round(duration_s, 1),
        licence="as this repository",
        title=f"ViT trained here on {config.data}",
        note=WHAT_IT_SAYS[config.data],
    )


def describe_data(config: TrainConfig) -> str:
    """Return in words what `config` learns from."""
    seen = f"{config.total_steps * config.pictures_per_step:,} pictures seen."
    if config.data == "digits":
        return f"Four fifths of scikit-learn's 1,797 digits, enlarged; {seen}"
    said = (
        f"{config.scenes:,} generated scenes of the seeds from {first_train_seed(config)}, default options, "
        f"with their colour channels in random order; {seen}"
    )
    if config.dense_weight:
        said += (
            " Beside the class of the largest object, each patch learned which class covers it and whether"
            f" that is the largest object (weight {config.dense_weight:g}; that head is not kept)."
        )
    if config.focus_share:
        side = config.focus_side
        said += (
            f" The first {config.focus_share:.0%} of the steps saw only {side} x {side} patches around the"
            " largest object."
        )
    if config.shift_px:
        said += f" Pictures were moved at random by up to {config.shift_px} pixels."
    return said
