"""Crowded pictures with exact masks: what a promptable segmenter learns from and is measured on.

Harder than `generate_scene`: things overlap freely, have any outline and any filling, and lie on
photographs. A thing is a smooth blob, a polygon, a strip or one of the twelve classes, filled with a colour,
a pattern or a piece of a photograph (an irregular cut-out). The photographs are given by the caller.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from core.errors import InputError
from core.scenes.generate import random_stream
from core.scenes.shapes import CLASSES, SUPERSAMPLING, coverage
from core.scenes.textures import BACKGROUNDS, GROUNDS, RGB, TEXTURES, background, pattern

Style = Literal["shapes", "cutouts"]
STYLES: tuple[Style, ...] = ("shapes", "cutouts")

MIN_VISIBLE = 0.5
"""Least share of a thing's pixels that must be visible for it to count."""
MIN_CONTRAST = 24
"""Least mean difference (0-255, of RGB) between a thing and what was there before, along its edge: what
cannot be told from its surroundings is no thing."""
MIN_AREA = 0.004
"""Least visible area of a thing, as a share of the picture's."""

_TRIES = 100
_STREAMS: dict[str, int] = {"shapes": 10, "cutouts": 11}


@dataclass(frozen=True, eq=False, slots=True)
class Clutter:
    """A crowded picture and which thing is seen at each pixel."""

    rgb: NDArray[np.uint8]
    """H W 3, 0-255."""
    owner: NDArray[np.uint8]
    """H W: 0 for the background, n for the n-th thing; things too small or too hidden count as background."""

    @property
    def masks(self) -> tuple[NDArray[np.bool_], ...]:
        """H W each: what is seen of every thing, largest first."""
        return tuple(self.owner == number for number in range(1, int(self.owner.max()) + 1))


def generate_clutter(
    seed: int, style: Style, photographs: Sequence[NDArray[np.uint8]], side_px: int = 256
) -> Clutter:
    """Return the crowded picture of this seed.

    Args:
        seed: From 0.
        style: `shapes` puts coloured and patterned things on photographs and plain grounds; `cutouts` puts
            pieces of photographs on photographs.
        photographs: What grounds and pieces are cut from, each H W 3; no piece is from the ground's own.
        side_px: Width and height.

    Raises:
        InputError: The seed is negative or too large, or nothing can be told apart in the photographs.
    """
    rng = random_stream(seed, _STREAMS[style])
    for _ in range(_TRIES if photographs else 0):
        first, *others = (photographs[int(i)] for i in rng.permutation(len(photographs)))
        canvas = _ground(rng, style, first, side_px)
        full, owner = _put_things(rng, canvas, style, others or [first], side_px)
        kept = _kept(full, owner)
        if kept:
            break
    else:
        raise InputError(
            "Nothing can be told apart in these photographs.", "Give others, with more contrast."
        )
    renumber = np.zeros(len(full) + 1, np.uint8)
    renumber[kept] = np.arange(1, len(kept) + 1)
    return Clutter(np.asarray(_photographed(rng, canvas)), renumber[owner])


