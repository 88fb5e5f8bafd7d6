"""A picture on its way into a model, and the way back from a patch to the picture's pixels."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from core.errors import InputError
from core.images import ImageInput

if TYPE_CHECKING:
    from torch import Tensor

Fit = Literal["whole", "crop"]
"""`whole`: all of the picture. `crop`: the centre, as the model was evaluated."""

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

CropMode = Literal["center", "squash"]
"""What a model's evaluation does first: scale both sides alike, or squeeze the picture into a square."""

MAX_ASPECT = 4.0
"""A whole picture more elongated than this is squeezed to it, which bounds the number of patches."""
MAX_CROP_ASPECT = 100.0
"""A picture more elongated than this is not scaled up for its centre, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class InputConfig:
    """What a model takes. Sizes are (height, width) in pixels; mean and std per RGB channel of 0-1 values.

    A network that cuts its picture into no patches has patches of one pixel.
    """

    size: tuple[int, int]
    patch: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    crop_fraction: float = 1.0
    """Side of the centre crop over the shorter side of the resized picture; above 1 leaves a black edge."""
    crop_mode: CropMode = "center"
    any_size: bool = True
    """Whether any whole number of patches is welcome."""

    def __post_init__(self) -> None:
        if self.interpolation not in RESAMPLING:
            raise ValueError(
                f"interpolation is {self.interpolation!r}, expected one of {', '.join(RESAMPLING)}"
            )
        if any(side % patch for side, patch in zip(self.size, self.patch, strict=True)):
            raise ValueError(f"size {self.size} is not a whole number of patches {self.patch}")
        if not 0 < self.crop_fraction <= 2:
            raise ValueError(f"crop fraction is {self.crop_fraction}, expected above 0 and at most 2")


def sized(config: InputConfig, side: int | None, model_id: str) -> InputConfig:
    """Return what a model takes whose shorter side is to be `side` pixels, rounded to whole patches.

    Args:
        side: None leaves the model its own size.
        model_id: What the model is called in a refusal.

    Raises:
        InputError: The model takes one size only, and it is another.
    """
    if side is None:
        return config
    height, width = (patch * max(1, round(side / patch)) for patch in config.patch)
    if (height, width) != config.size and not config.any_size:
        raise InputError(
            f"{model_id} takes pictures of {config.size[1]} x {config.size[0]} pixels only.",
            "Leave the size out, or choose another model.",
        )
    return replace(config, size=(height, width))


@dataclass(frozen=True, slots=True)
class Frame:
    """What part of the picture the model saw, and into how many patches it was cut."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in the picture's pixels, origin at the top left corner."""
    grid: tuple[int, int]
    """Rows and columns of patches."""

    def patch_box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return x0, y0, x1, y1 of a patch in the picture's pixels.

        Raises:
            InputError: There is no such patch.
        """
        self.check_patch(row, column)
        x0, y0, x1, y1 = self.box
        height, width = (y1 - y0) / self.grid[0], (x1 - x0) / self.grid[1]
        return (x0 + column * width, y0 + row * height, x0 + (column + 1) * width, y0 + (row + 1) * height)

    def patch_at(self, x: float, y: float) -> tuple[int, int]:
        """Return row and column of the patch that shows the picture's point (x, y) in pixels.

        Raises:
            InputError: The model did not see that point.
        """
        x0, y0, x1, y1 = self.box
        if not (x0 <= x < x1 and y0 <= y < y1):
            raise InputError(
                f"The point ({x:g}, {y:g}) is outside of what the model saw.",
                f"Choose x from {x0:g} to {x1:g} and y from {y0:g} to {y1:g}.",
            )
        rows, columns = self.grid
        row, column = int((y - y0) / (y1 - y0) * rows), int((x - x0) / (x1 - x0) * columns)
        return min(row, rows - 1), min(column, columns - 1)

    def check_patch(self, row: int, column: int) -> None:
        """Raise an InputError unless there is such a patch; rows and columns count from 0."""
        rows, columns = self.grid
        if not (0 <= row < rows and 0 <= column < columns):
            raise InputError(
                f"There is no patch in row {row}, column {column}.",
                f"Rows go from 0 to {rows - 1} and columns from 0 to {columns - 1}, from the top left.",
            )


@dataclass(frozen=True, slots=True)
class _Plan:
    """Resize the picture to (width, height), then cut (left, top, right, bottom) out of it."""

    resized: tuple[int, int]
    cut: tuple[int, int, int, int]


def prepare(image: ImageInput, config: InputConfig, *, fit: Fit) -> "tuple[Tensor, Frame]":
    """Return the pixels that a model takes (1 3 H W, float32, normalised) and what they show.

    `whole` keeps the picture's shape where the model takes any size: the shorter side becomes about the
    model's own, and both sides whole numbers of patches, which stretches by at most half a patch. A model of
    one size gets the whole picture squeezed into it. `crop` is timm's evaluation transform: resize as
    `crop_mode` says, cut the centre.

    Raises:
        InputError: The picture is too elongated for `crop`.
    """
    import torch

    plan = _whole(image, config) if fit == "whole" else _crop(image, config)
    resampling = RESAMPLING[config.interpolation]
    pixels = np.asarray(Image.fromarray(image.rgb).resize(plan.resized, resampling).crop(plan.cut))  # H W 3
    scaled = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div_(255)  # 3 H W
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.mean, config.std))
    return ((scaled - mean) / std).unsqueeze(0), _frame(image, plan, config)  # 1 3 H W


def whole_size(image: ImageInput, config: InputConfig) -> tuple[int, int]:
    """Return height and width of the pixels that `prepare` makes of a whole picture."""
    if not config.any_size:
        return config.size
    aspect = min(max(image.width / image.height, 1 / MAX_ASPECT), MAX_ASPECT)
    height, width = (
        patch * max(1, round(side * longer / patch))
        for side, longer, patch in zip(
            config.size, (max(1, 1 / aspect), max(1, aspect)), config.patch, strict=True
        )
    )
    return height, width


def _whole(image: ImageInput, config: InputConfig) -> _Plan:
    height, width = whole_size(image, config)
    return _Plan((width, height), (0, 0, width, height))


def _crop(image: ImageInput, config: InputConfig) -> _Plan:
    """Where timm's Resize (or ResizeKeepRatio, for a model that is not square) and CenterCrop cut."""
    height, width = config.size
    scaled = (math.floor(width / config.crop_fraction), math.floor(height / config.crop_fraction))
    resized = scaled if config.crop_mode == "squash" else _covering(image, scaled)
    left, top = _centred(resized[0], width), _centred(resized[1], height)
    return _Plan(resized, (left, top, left + width, top + height))


