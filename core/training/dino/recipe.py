"""What the card of a self-distilled network says: its scores beside those it must be compared with."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from core.checkpoints import Architecture, Card, ModelInput, Score, load_into, read_card, read_weights
from core.nn import VisionTransformer
from core.preprocess import InputConfig
from core.registry import VIT_TASKS, ModelSpec
from core.samples import HELD_OUT
from core.scenes import SceneOptions
from core.settings import ROOT
from core.training.data import MEAN, STD
from core.training.dino.config import DinoConfig
from core.training.dino.crops import TRAIN_SEEDS
from core.training.dino.scores import (
    BANK_SEEDS,
    NEIGHBOURS,
    SINGLE,
    TEST_SEEDS,
    Labelled,
    MaskScores,
    attention_masks,
    cls_features,
    fresh_scenes,
    knn_accuracy,
    probe_accuracy,
)
from core.training.initialise import initialise
from core.vision_model import VisionModel

SUPERVISED = ROOT / "checkpoints" / "vit-scenes.safetensors"
"""The network of labels that the scores stand beside; left out where it is not there."""
MASK_SCENES = 500
"""Scenes that attention masks are measured on, at most."""
NOTE = (
    "Learned without labels: features for comparing patches and pictures of drawn shapes. It has no "
    "classifier, and of photographs it has seen pieces of eleven only."
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A network whose features are measured, and the size of picture it takes."""

    name: str
    vit: VisionTransformer
    size: int


def describe_card(config: DinoConfig, teacher: VisionTransformer, command: str, duration_s: float) -> Card:
    """Return the card of a finished training, with the scores of its features on fresh scenes.

    Args:
        teacher: The trained network, ready for inference.
        command: The command line that trained it.
        duration_s: Wall time of the training, in seconds.
    """
    score, *further = measured(config, teacher)
    return Card(
        kind="features",
        architecture=Architecture("VisionTransformer", config.architecture()),
        labels=(),
        input=ModelInput(config.input_size, config.input_size, MEAN, STD),
        command=command,
        seed=config.seed,
        data=describe_data(config),
        score=score,
        date=datetime.now(UTC).date().isoformat(),
        duration_s=round(duration_s, 1),
        licence="as this repository",
        title="DINO trained here on scenes",
        note=NOTE,
        further=tuple(further),
    )


def measured(config: DinoConfig, teacher: VisionTransformer) -> list[Score]:
    """Return every score, of the teacher first, then of the networks beside it."""
    contestants = [
        Contestant("", teacher, config.input_size),
        Contestant(" of the same network before training", _untrained(config), config.input_size),
        *_supervised(config),
    ]
    found = []
    for title, options in ((" (one object)", SINGLE), (" (one to four objects)", SceneOptions())):
        bank = fresh_scenes(BANK_SEEDS, 2 * config.test_scenes, options)
        test = fresh_scenes(TEST_SEEDS, config.test_scenes, options)
        for contestant in contestants:
            found += _scores(contestant, title, bank, test)
    return found


def _scores(contestant: Contestant, title: str, bank: Labelled, test: Labelled) -> list[Score]:
    features = [cls_features(contestant.vit, part.scenes, contestant.size) for part in (bank, test)]
    both = (features[0], bank.labels, features[1], test.labels)
    scenes = (
        f"fresh scenes{title} of the seeds from {TEST_SEEDS}, class of the largest object (12, colour at "
        f"random), {contestant.size} px; CLS token after the last norm; {len(bank.labels):,} scenes from "
        f"{BANK_SEEDS} to learn from"
    )
    name = f"{title}{contestant.name}"
    n = len(test.labels)
    masks = attention_masks(as_model(contestant), test.scenes[:MASK_SCENES], contestant.size)
    return [
        Score(f"k-NN{name}", knn_accuracy(*both), n, f"{NEIGHBOURS} neighbours by cosine; {scenes}"),
        Score(f"linear probe{name}", probe_accuracy(*both), n, f"logistic regression; {scenes}"),
        *_mask_scores(masks, name, title, contestant, min(n, MASK_SCENES)),
    ]


def _mask_scores(masks: MaskScores, name: str, title: str, contestant: Contestant, n: int) -> list[Score]:
    protocol = (
        f"patches that hold 60 % of the last layer's attention of CLS, against all objects; fresh scenes"
        f"{title} of the seeds from {TEST_SEEDS}, {contestant.size} px"
    )
    return [
        Score(
            f"attention Jaccard, best head{name}", masks.best_head, n, f"best head by the truth; {protocol}"
        ),
        Score(f"attention Jaccard, head mean{name}", masks.head_mean, n, f"mean over heads; {protocol}"),
    ]


def _untrained(config: DinoConfig) -> VisionTransformer:
    torch.manual_seed(config.seed)
    vit = VisionTransformer(**config.architecture())
    initialise(vit)
    return vit.to(config.device).eval()


def _supervised(config: DinoConfig, path: Path = SUPERVISED) -> list[Contestant]:
    """Return the network that learned the same scenes with labels, at the size it learned them."""
    if not path.exists():
        return []
    card = read_card(path)
    vit = VisionTransformer(**card.architecture.arguments)
    load_into(vit, read_weights(path, card.sha256))
    return [
        Contestant(
            f" of {path.stem}, which learned the labels", vit.to(config.device).eval(), card.input.height
        )
    ]


def as_model(contestant: Contestant) -> VisionModel:
    """Return a network as the app would load it."""
    vit = contestant.vit
    size = contestant.size, contestant.size
    return VisionModel(
        spec=ModelSpec("file/training", "training", "file", VIT_TASKS[1:], "training"),
        module=vit,
        device=str(next(vit.parameters()).device),
        dtype="float32",
        input=InputConfig(size, vit.patch_size, MEAN, STD),
        labels=(),
        prefix_tokens=vit.prefix_tokens,
        has_cls=True,
        depth=vit.depth,
        heads=vit.heads,
        load_ms=0.0,
        memory_mb=0.0,
    )


def describe_data(config: DinoConfig) -> str:
    """Return in words what `config` learns from."""
    first = TRAIN_SEEDS + config.seed * 10**9
    scenes = 1 - config.photograph_share
    even, whole = config.evened
    return (
        f"{config.steps * config.pictures_per_step:,} pictures drawn once each, without labels: {scenes:.0%} "
        f"generated scenes of the seeds from {first} ({config.single_share:.0%} of them of one object on an "
        f"even ground, the rest with default options), and {config.photograph_share:.0%} pieces of the "
        f"photographs that scikit-image installs, except {', '.join(HELD_OUT)}; 2 large and "
        f"{config.small_crops} small crops of each with colours mixed at random, brightness and contrast "
        f"evened out for the first {even:.0%} of the steps and all there from {whole:.0%}."
    )
