"""A picture as a remote provider takes it: re-encoded from its pixels, and smaller where it must be.

What is sent is made from the decoded pixels and never the file itself: each model then sees the same upright
sRGB picture, and neither the place where a photograph was taken nor any other metadata leaves this machine.
"""

import io
import threading
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from PIL import Image

from core.images import ImageInput

PNG_PIXELS = 4_000_000
"""Above it, and where a PNG file is too large, a JPEG file is sent: lossless photographs are slow to send."""
JPEG_QUALITIES = (95, 85, 70)
SMALLER = 0.75
"""By how much the sides shrink where no quality is small enough."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest picture that a provider takes whole. All of them take PNG and JPEG."""

    max_bytes: int
    """Of the file; base64 adds a third to it on the way."""
    max_side: int
    """Pixels of the longer side."""


PROVIDER_LIMITS = {
    "gemini": Limit(14_000_000, 3072),
    "openai": Limit(14_000_000, 2048),
    "together": Limit(7_000_000, 2048),
    "compatible": Limit(14_000_000, 2048),
}
"""Gemini takes 20 MB a request and scales to fit 3072 x 3072 itself
(https://firebase.google.com/docs/ai-logic/input-file-requirements). OpenAI takes more bytes, and scales to
fit 2048 x 2048 (https://platform.openai.com/docs/guides/images-vision). Together and servers like Ollama and
vLLM state no limit; theirs are chosen here: a request stays below the 10 MB and 20 MB of usual gateways."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A picture file that is ready to be sent."""

    data: bytes
    media_type: str
    """`image/png` or `image/jpeg`."""
    note: str
    """What was done to its pixels; empty where they are all there."""


_LOCK = threading.Lock()
_DONE: "WeakKeyDictionary[ImageInput, dict[Limit, Fitted]]" = WeakKeyDictionary()
"""What was made of a picture, as long as somebody holds it: the models of one comparison share it."""


def fit(image: ImageInput, provider: str) -> Fitted:
    """Return `image` as `provider` takes it.

    Args:
        provider: A name in `PROVIDER_LIMITS`.
    """
    limit = PROVIDER_LIMITS[provider]
    with _LOCK:
        found = _DONE.setdefault(image, {}).get(limit)
    if found is None:
        found = fitted(image, limit)
        with _LOCK:
            _DONE.setdefault(image, {})[limit] = found
    return found


def fitted(image: ImageInput, limit: Limit) -> Fitted:
    """Return the largest and most exact picture file that `limit` allows."""
    picture = Image.fromarray(image.rgb)
    picture.thumbnail((limit.max_side, limit.max_side), Image.Resampling.LANCZOS)
    while True:
        small = picture.size != (image.width, image.height)
        sizes = f"{image.width} x {image.height} to {picture.width} x {picture.height}"
        note = f"The picture was made smaller, from {sizes} pixels." if small else ""
        if picture.width * picture.height <= PNG_PIXELS:
            data = _encoded(
                picture, "PNG", compress_level=1
            )  # level 6 saves 10 % and takes four times as long
            if len(data) <= limit.max_bytes:
                return Fitted(data, "image/png", note)
        for quality in JPEG_QUALITIES:
            data = _encoded(picture, "JPEG", quality=quality, subsampling=0)
            if len(data) <= limit.max_bytes or max(picture.size) == 1:
                lossy = f"It was sent as JPEG of quality {quality}."
                return Fitted(data, "image/jpeg", f"{note} {lossy}".strip())
        sides = (max(1, int(picture.width * SMALLER)), max(1, int(picture.height * SMALLER)))
        picture = picture.resize(sides, Image.Resampling.LANCZOS)


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
