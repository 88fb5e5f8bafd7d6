"""The files among a sweep's pictures: the bytes of each go with its cells to whoever measures them.

They are the inputs of the sweep's parent run, so that whoever resumes it has them again where the store keeps
pictures. Elsewhere the same files must be given once more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from core.bench.pictures import DIGEST
from core.errors import InputError
from core.images import ImageInput
from core.ledger import Kept, Ledger
from core.runs import RunInput

MOST_FILES = 256
MOST_MB = 500.0
"""Of all files of a sweep, in MB (10^6 bytes): they are held while it works."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture without its pixels."""

    name: str
    data: bytes
    sha256: str
    format: str
    width: int
    height: int
    thumbnail: bytes

    @classmethod
    def of(cls, image: ImageInput) -> Self:
        """Return the file of a picture that was decoded."""
        return cls(
            image.name, image.data, image.sha256, image.format, image.width, image.height, image.thumbnail
        )


def files_of(images: Iterable[ImageInput]) -> tuple[PictureFile, ...]:
    """Return the files of pictures, each once; takes one picture after the other.

    Raises:
        InputError: They are too many, or too large together.
    """
    found: dict[str, PictureFile] = {}
    size = 0
    for image in images:
        if image.sha256 in found:
            continue
        found[image.sha256] = PictureFile.of(image)
        size += len(image.data)
        if len(found) > MOST_FILES or size > MOST_MB * 1e6:
            raise InputError(
                f"More than {MOST_FILES} files, or {MOST_MB:g} MB of them, are given.",
                "Choose fewer: a few dozen pictures say as much about times.",
            )
    return tuple(found.values())


def inputs_of(files: Sequence[PictureFile]) -> tuple[RunInput, ...]:
    """Return files as the inputs of a run."""
    return tuple(
        RunInput("picture" if at == 0 else f"picture {at + 1}", file) for at, file in enumerate(files)
    )


def check_files(pictures: Sequence[str], given: Mapping[str, bytes]) -> None:
    """See that the file behind each digest among some names of pictures is there.

    Raises:
        InputError: One is not.
    """
    lost = [name for name in pictures if DIGEST.fullmatch(name) and name not in given]
    if lost:
        files = "1 of its files is" if len(lost) == 1 else f"{len(lost)} of its files are"
        raise InputError(
            f"{files} not here: the store did not keep pictures.", "Give the very same files again."
        )


def kept_files(
    ledger: Ledger, set_id: str, owner: str, kept: Kept, given: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Return the files of a sweep that began earlier: those given now, and the others that the store has."""
    found = dict(given)
    for picture in kept.inputs:
        if picture.sha256 not in found and picture.kept:
            data = ledger.picture_data(set_id, picture.role, owner)
            if data is not None:
                found[picture.sha256] = data
    return found
