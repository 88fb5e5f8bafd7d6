"""What a person points at: points to include or exclude, a box, and the mask to start from."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

Box = tuple[float, float, float, float]
"""x0 y0 x1 y1, with x0 < x1 and y0 < y1."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place that the mask is to include, or to exclude."""

    x: float
    y: float
    include: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class Prompts:
    """Everything that is asked of one object at once."""

    points: tuple[Point, ...] = ()
    box: Box | None = None
    logits: NDArray[np.float32] | None = None
    """h w: low-resolution logits to start from, as an earlier answer's `Masks.low_res[i]`."""
    mask: NDArray[np.bool_] | None = None
    """H W, of the picture's size: a mask to start from where there are no logits of it."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked."""
        return not self.points and self.box is None and self.logits is None and self.mask is None

    def checked(self, width: int, height: int) -> Self:
        """Return the prompts themselves, if they can be asked of a picture of this size (pixels).

        Raises:
            InputError: There are none, one lies outside, a box has no size, two contradict each other, or
                a value is not finite.
        """
        if self.is_empty:
            raise InputError("There is nothing to segment by.", "Give a point, a box or a mask.")
        for point in self.points:
            if not (0 <= point.x <= width and 0 <= point.y <= height):
                raise InputError(
                    f"The point ({point.x:g}, {point.y:g}) lies outside the picture of {width} x {height}.",
                    "Choose a point inside.",
                )
        if self.box is not None:
            _check_box(self.box, width, height)
        if self.mask is not None and self.mask.shape != (height, width):
            raise InputError(
                f"The mask to start from is of {self.mask.shape[1]} x {self.mask.shape[0]} pixels, the "
                f"picture of {width} x {height}.",
                "Give a mask of this picture.",
            )
        if self.logits is not None and not np.isfinite(self.logits).all():
            raise InputError("The mask to start from holds values that are not finite.", "Give another one.")
        self._check_contradictions()
        return self

    def _check_contradictions(self) -> None:
        signs: dict[tuple[int, int], bool] = {}
        for point in self.points:
            pixel = math.floor(point.x), math.floor(point.y)
            if signs.setdefault(pixel, point.include) != point.include:
                raise InputError(
                    f"The pixel ({pixel[0]}, {pixel[1]}) is both included and excluded.",
                    "Remove one of the two points.",
                )

    def to_json(self) -> dict[str, Any]:
        """Return points and box as JSON values; logits and mask are files of their own."""
        return {
            "points": [{"x": p.x, "y": p.y, "include": p.include} for p in self.points],
            "box": list(self.box) if self.box else None,
        }

    @classmethod
    def from_json(cls, raw: object) -> Self:
        """Return the prompts that `to_json` wrote; anything else may be in `raw`.

        Raises:
            InputError: It holds no prompts.
        """
        try:
            points = tuple(_point(item) for item in raw["points"])  # type: ignore[index]
            corners = raw.get("box")  # type: ignore[attr-defined]
            box = None if corners is None else tuple(_finite(value) for value in corners)
            if box is not None and len(box) != 4:
                raise ValueError("a box has four numbers")
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(
                "The file holds no prompts.",
                'Give JSON such as {"points": [{"x": 10, "y": 20, "include": true}], "box": null}.',
            ) from error
        return cls(points, box)


def _point(raw: Any) -> Point:
    include = raw.get("include", True)
    if not isinstance(include, bool):
        raise ValueError("include is true or false")
    return Point(_finite(raw["x"]), _finite(raw["y"]), include)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def _check_box(box: Box, width: int, height: int) -> None:
    x0, y0, x1, y1 = box
    shown = f"({x0:g}, {y0:g}) to ({x1:g}, {y1:g})"
    if not all(math.isfinite(value) for value in box) or x1 - x0 < 1 or y1 - y0 < 1:
        raise InputError(
            f"The box from {shown} has no size.",
            "Drag it open: from its top left to its bottom right corner, at least one pixel.",
        )
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise InputError(
            f"The box from {shown} leaves the picture of {width} x {height}.", "Choose one inside."
        )
