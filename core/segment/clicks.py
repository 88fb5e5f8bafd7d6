"""Simulated clicks: where a person who knows the truth (a mask H W bool) would point.

Source: Sofiiuk et al. 2022 (RITM, "Reviving Iterative Training with Mask Guidance"), section 3: the next
click falls into the middle of the largest error and says whether that was missed or taken by mistake.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.segment.prompts import Box, Point

Place = Literal["random", "centre"]
"""Of the first click: any pixel of the object, or its middle."""


def first_click(truth: NDArray[np.bool_], rng: np.random.Generator, place: Place = "random") -> Point:
    """Return a click inside the object.

    Args:
        truth: H W bool.
        rng: Used by `random` alone.
        place: `random` takes any pixel, all alike; `centre` the one farthest from all that is outside.

    Raises:
        InputError: The mask is empty.
    """
    _require_pixels(truth)
    if place == "centre":
        return _at(_middle(truth), include=True)
    pixels = np.flatnonzero(truth)
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), truth.shape[1])
    return _at((row, column), include=True)


def next_click(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> Point:
    """Return the click that mends most: in the middle of the largest connected region where `mask` is wrong.

    It includes where the object was missed and excludes where too much was taken; regions touch by their
    sides. Where nothing is wrong it is the middle of the object.

    Args:
        truth: H W bool.
        mask: H W bool: the answer so far.

    Raises:
        InputError: Both masks are empty, or their sizes differ.
    """
    if truth.shape != mask.shape:
        raise InputError(
            f"The truth has {truth.shape} pixels and the mask {mask.shape}.", "Give masks of one picture."
        )
    missed, excess = _largest_region(truth & ~mask), _largest_region(mask & ~truth)
    if not (missed.any() or excess.any()):
        _require_pixels(truth)
        return _at(_middle(truth), include=True)
    include = bool(np.count_nonzero(missed) >= np.count_nonzero(excess))
    return _at(_middle(missed if include else excess), include)


def box_of(truth: NDArray[np.bool_]) -> Box:
    """Return the tight box x0 y0 x1 y1 of the object; x1 and y1 are one beyond its last pixel, as in COCO.

    Raises:
        InputError: The mask is empty.
    """
    _require_pixels(truth)
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _require_pixels(truth: NDArray[np.bool_]) -> None:
    if not truth.any():
        raise InputError("The mask is empty.", "Give one with at least one pixel.")


def _at(pixel: tuple[int, int], include: bool) -> Point:
    row, column = pixel
    return Point(float(column), float(row), include)


def _largest_region(error: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest region of pixels connected by their sides: H W bool, empty if there is none."""
    from scipy.ndimage import label

    regions, _ = label(error)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = (regions == sizes.argmax()) & error
    return largest


def _middle(region: NDArray[np.bool_]) -> tuple[int, int]:
    """Return row and column of the pixel farthest from all outside, beyond the picture's border too."""
    from scipy.ndimage import distance_transform_edt

    x0, y0, x1, y1 = (int(edge) for edge in box_of(region))
    distances = distance_transform_edt(np.pad(region[y0:y1, x0:x1], 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(distances.argmax()), distances.shape)
    return y0 + int(row), x0 + int(column)
