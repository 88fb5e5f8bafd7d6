"""Bytes of any common picture format to one validated value, and back.

    bytes -> size in MB -> signature -> header -> megapixels -> pixels -> upright -> sRGB -> over white

The order is the defence: nothing is decoded before its size is known to be harmless, a format is judged by
its first bytes and never by its name, and no decoder but those of the six formats is ever reached.
"""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from core.errors import InputError

# Pillow warns about odd metadata that does not touch the pixels, and about sizes that `decode` checks itself.
# The filters are set once: changing them around each call would race between threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

THUMBNAIL_PX = 160
"""Longer side of a thumbnail."""

_SUPPORTED = "PNG, JPEG, WebP, BMP, TIFF or GIF"
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    # The classes themselves: Image.open warns about or refuses a large picture without saying its size.
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)
_FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript drawing"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML or SVG file"),
    (b"8BPS", "a Photoshop file"),
)
_ISO_BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture", b"mif1": "a HEIF picture"}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation (TIFF 6.0, tag 274) to the turn that undoes it."""
_ORIENTATION_TAG = 274
_BITS_PER_SAMPLE_TAG = 258


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest picture that is accepted."""

    max_mb: float = 20.0
    """Of the file, in MB (10^6 bytes)."""
    max_megapixels: float = 40.0
    """Width x height, in millions of pixels."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class ImageInput:
    """A decoded picture. Its identity is `sha256`, the digest of the file it came from.

    Raises:
        ValueError: `rgb` is not a picture.
    """

    name: str
    """What to call it on a page: a sample's or file's name."""
    data: bytes
    """The file as it was given."""
    sha256: str
    """Hex digest of `data`."""
    format: str
    """`PNG`, `JPEG`, `WEBP`, `BMP`, `TIFF` or `GIF`."""
    rgb: NDArray[np.uint8]
    """H W 3, sRGB, 0-255, upright, read-only."""

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or not self.rgb.size:
            raise ValueError(f"rgb must be uint8 H W 3, not {self.rgb.dtype} {self.rgb.shape}")
        self.rgb.setflags(write=False)

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.rgb.shape[0])

    @cached_property
    def thumbnail(self) -> bytes:
        """A JPEG file of at most `THUMBNAIL_PX` pixels on the longer side."""
        small = Image.fromarray(self.rgb)
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """Return a picture (H W 3, or H W for grey) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def from_rgb(rgb: NDArray[np.uint8], name: str) -> ImageInput:
    """Return a picture made here (H W 3, 0-255) as if it had been given as a PNG file.

    Raises:
        ValueError: `rgb` is not a picture.
    """
    data = encode_png(rgb)
    return ImageInput(name, data, hashlib.sha256(data).hexdigest(), "PNG", rgb.copy())


def check_size(size: int, name: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise an InputError when a file of `size` bytes is larger than is accepted."""
    if size > limits.max_mb * 1e6:
        raise InputError(
            f"{name} has {size / 1e6:.1f} MB; at most {limits.max_mb:g} MB are accepted.",
            "Make it smaller, or save it as JPEG.",
        )


def decode(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> ImageInput:
    """Return the picture in a file's bytes: first frame, upright, sRGB, transparency over white.

    Args:
        data: A file in one of the six formats, whatever it is called.
        name: What to call it on a page and in messages.
        limits: What is refused before it is decoded.

    Raises:
        InputError: It is empty, too large, not a picture, of another format, or damaged.
    """
    if not data:
        raise InputError(f"{name} is empty.", "Choose a file that holds a picture.")
    check_size(len(data), name, limits)
    kind = _format(data, name)
    with _translating(name, kind, limits):
        image = _READERS[kind](io.BytesIO(data))
    width, height = image.size
    if width * height > limits.max_megapixels * 1e6:
        raise _too_large(name, f"{width} x {height} = {width * height / 1e6:.1f}", limits)
    with _translating(name, kind, limits):
        image.load()
    if image.mode in ("I", "F"):
        raise InputError(
            f"{name} holds 32-bit numbers, for which no brightness range is defined.",
            "Save it with 8 or 16 bits per channel.",
        )
    with _translating(name, kind, limits):
        rgb = np.array(_over_white(_upright(_eight_bit(image), _orientation(image))))
    return ImageInput(name, data, hashlib.sha256(data).hexdigest(), kind, rgb)


def _too_large(name: str, megapixels: str, limits: Limits) -> InputError:
    return InputError(
        f"{name} has {megapixels} megapixels; at most {limits.max_megapixels:g} are accepted.",
        "Make it smaller.",
    )


@contextmanager
def _translating(name: str, kind: str, limits: Limits) -> Iterator[None]:
    """Turn whatever a decoder raises on broken data (a dozen types, some of them bare) into one error."""
    try:
        yield
    except Image.DecompressionBombError as error:  # from the readers that look at the size before we can
        ceiling = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise _too_large(name, f"more than {ceiling:.0f}", limits) from error
    except Exception as error:
        raise InputError(
            f"{name} begins like a {kind} picture, but it has no pixels or is cut off, damaged or unusual.",
            "Open it in another program and save it again as PNG or JPEG.",
        ) from error


def _format(data: bytes, name: str) -> str:
    """Return the format that the first bytes announce, or say what the file is instead."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    text = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    other = next((what for start, what in _FOREIGN if text.startswith(start)), "")
    if data[4:8] == b"ftyp":
        other = _ISO_BRANDS.get(data[8:12], "a HEIC picture" if data[8:10] == b"he" else "a video")
    if other:
        raise InputError(f"{name} is {other}, which cannot be read here.", "Save it as PNG or JPEG first.")
    raise InputError(f"{name} is not a picture in a known format.", f"Choose a {_SUPPORTED} file.")


def _eight_bit(image: ImageFile.ImageFile) -> Image.Image:
    """Return `image` with 8 bits per channel: 16-bit grey is scaled, where Pillow would clip it."""
    if not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.uint32)
    bits = 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(_BITS_PER_SAMPLE_TAG, (16,))[0]  # 12-bit grey arrives in 16-bit words
    top = (1 << bits) - 1
    grey = Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    grey.info["icc_profile"] = image.info.get("icc_profile")
    return grey


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF, which raises as variously as broken pixels, must not cost the picture
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return `image` turned as its EXIF data asks; `info` is kept."""
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _over_white(image: Image.Image) -> Image.Image:
    """Return `image` as sRGB, what is transparent being white."""
    profile = image.info.get("icc_profile")
    if not image.has_transparency_data:
        return _srgb(image.convert("RGB") if image.mode in ("P", "1") else image, profile)
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, (255, 255, 255))
    canvas.paste(_srgb(image.convert("RGB"), profile), mask=image.getchannel("A"))
    return canvas


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return `image` as RGB, by its embedded colour profile where that can be used."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(source).lower():  # which would only add rounding
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                return converted or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile that is broken or of another colour space says nothing about these pixels
    return image.convert("RGB")
