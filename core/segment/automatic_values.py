"""What everything in the picture is asked for by, and a mask that comes of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

Window = tuple[int, int, int, int]
"""x0 y0 x1 y1 in pixels; x1 and y1 are one beyond the last."""


@dataclass(frozen=True, slots=True)
class AutomaticOptions:
    """What counts as a good mask, and how hard to look; the names in segment-anything are similar.

    Raises:
        InputError: A number is out of its range.
    """

    points_per_side: int = 32
    """The grid has so many points along each side of the picture, 1 to 256; each is asked for three masks."""
    points_per_batch: int = 64
    """So many points are answered at a time, 1 to 1024; more take more memory."""
    min_predicted_iou: float = 0.88
    """Masks are kept whose IoU, as the model itself predicts it, is above this, 0 to 1; 0 keeps all."""
    min_stability: float = 0.95
    """Masks are kept that stay this much the same (IoU, 0 to 1) when the threshold is moved up and down."""
    stability_offset: float = 1.0
    """How far the threshold is moved for that, in logits, 0 to 100."""
    nms_iou: float = 0.7
    """Of two masks whose boxes overlap by more than this (IoU, 0 to 1) only the better one is kept."""
    crop_layers: int = 0
    """Look again at parts of the picture, 0 to 4 times: at 2 x 2 parts, then at 4 x 4, and so on. Finds small
    things, and takes as many times longer as there are parts."""
    crop_nms_iou: float = 0.7
    """The same as `nms_iou` between masks of different parts, where that of the smaller part is kept."""
    crop_overlap: float = 512 / 1500
    """How much neighbouring parts overlap, as a share (0 to 1) of the picture's shorter side."""
    crop_points_downscale: int = 1
    """The grid of each further layer of parts has so many times fewer points along a side, 1 to 256."""
    min_region_px: int = 0
    """Holes and separate islands of fewer pixels are removed from each mask; 0 leaves masks as they are."""

    def __post_init__(self) -> None:
        for name, most in _MOST_SHARES.items():
            value = getattr(self, name)
            if not 0 <= value <= most:  # also refuses what is not a number
                raise InputError(f"{name} cannot be {value:g}.", f"Give a number from 0 to {most:g}.")
        for name, (least, most) in _COUNTS.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"{name} cannot be {value}.", f"Give a whole number, {least} to {most:,}.")
        if self.points_at(self.crop_layers) < 1:
            raise InputError(
                "No point would be left for the last layer of parts.", "Choose more points, or fewer layers."
            )

    def points_at(self, layer: int) -> int:
        """Return how many points the grid of a layer has along a side; layer 0 is the whole picture."""
        divisor: int = self.crop_points_downscale**layer
        return self.points_per_side // divisor


_MOST_SHARES = {
    "min_predicted_iou": 1.0,
    "min_stability": 1.0,
    "stability_offset": 100.0,
    "nms_iou": 1.0,
    "crop_nms_iou": 1.0,
    "crop_overlap": 1.0,
}
_COUNTS = {
    "points_per_side": (1, 256),
    "points_per_batch": (1, 1024),
    "crop_layers": (0, 4),
    "crop_points_downscale": (1, 256),
    "min_region_px": (0, 10**9),
}


LENIENT = AutomaticOptions(points_per_side=16, min_predicted_iou=0.75, min_stability=0.85)
"""What the page and the command line begin with: the small model trained here is less sure of itself than the
published ones, for which the defaults are."""


@dataclass(frozen=True, eq=False, slots=True)
class AutomaticMask:
    """One mask of a picture; its pixels are kept at one bit each."""

    bits: NDArray[np.uint8]
    """The pixels within `window`, row by row, eight a byte."""
    window: Window
    """The smallest that holds all of the mask."""
    size: tuple[int, int]
    """Height and width of the picture, in pixels."""
    area: int
    """In pixels."""
    predicted_iou: float
    """What the model thinks of it, about 0-1."""
    stability: float
    """0-1: IoU of the masks at thresholds moved up and down."""
    point: tuple[float, float]
    """x and y of the point in the picture that it answers."""
    crop: Window
    """Part of the picture that the model looked at."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0 y0 x1 y1: the middles of its outermost pixels, as segment-anything counts them."""
        x0, y0, x1, y1 = self.window
        return float(x0), float(y0), float(x1 - 1), float(y1 - 1)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """The pixels of `window` alone, h w."""
        x0, y0, x1, y1 = self.window
        flat = np.unpackbits(self.bits, count=(y1 - y0) * (x1 - x0))
        return flat.reshape(y1 - y0, x1 - x0).view(np.bool_)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """H W, unpacked anew each time."""
        x0, y0, x1, y1 = self.window
        full = np.zeros(self.size, dtype=np.bool_)
        full[y0:y1, x0:x1] = self.inside
        return full
