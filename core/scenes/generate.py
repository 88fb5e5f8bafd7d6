"""Seed to scene: lay out, paint, and write down the truth."""

import numpy as np
from PIL import Image, ImageChops

from core.errors import InputError
from core.scenes.layout import Layout, Placed, lay_out
from core.scenes.textures import (
    COLOURS,
    GROUNDS,
    RGB,
    accent,
    background,
    is_dark,
    pattern,
)
from core.scenes.truth import Box, Scene, SceneObject, SceneOptions, caption, questions, tight_box

_LIGHT_INK: RGB = (252, 252, 250)
_DARK_INK: RGB = (20, 22, 30)
DEFAULT_OPTIONS = SceneOptions()
_MAX_SEED = 2**63 - 1

Margins = tuple[int, int, int, int]
"""Pixels of background beyond the left, top, right and bottom edge of the scene."""


def random_stream(seed: int, stream: int) -> np.random.Generator:
    """Return the source of chance number `stream` of a seed; streams never influence each other.

    Raises:
        InputError: The seed is negative or above 2^63 - 1.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise InputError(f"Seed {seed} is out of range.", f"Choose a whole number from 0 to {_MAX_SEED}.")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, stream))))


def _paint_object(
    rng: np.random.Generator, canvas: Image.Image, item: Placed, corner: tuple[int, int], dark_ground: bool
) -> None:
    shade = Image.fromarray(item.coverage)
    canvas.paste(COLOURS[item.colour], corner, shade)
    if item.texture != "plain":
        period_px = max(4.0, item.side_px * rng.uniform(0.2, 0.3))
        height, width = item.coverage.shape
        marks = pattern(item.texture, height, width, period_px, item.angle + rng.uniform(-0.8, 0.8))
        canvas.paste(
            accent(item.colour, dark_ground), corner, ImageChops.multiply(shade, Image.fromarray(marks))
        )


def paint(
    rng: np.random.Generator, layout: Layout, options: SceneOptions, kind: str, ground: str, margins: Margins
) -> Image.Image:
    """Draw a layout; the picture is the scene with `margins` of more background around it."""
    left, top, right, bottom = margins
    size = (left + options.width + right, top + options.height + bottom)
    canvas = background(rng, kind, ground, size, min(options.width, options.height))
    for item in layout.placed:
        _paint_object(rng, canvas, item, (left + item.x, top + item.y), is_dark(ground))
    if layout.word is not None:
        inks = (_DARK_INK, _LIGHT_INK) if is_dark(ground) else (_LIGHT_INK, _DARK_INK)
        for ink, mask in zip(inks, (layout.word.layer.halo, layout.word.layer.ink), strict=True):
            canvas.paste(ink, (left + layout.word.x, top + layout.word.y), Image.fromarray(mask))
    return canvas


def _size_word(relative_side: float) -> str:
    if relative_side < 0.15:
        return "small"
    return "medium" if relative_side < 0.24 else "large"


def _objects(layout: Layout, side_px: int) -> tuple[SceneObject, ...]:
    """Return what is seen of each object, largest first."""
    found = []
    for owner, item in enumerate(layout.placed, start=1):
        mask = layout.owner == owner
        mask.setflags(write=False)
        size = _size_word(item.side_px / side_px)
        found.append(SceneObject(item.shape, item.colour, item.texture, size, tight_box(mask), mask))
    return tuple(sorted(found, key=lambda o: -o.area))


def _word(layout: Layout) -> tuple[str, Box | None]:
    if layout.word is None:
        return "", None
    x0, y0, x1, y1 = tight_box(layout.word.layer.ink >= 128)
    x, y = layout.word.x, layout.word.y
    return layout.word.layer.word, (x + x0, y + y0, x + x1, y + y1)


def generate_world(seed: int, options: SceneOptions, margins: Margins) -> tuple[Scene, Image.Image]:
    """Return a scene and the larger picture that it is the middle of (see `paint`)."""
    looks = random_stream(seed, 0)
    kind = options.backgrounds[int(looks.integers(len(options.backgrounds)))]
    ground = list(GROUNDS)[int(looks.integers(len(GROUNDS)))]
    layout = lay_out(random_stream(seed, 1), options)
    world = paint(looks, layout, options, kind, ground, margins)
    left, top = margins[:2]
    rgb = np.asarray(world.crop((left, top, left + options.width, top + options.height)))
    side_px = min(options.width, options.height)
    objects = _objects(layout, side_px)
    text, text_bbox = _word(layout)
    qa = questions(random_stream(seed, 2), objects, text, side_px)
    described = caption(objects, text, kind, ground)
    return Scene(seed, rgb, objects, text, text_bbox, kind, ground, described, qa), world


def generate_scene(seed: int, options: SceneOptions = DEFAULT_OPTIONS) -> Scene:
    """Return the scene of this seed: the same bytes on every machine with the pinned libraries.

    Raises:
        InputError: The seed is negative or above 2^63 - 1.
    """
    return generate_world(seed, options, (0, 0, 0, 0))[0]
