"""Greedy answers: those of a plain loop, in pieces, within limits, whatever is asked."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from core.captioner.generate import NEVER_SAID, Answered, answer, look, normalised
from core.captioner.network import VISUAL_TOKENS, Captioner
from core.captioner.vocabulary import ANSWER, END, MAX_PROMPT_TOKENS, PAD, START, UNKNOWN
from core.scenes import generate_scene
from tests.support.captioners import TOKENIZER, VOCABULARY, ends_after, tiny_captioner

PROMPTS = ("What is in the picture?", "List the objects you see, separated by commas.", "How many stars?")


@pytest.fixture(scope="module")
def model() -> Captioner:
    return tiny_captioner()


@pytest.fixture(scope="module")
def visual(model: Captioner) -> Tensor:
    return look(model, generate_scene(3).rgb)


def test_pixels_are_shifted_and_scaled() -> None:
    rgb = np.zeros((1, 2, 2, 3), np.uint8)
    rgb[0, 0, 1] = (255, 51, 102)
    found = normalised(rgb, torch.device("cpu"))
    assert found.shape == (1, 3, 2, 2)
    assert found[0, :, 0, 1].tolist() == pytest.approx([2.0, (0.2 - 0.5) / 0.25, (0.4 - 0.5) / 0.25])
    assert found[0, :, 1, 0].tolist() == [-2.0] * 3


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 3), (64, 64), (480, 640)])
def test_pictures_of_any_size_are_looked_at(model: Captioner, size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    seen = look(model, rgb)
    assert seen.shape == (1, VISUAL_TOKENS, 16)
    assert torch.isfinite(seen).all()


def test_a_picture_of_the_right_size_is_seen_as_it_is(model: Captioner) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels = (torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    torch.testing.assert_close(look(model, rgb), model.encoder(pixels).visual)


def _looped(model: Captioner, visual: Tensor, prompt: str, most: int) -> tuple[list[int], bool]:
    """Return the tokens of a greedy answer, and whether its end came."""
    asked = [START, *TOKENIZER.encode(prompt)[-MAX_PROMPT_TOKENS:], ANSWER]
    said: list[int] = []
    while len(said) < most and len(asked) + len(said) < model.max_text:
        scores = model(visual, torch.tensor([asked + said]))[0, -1].tolist()
        allowed = [n for n in range(len(VOCABULARY)) if n not in (PAD, START, ANSWER, UNKNOWN)]
        best = max(allowed, key=lambda n: scores[n])
        if best == END:
            return said, True
        said.append(best)
    return said, False


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("end", [None, 14])
def test_an_answer_is_that_of_a_plain_loop(prompt: str, end: int | None) -> None:
    model = tiny_captioner() if end is None else ends_after(tiny_captioner(), end)
    visual = look(model, generate_scene(5).rgb)
    tokens, ended = _looped(model, visual, prompt, 12)
    found = answer(model, TOKENIZER, visual, prompt, 12)
    assert found == Answered(TOKENIZER.decode(tokens), len(tokens), ended)
    assert ended == (end is not None)
    assert tokens


def test_answers_depend_on_the_picture_and_on_the_prompt(model: Captioner) -> None:
    pictures = [look(model, generate_scene(seed).rgb) for seed in range(4)]
    said = {answer(model, TOKENIZER, seen, prompt, 12).text for seen in pictures for prompt in PROMPTS}
    assert len(said) > 6


@pytest.mark.parametrize("prompt", PROMPTS)
def test_pieces_joined_are_the_text(model: Captioner, visual: Tensor, prompt: str) -> None:
    pieces: list[str] = []
    found = answer(model, TOKENIZER, visual, prompt, 20, pieces.append)
    assert "".join(pieces) == found.text
    assert len(pieces) == found.tokens == 20


@pytest.mark.parametrize("most", [0, 1, 5])
def test_the_limit_of_tokens(model: Captioner, visual: Tensor, most: int) -> None:
    whole = answer(model, TOKENIZER, visual, PROMPTS[0], 20)
    cut = answer(model, TOKENIZER, visual, PROMPTS[0], most)
    assert (cut.tokens, cut.ended) == (most, False)
    assert whole.text.startswith(cut.text)


def test_the_end_is_no_token_of_the_answer() -> None:
    prompt = "What color?"  # with the marks around it, 5 tokens
    model = ends_after(tiny_captioner(), 4)
    seen = look(model, generate_scene(1).rgb)
    assert answer(model, TOKENIZER, seen, prompt, 9) == Answered("", 0, True)
    model = ends_after(tiny_captioner(), 7)
    found = answer(model, TOKENIZER, seen, prompt, 9)
    assert (found.tokens, found.ended) == (3, True)


@pytest.mark.parametrize("max_text", [1, 5, 9])
def test_a_network_for_short_texts_stops_where_its_room_ends(max_text: int) -> None:
    model = tiny_captioner(max_text=max_text)
    found = answer(model, TOKENIZER, look(model, generate_scene(1).rgb), "What color?", 50)
    assert (found.tokens, found.ended) == (max(0, max_text - 5), False)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_it_stops_where_somebody_says_so(model: Captioner, visual: Tensor, after: int) -> None:
    pieces: list[str] = []
    cancelled = lambda: len(pieces) >= after  # noqa: E731
    found = answer(model, TOKENIZER, visual, PROMPTS[0], 20, pieces.append, cancelled)
    assert (found.tokens, found.ended) == (after, False)
    assert found.text == "".join(pieces)
    assert answer(model, TOKENIZER, visual, PROMPTS[0], 20).text.startswith(found.text)


@pytest.mark.parametrize("token", NEVER_SAID)
def test_marks_are_never_said(token: int) -> None:
    model = tiny_captioner()
    model.words.weight[token].mul_(5)
    model.norm.bias.copy_(1000 * model.words.weight[token])
    logits = model(torch.zeros(1, VISUAL_TOKENS, 16), torch.tensor([[START, ANSWER]]))
    assert logits[0, -1].argmax() == token
    found = answer(model, TOKENIZER, torch.zeros(1, VISUAL_TOKENS, 16), "What?", 5)
    assert "<" not in found.text
    assert found.ended or found.tokens == 5


HOSTILE = {
    "nothing": "",
    "spaces": " \n\t ",
    "no known word": "zyzzyva qwerty blorp",
    "ten thousand words": "star " * 10_000,
    "a word of a million letters": "A" * 1_000_000,
    "other scripts": "Сколько звёзд? 星はいくつ? كم نجمة؟ ตอบ",
    "marks": "<pad> <start> <answer> <end> <unknown> " * 30,
    "controls": "\x00\x1b[31m\u202e\ufeff\ud800",
    "markup": "<script>alert(1)</script> ![x](http://a/b.png)",
}


@pytest.mark.parametrize("prompt", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_prompt_gets_an_answer(model: Captioner, visual: Tensor, prompt: str) -> None:
    found = answer(model, TOKENIZER, visual, prompt, 200)
    assert 0 < found.tokens <= model.max_text
    assert found == answer(model, TOKENIZER, visual, prompt, 200)


def test_of_a_long_prompt_the_end_counts(model: Captioner, visual: Tensor) -> None:
    end = "star " * MAX_PROMPT_TOKENS
    prompts = [before + end for before in ("", "How many ", "red " * 9_999)]
    asked = [answer(model, TOKENIZER, visual, prompt, 5) for prompt in prompts]
    assert asked[0] == asked[1] == asked[2]


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gets_an_answer(text: str) -> None:
    model = tiny_captioner(decoder_depth=1)
    found = answer(model, TOKENIZER, torch.zeros(1, VISUAL_TOKENS, 16), text, 3)
    assert found.tokens <= 3
