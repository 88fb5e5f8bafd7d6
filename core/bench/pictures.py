"""Names of pictures that travel to another process, and the pictures they stand for.

astronaut, scene/7      a sample
7                       the scene of seed 7
64 hexadecimal digits   a file by its digest; its bytes must be given along
"""

import hashlib
import re
from collections.abc import Mapping

from core.errors import InputError
from core.images import ImageInput, decode
from core.samples import SCENE_PREFIX, load_sample

DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def load_picture(name: str, given: Mapping[str, bytes] | None = None, title: str = "") -> ImageInput:
    """Return the picture that a name stands for.

    Args:
        given: Digest to the bytes of a file.
        title: What a file is called; the beginning of its digest by default.

    Raises:
        InputError: There is none, its bytes are not there or are others, or it is no picture.
    """
    if DIGEST.fullmatch(name):
        data = (given or {}).get(name)
        if data is None or hashlib.sha256(data).hexdigest() != name:
            raise InputError(f"The file {name[:12]}… is not here.", "Give the picture itself along.")
        return decode(data, title or name[:12])
    return load_sample(f"{SCENE_PREFIX}{name}" if name.isascii() and name.isdigit() else name)


def name_of(image: ImageInput) -> str:
    """Return the name of a picture that was given: its digest."""
    return image.sha256
