"""What all formats share: the objects, their limits, and how a stranger's file is read."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.segment.prompts import Prompts

Size = tuple[int, int]
"""Height and width, in pixels."""

MAX_OBJECTS = 500
MAX_PROMPTS_MB = 1.0
"""Of a file of prompts, in MB (10^6 bytes)."""
MAX_OUTLINES_MB = 10.0
"""Of a file of polygons or run lengths, in MB (10^6 bytes)."""
MAX_TOTAL_MEGAPIXELS = 1000.0
"""Of all masks of one file together: each takes a byte for every pixel of the picture."""
MAX_NAME = 100
"""Characters of an object's name."""


@dataclass(frozen=True, eq=False)
class SegmentedObject:
    """One object of a picture.

    Raises:
        ValueError: The mask is none.
        InputError: The mask is empty, the name cannot be shown, or the predicted IoU is not finite.
    """

    name: str
    mask: NDArray[np.bool_]
    """H W, read-only; at least one pixel is inside."""
    predicted_iou: float | None = None
    prompts: Prompts | None = None

    def __post_init__(self) -> None:
        if self.mask.dtype != np.bool_ or self.mask.ndim != 2:
            raise ValueError(f"mask must be bool H W, not {self.mask.dtype} {self.mask.shape}")
        check_name(self.name)
        if not self.mask.any():
            raise InputError(f"The mask of {self.name} is empty.", "Keep at least one pixel.")
        if self.predicted_iou is not None and not math.isfinite(self.predicted_iou):
            raise InputError(f"The predicted IoU of {self.name} is not finite.", "Leave it out.")
        self.mask.setflags(write=False)

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True, slots=True)
class PromptSheet:
    """What was pointed at in a picture, for each object."""

    sha256: str
    """Hex digest of the picture's file."""
    width: int
    """Of the picture, in pixels."""
    height: int
    model_id: str
    """The model that was asked."""
    objects: tuple[tuple[str, Prompts], ...]
    """Names and prompts; without logits, which are kept elsewhere."""


def check_name(name: str) -> None:
    if not (0 < len(name) <= MAX_NAME and name.isprintable()):
        raise InputError(
            "An object's name is empty, too long or cannot be shown.",
            f"Give a name of 1 to {MAX_NAME} printable characters.",
        )


def check_count(count: int) -> None:
    if count > MAX_OBJECTS:
        raise InputError(f"There are {count} objects.", f"At most {MAX_OBJECTS} fit into one file.")


def check_masks(count: int, size: Size) -> None:
    """Refuse more masks of a size than one file may hold."""
    check_count(count)
    megapixels = count * size[0] * size[1] / 1e6
    if megapixels > MAX_TOTAL_MEGAPIXELS:
        raise InputError(
            f"{count} masks of this picture have {megapixels:.0f} megapixels together.",
            f"Use a smaller picture or fewer objects: at most {MAX_TOTAL_MEGAPIXELS:g} fit into one file.",
        )


def most_masks(size: Size) -> int:
    """Return how many masks of a size one file may hold."""
    return min(MAX_OBJECTS, int(MAX_TOTAL_MEGAPIXELS * 1e6 // (size[0] * size[1])))


def check_objects(objects: Sequence[SegmentedObject]) -> Size:
    """Return the size of the picture that all the objects are of."""
    if not objects:
        raise InputError("There is no object to export.", "Segment one first.")
    shapes = {item.mask.shape for item in objects}
    if len(shapes) > 1:
        raise ValueError(f"masks of one picture have one size, not {sorted(shapes)}")
    height, width = shapes.pop()
    check_masks(len(objects), (height, width))
    return height, width


def check_size(found: tuple[Any, ...], size: Size, what: str) -> None:
    if [type(side) for side in found] != [int, int]:
        raise ValueError("no size of a picture")
    if found != size:
        raise InputError(
            f"The {what} is of {found[1]} x {found[0]} pixels, the picture of {size[1]} x {size[0]}.",
            "Choose a file that belongs to this picture.",
        )


@contextmanager
def reading(data: bytes, what: str, most_mb: float) -> Iterator[None]:
    """Turn everything that a misshapen file brings about into one error, and refuse a large one."""
    if len(data) > most_mb * 1e6:
        raise InputError(
            f"The file has {len(data) / 1e6:.1f} MB; {what} may have {most_mb:g} MB.",
            "Give fewer or simpler objects.",
        )
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(
            f"The file holds no {what} that can be read here.", "Choose a file that was exported here."
        ) from error


def class_names_of(objects: Sequence[SegmentedObject]) -> list[str]:
    return list(dict.fromkeys(item.name for item in objects))


def checked_ring(corners: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Return K 2 corners (x, y) of a line, if they are some, and inside the picture up to rounding."""
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError("a line has three corners or more, of two numbers")
    if not ((corners >= -1) & (corners <= np.array(size[::-1]) + 1)).all():
        raise InputError("An outline leaves the picture.", "Choose a file that belongs to this picture.")
    return corners


def json_bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")


def json_value(data: bytes) -> Any:
    """Return any JSON value; numbers that Python alone knows, or that are absurdly long, are a ValueError."""
    return json.loads(data.decode("utf-8"), parse_constant=_refused, parse_int=_whole)


def _refused(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no JSON number")


def _whole(text: str) -> int:
    return int(text) if len(text) <= 15 else _refused(text)


def json_numbers(raw: Any) -> NDArray[np.float64]:
    """Return a list of JSON numbers as an array; finite, as `json_value` and the check here see to."""
    if not isinstance(raw, list) or any(type(value) not in (int, float) for value in raw):
        raise ValueError("no list of numbers")
    values = np.array(raw, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("not finite")
    return values


def optional_number(raw: Any) -> float | None:
    return None if raw is None else float(json_numbers([raw])[0])


def json_name(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError("no text")
    check_name(raw)
    return raw
