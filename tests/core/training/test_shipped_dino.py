"""The shipped network that learned without labels: what its card says is so."""

import hashlib
import secrets
from functools import lru_cache
from math import sqrt

import pytest

from core.checkpoints import Score, load_into, read_card, read_weights
from core.nn import VisionTransformer, count_parameters
from core.registry import resolve
from core.settings import ROOT
from core.training.dino.config import DinoConfig
from core.training.dino.crops import TRAIN_SEEDS
from core.training.dino.recipe import Contestant, as_model
from core.training.dino.scores import SINGLE, attention_masks, cls_features, fresh_scenes, knn_accuracy

WEIGHTS = ROOT / "checkpoints" / "dino-scenes.safetensors"
MAX_BYTES = 8 * 10**6
BEFORE = " of the same network before training"
LABELLED = " of vit-scenes, which learned the labels"


@lru_cache
def shipped() -> Contestant:
    card = read_card(WEIGHTS)
    vit = VisionTransformer(**card.architecture.arguments).eval()
    load_into(vit, read_weights(WEIGHTS, card.sha256))
    return Contestant("", vit, card.input.height)


@lru_cache
def scores() -> dict[str, Score]:
    card = read_card(WEIGHTS)
    return {score.name: score for score in (card.score, *card.further)}


def test_it_is_small_and_the_file_that_its_card_describes() -> None:
    card = read_card(WEIGHTS)
    assert WEIGHTS.stat().st_size <= MAX_BYTES
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == card.sha256
    assert count_parameters(shipped().vit) == card.parameters
    assert resolve("shipped/dino-scenes").tasks == ("attention", "features")
    assert DinoConfig(seed=card.seed).architecture() | dict(card.architecture.arguments) == dict(
        card.architecture.arguments
    )


def test_its_card_sets_every_score_beside_the_other_two() -> None:
    for kind in ("k-NN", "linear probe", "attention Jaccard, best head", "attention Jaccard, head mean"):
        for scenes in (" (one object)", " (one to four objects)"):
            assert {f"{kind}{scenes}{rival}" for rival in ("", BEFORE, LABELLED)} <= scores().keys()


def test_it_learned_shapes_that_nobody_named() -> None:
    """By its card: neighbours name the shape 20 points more often than before training."""
    gained = scores()["k-NN (one object)"].value - scores()[f"k-NN (one object){BEFORE}"].value
    assert gained >= 0.20


@pytest.mark.parametrize("masks", ["best head", "head mean"])
def test_its_attention_lies_on_objects_that_nobody_outlined(masks: str) -> None:
    """By its card: the masks of its attention overlap objects by 10 points more than before training."""
    name = f"attention Jaccard, {masks} (one object)"
    assert scores()[name].value - scores()[f"{name}{BEFORE}"].value >= 0.10


def test_scenes_that_nobody_chose_agree_with_its_card() -> None:
    """Fresh scenes of random seeds, by the card's protocol, give its k-NN within 3.5 standard errors, and its
    masks within 5 points."""
    count, learned = 400, 4_000
    first = secrets.randbelow(10**9)
    assert first + learned + count < TRAIN_SEEDS
    bank, test = fresh_scenes(first, learned, SINGLE), fresh_scenes(first + learned, count, SINGLE)
    model = shipped()
    features = [cls_features(model.vit, part.scenes, model.size) for part in (bank, test)]
    found = knn_accuracy(features[0], bank.labels, features[1], test.labels)
    said = scores()["k-NN (one object)"].value
    tolerance = 3.5 * sqrt(said * (1 - said) / count)
    assert found >= said - tolerance, f"{found:.4f} from seed {first}"
    masks = attention_masks(as_model(model), test.scenes[:150], model.size)
    assert masks.best_head == pytest.approx(
        scores()["attention Jaccard, best head (one object)"].value, abs=0.05
    )
