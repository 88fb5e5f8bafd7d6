"""Files of safetensors that tell whether a byte in them was changed: for what is kept in the store.

Their metadata holds

    layout   JSON: whatever else must be known
    sha256   digest of the same file without this entry
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError

Save = Callable[[dict[str, Any], dict[str, str]], bytes]
"""`save` of `safetensors.numpy` or `safetensors.torch`: tensors by name, and metadata."""

DAMAGED = (SafetensorError, LookupError, TypeError, ValueError, AssertionError, RuntimeError)
"""What reading the bytes of a bad file may raise, here or in safetensors."""


def seal(save: Save, tensors: dict[str, Any], layout: str) -> bytes:
    """Return the file."""
    return save(tensors, {"layout": layout, "sha256": _digest(save, tensors, layout)})


def unsealed(save: Save, tensors: dict[str, Any], data: bytes) -> Any:
    """Return the layout of a file whose `tensors` safetensors has loaded, which checked its header.

    Raises:
        ValueError: A byte was changed. Or another one of `DAMAGED`.
    """
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    if _digest(save, tensors, metadata["layout"]) != metadata["sha256"]:
        raise ValueError("its digest is another one")
    return json.loads(metadata["layout"])


def _digest(save: Save, tensors: dict[str, Any], layout: str) -> str:
    return hashlib.sha256(save(tensors, {"layout": layout})).hexdigest()
