"""Masks as pictures: one mask, a cut-out, the numbers of all objects."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from core.errors import InputError
from core.images import decode
from core.segment.export.shared import SegmentedObject, Size, check_objects, check_size


def _png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask (H W) as a PNG file of 8-bit grey: 255 inside, 0 outside."""
    return _png(mask.astype(np.uint8) * 255)


def read_mask(data: bytes, size: Size) -> NDArray[np.bool_]:
    """Return the mask H W in a PNG file: what is not black, or, where any pixel is transparent, what is not.

    Raises:
        InputError: It is no PNG file, or of another size than the picture's.
    """
    image = _open_png(data, "mask", size)
    if image.mode.startswith("I;16"):  # conversion would make small numbers 0
        return np.asarray(image) > 0
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] < 255).any():
        return np.asarray(pixels[..., 3] > 0)
    return np.asarray(pixels[..., :3].any(axis=2))


def _open_png(data: bytes, what: str, size: Size) -> Image.Image:
    """Return the pixels of a PNG file as they are, once `decode` has found them harmless."""
    found = decode(data, f"The {what}")
    if found.format != "PNG":
        raise InputError(f"The {what} is a {found.format} file.", "Save it as PNG, which keeps every pixel.")
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    check_size((image.height, image.width), size, what)
    return image


def cutout_png(rgb: NDArray[np.uint8], mask: NDArray[np.bool_], crop: bool = True) -> bytes:
    """Return the object alone as a PNG file with transparency; what is outside is also made black.

    Args:
        rgb: H W 3, 0-255.
        mask: H W, not empty.
        crop: Only the box around the object.
    """
    pixels = np.dstack([rgb, np.full_like(rgb[..., 0], 255)]) * mask[..., None]
    if crop:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _png(pixels)


def label_map_png(objects: Sequence[SegmentedObject]) -> bytes:
    """Return a PNG file of grey values: 0 is background, n the n-th object; later objects are in front.

    It has 8 bits, or 16 for more than 255 objects.

    Raises:
        InputError: There are no objects, or too many.
    """
    labels = np.zeros(check_objects(objects), dtype=np.int32)
    for number, item in enumerate(objects, 1):
        labels[item.mask] = number
    return labels_png(labels)


def labels_png(labels: NDArray[np.int32]) -> bytes:
    """Return numbers H W, 0 to 65,535, as a PNG file of grey values: 8 bits, or 16 for more than 255."""
    return _png(labels.astype(np.uint8 if labels.max() < 256 else np.uint16))


def read_label_map(data: bytes, size: Size) -> NDArray[np.uint16]:
    """Return H W: the number of the object at each pixel, 0 for background.

    Raises:
        InputError: It is no PNG file of grey values, or of another size than the picture's.
    """
    image = _open_png(data, "label map", size)
    if image.mode != "L" and not image.mode.startswith("I;16"):
        raise InputError("The label map is not of grey values.", "Save it as PNG with 8 or 16 bits of grey.")
    return np.asarray(image).astype(np.uint16)
