"""How much an answer depends on where exactly the prompts are: the same asked again, a little moved."""

import math
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.segment.prompts import Point, Prompts
from core.segment.regions import iou
from core.segment.segmenter import ImageEmbedding, Segmenter, decode


@dataclass(frozen=True, eq=False, slots=True)
class Sensitivity:
    """The answers to moved prompts, compared with the mask that was there before."""

    values: tuple[float, ...]
    """IoU (0-1) of each answer with that mask, in the order of the moves."""
    share: NDArray[np.float32]
    """H W, 0-1: share of the answers that include each pixel."""
    radius_px: float
    """How far the prompts were moved at most."""

    @property
    def mean(self) -> float:
        """Mean IoU, 0-1."""
        return float(np.mean(self.values))

    @property
    def worst(self) -> float:
        """Smallest IoU, 0-1."""
        return min(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """10th and 90th percentile of the IoU."""
        low, high = np.percentile(self.values, [10, 90])
        return float(low), float(high)


def jitter(
    model: Segmenter,
    embedding: ImageEmbedding,
    prompts: Prompts,
    mask: NDArray[np.bool_],
    *,
    radius_px: float,
    n: int = 16,
    seed: int = 0,
) -> Sensitivity:
    """Move the prompts at random `n` times and return how the answers differ from `mask`.

    Of each answer that mask is taken which `mask` was of the answer to the unmoved prompts: the one of the
    three, or the single one, that fits it best. What a prompt starts from (its logits) stays as it is.

    Args:
        mask: H W bool: the answer to the unmoved prompts, perhaps cleaned.
        radius_px: Most that a point, or a corner of the box, moves, in pixels of the picture; each place in
            that circle is alike.

    Raises:
        InputError: Nothing can be moved, or the prompts, the mask or the numbers do not fit.
    """
    height, width = embedding.geometry.original
    prompts.checked(width, height)
    if not prompts.points and prompts.box is None:
        raise InputError("There is no point and no box to move.", "Give one.")
    if n < 1 or not (math.isfinite(radius_px) and radius_px >= 0):
        raise InputError(
            f"{n} moves of up to {radius_px} pixels are not possible.", "Choose at least one, of 0 or more."
        )
    multimask, index = _choice(model, embedding, prompts, mask)
    rng = np.random.default_rng(seed)
    values, counts = [], np.zeros((height, width), np.float32)
    for _ in range(n):
        answer = decode(model, embedding, moved(prompts, radius_px, width, height, rng), multimask).mask(
            index
        )
        values.append(iou(answer, mask))
        counts += answer
    return Sensitivity(tuple(values), counts / np.float32(n), radius_px)


def _choice(
    model: Segmenter, embedding: ImageEmbedding, prompts: Prompts, mask: NDArray[np.bool_]
) -> tuple[bool, int]:
    """Return whether `mask` is one of several answers, and its index among them."""
    found = []
    for multimask in (True, False):
        masks = decode(model, embedding, prompts, multimask)
        found += [(iou(masks.mask(i), mask), multimask, i) for i in range(len(masks))]
    _, multimask, index = max(found, key=lambda row: row[0])  # the first where several fit alike
    return multimask, index


def moved(prompts: Prompts, radius_px: float, width: int, height: int, rng: np.random.Generator) -> Prompts:
    """Return the prompts, which must be valid, each moved by up to `radius_px`, and valid still.

    Points stay inside the picture and do not contradict each other; the box stays open. What breaks that
    is drawn again.
    """
    while True:
        with suppress(InputError):
            return _moved_once(prompts, radius_px, width, height, rng).checked(width, height)


def _moved_once(
    prompts: Prompts, radius_px: float, width: int, height: int, rng: np.random.Generator
) -> Prompts:
    def place(x: float, y: float) -> tuple[float, float]:
        far, angle = radius_px * math.sqrt(rng.random()), rng.uniform(0, math.tau)
        x, y = x + far * math.cos(angle), y + far * math.sin(angle)
        return min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))

    points = tuple(Point(*place(point.x, point.y), point.include) for point in prompts.points)
    box = prompts.box and (*place(*prompts.box[:2]), *place(*prompts.box[2:]))
    return replace(prompts, points=points, box=box)
