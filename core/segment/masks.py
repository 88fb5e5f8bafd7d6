"""What the model answers, and how it is brought to the picture's size."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

STABILITY_OFFSET = 1.0
"""How far the threshold is moved up and down for the stability score, as in segment-anything."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the picture lies in the model's square: what brings low-resolution logits back to the picture."""

    original: tuple[int, int]
    """Height and width of the picture, in pixels."""
    resized: tuple[int, int]
    """Height and width it was resized to; padded below and to the right up to `side`."""
    side: int
    """Side of the square that the model takes, in pixels."""

    @property
    def is_padded(self) -> bool:
        """Whether the picture keeps its proportions and leaves a part of the square empty."""
        return self.resized != (self.side, self.side)

    def to_model(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points ... 2 (x, y of the picture) in the model's square."""
        scale = self.resized[1] / self.original[1], self.resized[0] / self.original[0]
        moved: NDArray[np.float64] = xy * np.array(scale)
        return moved


def upscale(low: "Tensor", geometry: Geometry, pads: bool = True) -> "Tensor":
    """Return logits N M h w at the picture's size: N M H W, float32.

    Source: segment_anything.modeling.Sam.postprocess_masks; with `pads` False, transformers' Sam2 processor,
    which squeezes the whole picture into the square.
    """
    from torch.nn import functional as F

    if pads:
        low = F.interpolate(low, (geometry.side, geometry.side), mode="bilinear", align_corners=False)
        low = low[..., : geometry.resized[0], : geometry.resized[1]]
    if tuple(low.shape[-2:]) == geometry.original:
        return low
    return F.interpolate(low, geometry.original, mode="bilinear", align_corners=False)


@dataclass(frozen=True, eq=False)
class Masks:
    """Up to three answers to the same prompts. Full-size masks are made when they are asked for."""

    low_res: NDArray[np.float32]
    """M h w: logits; what a later prompt may start from."""
    predicted_iou: NDArray[np.float32]
    """M: how well the model thinks each mask fits, about 0-1."""
    stability: NDArray[np.float32]
    """M, 0-1: IoU of the masks at thresholds moved up and down by `STABILITY_OFFSET`."""
    geometry: Geometry
    threshold: float
    """The model's own: logits above it are inside."""
    pads: bool = True
    """See `upscale`."""

    def __len__(self) -> int:
        return len(self.low_res)

    @property
    def best(self) -> int:
        """Index of the mask of highest predicted IoU."""
        return int(self.predicted_iou.argmax())

    def logits(self, index: int) -> NDArray[np.float32]:
        """Return H W float32: the logits of mask `index` at the picture's size."""
        import torch

        low = torch.from_numpy(self.low_res[index : index + 1])[None]
        full: NDArray[np.float32] = upscale(low, self.geometry, self.pads)[0, 0].numpy()
        return full

    def mask(self, index: int, threshold: float | None = None) -> NDArray[np.bool_]:
        """Return H W bool: mask `index` at the picture's size, by the model's threshold or another."""
        inside: NDArray[np.bool_] = self.logits(index) > (self.threshold if threshold is None else threshold)
        return inside


def stability_score(logits: "Tensor", threshold: float, offset: float = STABILITY_OFFSET) -> "Tensor":
    """Return the IoU of the masks above and below the threshold by `offset`, over the last two axes.

    An empty mask scores 0.

    Source: segment_anything.utils.amg.calculate_stability_score, which is not a number for an empty mask.
    """
    import torch

    # whole rows first, and as int32: several times as fast as one sum, which counts in int64
    inner = (logits > threshold + offset).sum(-1, dtype=torch.int32).sum(-1)
    outer = (logits > threshold - offset).sum(-1, dtype=torch.int32).sum(-1)
    return inner / outer.clamp(min=1)
