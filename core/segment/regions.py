"""Masks (H W bool) without a model: cleaning, comparing, and their outlines along the pixels' borders.

Outlines have whole-number corners: x to the right, y down, (0, 0) the top left corner of the top left pixel,
so that the middle of a pixel lies at (x + 0.5, y + 0.5). They are exact: `fill` gives the same mask again.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

Ring = NDArray[np.int64]
"""K 2: the corners (x, y) of a closed line; the first is not repeated at the end."""
Loop = list[int]
"""Indices of edges in the order of a walk around."""

MAX_SMOOTH_PX = 50.0
MAX_CROSSINGS = 10_000_000
"""How often the lines that `fill` takes may cross the middle of a row: about 1 GB of memory."""
_STEP = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""What the directions 0-3 add to (x, y): right, down, left, up. The next one is a turn to the right."""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What `clean` does, in its order. All zeros: nothing.

    Raises:
        InputError: A number is negative, not whole, or too large.
    """

    fill_holes_px: int = 0
    """Holes of up to so many pixels are filled."""
    drop_islands_px: int = 0
    """Separate parts of up to so many pixels are dropped; the largest part always stays."""
    smooth_px: float = 0.0
    """Standard deviation, in pixels, of the Gaussian that rounds the outline."""

    def __post_init__(self) -> None:
        for value in (self.fill_holes_px, self.drop_islands_px):
            if not isinstance(value, int) or value < 0:
                raise InputError(
                    f"Holes and islands cannot be cleaned up to {value} pixels.",
                    "Give a whole number of pixels, 0 or more.",
                )
        if not 0 <= self.smooth_px <= MAX_SMOOTH_PX:  # also refuses what is not a number
            raise InputError(
                f"An outline cannot be smoothed by {self.smooth_px:g} pixels.",
                f"Give a radius of 0 to {MAX_SMOOTH_PX:g} pixels.",
            )


def clean(mask: NDArray[np.bool_], cleaning: Cleaning) -> NDArray[np.bool_]:
    """Return a cleaned copy of a mask: smoothed, holes filled, islands dropped.

    Islands are 8-connected, holes 4-connected, and what touches the border of the picture is no hole.
    Smoothing comes first, so that the small parts and holes it makes are cleaned up, too. A mask that
    smoothing would wipe out is not smoothed: the result is empty only if `mask` is.
    """
    cleaned = _smooth(mask, cleaning.smooth_px) if cleaning.smooth_px else mask.copy()
    if not cleaned.any():
        cleaned = mask.copy()
    if cleaning.fill_holes_px:
        cleaned |= _small_holes(cleaned, cleaning.fill_holes_px)
    if cleaning.drop_islands_px:
        cleaned &= ~_small_islands(cleaned, cleaning.drop_islands_px)
    return cleaned


def _smooth(mask: NDArray[np.bool_], sigma: float) -> NDArray[np.bool_]:
    from skimage.filters import gaussian

    smoothed: NDArray[np.bool_] = gaussian(mask.astype(np.float32), sigma=sigma, mode="nearest") > 0.5
    return smoothed


def _small_holes(mask: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    from skimage.measure import label

    labels = label(~mask, connectivity=1)
    small = np.bincount(labels.ravel()) <= most
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    small[border] = False
    small[0] = False  # the mask itself
    holes: NDArray[np.bool_] = small[labels]
    return holes


def _small_islands(mask: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    from skimage.measure import label

    labels = label(mask, connectivity=2)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    small = sizes <= most
    small[0] = small[sizes.argmax()] = False
    islands: NDArray[np.bool_] = small[labels]
    return islands


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks, 0-1; 1.0 for two empty ones.

    Raises:
        InputError: They have different sizes.
    """
    if a.shape != b.shape:
        raise InputError(
            f"The masks are of {_size(a)} and {_size(b)} pixels.", "Compare masks of the same picture."
        )
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def _size(mask: NDArray[np.bool_]) -> str:
    return " x ".join(str(side) for side in mask.shape[::-1])


def boundary_iou(a: NDArray[np.bool_], b: NDArray[np.bool_], dilation_ratio: float = 0.02) -> float:
    """Return the IoU of the two masks' inner boundaries, 0-1; 1.0 for two empty masks.

    Source: Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", and
    its `boundary_iou.utils.boundary_utils.mask_to_boundary`.

    Args:
        dilation_ratio: Width of the boundary as a part of the picture's diagonal.

    Raises:
        InputError: They have different sizes.
    """
    return iou(_boundary(a, dilation_ratio), _boundary(b, dilation_ratio))


