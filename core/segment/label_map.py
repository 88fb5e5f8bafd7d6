"""Many masks of one picture as one: which mask each pixel belongs to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.segment.automatic_values import AutomaticMask


def label_map(masks: Sequence[AutomaticMask]) -> tuple[NDArray[np.int32], float]:
    """Return which mask each pixel belongs to, the smaller of two, and how much of the picture any covers.

    Returns:
        H W: 0 for the background, n for the n-th of `masks`; one that is wholly hidden has no pixel. And the
        share of pixels, 0-1, that are not background.

    Raises:
        InputError: There is no mask, or they are of different pictures.
    """
    if not masks or any(mask.size != masks[0].size for mask in masks):
        raise InputError("These are not masks of one picture.", "Give at least one, all of the same size.")
    labels = np.zeros(masks[0].size, dtype=np.int32)
    by_area = sorted(enumerate(masks, start=1), key=lambda item: -item[1].area)  # equal ones keep their order
    for number, mask in by_area:
        x0, y0, x1, y1 = mask.window
        labels[y0:y1, x0:x1][mask.inside] = number
    return labels, np.count_nonzero(labels) / labels.size


def largest(masks: Sequence[AutomaticMask], n: int) -> tuple[AutomaticMask, ...]:
    """Return the `n` masks of most pixels, all if there are fewer, the largest first."""
    return tuple(sorted(masks, key=lambda mask: -mask.area)[: max(n, 0)])
