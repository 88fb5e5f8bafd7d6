"""What is known of a scene: its objects, its words, and what can be said and asked about it."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import InputError
from core.scenes.shapes import CLASSES
from core.scenes.textures import BACKGROUNDS, COLOURS

Box = tuple[int, int, int, int]
"""Half-open pixel box (x0, y0, x1, y1): x0 <= x < x1."""

_TEXTURE_WORDS = {
    "plain": "",
    "stripes": "striped ",
    "dots": "dotted ",
    "checker": "checkered ",
    "grid": "gridded ",
}
_GROUND_WORDS = {"noise": "mottled", "stripes": "striped", "dots": "dotted", "grid": "gridded"}


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What kind of scenes to generate.

    Raises:
        InputError: A value is out of range.
    """

    width: int = 224
    """Pixels."""
    height: int = 224
    """Pixels."""
    min_objects: int = 1
    max_objects: int = 4
    text_probability: float = 0.35
    """How often a scene shows a word."""
    max_tilt_degrees: float = 40.0
    """How far an object may be turned from upright, to either side."""
    backgrounds: tuple[str, ...] = BACKGROUNDS
    """Which of `BACKGROUNDS` may lie behind the objects."""

    def __post_init__(self) -> None:
        for name, value in (("Width", self.width), ("Height", self.height)):
            if not 48 <= value <= 2048:
                raise InputError(
                    f"{name} {value} is not between 48 and 2048 pixels.", "Choose a size in that range."
                )
        if not 1 <= self.min_objects <= self.max_objects <= len(COLOURS):
            raise InputError(
                f"A scene cannot hold {self.min_objects} to {self.max_objects} objects.",
                f"Choose 1 <= minimum <= maximum <= {len(COLOURS)}.",
            )
        if not 0 <= self.text_probability <= 1:
            raise InputError(
                f"Text probability {self.text_probability} is not between 0 and 1.", "Choose 0 to 1."
            )
        if not 0 <= self.max_tilt_degrees <= 180:
            raise InputError(
                f"Tilt {self.max_tilt_degrees} is not between 0 and 180 degrees.", "Choose 0 to 180."
            )
        if not self.backgrounds or set(self.backgrounds) - set(BACKGROUNDS):
            raise InputError(
                f"The backgrounds are {self.backgrounds}.", f"Choose some of {', '.join(BACKGROUNDS)}."
            )


