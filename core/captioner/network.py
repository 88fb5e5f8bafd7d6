"""A vision-language model of a few million parameters.

    picture -> convolutions -> patch tokens -> transformer blocks -> what each patch shows   (dense heads)
                                                   |
                                                   v
    one token for each colour, each place in a word, and the ground, pooled over the patches that show it
                                                   |
    those tokens, then the prompt, then the answer -> causal transformer -> the next word

A scene's objects differ in colour, so a colour stands for an object. Pooling by what the patches show is what
lets so small a decoder count, name and spell: it reads 15 tokens instead of 256. The prefix of visual tokens
in front of the text is that of LLaVA (Liu et al. 2023, section 4.1).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.nn.attention import MultiHeadAttention
from core.nn.block import NORM_EPS, Block, Mlp
from core.nn.position import LearnedPositionEncoding

STRIDE = 8
"""Pixels of the picture between neighbouring patch tokens."""
MLP_RATIO = 2
COLOURS, SHAPES, TEXTURES, LETTERS, PLACES = 9, 13, 6, 27, 7
"""Sizes of the dense heads; number 0 of each is "none". A place is that of a letter in its word, from 1."""
DENSE = (COLOURS, SHAPES, TEXTURES, LETTERS, PLACES)
VISUAL_TOKENS = (COLOURS - 1) + (PLACES - 1) + 1


class Seen(NamedTuple):
    """What the encoder makes of pictures."""

    visual: Tensor
    """B VISUAL_TOKENS D: colours, places in a word, ground."""
    dense: tuple[Tensor, ...]
    """Logits of what each patch shows, B N K for each K of `DENSE`."""


class ResidualConvs(nn.Module):
    """Two 3 x 3 convolutions with a shortcut around them; the resolution stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(channels), _norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps B C H W of maps B C H W."""
        out: Tensor = x + self.conv2(F.gelu(self.norm2(self.conv1(F.gelu(self.norm1(x))))))
        return out


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels, eps=NORM_EPS)


class Encoder(nn.Module):
    """Pictures to visual tokens.

    Args:
        image_size: Side of the pictures, in pixels; a multiple of `STRIDE`.
        channels: Of the last convolutions; the first have a quarter of them.
        dim: Of the tokens.
        depth: Transformer blocks over the patches.
    """

    def __init__(self, image_size: int, channels: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        if image_size % STRIDE or channels % 32:
            raise ValueError(f"image_size must be a multiple of {STRIDE} and channels one of 32")
        side = image_size // STRIDE
        half, quarter = channels // 2, channels // 4
        self.stem = nn.Sequential(
            nn.Conv2d(3, quarter, 3, stride=2, padding=1),
            _norm(quarter),
            nn.GELU(),
            nn.Conv2d(quarter, half, 3, stride=2, padding=1),
            ResidualConvs(half),
            nn.Conv2d(half, channels, 3, stride=2, padding=1),
            ResidualConvs(channels),
            ResidualConvs(channels),
        )
        self.to_tokens = nn.Linear(channels, dim)
        self.position = LearnedPositionEncoding((side, side), dim)
        self.blocks = nn.ModuleList(Block(dim, heads, MLP_RATIO * dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.dense = nn.Linear(dim, sum(DENSE))
        self.to_visual = nn.Linear(dim + 1, dim)
        self.kind = nn.Parameter(torch.randn(1, VISUAL_TOKENS, dim) * 0.02)

    def forward(self, pixels: Tensor) -> Seen:
        """Return what is seen in normalised pixels B 3 S S."""
        tokens = self.to_tokens(self.stem(pixels).flatten(2).transpose(1, 2))  # B N D
        tokens = self.position(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        dense = self.dense(tokens).split(DENSE, dim=-1)
        return Seen(self._pool(tokens, dense), dense)

    def _pool(self, tokens: Tensor, dense: tuple[Tensor, ...]) -> Tensor:
        """Return the mean token, and the area, of each colour, of each place in a word, and of the rest."""
        colours, places = dense[0].float().softmax(dim=-1), dense[4].float().softmax(dim=-1)  # B N K
        rest = colours[..., :1] * places[..., :1]
        weights = torch.cat((colours[..., 1:], places[..., 1:], rest), dim=-1)  # B N V
        area = weights.sum(dim=1)  # B V, in patches
        pooled = weights.to(tokens.dtype).transpose(1, 2) @ tokens  # B V D
        pooled = pooled / (area[..., None] + 0.5).to(tokens.dtype)
        size = (area + 0.1).log()[..., None].to(tokens.dtype)  # B V 1
        visual: Tensor = self.to_visual(torch.cat((pooled, size), dim=-1)) + self.kind
        return visual


class DecoderBlock(nn.Module):
    """A transformer block in which a token sees only those before it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = MultiHeadAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, MLP_RATIO * dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return tokens B N D; `mask` N N is True where row may look at column."""
        mixed, _ = self.attn(
            self.norm1(x), mask, return_weights=True
        )  # fused kernels are slow for few tokens
        x = x + mixed
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Captioner(nn.Module):
    """Answers a prompt about a picture, word by word.

    Args:
        image_size, channels, encoder_depth: Of the encoder.
        dim, heads: Of all transformer blocks.
        decoder_depth: Blocks over visual tokens and text.
        vocabulary: Number of different words.
        max_text: Most tokens of prompt and answer together.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        encoder_depth: int,
        dim: int,
        heads: int,
        decoder_depth: int,
        vocabulary: int,
        max_text: int = 112,
    ) -> None:
        super().__init__()
        self.image_size, self.max_text = image_size, max_text
        self.encoder = Encoder(image_size, channels, dim, encoder_depth, heads)
        self.words = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.words.weight, std=0.02)
        self.text_position = nn.Parameter(torch.randn(1, max_text, dim) * 0.02)
        self.blocks = nn.ModuleList(DecoderBlock(dim, heads) for _ in range(decoder_depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return logits B T vocabulary of the word that follows each of `text`.

        Args:
            visual: B VISUAL_TOKENS D, of `encoder`.
            text: B T, int64, T at most `max_text`.
        """
        length = text.shape[1]
        tokens = torch.cat((visual, self.words(text) + self.text_position[:, :length]), dim=1)  # B V+T D
        mask = self._mask(tokens.shape[1], tokens.device)
        for block in self.blocks:
            tokens = block(tokens, mask)
        out: Tensor = self.norm(tokens[:, VISUAL_TOKENS:]) @ self.words.weight.T  # B T vocabulary
        return out

    def _mask(self, length: int, device: torch.device) -> Tensor:
        """Return N N: text sees what is before it; visual tokens see each other."""
        mask = torch.ones(length, length, dtype=torch.bool, device=device).tril()
        mask[:VISUAL_TOKENS, :VISUAL_TOKENS] = True
        return mask