def _centred(side: int, cut: int) -> int:
    """Return where the middle `cut` pixels of a side begin, rounded as in torchvision; negative outside."""
    return round((side - cut) / 2) if side >= cut else -((cut - side) // 2)


def _covering(image: ImageInput, target: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest (width, height) of the picture's shape that covers `target`, rounded as in timm."""
    shorter, longer = sorted((image.width, image.height))
    if longer > MAX_CROP_ASPECT * shorter:
        raise InputError(
            f"The picture is {image.width} x {image.height} pixels, too elongated for a centre crop.",
            "Cut it to the part that matters first.",
        )
    if target[0] != target[1]:
        ratio = min(image.width / target[0], image.height / target[1])
        return round(image.width / ratio), round(image.height / ratio)
    longer = int(target[0] * longer / shorter)
    return (longer, target[0]) if image.width > image.height else (target[0], longer)


def _frame(image: ImageInput, plan: _Plan, config: InputConfig) -> Frame:
    (width, height), (left, top, right, bottom) = plan.resized, plan.cut
    return Frame(
        box=(
            left * image.width / width,  # products first: the far edge is then the picture's own, exactly
            top * image.height / height,
            right * image.width / width,
            bottom * image.height / height,
        ),
        grid=((bottom - top) // config.patch[0], (right - left) // config.patch[1]),
    )
