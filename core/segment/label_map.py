"""Many masks of one picture as one: which mask each pixel belongs to."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.segment.automatic import AutomaticMask

Order = Literal["area", "given"]
"""Which of two masks that overlap is in front: the smaller one, or the later one."""


def label_map(masks: Sequence[AutomaticMask], order: Order = "area") -> tuple[NDArray[np.int32], float]:
    """Return which mask each pixel belongs to, and how much of the picture any mask covers.

    Returns:
        H W: 0 for the background, n for the n-th of `masks`; one that is wholly hidden has no pixel. And the
        share of pixels, 0-1, that are not background.

    Raises:
        InputError: There is no mask, or they are of different pictures.
    """
    if not masks or any(mask.size != masks[0].size for mask in masks):
        raise InputError("These are not masks of one picture.", "Give at least one, all of the same size.")
    labels = np.zeros(masks[0].size, dtype=np.int32)
    numbered = list(enumerate(masks, start=1))
    if order == "area":
        numbered.sort(key=lambda item: -item[1].area)  # equal ones stay in their order
    for number, mask in numbered:
        x0, y0, x1, y1 = mask.window
        labels[y0:y1, x0:x1][mask.inside] = number
    return labels, np.count_nonzero(labels) / labels.size


def largest(masks: Sequence[AutomaticMask], n: int) -> tuple[AutomaticMask, ...]:
    """Return the `n` masks of most pixels, all if there are fewer, the largest first."""
    return tuple(sorted(masks, key=lambda mask: -mask.area)[: max(n, 0)])


def mask_at(masks: Sequence[AutomaticMask], x: float, y: float) -> int | None:
    """Return the index of the smallest mask that holds the pixel nearest to a point, None if none does."""
    column, row = round(x), round(y)
    holding = [index for index, mask in enumerate(masks) if _holds(mask, column, row)]
    return min(holding, key=lambda index: masks[index].area, default=None)


def _holds(mask: AutomaticMask, column: int, row: int) -> bool:
    x0, y0, x1, y1 = mask.window
    return x0 <= column < x1 and y0 <= row < y1 and bool(mask.inside[row - y0, column - x0])
