"""The pictures of a data set by path, wherever they lie, and the rules of such a path."""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.errors import InputError
from core.images import ImageInput, decode
from core.vlm.datasets.limits import picture_limits
from core.vlm.datasets.values import Item, Items

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
IGNORED = ("__MACOSX", "Thumbs.db")


@dataclass(frozen=True, eq=False, slots=True)
class Pictures:
    """Files by path, read one at a time."""

    name: str
    """Of the zip or folder."""
    digest: str
    paths: frozenset[str]
    """As `clean_path` writes them."""
    read: Callable[[str], bytes]
    """Takes one of `paths`; raises an InputError where the file cannot be read or is too large."""

    def load(self, path: str) -> ImageInput:
        """Return a picture.

        Raises:
            InputError: It cannot be read or used; the message names it.
        """
        return decode(self.read(path), path, picture_limits())

    def find(self, path: str, beside: str, where: str) -> str:
        """Return which of `paths` is meant by what a table says.

        Args:
            beside: The folder of the table, which is looked in first.

        Raises:
            InputError: There is none, or the path leads outside.
        """
        cleaned = path if path in self.paths else clean_path(path)
        if cleaned is None:
            raise InputError(
                f"{where}: the path {path!r} leads outside {self.name}.", "Name pictures by paths inside it."
            )
        for known in (f"{beside}/{cleaned}", cleaned):
            if known in self.paths:
                return known
        raise InputError(f"{where}: there is no file {path!r} in {self.name}.", "Check the column image.")


def clean_path(path: str) -> str | None:
    """Return a path inside a data set in one spelling; None where it leads outside, or is no path at all."""
    text = unicodedata.normalize("NFC", path.strip().replace("\\", "/"))
    parts = PurePosixPath(text).parts
    if not parts or "\0" in text or text.startswith("/") or ".." in parts or parts[0].endswith(":"):
        return None
    return "/".join(parts)


def is_hidden(path: str) -> bool:
    """Say whether a file is one that systems leave lying about."""
    return any(part.startswith(".") or part in IGNORED for part in path.split("/"))


def of_kind(paths: Sequence[str] | frozenset[str], suffixes: frozenset[str]) -> list[str]:
    """Return the paths of one kind of file, in order."""
    return sorted(path for path in paths if PurePosixPath(path).suffix.lower() in suffixes)


def without_table(pictures: Pictures) -> Items:
    """Return a data set of all pictures, which says nothing of what is right.

    Raises:
        InputError: There are none, or too many.
    """
    paths = of_kind(pictures.paths, PICTURES)
    digest = hashlib.sha256("\n".join([pictures.digest, *paths]).encode()).hexdigest()

    def at(position: int) -> Item:
        path = paths[position]
        return Item(path, lambda: pictures.load(path))

    return Items(pictures.name, digest, paths, at)