def _boundary(mask: NDArray[np.bool_], dilation_ratio: float) -> NDArray[np.bool_]:
    """Return the pixels of the mask that an erosion takes away; the picture's border counts as outside."""
    from skimage.morphology import erosion, footprint_rectangle

    width = max(1, round(dilation_ratio * math.hypot(*mask.shape)))
    square = footprint_rectangle((2 * width + 1, 2 * width + 1), decomposition="separable")
    boundary: NDArray[np.bool_] = mask & ~erosion(np.pad(mask, 1), square)[1:-1, 1:-1].astype(bool)
    return boundary


@dataclass(frozen=True, eq=False, slots=True)
class Polygon:
    """One 4-connected part of a mask. No line touches itself; two may touch in single corners."""

    exterior: Ring
    """Clockwise on the screen: its area by the shoelace formula is positive."""
    holes: tuple[Ring, ...]
    """Counter-clockwise on the screen."""


@dataclass(frozen=True, eq=False, slots=True)
class _Edges:
    """The borders between a pixel inside (on the right hand) and one outside, E of them."""

    start: NDArray[np.int64]
    """E 2: x, y."""
    direction: NDArray[np.int64]
    """E: see `_STEP`."""
    part: NDArray[np.int64]
    """E: number of the 4-connected part."""
    stride: int
    """What y counts in `vertex`."""
    key: NDArray[np.int64]
    """E, ascending: 4 times the vertex they start at, plus the direction."""

    @property
    def vertex(self) -> NDArray[np.int64]:
        """E: number of the vertex at which each edge starts."""
        return self.key // 4

    def following(self) -> NDArray[np.int64]:
        """Return E: the next edge around the same part. Pixels that touch only in a corner stay apart."""
        end = (self.start + _STEP[self.direction]) @ (1, self.stride)
        following = np.full(len(end), -1)
        for turn in (3, 0, 1):  # to the right, which keeps to the same pixel, is written last and so wins
            wanted = 4 * end + (self.direction + turn) % 4
            place = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
            following = np.where(self.key[place] == wanted, place, following)
        return following


def _edges(mask: NDArray[np.bool_]) -> _Edges:
    from skimage.measure import label

    parts = label(np.pad(mask, 1), connectivity=1)
    inside = parts > 0
    starts, directions, numbers = [], [], []
    # Outside neighbour (row, column) and the corner of the pixel at which the edge starts (x, y).
    sides = [((-1, 0), (0, 0)), ((0, 1), (1, 0)), ((1, 0), (1, 1)), ((0, -1), (0, 1))]
    for direction, (neighbour, corner) in enumerate(sides):
        opposite = -neighbour[0], -neighbour[1]
        row, column = np.nonzero(inside & ~np.roll(inside, opposite, axis=(0, 1)))
        starts.append(np.stack([column - 1 + corner[0], row - 1 + corner[1]], axis=1))
        directions.append(np.full(len(row), direction))
        numbers.append(parts[row, column])
    start, direction_of, part = np.concatenate(starts), np.concatenate(directions), np.concatenate(numbers)
    stride = mask.shape[1] + 1
    key = 4 * (start @ (1, stride)) + direction_of
    order = np.argsort(key)
    return _Edges(start[order], direction_of[order], part[order], stride, key[order])


def _loops(edges: _Edges) -> Iterator[Loop]:
    """Yield walks over all edges, cut so that none passes a vertex twice."""
    following, vertex = edges.following().tolist(), edges.vertex.tolist()
    seen = bytearray(len(following))
    for first in range(len(following)):
        edge, path, place = first, [], {}  # type: int, Loop, dict[int, int]
        while not seen[edge]:
            seen[edge] = True
            if vertex[edge] in place:
                cut = place[vertex[edge]]
                loop, path = path[cut:], path[:cut]
                for passed in loop:
                    del place[vertex[passed]]
                yield loop
            place[vertex[edge]] = len(path)
            path.append(edge)
            edge = following[edge]
        if path:
            yield path


def _is_exterior(ring: NDArray[np.int64]) -> bool:
    x, y = ring.T
    return bool(x @ np.roll(y, -1) - y @ np.roll(x, -1) > 0)


def _corners(ring: NDArray[np.int64]) -> Ring:
    """Return the ring without repeated vertices and without those on a straight way."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    corners: Ring = ring[(np.sign(before) != np.sign(after)).any(axis=1)]
    return corners


def polygons(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Return the 4-connected parts of a mask as polygons with holes; valid by OGC's Simple Features."""
    if not mask.any():
        return []
    edges = _edges(mask)
    exteriors: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for loop in _loops(edges):
        ring, part = edges.start[loop], int(edges.part[loop[0]])
        if _is_exterior(ring):  # a part has exactly one
            exteriors[part] = _corners(ring)
        else:
            holes.setdefault(part, []).append(_corners(ring))
    return [Polygon(exteriors[part], tuple(holes.get(part, ()))) for part in sorted(exteriors)]


