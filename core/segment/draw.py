"""Masks drawn over their picture."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.images import ImageInput


class Layer(NamedTuple):
    """One mask in its colour."""

    mask: NDArray[np.bool_]
    """H W, of any size: it is drawn at the picture's."""
    colour: str
    """`#rrggbb`"""


def shrunk(image: ImageInput, width: int, height: int) -> NDArray[np.uint8]:
    """Return the picture at another size: height width 3, 0-255."""
    small = Image.fromarray(image.rgb).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small)


def composite(rgb: NDArray[np.uint8], layers: Sequence[Layer], opacity: float) -> NDArray[np.uint8]:
    """Return the picture H W 3 with each mask tinted (opacity 0-1) and outlined, later ones in front."""
    drawn = rgb.copy()
    height, width = rgb.shape[:2]
    for mask, colour in layers:
        small = resized(mask, width, height)
        paint = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float32)
        drawn[small] = (drawn[small] * (1 - opacity) + paint * opacity).astype(np.uint8)
        drawn[_edge(small)] = paint.astype(np.uint8)
    return drawn


def resized(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """Return the mask at another size: height width."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of the mask that are at most two pixels, across or down, from one outside it."""
    inner = np.pad(mask, 2, constant_values=True)
    kept = mask.copy()
    for near in (slice(-4), slice(1, -3), slice(3, -1), slice(4, None)):
        kept &= inner[2:-2, near] & inner[near, 2:-2]
    return mask & ~kept


def jpeg(rgb: NDArray[np.uint8], quality: int = 88) -> bytes:
    """Return a JPEG file of the picture H W 3."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
