"""Two views of one flat world, with the exact place in the second of every point of the first.

Coordinates are continuous, in pixels: (0, 0) is the top left corner of the picture, x to the right, y down,
and the centre of the pixel in column c and row r is (c + 0.5, r + 0.5). The world is a plane and nothing
moves, so a homography is the whole truth: a point is visible in the second view exactly if it lands inside.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import InputError
from core.scenes.generate import DEFAULT_OPTIONS, Margins, generate_world, random_stream
from core.scenes.truth import Scene, SceneOptions

Matrix = NDArray[np.float64]

_MAX_ROTATION = math.radians(25)
_MAX_ZOOM = 1.25
_MAX_SHIFT = 0.1  # of the width and of the height
_MAX_PERSPECTIVE = 0.12  # change of scale across half the longer side
_REACH_PX = 2  # of the interpolation, beyond the corners
_DIGITS = 12  # rounds off the last bits, in which processors differ


@dataclass(frozen=True, eq=False, slots=True)
class PatchMatches:
    """For N patches of the first view, where their centres are in the second."""

    patch: int
    """Side of a patch in pixels; patches are counted from the top left corner."""
    grid: tuple[int, int]
    """Rows and columns of whole patches in either view."""
    first: NDArray[np.intp]
    """N 2: row and column of the patch in the first view."""
    second: NDArray[np.intp]
    """N 2: row and column of the patch of the second view that its centre falls into."""
    xy: NDArray[np.float64]
    """N 2: x and y of that centre in the second view, exact, in pixels."""
    visible: NDArray[np.bool_]
    """rows columns: which patches of the first view are among the N; the others leave the second view."""
    on_object: NDArray[np.bool_]
    """N: whether the centre lies on an object and not on the background."""


@dataclass(frozen=True, eq=False, slots=True)
class ScenePair:
    """A scene and a second view of it."""

    first: Scene
    second: NDArray[np.uint8]
    """H W 3, 0-255, read-only."""
    matrix: Matrix
    """3 3: homography from points (x, y, 1) of the first view to the second."""

    def correspondences(self, patch: int) -> PatchMatches:
        """Return where each patch of the first view lands in the second.

        Args:
            patch: Side of a patch in pixels.

        Raises:
            InputError: The picture is smaller than a patch.
        """
        height, width = self.second.shape[:2]
        if not 1 <= patch <= min(height, width):
            raise InputError(
                f"A patch of {patch} pixels does not fit a picture of {width} x {height}.",
                f"Choose 1 to {min(height, width)}.",
            )
        rows, columns = height // patch, width // patch
        first = np.indices((rows, columns)).reshape(2, -1).T  # N 2, row and column
        centres = (first[:, ::-1] + 0.5) * patch  # N 2, x and y
        xy = apply_homography(self.matrix, centres)
        inside = ((xy >= 0) & (xy < (columns * patch, rows * patch))).all(axis=1)
        first, xy, centres = first[inside], xy[inside], centres[inside]
        covered = np.any([o.mask for o in self.first.objects], axis=0)
        x, y = centres.astype(np.intp).T
        second = (xy[:, ::-1] // patch).astype(np.intp)
        return PatchMatches(
            patch, (rows, columns), first, second, xy, inside.reshape(rows, columns), covered[y, x]
        )


def apply_homography(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `points` (N 2, x and y) moved by a 3 3 homography."""
    moved = np.c_[points, np.ones(len(points))] @ matrix.T  # N 3
    result: NDArray[np.float64] = moved[:, :2] / moved[:, 2:]
    return result


def _random_homography(rng: np.random.Generator, width: int, height: int) -> Matrix:
    """Draw a warp about the picture's centre: turn, zoom, slight perspective, shift."""
    angle = rng.uniform(-_MAX_ROTATION, _MAX_ROTATION)
    zoom = _MAX_ZOOM ** rng.uniform(-1, 1)
    shift_x, shift_y = rng.uniform(-_MAX_SHIFT, _MAX_SHIFT, 2) * (width, height)
    tilt_x, tilt_y = rng.uniform(-_MAX_PERSPECTIVE, _MAX_PERSPECTIVE, 2) / (max(width, height) / 2)
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    to_centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [tilt_x, tilt_y, 1]])
    back = np.array([[1, 0, width / 2 + shift_x], [0, 1, height / 2 + shift_y], [0, 0, 1]])
    matrix = back @ turn @ to_centre
    rounded: Matrix = np.round(matrix / matrix[2, 2], _DIGITS)
    return rounded


def _margins(inverse: Matrix, width: int, height: int) -> Margins:
    """Return how far the second view looks beyond each edge of the first."""
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)], dtype=np.float64)
    seen = apply_homography(inverse, corners)
    beyond = np.r_[-seen.min(axis=0), seen.max(axis=0) - (width, height)]
    left, top, right, bottom = (max(0, math.ceil(edge)) + _REACH_PX for edge in beyond)
    return left, top, right, bottom


def generate_pair(seed: int, options: SceneOptions = DEFAULT_OPTIONS) -> ScenePair:
    """Return the pair of this seed: a scene and a second view, resampled from the world around it.

    Raises:
        InputError: The seed is negative or above 2^63 - 1.
    """
    matrix = _random_homography(random_stream(seed, 3), options.width, options.height)
    inverse: Matrix = np.linalg.inv(matrix).astype(np.float64)
    margins = _margins(inverse, options.width, options.height)
    first, world = generate_world(seed, options, margins)
    to_world = np.array([[1, 0, margins[0]], [0, 1, margins[1]], [0, 0, 1]]) @ inverse
    coefficients = np.round(to_world / to_world[2, 2], _DIGITS).ravel()[:8].tolist()
    size = options.width, options.height
    # Pillow maps pixel centres, column + 0.5 and row + 0.5: the convention of this module
    view = world.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    second = np.array(view)
    for array in (second, matrix):
        array.setflags(write=False)
    return ScenePair(first, second, matrix)
