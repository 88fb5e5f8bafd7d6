"""The pictures of one step, what each of their patches shows, and what is asked and answered about them.

Free of torch, so that a worker process starts at once.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from core.captioner.picture import squeezed
from core.captioner.vocabulary import ANSWER, END, PAD, Tokenizer, make_vocabulary
from core.scenes import CLASSES, COLOURS, TEXTURES, Scene, SceneOptions, generate_scene
from core.scenes.truth import Box
from core.training.scene_pool import end_with_parent

TRAIN_SEEDS = 2 * 10**12
"""First seed of the scenes to learn from; those of the tests lie far from it."""
STRIDE = 8
AHEAD = 3
"""How many steps' pictures are drawn before they are needed."""
TEXT_PROBABILITY = 0.7
QUESTIONS, MORE_QUESTIONS = 2, 6
"""Questions of each scene and step, beside its objects and its word; more of them where the encoder stays."""
FONT_PX = 200
"""At which the widths of letters are measured; their shares of the word are the same at every size."""

CAPTION_PROMPTS = (
    "Describe the picture in one sentence.",
    "Describe the picture.",
    "Describe this image in one sentence.",
    "What is in the picture?",
    "Write a caption.",
)
OBJECTS_PROMPTS = (
    "List the objects you see, separated by commas.",
    "List the objects.",
    "What objects are in the picture?",
    "Name the objects in this image.",
)
OCR_PROMPTS = (
    'What word is written? Answer with the word only, or "none".',
    "What word is written?",
    "Read the text in the picture.",
    "What does the text say?",
)
QUESTION_ENDINGS = (" Answer with one word.", "")


class CaptionBatch(NamedTuple):
    """What one step learns from."""

    rgb: NDArray[np.uint8]
    """B S S 3."""
    dense: NDArray[np.uint8]
    """B N 5: colour, shape, texture, letter and place in the word of each patch, 0 for none."""
    short: NDArray[np.int64]
    """B R T: prompt and answer about objects, word and questions, padded with `PAD`."""
    captions: NDArray[np.int64]
    """B 1 T: prompt and caption."""


def dense_truth(scene: Scene, side: int) -> NDArray[np.uint8]:
    """Return what each of side x side patches shows: side*side 5, in the order of `CaptionBatch.dense`."""
    covered = [
        np.asarray(
            Image.fromarray(item.mask.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BOX),
            dtype=np.int16,
        )
        for item in scene.objects
    ]
    owner = np.stack([255 - np.sum(covered, axis=0), *covered]).argmax(axis=0)
    found = np.zeros((side, side, 5), np.uint8)
    colours = list(COLOURS)
    for index, item in enumerate(scene.objects, start=1):
        found[owner == index, :3] = (
            colours.index(item.colour) + 1,
            CLASSES.index(item.shape) + 1,
            TEXTURES.index(item.texture) + 1,
        )
    if scene.text_bbox is not None:
        _mark_word(found, scene.text, scene.text_bbox, scene.rgb.shape[:2])
    return found.reshape(side * side, 5)


def _mark_word(found: NDArray[np.uint8], word: str, box: Box, size: tuple[int, int]) -> None:
    """Write into patches under a word which letter is nearest, and which of the word's letters it is."""
    side = found.shape[0]
    height, width = size
    x0, y0, x1, y1 = box
    rows = np.arange(int(y0 / height * side), min(side, int(np.ceil(y1 / height * side))))
    columns = np.arange(int(x0 / width * side), min(side, int(np.ceil(x1 / width * side))))
    middles = (columns + 0.5) / side * width
    centres = x0 + letter_centres(word) * (x1 - x0)
    nearest = np.abs(middles[:, None] - centres).argmin(axis=1)
    own = (centres / width * side).astype(int)  # every letter has the patch that its middle is in
    for place, column in enumerate(own):
        nearest[columns == column] = place
    letters = np.array([ord(letter) - ord("A") + 1 for letter in word], np.uint8)
    under = np.zeros((len(rows), len(columns), 5), np.uint8)
    under[..., 3], under[..., 4] = letters[nearest], nearest + 1
    found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = under


