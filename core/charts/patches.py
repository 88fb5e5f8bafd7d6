"""Patches as colours over their picture: components, parts, and what is foreground."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.images import ImageInput
from core.preprocess import Frame

FADED = (20, 20, 20)
"""What lies over patches that do not count."""
MOST_PARTS = 12
PART_COLOURS = np.array(
    [
        *((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0)),
        *((240, 228, 66), (140, 107, 177), (127, 127, 127), (0, 63, 92), (166, 86, 40), (247, 247, 247)),
    ],
    np.uint8,
)
"""A colour for each part, the largest part first (after Okabe and Ito 2008, with four more)."""


def patch_picture(
    image: ImageInput,
    colours: NDArray[np.uint8],
    frame: Frame,
    opacity: float,
    mask: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """Return the picture, in its own size, with a flat colour over each patch.

    Args:
        colours: rows columns 3, 0-255.
        frame: Where the patches lie; what is outside stays the bare picture.
        opacity: Share of the colour, 0-1.
        mask: rows columns; patches that are not in it are darkened instead.
    """
    shown = colours if mask is None else np.where(mask[..., None], colours, np.array(FADED, np.uint8))
    left, top, right, bottom = (round(edge) for edge in frame.box)
    size = max(1, right - left), max(1, bottom - top)
    cells = Image.fromarray(np.ascontiguousarray(shown)).resize(size, Image.Resampling.NEAREST)
    picture = Image.fromarray(image.rgb)
    share = Image.new("L", size, round(255 * opacity))
    picture.paste(cells, (left, top), share)
    return picture


def part_colours(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the colour of each patch's part: rows columns 3, of labels rows columns below 12."""
    colours: NDArray[np.uint8] = PART_COLOURS[labels]
    return colours