def keyholes(mask: NDArray[np.bool_]) -> list[Ring]:
    """Return one line for each 4-connected part: bridges without width join the holes to the exterior.

    The bridges run along the pixels' borders, from a hole's top left corner to the left through the mask, up
    to the next line. That line reaches further up or left, so that all of them end at the exterior.
    """
    if not mask.any():
        return []
    edges = _edges(mask)
    loops = list(_loops(edges))
    source, following = list(range(len(edges.key))), [0] * len(edges.key)
    loop_of = np.zeros(len(edges.key), dtype=np.int64)
    for number, loop in enumerate(loops):
        loop_of[loop] = number
        for edge, after in zip(loop, loop[1:] + loop[:1], strict=True):
            following[edge] = after
    exteriors = []
    for loop in loops:
        if _is_exterior(edges.start[loop]):
            exteriors.append(loop[0])
            continue
        hole = min(loop)  # edges are sorted by row, then column
        landing = _landing(mask, edges, loop_of, hole)
        # Cut both lines open, and tie them together there and back: each node gets a twin that goes on.
        source += [hole, landing]
        following += [following[hole], following[landing]]
        following[landing], following[hole] = len(source) - 2, len(source) - 1
    exteriors.sort(key=lambda edge: edges.part[edge])
    return [_corners(edges.start[_walk(following, source, first)]) for first in exteriors]


def _landing(mask: NDArray[np.bool_], edges: _Edges, loop_of: NDArray[np.int64], hole: int) -> int:
    """Return the edge, of another line, at whose start the bridge from the start of edge `hole` ends."""
    x, y = edges.start[hole].tolist()
    blocked = np.flatnonzero(~(mask[y - 1, :x] & mask[y, :x]))
    column = int(blocked[-1]) + 1 if len(blocked) else 0
    first, last = np.searchsorted(edges.key, 4 * (column + y * edges.stride) + np.array([0, 4])).tolist()
    return next(edge for edge in range(first, last) if loop_of[edge] != loop_of[hole])


def _walk(following: list[int], source: list[int], first: int) -> Loop:
    loop, node = [source[first]], following[first]
    while node != first:
        loop.append(source[node])
        node = following[node]
    return loop


def fill(shapes: Sequence[Sequence[NDArray[np.float64]]], height: int, width: int) -> NDArray[np.bool_]:
    """Return H W: the pixels whose middle lies inside of any shape, by the even-odd rule in each shape.

    Args:
        shapes: The rings (K 2: x, y, finite) of each; holes are rings as well. What leaves the picture is
            cut off.
        height, width: Of the mask.

    Raises:
        InputError: The lines cross more than `MAX_CROSSINGS` rows.
    """
    inside = np.zeros((height, width + 1), dtype=np.int32)
    lines = [_lines(ring, number) for number, shape in enumerate(shapes) for ring in shape]
    if lines:
        places = _crossings(np.concatenate(lines), height, width)
        # Between the first crossing and the second, third and fourth, and so on.
        np.add.at(inside.reshape(-1), places[0::2] % inside.size, 1)
        np.add.at(inside.reshape(-1), places[1::2] % inside.size, -1)
    filled: NDArray[np.bool_] = np.cumsum(inside, axis=1, out=inside)[:, :width] > 0
    return filled


def _lines(ring: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return K 5: number of the shape, x and y of the upper end, x and y of the lower end."""
    ends = np.concatenate([ring, np.roll(ring, -1, axis=0)], axis=1)
    # A line is the same there and back: rounding must not depend on which way it is walked.
    ends = np.where(ends[:, 1:2] > ends[:, 3:4], ends[:, [2, 3, 0, 1]], ends)
    return np.concatenate([np.full((len(ends), 1), float(number)), ends], axis=1)


def _crossings(lines: NDArray[np.float64], height: int, width: int) -> NDArray[np.int64]:
    """Return, ascending, (shape * height + row) * (width + 1) + column for every crossing of a row's middle.

    The column is the first one whose middle does not lie left of the crossing.
    """
    shape, x0, y0, x1, y1 = lines.T
    first, last = (np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64) for y in (y0, y1))
    count = last - first
    if count.sum() > MAX_CROSSINGS:
        raise InputError(
            "The outlines are too detailed to be filled.", "Give the objects as a label map instead."
        )
    line = np.repeat(np.arange(len(lines)), count)
    row = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + first[line]
    slope = (row + 0.5 - y0[line]) / (y1 - y0)[line]
    column = np.clip(np.ceil(x0[line] + slope * (x1 - x0)[line] - 0.5), 0, width).astype(np.int64)
    return np.sort((shape[line].astype(np.int64) * height + row) * (width + 1) + column)
