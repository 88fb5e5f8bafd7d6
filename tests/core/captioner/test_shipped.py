"""The shipped captioners do on freshly drawn scenes what their cards say."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.captioner.evaluate import Measure, measure
from core.captioner.evaluate import test_scenes as fresh_scenes
from core.captioner.generate import answer, look
from core.checkpoints import Card, read_card
from core.loaders import ModelPool
from core.registry import resolve
from core.settings import ROOT
from core.sources.captioner import CaptionerModel

NAMES = ("captioner-small", "captioner-large")
FIRST_SEED = 11 * 10**12
"""Of scenes that neither training nor card has seen."""
SCENES = 40
MOST_BYTES = 12_000_000


def card_of(name: str) -> Card:
    return read_card(ROOT / "checkpoints" / f"{name}.json")


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Measure]]:
    """The scores of both on the same fresh scenes, by model and score."""
    pool = ModelPool()
    return {name: _measured(pool, name) for name in NAMES}


def _measured(pool: ModelPool, name: str) -> dict[str, Measure]:
    with pool.vlm(resolve(f"shipped/{name}", "vlm")) as model:
        assert isinstance(model, CaptionerModel)
        module, tokenizer = model.module, model.tokenizer

        def ask(rgb: NDArray[np.uint8], prompts: list[str]) -> list[str]:
            visual = look(module, rgb)
            return [answer(module, tokenizer, visual, prompt, 64).text for prompt in prompts]

        return {one.name: one for one in measure(ask, fresh_scenes(SCENES, FIRST_SEED))}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_says_that_it_knows_scenes_only(name: str) -> None:
    weights = Path(ROOT / "checkpoints" / f"{name}.safetensors")
    assert weights.stat().st_size <= MOST_BYTES
    assert "scenes only" in card_of(name).note


@pytest.mark.parametrize("name", NAMES)
def test_it_does_the_four_tasks_on_fresh_scenes(name: str, found: dict[str, dict[str, Measure]]) -> None:
    scores = found[name]
    assert scores["objects"].value >= 0.80
    assert scores["count and colour"].value >= 0.80
    assert scores["ocr"].value >= 0.70
    assert scores["caption"].value >= 0.75


@pytest.mark.parametrize("name", NAMES)
def test_its_card_tells_about_what_fresh_scenes_tell(name: str, found: dict[str, dict[str, Measure]]) -> None:
    card = card_of(name)
    told = {score.name: score.value for score in (card.score, *card.further)}
    assert told["object list F1"] == pytest.approx(found[name]["objects"].value, abs=0.08)
    assert told["count and colour questions"] == pytest.approx(
        found[name]["count and colour"].value, abs=0.08
    )
