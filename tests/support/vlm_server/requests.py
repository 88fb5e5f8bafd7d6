"""What a request held, read from its wire format."""

import base64
import binascii
import hashlib
import io
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

_DATA_URL = re.compile(r"data:([\w/+.-]+);base64,(.*)", re.DOTALL)


@dataclass(frozen=True)
class Picture:
    """A picture that came with a request; looked into only when somebody asks what it shows."""

    media_type: str
    """As the request says."""
    text: str
    """Its file, in base64."""

    @property
    def nbytes(self) -> int:
        return len(self._data)

    @cached_property
    def _data(self) -> bytes:
        try:
            return base64.b64decode(self.text)
        except binascii.Error:
            return b""

    @cached_property
    def _rgb(self) -> np.ndarray | None:
        try:
            with Image.open(io.BytesIO(self._data)) as image:
                return np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError):
            return None

    @property
    def width(self) -> int:
        """Pixels; 0 where it is no picture."""
        return 0 if self._rgb is None else self._rgb.shape[1]

    @property
    def height(self) -> int:
        return 0 if self._rgb is None else self._rgb.shape[0]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its RGB pixels, so the same for every lossless format."""
        return "unreadable" if self._rgb is None else pixel_digest(self._rgb)


@dataclass(frozen=True, slots=True)
class Sent:
    """What the body of a request says; nothing for a list of models."""

    model: str = ""
    """As asked."""
    stream: bool = False
    prompt: str = ""
    picture: Picture | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """The rest: limits, temperature and so on, as they were sent."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that the server took."""

    number: int
    """From 1, in the order of arrival since the last reset."""
    service: str
    """`gemini`, `openai` (and whatever speaks as it does) or `together`."""
    path: str
    key_digest: str
    """First 12 hex digits of the key's SHA-256, as `key_digest` makes it; empty where none came."""
    at: float
    """When it had arrived, in seconds of `time.monotonic`."""
    sent: Sent

    @property
    def model(self) -> str:
        """As asked; empty for a list of models."""
        return self.sent.model

    @property
    def prompt(self) -> str:
        """All texts of the request, one after the other."""
        return self.sent.prompt

    @property
    def picture(self) -> Picture | None:
        """The first picture that came."""
        return self.sent.picture


def key_digest(key: str) -> str:
    """Return what stands for a key in what the server records: it keeps none."""
    return hashlib.sha256(key.encode()).hexdigest()[:12] if key else ""


def read_gemini(model: str, stream: bool, body: dict[str, Any]) -> Sent:
    """Read a generateContent request; what it asks for is in its path."""
    parts = [part for content in body.get("contents", []) for part in content.get("parts", [])]
    prompt = "".join(part.get("text", "") for part in parts)
    blobs = [part.get("inlineData") or part.get("inline_data") for part in parts]
    picture = next((_blob(blob) for blob in blobs if blob), None)
    return Sent(model, stream, prompt, picture, _without(body, "contents"))


def _blob(blob: dict[str, Any]) -> Picture:
    kind = blob.get("mimeType") or blob.get("mime_type") or ""
    # The service takes both base64 alphabets.
    return Picture(kind, str(blob.get("data", "")).replace("-", "+").replace("_", "/"))


def read_chat(body: dict[str, Any]) -> Sent:
    """Read a chat completion request."""
    contents = [message.get("content") for message in body.get("messages", [])]
    prompt = "".join(content for content in contents if isinstance(content, str))
    parts = [part for content in contents if isinstance(content, list) for part in content]
    prompt += "".join(part.get("text", "") for part in parts)
    urls = [part["image_url"]["url"] for part in parts if part.get("type") == "image_url"]
    found = _DATA_URL.fullmatch(urls[0]) if urls else None
    picture = Picture(found[1], found[2]) if found else None
    return Sent(body.get("model", ""), bool(body.get("stream")), prompt, picture, _without(body, "messages"))


def _without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


def pixel_digest(rgb: np.ndarray) -> str:
    """Return the SHA-256 of a picture's pixels, uint8 H W 3, and of its size."""
    return hashlib.sha256(str(rgb.shape).encode() + rgb.tobytes()).hexdigest()
