"""Files that a person handed over one by one: a table with its pictures, pictures alone, or one zip."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import PurePosixPath

from core.errors import InputError
from core.vlm.datasets.archive import zip_items
from core.vlm.datasets.pictures import TABLES, Pictures, clean_path, of_kind, without_table
from core.vlm.datasets.table import read_table
from core.vlm.datasets.values import Items

ZIP = ".zip"


class LoosePictures(Pictures):
    """Pictures without folders: a table that names one by a path means the file of that name."""

    __slots__ = ()

    def find(self, path: str, beside: str, where: str) -> str:
        """Return which of `paths` is meant by what a table says.

        Raises:
            InputError: There is none, or the path leads outside.
        """
        cleaned = clean_path(path)
        name = PurePosixPath(cleaned).name if cleaned else ""
        return name if name in self.paths else super().find(path, beside, where)


def given_items(files: Mapping[str, bytes]) -> Items:
    """Return the data set that files make, by name.

    Raises:
        InputError: They make none, or what they make cannot be used.
    """
    zips = [name for name in files if PurePosixPath(name).suffix.lower() == ZIP]
    if zips and len(files) > 1:
        raise InputError("A zip came together with other files.", "Give the zip alone: it holds everything.")
    if zips:
        return zip_items(io.BytesIO(files[zips[0]]), zips[0])
    by_path = {path: data for name, data in files.items() if (path := clean_path(name)) is not None}
    tables = of_kind(frozenset(by_path), TABLES)
    if len(tables) > 1:
        raise InputError(
            f"{len(tables)} tables were given, {tables[0]} and {tables[1]} among them.", "Give one of them."
        )
    pictures = _pictures({path: data for path, data in by_path.items() if path not in tables}, tables)
    return read_table(by_path[tables[0]], tables[0], pictures) if tables else without_table(pictures)


def _pictures(files: Mapping[str, bytes], tables: list[str]) -> Pictures:
    listed = "\n".join(f"{path}\0{hashlib.sha256(data).hexdigest()}" for path, data in sorted(files.items()))
    name = tables[0] if tables else f"{len(files)} picture{'s' if len(files) != 1 else ''}"
    return LoosePictures(
        name, hashlib.sha256(listed.encode()).hexdigest(), frozenset(files), files.__getitem__
    )
