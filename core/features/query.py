"""What a person asks of patches: some that are meant, and some that are not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.preprocess import Frame

Patch = tuple[int, int]
"""Row and column, from 0."""
Direction = Literal["up", "down", "left", "right"]

_STEPS: Mapping[Direction, Patch] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


@dataclass(frozen=True, slots=True)
class PatchQuery:
    """Patches of one picture that something is like, and others that it is unlike.

    Raises:
        InputError: Nothing is included, or a patch is named twice.
    """

    include: tuple[Patch, ...]
    exclude: tuple[Patch, ...] = ()

    def __post_init__(self) -> None:
        if not self.include:
            raise InputError("The query has no patch to look for.", "Include at least one patch.")
        named = (*self.include, *self.exclude)
        if len(set(named)) < len(named):
            row, column = next(patch for patch in named if named.count(patch) > 1)
            raise InputError(f"Row {row}, column {column} is in the query twice.", "Name each patch once.")

    def check(self, grid: tuple[int, int]) -> None:
        """Raise an InputError unless every patch is in a grid of so many rows and columns."""
        frame = Frame((0, 0, grid[1], grid[0]), grid)
        for row, column in (*self.include, *self.exclude):
            frame.check_patch(row, column)

    def as_json(self) -> dict[str, Any]:
        """Return the query as JSON values; `from_json` reads it again."""
        return {"include": [list(p) for p in self.include], "exclude": [list(p) for p in self.exclude]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the query that `as_json` wrote."""
        include, exclude = (tuple((int(r), int(c)) for r, c in value[k]) for k in ("include", "exclude"))
        return cls(include, exclude)

    @classmethod
    def from_box(cls, frame: Frame, x0: float, y0: float, x1: float, y1: float) -> Self:
        """Return the patches whose centre lies in a box in the picture's pixels; else that nearest to it.

        The corners may be given in any order.

        Raises:
            InputError: The box is outside of what the model saw, or no box at all.
        """
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            raise InputError("The box has a corner that is no place.", "Give four numbers of pixels.")
        (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
        left, top, right, bottom = frame.box
        if x1 <= left or x0 >= right or y1 <= top or y0 >= bottom:
            raise InputError(
                "The box is outside of what the model saw.",
                f"Choose x from {left:g} to {right:g} and y from {top:g} to {bottom:g}.",
            )
        x, y = np.moveaxis(patch_centres(frame), 2, 0)  # rows columns each
        inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
        if not inside.any():
            distance = np.hypot(x - (x0 + x1) / 2, y - (y0 + y1) / 2)
            inside.flat[int(distance.argmin())] = True
        return cls(_patches(inside))

    @classmethod
    def from_mask(cls, frame: Frame, mask: NDArray[np.bool_], width: int, height: int) -> Self:
        """Return the patches that a mask covers at least half; else the one that it covers most.

        Args:
            mask: H W of the picture.
            width, height: Of the picture, in pixels.

        Raises:
            InputError: The mask has another size, is empty, or lies outside of what the model saw.
        """
        if mask.shape != (height, width):
            size = " x ".join(map(str, reversed(mask.shape)))
            raise InputError(
                f"The mask is {size} pixels, the picture {width} x {height}.",
                "Give a mask of the picture's size.",
            )
        if not mask.any():
            raise InputError("The mask is empty.", "Give a mask with at least one pixel.")
        share = coverage(frame, mask)
        if not share.max() > 0:
            raise InputError("The mask lies outside of what the model saw.", "Give another mask.")
        chosen = share >= 0.5 - 1e-9  # sums of shares of pixels round
        if not chosen.any():
            chosen.flat[int(share.argmax())] = True
        return cls(_patches(chosen))


def moved(query: PatchQuery, direction: Direction, grid: tuple[int, int]) -> PatchQuery:
    """Return the query with its last included patch one further, over patches that are taken.

    At the edge of the grid it stays where it is.
    """
    *others, (row, column) = query.include
    down, right = _STEPS[direction]
    taken = {*others, *query.exclude}
    row, column = row + down, column + right
    while (row, column) in taken:
        row, column = row + down, column + right
    if not (0 <= row < grid[0] and 0 <= column < grid[1]):
        return query
    return PatchQuery((*others, (row, column)), query.exclude)


def patch_centres(frame: Frame) -> NDArray[np.float64]:
    """Return x and y of each patch's centre in the picture's pixels: rows columns 2."""
    x0, y0, x1, y1 = frame.box
    rows, columns = frame.grid
    x = x0 + (np.arange(columns) + 0.5) * (x1 - x0) / columns
    y = y0 + (np.arange(rows) + 0.5) * (y1 - y0) / rows
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=2)


def coverage(frame: Frame, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share (0-1) of each patch's area that a mask (H W of the picture) covers: rows columns."""
    x0, y0, x1, y1 = frame.box
    rows, columns = frame.grid
    by_row = _sums(mask, np.linspace(y0, y1, rows + 1))  # rows W
    by_patch = _sums(by_row.T, np.linspace(x0, x1, columns + 1)).T  # rows columns
    return by_patch * (rows * columns / ((x1 - x0) * (y1 - y0)))


def _sums(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of the rows of `values` between one edge and the next; a row cut in two goes in parts.

    One strip after another, because a mask may have 40 megapixels.
    """
    sums = np.zeros((len(edges) - 1, values.shape[1]))
    for number, (start, end) in enumerate(pairwise(edges)):
        first, last = max(0, math.floor(start)), min(len(values), math.ceil(end))
        at = np.arange(first, last)
        weights = np.minimum(at + 1, end) - np.maximum(at, start)
        sums[number] = weights @ values[first:last]
    return sums


def _patches(chosen: NDArray[np.bool_]) -> tuple[Patch, ...]:
    return tuple((int(row), int(column)) for row, column in np.argwhere(chosen))
