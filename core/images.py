"""Bytes of any common picture format to one validated value, and back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ImageInput:
    """A decoded picture. Its identity is `sha256`, the digest of the file it came from."""

    name: str
    """What to call it on a page: a sample's or file's name."""
    data: bytes
    """The file as it was given."""
    sha256: str
    """Hex digest of `data`."""
    format: str
    """`PNG`, `JPEG`, `WEBP`, `BMP`, `TIFF` or `GIF`."""
    rgb: NDArray[np.uint8]
    """H W 3, sRGB, 0-255, upright, read-only."""
