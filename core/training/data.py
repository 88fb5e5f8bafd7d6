"""Labelled pictures to learn from, and the batches that a step takes of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from core.scenes import CLASSES
from core.training.scene_pool import cached_pool

MEAN = STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures with their labels and, where exact masks are known, what each patch shows."""

    rgb: NDArray[np.uint8]
    """N S S 3."""
    labels: NDArray[np.int64]
    """N, index of the picture's class."""
    names: tuple[str, ...]
    """Class names by index."""
    patch_classes: NDArray[np.uint8] | None = None
    """N rows columns: 0 for background, or 1 + class of the object that covers most of the patch."""
    patch_largest: NDArray[np.bool_] | None = None
    """N rows columns: that object is the largest one."""

    def __post_init__(self) -> None:
        if self.rgb.ndim != 4 or self.rgb.shape[3] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(f"rgb is {self.rgb.dtype} {self.rgb.shape}; expected uint8 N S S 3")
        if len(self.rgb) != len(self.labels):
            raise ValueError(f"{len(self.rgb)} pictures but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.rgb)


@dataclass(frozen=True, eq=False)
class Batch:
    """What one pass through the model takes."""

    pixels: Tensor
    """B 3 S S, float32, normalised."""
    labels: Tensor
    """B, int64."""
    patch_classes: Tensor | None = None
    """B N, int64."""
    patch_largest: Tensor | None = None
    """B N, float32, 0 or 1."""
    visible: Tensor | None = None
    """B K, int64: the patches that the model is shown, where not all; the other fields then have K for N."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        parts = (self.pixels, self.labels, self.patch_classes, self.patch_largest, self.visible)
        return Batch(*(None if part is None else part.to(device) for part in parts))  # type: ignore[arg-type]

    def focused(self, side: int, grid: tuple[int, int]) -> "Batch":
        """Return the batch with only side x side patches around each picture's largest object.

        Most patches of a picture are background; without them a step costs a fraction and the label is about
        what is left, so that shapes are learned sooner.
        """
        if self.patch_classes is None or self.patch_largest is None:
            return self
        weight = self.patch_largest / self.patch_largest.sum(dim=1, keepdim=True).clamp(min=1)  # B N
        cells = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1])).to(weight)  # N 2
        centre = weight @ cells  # B 2
        last = torch.tensor(grid) - side
        corner = (centre - (side - 1) / 2).round().long().clamp(min=torch.tensor(0), max=last)  # B 2
        window = torch.cartesian_prod(torch.arange(side), torch.arange(side))  # K 2
        at = corner[:, None] + window  # B K 2
        visible = at[..., 0] * grid[1] + at[..., 1]  # B K
        return Batch(
            self.pixels,
            self.labels,
            self.patch_classes.gather(1, visible),
            self.patch_largest.gather(1, visible),
            visible,
        )


def normalise(rgb: NDArray[np.uint8]) -> Tensor:
    """Return pictures N S S 3 as the model takes them: N 3 S S, float32, -1 to 1."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))).float() / 255
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def drawn(size: int, seed: int, start: int, count: int) -> NDArray[np.int64]:
    """Return `count` indices below `size`, from place `start` of an endless row of shuffled passes."""
    places = np.arange(start, start + count)
    passes = {int(n): np.random.default_rng((seed, int(n))).permutation(size) for n in set(places // size)}
    return np.array([passes[int(place // size)][place % size] for place in places], dtype=np.int64)


def make_batch(
    pictures: Pictures, indices: NDArray[np.int64], rng: np.random.Generator | None = None, shift_px: int = 0
) -> Batch:
    """Return the pictures at `indices`.

    With `rng`, each has its colour channels in a random order and is moved by up to `shift_px` pixels in each
    direction, its edge repeated; what a patch shows is taken to stay the same.
    """
    rgb = pictures.rgb[indices]  # B S S 3
    if rng is not None:
        channels = rng.permuted(np.tile(np.arange(3), (len(indices), 1)), axis=1)  # B 3
        rgb = np.take_along_axis(rgb, channels[:, None, None, :], axis=3)
        if shift_px:
            rgb = _shifted(rgb, rng.integers(-shift_px, shift_px + 1, (len(indices), 2)))
    labels = torch.from_numpy(pictures.labels[indices])
    if pictures.patch_classes is None or pictures.patch_largest is None:
        return Batch(normalise(rgb), labels)
    classes = torch.from_numpy(pictures.patch_classes[indices].astype(np.int64)).flatten(1)  # B N
    largest = torch.from_numpy(pictures.patch_largest[indices].astype(np.float32)).flatten(1)  # B N
    return Batch(normalise(rgb), labels, classes, largest)


def _shifted(rgb: NDArray[np.uint8], by: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return pictures B S S 3, each moved down and right by its row of `by` (B 2)."""
    places = np.arange(rgb.shape[1]) - by[..., None]  # B 2 S
    rows, columns = np.clip(places, 0, rgb.shape[1] - 1).transpose(1, 0, 2)  # B S each
    moved: NDArray[np.uint8] = rgb[np.arange(len(rgb))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def digits(size: int) -> tuple[Pictures, Pictures]:
    """Return scikit-learn's 1,797 digits, enlarged to `size` pixels: four fifths to learn, then the rest.

    Source: sklearn.datasets.load_digits (8 x 8, values 0-16), from the UCI set of 1998.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    grey = (source.images * (255 / 16)).round().astype(np.uint8)  # N 8 8
    large = [np.asarray(Image.fromarray(g).resize((size, size), Image.Resampling.BICUBIC)) for g in grey]
    rgb = np.repeat(np.stack(large)[..., None], 3, axis=3)  # N S S 3
    labels = source.target.astype(np.int64)
    names = tuple(str(name) for name in source.target_names)
    held_out = np.arange(len(labels)) % 5 == 4
    return Pictures(rgb[~held_out], labels[~held_out], names), Pictures(
        rgb[held_out], labels[held_out], names
    )


def scenes(folder: Path, seeds: range, size: int, patch_size: int) -> Pictures:
    """Return the scenes of `seeds` with the class of each one's largest object, kept in `folder`."""
    rgb, labels, classes, largest = cached_pool(folder, seeds, size, patch_size)
    return Pictures(
        rgb.view(np.uint8),
        np.array(labels, dtype=np.int64),
        CLASSES,
        classes.view(np.uint8),
        largest.view(np.bool_),
    )
