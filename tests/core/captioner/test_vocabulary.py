"""The closed language: every sentence of a scene survives tokens and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captioner.vocabulary import (
    ANSWER,
    MAX_PROMPT_TOKENS,
    SPECIAL,
    START,
    UNKNOWN,
    Tokenizer,
    make_vocabulary,
)
from core.scenes import SceneOptions, generate_scene
from core.training.captioner.data import CAPTION_PROMPTS, OBJECTS_PROMPTS, OCR_PROMPTS, object_list

TOKENIZER = Tokenizer(make_vocabulary())


def test_what_is_said_of_scenes_survives() -> None:
    for seed in range(300):
        scene = generate_scene(seed, SceneOptions(text_probability=0.7))
        for text in (scene.caption, object_list(scene), scene.text, *(qa.answer for qa in scene.qa)):
            assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_no_word_of_a_question_or_prompt_is_unknown() -> None:
    asked = [qa.question for seed in range(300) for qa in generate_scene(seed).qa]
    for text in (*CAPTION_PROMPTS, *OBJECTS_PROMPTS, *OCR_PROMPTS, *asked, "Answer with one word."):
        assert UNKNOWN not in TOKENIZER.encode(text), text


def test_a_word_in_capitals_is_spelled() -> None:
    letters = [TOKENIZER.vocabulary[token] for token in TOKENIZER.encode('the word "ACORN"')]
    assert letters == ["the", "word", '"', "A", "C", "O", "R", "N", '"']


@given(st.text(max_size=400))
def test_any_prompt_becomes_tokens(text: str) -> None:
    tokens = TOKENIZER.prompt(text)
    assert (tokens[0], tokens[-1]) == (START, ANSWER)
    assert len(tokens) <= MAX_PROMPT_TOKENS + 2
    assert all(0 <= token < len(TOKENIZER.vocabulary) for token in tokens)


@given(st.lists(st.integers(0, len(TOKENIZER.vocabulary) - 1), max_size=40), st.integers(0, 40))
def test_more_tokens_only_add_to_the_text(tokens: list[int], length: int) -> None:
    assert TOKENIZER.decode(tokens).startswith(TOKENIZER.decode(tokens[:length]))


def test_another_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match=SPECIAL[0]):
        Tokenizer(("red", "blue"))