@dataclass(frozen=True, eq=False, slots=True)
class SceneObject:
    """One object, as far as it can be seen. No two objects of a scene have the same colour."""

    shape: str
    """One of `CLASSES`."""
    colour: str
    """One of `COLOURS`."""
    texture: str
    """One of `TEXTURES`."""
    size: str
    """`small`, `medium` or `large`, by the area it was drawn with."""
    bbox: Box
    """Tight box of `mask`."""
    mask: NDArray[np.bool_]
    """H W, read-only: pixels it covers at least half and that nothing in front hides."""

    @property
    def area(self) -> int:
        """Visible pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def centre(self) -> tuple[float, float]:
        """Middle (x, y) of the box, in pixels from the top left corner of the picture."""
        x0, y0, x1, y1 = self.bbox
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True, slots=True)
class QA:
    """A question about a scene and its only right answer, in lower case except for words read."""

    question: str
    answer: str
    kind: str
    """`count`, `colour`, `shape`, `exists`, `largest`, `relation` or `text`."""


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A picture and everything that is true of it."""

    seed: int
    rgb: NDArray[np.uint8]
    """H W 3, 0-255, read-only."""
    objects: tuple[SceneObject, ...]
    """Largest visible area first."""
    text: str
    """The word shown, or ''."""
    text_bbox: Box | None
    """Tight box of the word's letters."""
    background: str
    """One of `BACKGROUNDS`."""
    ground: str
    """Name of the background's tone."""
    caption: str
    qa: tuple[QA, ...]

    @property
    def largest(self) -> SceneObject:
        """The object with the largest visible area."""
        return self.objects[0]

    @property
    def label(self) -> str:
        """Class of the largest object."""
        return self.largest.shape

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        return _png(self.rgb)

    def mask_png(self, index: int) -> bytes:
        """Return the mask of `objects[index]` as a PNG file of 0 and 255."""
        return _png(self.objects[index].mask.astype(np.uint8) * 255)

    def to_dict(self, stem: str) -> dict[str, Any]:
        """Return the truth as JSON values; masks are named `<stem>_mask<index>.png`."""
        return {
            "seed": self.seed,
            "class": self.label,
            "objects": [
                {
                    "class": item.shape,
                    "colour": item.colour,
                    "texture": item.texture,
                    "size": item.size,
                    "area": item.area,
                    "bbox": list(item.bbox),
                    "mask": f"{stem}_mask{index}.png",
                }
                for index, item in enumerate(self.objects)
            ],
            "caption": self.caption,
            "qa": [{"question": qa.question, "answer": qa.answer, "kind": qa.kind} for qa in self.qa],
            "text": self.text,
            "text_bbox": list(self.text_bbox) if self.text_bbox else None,
            "background": f"{self.ground} {self.background}",
        }


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def tight_box(mask: NDArray[np.bool_]) -> Box:
    """Return the smallest box around the True pixels of `mask` (H W), of which there must be some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def plural(shape: str) -> str:
    """Return the plural of a class name."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def caption(objects: tuple[SceneObject, ...], text: str, background: str, ground: str) -> str:
    """Describe a scene in one sentence, largest object first."""
    parts = [_article(f"{o.size} {o.colour} {_TEXTURE_WORDS[o.texture]}{o.shape}") for o in objects]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    kind = _GROUND_WORDS.get(background, background)
    word = f', with the word "{text}"' if text else ""
    sentence = f"{listed} on {_article(f'{kind} {ground} background')}{word}."
    return sentence[0].upper() + sentence[1:]


def _relation(rng: np.random.Generator, objects: tuple[SceneObject, ...], side_px: int) -> tuple[QA, ...]:
    """Ask about left and right of two objects whose centres are clearly apart."""
    pairs = [(a, b) for a in objects for b in objects if abs(a.centre[0] - b.centre[0]) >= 0.15 * side_px]
    if not pairs:
        return ()
    a, b = pairs[int(rng.integers(len(pairs)))]
    side = ("left", "right")[int(rng.integers(2))]
    answer = (a.centre[0] < b.centre[0]) == (side == "left")
    question = f"Is the {a.colour} {a.shape} to the {side} of the {b.colour} {b.shape}?"
    return (QA(question, "yes" if answer else "no", "relation"),)


def questions(
    rng: np.random.Generator, objects: tuple[SceneObject, ...], text: str, side_px: int
) -> tuple[QA, ...]:
    """Return questions with exactly one right answer.

    Args:
        rng: Chooses what is asked; it never changes an answer.
        objects: Largest first, colours all different.
        text: The word shown, or ''.
        side_px: Shorter side of the picture; tells what "clearly apart" is.
    """
    shapes = [o.shape for o in objects]
    some = objects[int(rng.integers(len(objects)))]
    absent = [name for name in CLASSES if name not in shapes]
    asked = some.shape if rng.integers(2) else absent[int(rng.integers(len(absent)))]
    return (
        QA("How many objects are there?", str(len(objects)), "count"),
        QA(f"How many {plural(some.shape)} are there?", str(shapes.count(some.shape)), "count"),
        QA("What shape is the largest object?", objects[0].shape, "largest"),
        QA("What colour is the largest object?", objects[0].colour, "colour"),
        *(
            QA(f"What colour is the {o.shape}?", o.colour, "colour")
            for o in objects
            if shapes.count(o.shape) == 1
        ),
        QA(f"What shape is the {some.colour} object?", some.shape, "shape"),
        QA(f"Is there {_article(asked)}?", "yes" if asked in shapes else "no", "exists"),
        *_relation(rng, objects, side_px),
        *((QA("What word is written?", text, "text"),) if text else ()),
    )
