"""What a captioner learns from is true of its scenes."""

import numpy as np
import pytest
from PIL import ImageFont

from core.captioner.vocabulary import END, Tokenizer, make_vocabulary
from core.scenes import CLASSES, COLOURS, TEXTURES, SceneOptions, generate_scene
from core.training.captioner.data import (
    MORE_QUESTIONS,
    QUESTIONS,
    STRIDE,
    answer_part,
    batches,
    dense_truth,
    draw_batch,
    letter_centres,
    object_list,
)

SIDE = 16
WORDY = SceneOptions(text_probability=1.0)


def test_the_patch_in_the_middle_of_an_object_shows_it() -> None:
    checked = 0
    for seed in range(60):
        scene = generate_scene(seed)
        dense = dense_truth(scene, SIDE).reshape(SIDE, SIDE, 5)
        for row in range(SIDE):
            for column in range(SIDE):
                part = np.s_[row * 14 : row * 14 + 14, column * 14 : column * 14 + 14]
                for item in scene.objects:
                    if item.mask[part].all():
                        colour, shape, texture, letter, place = dense[row, column]
                        assert list(COLOURS)[colour - 1] == item.colour
                        assert CLASSES[shape - 1] == item.shape
                        assert TEXTURES[texture - 1] == item.texture
                        assert letter == place == 0
                        checked += 1
    assert checked > 500


def test_every_letter_of_a_word_has_a_patch_in_reading_order() -> None:
    for seed in range(100):
        scene = generate_scene(seed, WORDY)
        dense = dense_truth(scene, SIDE).reshape(SIDE, SIDE, 5)
        if not scene.text:
            continue
        rows = np.flatnonzero(dense[..., 4].any(axis=1))
        line = dense[rows[0]]
        places = line[line[:, 4] > 0]
        assert sorted(set(places[:, 4].tolist())) == list(range(1, len(scene.text) + 1))
        assert (np.diff(places[:, 4].astype(int)) >= 0).all()
        for _, _, _, letter, place in places:
            assert chr(ord("A") + letter - 1) == scene.text[place - 1]


@pytest.mark.parametrize("word", ["ISLAND", "MILK", "WALNUT"])
def test_letter_centres_lie_in_their_letters_ink(word: str) -> None:
    font = ImageFont.load_default(60)
    left, _, right, _ = font.getbbox(word)
    centres = left + letter_centres(word) * (right - left)
    for place, centre in enumerate(centres):
        before, until = font.getlength(word[:place]), font.getlength(word[: place + 1])
        assert before < centre < until


def test_a_row_is_a_prompt_with_its_right_answer() -> None:
    tokenizer = Tokenizer(make_vocabulary())
    batch = draw_batch(seed=3, step=2, batch_size=4, side_px=64)
    for place in range(4):
        scene = generate_scene(2 * 10**12 + 3 * 10**10 + 2 * 4 + place, SceneOptions(text_probability=0.7))
        answers = []
        for row in (*batch.short[place], batch.captions[place, 0]):
            said = row[answer_part(row)]
            assert said[-1] == END
            answers.append(tokenizer.decode(said.tolist()))
        assert answers[0] == object_list(scene)
        assert answers[1] == (scene.text or "none")
        assert set(answers[2:4]) <= {qa.answer for qa in scene.qa}
        assert answers[4] == scene.caption


def test_batches_drawn_ahead_are_those_of_their_steps() -> None:
    drawn = list(batches(0, range(5, 8), 2, 64, more_from=7))
    assert len(drawn) == 3
    for step, batch in zip(range(5, 8), drawn, strict=True):
        own = draw_batch(0, step, 2, 64, MORE_QUESTIONS if step == 7 else QUESTIONS)
        assert all(np.array_equal(a, b) for a, b in zip(batch, own, strict=True))
    assert drawn[0].dense.shape == (2, (64 // STRIDE) ** 2, 5)
