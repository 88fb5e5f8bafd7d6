"""Colours, the patterns that fill objects, and the backgrounds behind them."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (220, 40, 45),
    "orange": (245, 130, 25),
    "yellow": (250, 212, 45),
    "green": (40, 165, 75),
    "cyan": (30, 190, 205),
    "blue": (35, 85, 215),
    "purple": (140, 60, 190),
    "pink": (245, 120, 180),
}

TEXTURES = ("plain", "stripes", "dots", "checker", "grid")
BACKGROUNDS = ("plain", "gradient", "noise", "stripes", "dots", "grid")

GROUNDS: dict[str, RGB] = {
    "white": (246, 244, 240),
    "cream": (250, 240, 217),
    "pale blue": (219, 232, 243),
    "pale green": (222, 238, 222),
    "lavender": (231, 225, 243),
    "light grey": (217, 218, 222),
    "dark grey": (54, 56, 62),
    "navy": (28, 36, 66),
    "dark brown": (60, 44, 40),
    "black": (22, 22, 26),
}
"""The muted base tones of backgrounds; objects are saturated and stand out from all of them."""

_TONE_STEP = 0.07


def is_dark(ground: str) -> bool:
    """Return whether light ink is the one to read on this ground."""
    return sum(GROUNDS[ground]) < 3 * 128


def mix(colour: RGB, other: RGB, share: float) -> RGB:
    """Return `colour` with `share` of it replaced by `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def accent(colour: str, dark_ground: bool) -> RGB:
    """Return the second tone of a textured object: away from the ground, so that the outline stays clear."""
    return mix(COLOURS[colour], (255, 255, 255), 0.6) if dark_ground else mix(COLOURS[colour], (0, 0, 0), 0.5)


def _to_line(position_px: NDArray[np.float32], period_px: float) -> NDArray[np.float32]:
    """Return the distance in pixels to the nearest of a set of parallel lines, 0 .. period / 2."""
    turns = position_px * (1 / period_px)
    turns -= np.floor(turns)  # several times as fast as the remainder operator
    distance: NDArray[np.float32] = np.abs(turns - 0.5) * period_px
    return distance


def pattern(kind: str, height: int, width: int, period_px: float, angle: float) -> NDArray[np.uint8]:
    """Return how much of the second tone each pixel takes, antialiased by its distance to the tone's edge.

    Args:
        kind: `stripes`, `dots`, `checker` or `grid`.
        height, width: Size in pixels; the pattern is centred.
        period_px: Distance from one stripe (dot, square) to the next of its tone, in pixels.
        angle: Rotation in radians.

    Returns:
        H W, 0-255.
    """
    cosine, sine = round(math.cos(angle), 6), round(math.sin(angle), 6)
    x = np.arange(width, dtype=np.float32) - width / 2 + 0.5
    y = (np.arange(height, dtype=np.float32) - height / 2 + 0.5)[:, None]
    across = _to_line(x * cosine + y * sine, period_px)
    if kind == "stripes":
        inside = across - period_px / 4
    else:
        along = _to_line(y * cosine - x * sine, period_px)
        if kind == "dots":
            inside = period_px * 0.29 - np.sqrt(across * across + along * along)
        elif kind == "grid":
            inside = period_px * 0.1 - np.minimum(across, along)
        else:  # checker: the sign of the product tells the two tones apart
            a, b = across - period_px / 4, along - period_px / 4
            inside = np.sign(a * b) * np.minimum(np.abs(a), np.abs(b))
    share: NDArray[np.uint8] = np.clip(inside * 255 + 127.5, 0, 255).astype(np.uint8)
    return share


@lru_cache(maxsize=32)
def _ramp(start: RGB, stop: RGB) -> bytes:
    """Return the palette of 256 tones from `start` to `stop`."""
    return bytes(value for step in range(256) for value in mix(start, stop, step / 255))


def _blend(size: tuple[int, int], tones: NDArray[np.uint8]) -> Image.Image:
    """Return a smooth picture through a coarse grid of tones (h w 3)."""
    return Image.fromarray(tones).resize(size, Image.Resampling.BICUBIC)


def background(
    rng: np.random.Generator, kind: str, ground: str, size: tuple[int, int], side_px: int
) -> Image.Image:
    """Draw a quiet background.

    Args:
        rng: Source of chance.
        kind: One of `BACKGROUNDS`.
        ground: One of `GROUNDS`.
        size: Width and height in pixels.
        side_px: What patterns are scaled by, in pixels.
    """
    base = GROUNDS[ground]
    other = mix(base, (255, 255, 255) if is_dark(ground) else (0, 0, 0), _TONE_STEP)
    if kind == "plain":
        return Image.new("RGB", size, base)
    if kind == "gradient":
        corners = rng.permutation(4)[:, None] * (np.array(other) - base) // 2 + base
        return _blend(size, corners.reshape(2, 2, 3).clip(0, 255).astype(np.uint8))
    if kind == "noise":
        cells = tuple(max(2, length * 12 // side_px) for length in size)
        grain = rng.integers(-11, 12, (cells[1], cells[0], 1)) + rng.integers(-4, 5, (cells[1], cells[0], 3))
        return _blend(size, (grain + base).clip(0, 255).astype(np.uint8))
    period_px = side_px * rng.uniform(0.07, 0.13)
    marks = pattern(kind, size[1], size[0], period_px, rng.uniform(0, math.pi))
    indexed = Image.fromarray(marks)
    indexed.putpalette(_ramp(base, other))
    return indexed.convert("RGB")
