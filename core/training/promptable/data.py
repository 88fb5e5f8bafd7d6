"""The pictures of one step: drawn afresh from the seed and the step's number, so nothing is kept on disk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from core.scenes import generate_scene
from core.scenes.clutter import STYLES, generate_clutter
from core.segment.small_sam import PIXEL_MEAN, PIXEL_STD

TRAIN_SEEDS = 10**12
"""First seed of the pictures to learn from; those of the tests lie far from it."""


@dataclass(frozen=True, eq=False)
class PromptableBatch:
    """Pictures as the model takes them, and objects in them."""

    pixels: Tensor
    """B 3 S S, float32, normalised; rows and columns beyond the picture are 0."""
    picture: Tensor
    """N, int64: the picture that each object is in."""
    truth: Tensor
    """N S/2 S/2, bool: each object's visible pixels, at half the size."""

    def to(self, device: torch.device) -> "PromptableBatch":
        """Return the batch on `device`."""
        return PromptableBatch(*(part.to(device) for part in (self.pixels, self.picture, self.truth)))


def draw_batch(
    seed: int,
    step: int,
    batch_size: int,
    objects: int,
    side_px: int,
    plain_share: float,
    photographs: Sequence[NDArray[np.uint8]],
) -> PromptableBatch:
    """Return `batch_size` new pictures with `objects` objects of each (repeated where there are fewer)."""
    rng = np.random.default_rng((seed, step, 2))
    padded = np.zeros((batch_size, side_px, side_px, 3), np.uint8)
    inside = np.zeros((batch_size, side_px, side_px, 1), np.bool_)
    pictures, truths = [], []
    for place in range(batch_size):
        number = TRAIN_SEEDS + seed * 10**9 + step * batch_size + place
        rgb, owner = _picture(rng, number, side_px, plain_share, photographs)
        height, width = owner.shape
        padded[place, :height, :width], inside[place, :height, :width] = rgb, True
        present = np.unique(owner)
        present = present[present > 0]
        chosen = rng.permutation(np.resize(rng.permutation(present), objects))
        whole = np.pad(owner, ((0, side_px - height), (0, side_px - width)))
        truths += [_halved(whole == number) for number in chosen]
        pictures += [place] * objects
    truth = torch.from_numpy(np.stack(truths))
    return PromptableBatch(_normalised(padded, inside), torch.tensor(pictures), truth)


def _picture(
    rng: np.random.Generator,
    seed: int,
    side_px: int,
    plain_share: float,
    photographs: Sequence[NDArray[np.uint8]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture (h w 3) and its owner map (h w); now and then only a part of it."""
    if rng.random() < plain_share:
        return _plain(seed, side_px)
    clutter = generate_clutter(seed, STYLES[int(rng.integers(2))], photographs, side_px)
    rgb, owner = clutter.rgb, clutter.owner
    if rng.random() < 0.3:  # not square
        kept = int(side_px * rng.uniform(0.55, 0.95))
        part = np.s_[:kept] if rng.random() < 0.5 else np.s_[:, :kept]
        if np.count_nonzero(owner[part]) > 0.01 * side_px**2:
            rgb, owner = rgb[part], owner[part]
    return rgb, owner


def _plain(seed: int, side_px: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    scene = generate_scene(seed)
    owner = np.zeros(scene.rgb.shape[:2], np.uint8)
    for number, item in enumerate(scene.objects, start=1):
        owner[item.mask] = number
    size = side_px, side_px
    rgb = Image.fromarray(scene.rgb).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(rgb), np.asarray(Image.fromarray(owner).resize(size, Image.Resampling.NEAREST))


def _normalised(rgb: NDArray[np.uint8], inside: NDArray[np.bool_]) -> Tensor:
    """Return pictures B S S 3 as `Sam.preprocess` makes them: B 3 S S, float32, 0 where not `inside`."""
    mean, std = (np.array(values, dtype=np.float32) for values in (PIXEL_MEAN, PIXEL_STD))
    pixels = (rgb.astype(np.float32) - mean) / std * inside
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def _halved(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask at half its size: a pixel is set where at least two of its four are."""
    side = mask.shape[0] // 2
    halved: NDArray[np.bool_] = mask.reshape(side, 2, side, 2).sum(axis=(1, 3)) >= 2
    return halved
