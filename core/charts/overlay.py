"""A map over its picture as a PNG file, the colours those of the charts."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from plotly.colors import sample_colorscale

from core.explain.maps import to_picture
from core.images import ImageInput
from core.preprocess import Frame


@lru_cache(maxsize=8)
def colour_table(colour_map: str) -> NDArray[np.uint8]:
    """Return a colour map as 256 by 3 values 0-255, as the charts draw it."""
    colours = sample_colorscale(colour_map, np.linspace(0, 1, 256).tolist(), colortype="tuple")
    return np.round(np.asarray(colours) * 255).astype(np.uint8)


def overlay_png(
    image: ImageInput,
    values: NDArray[np.float32],
    frame: Frame,
    *,
    colour_map: str,
    opacity: float,
    smooth: bool,
    colour_bar: bool = True,
    limits: tuple[float, float] | None = None,
) -> bytes:
    """Return the picture with a map over it as PNG, in the picture's own size.

    Args:
        values: Rows by columns of patches.
        frame: Where the map lies; what is outside stays the bare picture.
        opacity: Share of the map where there is one, 0-1.
        smooth: Interpolate between the centres of the patches.
        colour_bar: Add a strip on the right that says what the colours mean.
        limits: Ends of the colour scale; None are the smallest and the largest value.
    """
    low, high = limits or (float(values.min()), float(values.max()))
    clipped: NDArray[np.float32] = np.clip(values, np.float32(low), np.float32(high))
    scaled = (clipped - low) * np.float32(255 / ((high - low) or 1))
    pixels = to_picture(scaled, frame, image.width, image.height, smooth=smooth)  # H W
    seen = ~np.isnan(pixels)
    index = np.where(seen, np.round(pixels), 0).astype(np.uint8)
    share = Image.fromarray(np.where(seen, np.uint8(round(opacity * 255)), np.uint8(0)))
    colours = Image.fromarray(colour_table(colour_map)[index])  # H W 3
    mixed = Image.composite(colours, Image.fromarray(image.rgb), share)
    buffer = io.BytesIO()
    (_with_bar(mixed, low, high, colour_map) if colour_bar else mixed).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _with_bar(picture: Image.Image, low: float, high: float, colour_map: str) -> Image.Image:
    """Return `picture` at the left of a colour bar whose ends are labelled."""
    unit = min(max(picture.height // 24, 12), 48)  # height of the text; all else follows from it
    font = ImageFont.load_default(unit)
    top, bottom = f"{high:.3g}", f"{low:.3g}"
    width = round(max(font.getlength(top), font.getlength(bottom))) + 4 * unit
    height = max(picture.height, 6 * unit)
    canvas = Image.new("RGB", (picture.width + width, height), "white")
    canvas.paste(picture, (0, 0))
    left, length = picture.width + unit, height - 2 * unit
    falling = np.linspace(255, 0, length).round().astype(np.uint8)  # the largest value on top
    ramp = colour_table(colour_map)[falling][:, None].repeat(unit, axis=1)  # length unit 3
    canvas.paste(Image.fromarray(ramp), (left, unit))
    draw, text_left = ImageDraw.Draw(canvas), left + unit + unit // 2
    draw.text((text_left, unit), top, "black", font, anchor="lt")
    draw.text((text_left, unit + length), bottom, "black", font, anchor="lb")
    return canvas