def _put_things(
    rng: np.random.Generator,
    canvas: Image.Image,
    style: Style,
    photographs: Sequence[NDArray[np.uint8]],
    side_px: int,
) -> tuple[list[int], NDArray[np.uint8]]:
    """Paint things over each other; return each one's whole area in the picture, and the owner map."""
    owner = np.zeros((side_px, side_px), np.uint8)
    full: list[int] = []
    for number in range(1, int(rng.integers(2, 8)) + 1):
        shade = _outline(rng, side_px)
        x, y = (int(rng.integers(-length // 4, side_px - 3 * length // 4 + 1)) for length in shade.size)
        box = (x, y, x + shade.width, y + shade.height)
        filling = _filling(rng, style, photographs, shade.size)
        seen = (max(0, -x), max(0, -y), min(shade.width, side_px - x), min(shade.height, side_px - y))
        under = canvas.crop(box)
        if _contrast(*(part.crop(seen) for part in (under, filling, shade))) < MIN_CONTRAST:
            full.append(0)
            continue
        canvas.paste(filling, (x, y), shade)
        placed = Image.new("L", canvas.size)
        placed.paste(shade, (x, y))
        mask = np.asarray(placed) >= 128
        owner[mask] = number
        full.append(int(np.count_nonzero(mask)))
    return full, owner


def _contrast(before: Image.Image, filling: Image.Image, shade: Image.Image) -> float:
    """Return the mean difference of a thing from what is under it, along the inside of its edge.

    All three are of the part of the thing's box that lies in the picture.
    """
    inside = np.asarray(shade) >= 128
    inner = np.pad(inside, 2, constant_values=True)  # the picture's border is no edge
    edge = inside & ~(inner[2:-2, :-4] & inner[2:-2, 4:] & inner[:-4, 2:-2] & inner[4:, 2:-2])
    apart = np.asarray(filling)[edge].astype(np.int16) - np.asarray(before)[edge]
    return float(np.abs(apart).mean()) if len(apart) else 0.0


def _kept(full: list[int], owner: NDArray[np.uint8]) -> list[int]:
    """Return the numbers of the things that are seen well enough, largest visible area first."""
    seen = np.bincount(owner.ravel(), minlength=len(full) + 1)[1:]
    good = [n for n, area in enumerate(seen) if area >= max(MIN_AREA * owner.size, MIN_VISIBLE * full[n])]
    return [n + 1 for n in sorted(good, key=lambda n: -int(seen[n]))]


def _outline(rng: np.random.Generator, side_px: int) -> Image.Image:
    """Return the coverage (0-255) of a random outline in its own box."""
    size = side_px * math.exp(rng.uniform(math.log(0.13), math.log(0.5)))  # square root of its area
    if rng.random() < 0.3:
        name = CLASSES[int(rng.integers(len(CLASSES)))]
        return Image.fromarray(coverage(name, size, rng.uniform(0, math.tau)))
    kind = ("blob", "blob", "polygon", "strip")[int(rng.integers(4))]
    points = {"blob": _blob, "polygon": _polygon, "strip": _strip}[kind](rng)
    area = (
        abs(np.sum(points[:, 0] * np.roll(points[:, 1], -1) - points[:, 1] * np.roll(points[:, 0], -1))) / 2
    )
    points = points * (size / math.sqrt(max(float(area), 0.05)))
    points -= points.min(axis=0)
    width, height = (min(2 * side_px, math.ceil(extent) + 1) for extent in points.max(axis=0))
    image = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    ImageDraw.Draw(image).polygon([(x, y) for x, y in points * SUPERSAMPLING], fill=255)
    return image.reduce(SUPERSAMPLING)


def _blob(rng: np.random.Generator) -> NDArray[np.float64]:
    """A closed smooth curve: a circle whose radius swings, stretched and turned."""
    angles = np.arange(96) * (math.tau / 96)
    radius = np.ones(96)
    for wave in range(2, 8):
        radius += rng.normal(0, 0.35 / wave) * np.cos(wave * angles + rng.uniform(0, math.tau))
    radius = np.clip(radius, 0.25, None)
    stretched = np.c_[radius * np.cos(angles) * math.exp(rng.normal(0, 0.3)), radius * np.sin(angles)]
    return _turned(rng, stretched)


def _polygon(rng: np.random.Generator) -> NDArray[np.float64]:
    count = int(rng.integers(3, 9))
    angles = np.sort((np.arange(count) + rng.uniform(-0.35, 0.35, count)) * (math.tau / count))
    radius = rng.uniform(0.5, 1.2, count)
    points: NDArray[np.float64] = np.c_[radius * np.cos(angles), radius * np.sin(angles)]
    return points


def _strip(rng: np.random.Generator) -> NDArray[np.float64]:
    """A bent bar with a varying width."""
    along = np.linspace(-1, 1, 24)
    bend, width = rng.uniform(-0.6, 0.6), rng.uniform(0.2, 0.45)
    middle = np.c_[along, bend * along**2]
    half = width * (1 + rng.uniform(-0.5, 0.5) * along) / 2
    return _turned(rng, np.r_[middle - np.c_[0 * half, half], (middle + np.c_[0 * half, half])[::-1]])


def _turned(rng: np.random.Generator, points: NDArray[np.float64]) -> NDArray[np.float64]:
    angle = rng.uniform(0, math.tau)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned: NDArray[np.float64] = points @ turn
    return turned


def _any_colour(rng: np.random.Generator) -> RGB:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _piece(
    rng: np.random.Generator, photographs: Sequence[NDArray[np.uint8]], size: tuple[int, int]
) -> Image.Image:
    """Return a random piece of a photograph: zoomed, mirrored, in another light."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    height, width = photograph.shape[:2]
    scale = min(min(width / size[0], height / size[1]), math.exp(rng.uniform(math.log(0.5), math.log(2.5))))
    w, h = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    piece = Image.fromarray(photograph[y : y + h, x : x + w]).resize(size, Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.3:
        bands = piece.split()
        piece = Image.merge("RGB", [bands[int(i)] for i in rng.permutation(3)])
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        piece = enhance(piece).enhance(rng.uniform(0.6, 1.4))
    return piece


def _patterned(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Return a filling of one or two colours."""
    filling = Image.new("RGB", size, _any_colour(rng))
    texture = TEXTURES[int(rng.integers(len(TEXTURES)))]
    if texture != "plain":
        period_px = max(4.0, min(size) * rng.uniform(0.12, 0.4))
        marks = pattern(texture, size[1], size[0], period_px, rng.uniform(0, math.pi))
        filling.paste(_any_colour(rng), (0, 0), Image.fromarray(marks))
    return filling


def _filling(
    rng: np.random.Generator,
    style: Style,
    photographs: Sequence[NDArray[np.uint8]],
    size: tuple[int, int],
) -> Image.Image:
    filling = _piece(rng, photographs, size) if style == "cutouts" else _patterned(rng, size)
    if rng.random() < 0.5:  # light from one side
        tones = rng.uniform(0.65, 1.0, (2, 2, 1)) * np.ones(3) * 255
        shade = Image.fromarray(tones.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
        filling = Image.fromarray(
            (np.asarray(filling, np.uint16) * np.asarray(shade) // 255).astype(np.uint8)
        )
    return filling


def _ground(
    rng: np.random.Generator, style: Style, photograph: NDArray[np.uint8], side_px: int
) -> Image.Image:
    if style == "cutouts" or rng.random() < 0.5:
        return _piece(rng, [photograph], (side_px, side_px))
    if rng.random() < 0.3:
        return _patterned(rng, (side_px, side_px))
    kind = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    ground = list(GROUNDS)[int(rng.integers(len(GROUNDS)))]
    return background(rng, kind, ground, (side_px, side_px), side_px)


def _photographed(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Return the picture as a camera might have kept it: a little blurred, noisy, compressed."""
    if rng.random() < 0.4:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.3:
        noisy = np.asarray(picture, np.float32) + rng.normal(0, rng.uniform(2, 9), (*picture.size[::-1], 3))
        picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    if rng.random() < 0.2:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(50, 95)))
        picture = Image.open(buffer).convert("RGB")
    return picture