@cache
def letter_centres(word: str) -> NDArray[np.float64]:
    """Return the middle of each letter's ink as a share (0-1) of the word's."""
    font = ImageFont.load_default(FONT_PX)
    left, _, right, _ = font.getbbox(word)
    middles = []
    for place, letter in enumerate(word):
        start = font.getlength(word[:place])
        a, _, b, _ = font.getbbox(letter)
        middles.append((start + (a + b) / 2 - left) / (right - left))
    return np.array(middles)


def object_list(scene: Scene) -> str:
    """Return the objects by colour, in the order of `COLOURS`."""
    order = list(COLOURS)
    return ", ".join(
        f"{o.colour} {o.shape}" for o in sorted(scene.objects, key=lambda o: order.index(o.colour))
    )


def _row(tokenizer: Tokenizer, prompt: str, answer: str) -> list[int]:
    return [*tokenizer.prompt(prompt), *tokenizer.encode(answer), END]


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """Return one of the choices, the first of them every second time."""
    return choices[0] if rng.random() < 0.5 else choices[int(rng.integers(len(choices)))]


def _rows(rng: np.random.Generator, tokenizer: Tokenizer, scene: Scene, questions: int) -> list[list[int]]:
    asked = [qa for qa in scene.qa if qa.kind != "text"]
    chosen = [asked[int(i)] for i in rng.permutation(len(asked))[:questions]]
    return [
        _row(tokenizer, _pick(rng, OBJECTS_PROMPTS), object_list(scene)),
        _row(tokenizer, _pick(rng, OCR_PROMPTS), scene.text or "none"),
        *(_row(tokenizer, qa.question + _pick(rng, QUESTION_ENDINGS), qa.answer) for qa in chosen),
    ]


def _padded(rows: list[list[list[int]]]) -> NDArray[np.int64]:
    longest = max(len(row) for group in rows for row in group)
    out = np.full((len(rows), len(rows[0]), longest), PAD, np.int64)
    for place, group in enumerate(rows):
        for number, row in enumerate(group):
            out[place, number, : len(row)] = row
    return out


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer(make_vocabulary())


def draw_batch(
    seed: int, step: int, batch_size: int, side_px: int, questions: int = QUESTIONS
) -> CaptionBatch:
    """Return `batch_size` new scenes of `side_px` pixels; they depend on the seed and the step alone.

    Args:
        questions: Of each scene, at most `MORE_QUESTIONS`: every scene has as many.
    """
    rng = np.random.default_rng((seed, step, 3))
    options = SceneOptions(text_probability=TEXT_PROBABILITY)
    tokenizer, pictures, dense, short, captions = _tokenizer(), [], [], [], []
    for place in range(batch_size):
        scene = generate_scene(TRAIN_SEEDS + seed * 10**10 + step * batch_size + place, options)
        pictures.append(squeezed(scene.rgb, side_px))
        dense.append(dense_truth(scene, side_px // STRIDE))
        short.append(_rows(rng, tokenizer, scene, questions))
        captions.append([_row(tokenizer, _pick(rng, CAPTION_PROMPTS), scene.caption)])
    return CaptionBatch(np.stack(pictures), np.stack(dense), _padded(short), _padded(captions))


def batches(seed: int, steps: range, batch_size: int, side_px: int, more_from: int) -> Iterator[CaptionBatch]:
    """Yield the pictures of each step, drawn ahead by another process; from a step on with more questions."""
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as executor:
        waiting: list[Future[CaptionBatch]] = []
        for step in steps:
            questions = MORE_QUESTIONS if step >= more_from else QUESTIONS
            waiting.append(executor.submit(draw_batch, seed, step, batch_size, side_px, questions))
            if len(waiting) > AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def answer_part(text: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where `text` (... T) is answer or its end: what is learned."""
    behind = np.cumsum(text == ANSWER, axis=-1) > 0
    part: NDArray[np.bool_] = behind & (text != ANSWER) & (text != PAD)
    return part
