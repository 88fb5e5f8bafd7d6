"""The crops of one step: drawn afresh from the seed and the step's number, so nothing is kept on disk.

Source of multi-crop: Caron et al. 2020 (SwAV), section 3.2. The colours are mixed harder than there: shapes
are what the scenes are about, and colour would give every pair of crops away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from core.scenes import SceneOptions, generate_scene
from core.training.dino.config import DinoConfig

TRAIN_SEEDS = 10**12
"""First seed of the scenes to learn from; those of the tests lie far from it."""
ASPECT = 4 / 3
"""Most elongated crop."""
EVEN_GROUNDS = ("plain", "gradient")
EVEN_CONTRAST = 0.5
"""Standard deviation of a crop's values where it is evened out."""
GREY_SHARE, FLIP_SHARE, SOLARISED_SHARE = 0.2, 0.5, 0.1


@dataclass(frozen=True, eq=False)
class Crops:
    """What one step sees of B pictures: two large crops of each, and N small ones."""

    large: Tensor
    """2 B 3 G G, float32, -1 to 1."""
    small: Tensor
    """N B 3 L L, float32, -1 to 1; N may be 0."""

    def to(self, device: torch.device) -> "Crops":
        """Return the crops on `device`."""
        return Crops(self.large.to(device), self.small.to(device))


def draw_crops(config: DinoConfig, step: int, photographs: Sequence[NDArray[np.uint8]]) -> Crops:
    """Return the crops of `step`, counted from 0: the same ones for the same configuration."""
    rng = np.random.default_rng((config.seed, step, 3))
    first = TRAIN_SEEDS + config.seed * 10**9 + step * config.pictures_per_step
    pictures = [_picture(rng, first + i, config, photographs) for i in range(config.pictures_per_step)]
    large = [_crops(rng, pictures, config.large_scale, config.image_size) for _ in range(2)]
    small = [_crops(rng, pictures, config.small_scale, config.small_size) for _ in range(config.small_crops)]
    look = config.colour_mixing, config.evenness(step)
    return Crops(
        _recoloured(rng, large, config.image_size, *look), _recoloured(rng, small, config.small_size, *look)
    )


def _picture(
    rng: np.random.Generator, seed: int, config: DinoConfig, photographs: Sequence[NDArray[np.uint8]]
) -> Image.Image:
    """Return the scene of `seed`, or now and then a piece of a photograph."""
    side = config.source_px
    if photographs and rng.random() < config.photograph_share:
        photograph = photographs[int(rng.integers(len(photographs)))]
        height, width = photograph.shape[:2]
        cut = max(2, int(min(height, width) * rng.uniform(0.15, 0.6)))
        y, x = int(rng.integers(height - cut + 1)), int(rng.integers(width - cut + 1))
        piece = Image.fromarray(photograph[y : y + cut, x : x + cut])
        return piece.resize((side, side), Image.Resampling.BILINEAR)
    alone = rng.random() < config.single_share
    return Image.fromarray(generate_scene(seed, _options(side, alone)).rgb)


@lru_cache
def _options(side: int, alone: bool) -> SceneOptions:
    if not alone:
        return SceneOptions(width=side, height=side)
    return SceneOptions(side, side, max_objects=1, text_probability=0.0, backgrounds=EVEN_GROUNDS)


def _crops(
    rng: np.random.Generator, pictures: Sequence[Image.Image], scale: tuple[float, float], side: int
) -> NDArray[np.uint8]:
    """Return one crop of each picture, which covers a share of it within `scale`: B side side 3."""
    return np.stack([_crop(rng, picture, scale, side) for picture in pictures])


def _crop(
    rng: np.random.Generator, picture: Image.Image, scale: tuple[float, float], side: int
) -> NDArray[np.uint8]:
    area = picture.width * picture.height * rng.uniform(*scale)
    aspect = math.exp(rng.uniform(-math.log(ASPECT), math.log(ASPECT)))
    width = min(float(picture.width), math.sqrt(area * aspect))
    height = min(float(picture.height), math.sqrt(area / aspect))
    x, y = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    box = (x, y, x + width, y + height)
    crop = picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
    if rng.random() < FLIP_SHARE:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(crop)


def _recoloured(
    rng: np.random.Generator, crops: Sequence[NDArray[np.uint8]], side: int, mixing: float, evenness: float
) -> Tensor:
    """Return V crops of B pictures (each B S S 3) with their colours changed: V B 3 S S, float32, -1 to 1."""
    if not crops:
        return torch.empty(0, 1, 3, side, side)
    rgb = np.stack(crops).astype(np.float32) / 127.5 - 1  # V B S S 3
    changed = recolour(rng, rgb.reshape(-1, side * side, 3), mixing, evenness).reshape(rgb.shape)
    return torch.from_numpy(np.ascontiguousarray(changed.transpose(0, 1, 4, 2, 3)))  # V B 3 S S


def recolour(
    rng: np.random.Generator, rgb: NDArray[np.float32], mixing: float, evenness: float
) -> NDArray[np.float32]:
    """Return pictures N P 3 (-1 to 1), the colours of each changed by a random linear map and shift.

    Args:
        mixing: Share of them whose colours are turned about by a random rotation or reflection; the others'
            channels change places. Some become grey, and in some what is bright turns dark.
        evenness: From 0 to 1: how far mean colour and contrast are taken out.
    """
    count = len(rgb)
    turns, _ = np.linalg.qr(rng.normal(size=(count, 3, 3)))
    orders = np.eye(3)[rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1)]  # N 3 3
    matrix = np.where((rng.random(count) < mixing)[:, None, None], turns, orders)
    matrix *= rng.uniform(0.7, 1.4, (count, 1, 1))
    grey = rng.random(count) < GREY_SHARE
    matrix[grey] = rng.choice((-0.4, 0.4), (int(grey.sum()), 1, 1))
    mixed = rgb @ matrix.astype(np.float32) + rng.uniform(-0.3, 0.3, (count, 1, 3)).astype(np.float32)
    if evenness:
        spread = mixed.std(axis=(1, 2), keepdims=True) + 0.05
        even = (mixed - mixed.mean(axis=1, keepdims=True)) / spread * EVEN_CONTRAST
        mixed += evenness * (even - mixed)
    solarised = rng.random(count) < SOLARISED_SHARE
    mixed[solarised] = -np.abs(mixed[solarised])
    clipped: NDArray[np.float32] = np.clip(mixed, -1, 1)
    return clipped
