"""What a captioner's card says: how well it does the four tasks, and that it knows scenes only."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from core.captioner.evaluate import OPTIONS, TEST_SEEDS, Measure, measure, test_scenes
from core.captioner.generate import MEAN, STD, answer, look
from core.captioner.network import Captioner
from core.captioner.vocabulary import Tokenizer, make_vocabulary
from core.checkpoints import Architecture, Card, ModelInput, Score
from core.training.captioner.config import CaptionerConfig
from core.training.captioner.data import TEXT_PROBABILITY, TRAIN_SEEDS

MAX_TOKENS = 64
"""Of an answer that is scored."""
NOTE = (
    "Knows drawn scenes only: twelve shapes, eight colours, words of four to six capitals from a list of its "
    "own. Of photographs it speaks as if they were such scenes."
)
TITLES = {"objects": "object list F1", "ocr": "OCR, 1 - character error rate", "caption": "caption chrF"}


def describe_card(config: CaptionerConfig, model: Captioner, command: str, duration_s: float) -> Card:
    """Return the card of a finished training, with the scores of the model on fresh scenes.

    Args:
        model: The trained model, ready for inference.
        command: The command line that trained it.
        duration_s: Time in training steps, in seconds.
    """
    vocabulary = make_vocabulary()
    tokenizer = Tokenizer(vocabulary)

    def ask(rgb: NDArray[np.uint8], prompts: list[str]) -> list[str]:
        visual = look(model, rgb)
        return [answer(model, tokenizer, visual, prompt, MAX_TOKENS).text for prompt in prompts]

    score, *further = (as_score(found) for found in measure(ask, test_scenes(config.test_scenes)))
    side = config.image_size
    size = config.out.stem.rpartition("-")[2]
    return Card(
        kind="vlm",
        architecture=Architecture("Captioner", config.architecture(len(vocabulary))),
        labels=vocabulary,
        input=ModelInput(side, side, (MEAN,) * 3, (STD,) * 3),
        command=command,
        seed=config.seed,
        data=describe_data(config),
        score=score,
        date=datetime.now(UTC).date().isoformat(),
        duration_s=round(duration_s, 1),
        licence="as this repository",
        title=f"Captioner trained here on scenes, {size}",
        note=NOTE,
        further=tuple(further),
    )


def as_score(found: Measure) -> Score:
    """Return one measure as the card tells it."""
    protocol = (
        f"{found.what}; greedy, at most {MAX_TOKENS} tokens; fresh scenes of the seeds from {TEST_SEEDS} "
        f"with up to {OPTIONS.max_objects} objects and one word each"
    )
    return Score(TITLES.get(found.name, f"{found.name} questions"), found.value, found.n, protocol)


def describe_data(config: CaptionerConfig) -> str:
    """Return in words what `config` learns from."""
    first = TRAIN_SEEDS + config.seed * 10**10
    return (
        f"{config.steps * config.batch_size:,} generated scenes drawn once each, of the seeds from {first}, "
        f"{TEXT_PROBABILITY:.0%} of them with a word; the first {config.dense_steps * config.batch_size:,} "
        f"teach the encoder alone what each patch shows (colour, shape, texture, letter and its place), the "
        f"next prompts and answers as well, the last "
        f"{(config.steps - config.decoder_from) * config.batch_size:,} the decoder alone."
    )
