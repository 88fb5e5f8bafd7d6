"""The outlines of the twelve classes and their antialiased coverage.

Every outline has area 1, so that a `side_px` of 40 is a shape of 40 x 40 = 1600 pixels whatever its class:
"the largest object" is a question of the size drawn, never of the class. Coordinates are computed with
`math` (not numpy, whose vectorised sine differs by processor) and rounded, so that drawings repeat exactly.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]
Loop = tuple[Point, ...]

SUPERSAMPLING = 4
_ARC_POINTS = 72


def _arc(
    radius: float, start: float, stop: float, centre: Point = (0.0, 0.0), count: int = _ARC_POINTS
) -> Loop:
    """Return `count` points on a circle from angle `start` up to, not including, `stop` (radians)."""
    angles = (start + (stop - start) * i / count for i in range(count))
    return tuple((centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles)


def _circle(radius: float = 1.0) -> Loop:
    return _arc(radius, 0, math.tau)


def _star(inner: float = 0.45) -> Loop:
    spokes = ((i * math.pi / 5 - math.pi / 2, inner if i % 2 else 1.0) for i in range(10))
    return tuple((radius * math.cos(a), radius * math.sin(a)) for a, radius in spokes)


def _cross(arm: float = 0.33) -> Loop:
    corner = ((arm, -1.0), (arm, -arm), (1.0, -arm))
    turns = ((1, 0), (0, 1), (-1, 0), (0, -1))  # cosine and sine of the four quarter turns
    return tuple((x * c - y * s, x * s + y * c) for c, s in turns for x, y in corner)


def _heart() -> Loop:
    def point(t: float) -> Point:
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        return 16 * math.sin(t) ** 3, -y

    return tuple(point(math.tau * i / _ARC_POINTS) for i in range(_ARC_POINTS))


def _crescent(bite: float = 0.82, shift: float = 0.5) -> Loop:
    """Return a disc of radius 1 without the disc of radius `bite` that lies `shift` to its right."""
    x = (1 - bite**2 + shift**2) / (2 * shift)  # where the two circles meet
    outer = math.acos(x)
    inner = math.atan2(math.sin(outer), x - shift)
    back = _arc(1.0, outer, math.tau - outer)
    return back + _arc(bite, math.tau - inner, inner, (shift, 0.0))


def _drop(tip: float = 2.1) -> Loop:
    """Return a disc of radius 1 with the two tangents from a point `tip` above its centre."""
    half = math.asin(1 / tip)
    return ((0.0, -tip), *_arc(1.0, -half, math.pi + half))


_ARROW: Loop = ((-1, -0.3), (0.1, -0.3), (0.1, -0.8), (1.1, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3))
_BOLT: Loop = (
    (0.3, -1.2),
    (-0.75, 0.2),
    (-0.08, 0.2),
    (-0.35, 1.2),
    (0.75, -0.3),
    (0.05, -0.3),
    (0.75, -1.2),
)
_ELL: Loop = ((-0.8, -1), (-0.1, -1), (-0.1, 0.35), (0.9, 0.35), (0.9, 1), (-0.8, 1))
_SQUARE: Loop = ((-1, -1), (1, -1), (1, 1), (-1, 1))
_TRIANGLE: Loop = ((0, -1), (math.sqrt(0.75), 0.5), (-math.sqrt(0.75), 0.5))


def polygon_area(loop: Loop) -> float:
    """Return the area inside `loop` (shoelace formula)."""
    following = (*loop[1:], loop[0])
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(loop, following, strict=True))) / 2


def _unit_area(outer: Loop, *holes: Loop) -> tuple[Loop, ...]:
    scale = 1 / math.sqrt(polygon_area(outer) - sum(map(polygon_area, holes)))
    return tuple(
        tuple((round(x * scale, 9), round(y * scale, 9)) for x, y in loop) for loop in (outer, *holes)
    )


OUTLINES: dict[str, tuple[Loop, ...]] = {
    "circle": _unit_area(_circle()),
    "ring": _unit_area(_circle(), _circle(0.55)),
    "square": _unit_area(_SQUARE),
    "triangle": _unit_area(_TRIANGLE),
    "star": _unit_area(_star()),
    "cross": _unit_area(_cross()),
    "heart": _unit_area(_heart()),
    "arrow": _unit_area(_ARROW),
    "crescent": _unit_area(_crescent()),
    "drop": _unit_area(_drop()),
    "bolt": _unit_area(_BOLT),
    "ell": _unit_area(_ELL),
}
"""Each class as an outer loop and its holes; x to the right, y down, upright, area 1."""

CLASSES = tuple(OUTLINES)

EXTENT = {name: 2 * max(math.hypot(x, y) for x, y in loops[0]) for name, loops in OUTLINES.items()}
"""An upper bound of a class's width and height at any rotation, for area 1."""


def coverage(shape: str, side_px: float, angle: float) -> NDArray[np.uint8]:
    """Draw one shape into its own tight box.

    Args:
        shape: One of `CLASSES`.
        side_px: Square root of its area, in pixels.
        angle: Rotation in radians, clockwise as seen on the screen.

    Returns:
        H W, 0-255: the covered part of each pixel.
    """
    cosine, sine = (round(f(angle), 9) * side_px * SUPERSAMPLING for f in (math.cos, math.sin))
    loops = [[(x * cosine - y * sine, x * sine + y * cosine) for x, y in loop] for loop in OUTLINES[shape]]
    left, top = (min(axis) for axis in zip(*loops[0], strict=True))
    right, bottom = (max(axis) for axis in zip(*loops[0], strict=True))
    width, height = (math.ceil(extent / SUPERSAMPLING) + 1 for extent in (right - left, bottom - top))
    image = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw = ImageDraw.Draw(image)
    for loop, fill in zip(loops, (255, 0), strict=False):
        draw.polygon([(x - left, y - top) for x, y in loop], fill=fill)
    return np.asarray(image.reduce(SUPERSAMPLING))
