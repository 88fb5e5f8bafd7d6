"""Overlapping patches: more of them from the same pixels, by a stride below the side of a patch.

A patch embedding is one linear map of each patch, so it need not run as a convolution with another stride
(Amir et al. 2021, section 3): the overlapping patches are laid side by side as a larger picture, and the
unchanged model takes that. Each patch is embedded from the same pixels as by the convolution, and the
model's own code interpolates its positions to the larger grid, whichever kind they are.
"""

from typing import TYPE_CHECKING

from core.preprocess import Frame

if TYPE_CHECKING:
    from torch import Tensor


def overlapped_grid(size: tuple[int, int], patch: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return rows and columns of patches every `stride` pixels of (height, width); a rest is not seen."""
    return (1 + (size[0] - patch[0]) // stride, 1 + (size[1] - patch[1]) // stride)


def side_by_side(pixels: "Tensor", patch: tuple[int, int], stride: int) -> "Tensor":
    """Return pixels B 3 H W as B 3 rows*p columns*q: each patch of p x q a copy of what it covers."""
    windows = pixels.unfold(2, patch[0], stride).unfold(3, patch[1], stride)  # B 3 rows columns p q
    return windows.transpose(3, 4).flatten(4, 5).flatten(2, 3)  # B 3 rows*p columns*q


def overlapped_frame(frame: Frame, size: tuple[int, int], patch: tuple[int, int], stride: int) -> Frame:
    """Return where cells of side `stride` around the patches' centres lie in the picture.

    Args:
        frame: Of the same input without overlap; its box is what all of the input shows.
        size: Height and width of the input in pixels.
    """
    x0, y0, x1, y1 = frame.box
    down, across = (y1 - y0) / size[0], (x1 - x0) / size[1]  # the picture's pixels for one of the input
    rows, columns = overlapped_grid(size, patch, stride)
    left, top = x0 + (patch[1] - stride) / 2 * across, y0 + (patch[0] - stride) / 2 * down
    return Frame((left, top, left + columns * stride * across, top + rows * stride * down), (rows, columns))
