"""The captioner's network against plain loops: what is pooled, and who sees whom."""

import math

import pytest
import torch
from torch import Tensor

from core.captioner.network import DENSE, STRIDE, VISUAL_TOKENS, Captioner, DecoderBlock, Encoder
from tests.support.captioners import ARGUMENTS, tiny_captioner

WORDS = ARGUMENTS["vocabulary"]


@pytest.fixture(scope="module")
def model() -> Captioner:
    return tiny_captioner()


def some_text(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(WORDS, (rows, length), generator=torch.Generator().manual_seed(seed))


def some_visual(rows: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, VISUAL_TOKENS, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("image_size", [64, 72, 128])
def test_shapes(image_size: int) -> None:
    model = tiny_captioner(image_size=image_size)
    seen = model.encoder(torch.zeros(2, 3, image_size, image_size))
    assert seen.visual.shape == (2, VISUAL_TOKENS, 16)
    assert [tuple(head.shape) for head in seen.dense] == [(2, (image_size // STRIDE) ** 2, k) for k in DENSE]
    assert model(seen.visual, some_text(2, 7)).shape == (2, 7, WORDS)


def test_a_picture_is_seen_alike_alone_and_among_others(model: Captioner) -> None:
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    together = model.encoder(pixels).visual
    for place in range(3):
        torch.testing.assert_close(model.encoder(pixels[place : place + 1]).visual[0], together[place])
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@pytest.mark.parametrize(("image_size", "channels"), [(60, 32), (64, 48)])
def test_sizes_that_cannot_be(image_size: int, channels: int) -> None:
    with pytest.raises(ValueError, match="image_size must be a multiple of 8 and channels one of 32"):
        Encoder(image_size, channels, 16, 1, 2)


def test_pooling_is_that_of_a_plain_loop(model: Captioner) -> None:
    """The mean token of each colour, of each place in a word, and of what is neither, with its area."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(2, 5, 16, generator=generator)
    dense = tuple(2 * torch.randn(2, 5, k, generator=generator) for k in DENSE)
    found = model.encoder._pool(tokens, dense)
    for picture in range(2):
        colours, places = dense[0][picture].softmax(-1), dense[4][picture].softmax(-1)
        for number in range(VISUAL_TOKENS):
            weights = []
            for patch in range(5):
                if number < 8:
                    weights.append(colours[patch, number + 1].item())
                elif number < 14:
                    weights.append(places[patch, number - 7].item())
                else:
                    weights.append(colours[patch, 0].item() * places[patch, 0].item())
            area = sum(weights)
            mean = sum(w * tokens[picture, patch] for patch, w in enumerate(weights)) / (area + 0.5)
            pooled = torch.cat((mean, torch.tensor([math.log(area + 0.1)])))
            expected = model.encoder.to_visual(pooled) + model.encoder.kind[0, number]
            torch.testing.assert_close(found[picture, number], expected)


@pytest.mark.parametrize("changed", [0, 3, 8])
def test_a_later_token_changes_no_earlier_logits(model: Captioner, changed: int) -> None:
    visual, text = some_visual(1), some_text(1, 9)
    other = text.clone()
    other[0, changed] = (other[0, changed] + 1) % WORDS
    before, after = model(visual, text)[0], model(visual, other)[0]
    torch.testing.assert_close(after[:changed], before[:changed], rtol=0, atol=1e-6)
    assert all((after[place] - before[place]).abs().max() > 1e-4 for place in range(changed, 9))


def test_text_cut_off_changes_nothing_before_it(model: Captioner) -> None:
    visual, text = some_visual(2), some_text(2, 12)
    torch.testing.assert_close(model(visual, text[:, :5]), model(visual, text)[:, :5])


@pytest.mark.parametrize("number", range(VISUAL_TOKENS))
def test_every_text_token_sees_every_visual_one(model: Captioner, number: int) -> None:
    visual, text = some_visual(1), some_text(1, 4)
    other = visual.clone()
    other[0, number] = some_visual(1, seed=9)[0, number]
    difference = (model(other, text) - model(visual, text)).abs().amax(dim=-1)
    assert (difference > 1e-5).all()


def _attended(block: DecoderBlock, tokens: Tensor, place: int, seen: list[int]) -> Tensor:
    """Return what attention gives token `place` when it looks at `seen`, head by head: D."""
    normed = block.norm1(tokens)
    heads, size = block.attn.heads, block.attn.dim_head
    q, k, v = (part.reshape(-1, heads, size) for part in block.attn.qkv(normed).chunk(3, dim=-1))
    out = []
    for head in range(heads):
        scores = torch.stack([q[place, head] @ k[other, head] / math.sqrt(size) for other in seen])
        weights = scores.softmax(0)
        mixed = torch.zeros(size)
        for weight, other in zip(weights, seen, strict=True):
            mixed = mixed + weight * v[other, head]
        out.append(mixed)
    return block.attn.proj(torch.cat(out))


def _looped(model: Captioner, visual: Tensor, text: list[int], visual_sees_all: bool = True) -> Tensor:
    """Return the logits of one row, T vocabulary, each token by itself."""
    words = [model.words.weight[word] + model.text_position[0, n] for n, word in enumerate(text)]
    tokens = torch.stack([*visual, *words])
    for block in model.blocks:
        after = []
        for place in range(len(tokens)):
            until = VISUAL_TOKENS if place < VISUAL_TOKENS and visual_sees_all else place + 1
            x = tokens[place] + _attended(block, tokens, place, list(range(until)))
            after.append(x + block.mlp(block.norm2(x)))
        tokens = torch.stack(after)
    return torch.stack([model.words.weight @ model.norm(token) for token in tokens[VISUAL_TOKENS:]])


def test_the_decoder_is_that_of_a_plain_loop(model: Captioner) -> None:
    visual, text = some_visual(2), some_text(2, 6)
    found = model(visual, text)
    for row in range(2):
        expected = _looped(model, visual[row], text[row].tolist())
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)
    blinkered = _looped(model, visual[0], text[0].tolist(), visual_sees_all=False)
    assert (found[0] - blinkered).abs().max() > 1e-3  # visual tokens do look at those behind them


def test_text_may_be_as_long_as_it_says_and_no_longer(model: Captioner) -> None:
    assert model(some_visual(1), some_text(1, model.max_text)).shape[1] == model.max_text
    with pytest.raises(RuntimeError):
        model(some_visual(1), some_text(1, model.max_text + 1))
