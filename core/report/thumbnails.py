"""Thumbnails that can be shown: one that is damaged must not spoil the report."""

from io import BytesIO

from PIL import Image

KINDS = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp"}


def picture_kind(data: bytes | None) -> str:
    """Return what a thumbnail is (`png`, `jpeg`, `webp`); empty where it is none, or cannot be decoded."""
    try:
        with Image.open(BytesIO(data or b""), formats=list(KINDS)) as picture:
            picture.load()
            return KINDS[picture.format or ""]
    except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
        return ""
