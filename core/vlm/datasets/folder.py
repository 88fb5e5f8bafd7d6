"""A folder of pictures on this machine, with or without a table in it."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import InputError
from core.images import check_size
from core.vlm.datasets.limits import MAX_FILES, picture_limits
from core.vlm.datasets.pictures import TABLES, Pictures, clean_path, is_hidden, of_kind, without_table
from core.vlm.datasets.table import check_table_size, read_table
from core.vlm.datasets.values import Items


def folder_items(folder: Path, table: str | None = None) -> Items:
    """Return the data set in a folder: by its table, or every picture in it.

    Links that lead out of the folder are passed over. The digest is that of the table, of the names of the
    files and of their sizes: pictures are not read for it.

    Args:
        table: Path of the table inside the folder; None takes the only one there is.

    Raises:
        InputError: It cannot be read, or its table cannot be used.
    """
    pictures = _pictures(folder)
    tables = of_kind(pictures.paths, TABLES) if table is None else [table]
    if len(tables) > 1:
        raise InputError(
            f"{pictures.name} holds {len(tables)} tables, {tables[0]} and {tables[1]} among them.",
            "Name the one that you mean.",
        )
    if not tables:
        return without_table(pictures)
    path = folder / tables[0]
    try:
        check_table_size(path.stat().st_size, tables[0])
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).", "Check the path.") from error
    return read_table(data, tables[0], pictures)


def _pictures(folder: Path) -> Pictures:
    try:
        root = folder.resolve(strict=True)
        found = dict(_files(root))
    except (OSError, RuntimeError) as error:
        raise InputError(f"The folder {folder} cannot be read ({error}).", "Check its name.") from error
    listed = "\n".join(f"{path}\0{size}" for path, (size, _) in sorted(found.items()))

    def read(path: str) -> bytes:
        file = found[path][1]
        try:
            check_size(file.stat().st_size, path, picture_limits())
            return file.read_bytes()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}).", "Check that it is still there."
            ) from error

    return Pictures(root.name, hashlib.sha256(listed.encode()).hexdigest(), frozenset(found), read)


def _files(root: Path) -> Iterator[tuple[str, tuple[int, Path]]]:
    """Yield path inside the folder, and size in bytes with the file's own path."""
    count = 0
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            file = Path(parent, name)
            path = clean_path(file.relative_to(root).as_posix())
            if path is None or is_hidden(path) or not file.is_file():
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                continue
            count += 1
            if count > MAX_FILES:
                raise InputError(f"{root} holds more than {MAX_FILES:,} files.", "Choose a smaller folder.")
            yield path, (file.stat().st_size, file)
