"""The segmenter that is shipped: what its card says is so, measured again on pictures nobody has seen."""

import hashlib
import secrets

import numpy as np
import pytest

from core.checkpoints import read_card
from core.loaders import ModelPool
from core.registry import resolve
from core.segment.evaluate import evaluate, truth_pictures
from core.segment.scores import Evaluation
from core.settings import ROOT

WEIGHTS = ROOT / "checkpoints" / "sam-scenes.safetensors"
MAX_BYTES = 8 * 10**6
PICTURES = 25
"""Of each kind."""


@pytest.fixture(scope="module")
def measured() -> Evaluation:
    """The score on fresh pictures of a random seed."""
    with ModelPool(device="cpu").segmenter(resolve("shipped/sam-scenes")) as model:
        return evaluate(model, truth_pictures(PICTURES, secrets.randbelow(10**6)), clicks=3, seed=0)


def test_it_is_small_and_the_file_that_its_card_describes() -> None:
    card = read_card(WEIGHTS)
    assert WEIGHTS.stat().st_size <= MAX_BYTES
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == card.sha256
    assert 10**6 <= card.parameters <= 2 * 10**6


def test_its_card_tells_the_scores_that_it_has(measured: Evaluation) -> None:
    """Within 3.5 standard errors of the objects measured here."""
    card = read_card(WEIGHTS)
    told = {score.name: score.value for score in (card.score, *card.further)}
    for name, values in (
        ("mean IoU after one click", [score.iou[0] for score in measured.scores]),
        ("mean IoU after three clicks", [score.iou[2] for score in measured.scores]),
        ("mean IoU by the exact box", [score.box_iou for score in measured.scores]),
    ):
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert abs(np.mean(values) - told[name]) <= 3.5 * error, name


def test_it_knows_how_good_it_is(measured: Evaluation) -> None:
    correlation = measured.overall.predicted_correlation
    assert correlation is not None and correlation >= 0.6


def test_it_is_at_home_on_plain_scenes(measured: Evaluation) -> None:
    plain = measured.by_kind["plain"]
    assert plain.mean_iou[0] >= 0.82 and plain.mean_iou[2] >= 0.88 and plain.box_mean_iou >= 0.88
