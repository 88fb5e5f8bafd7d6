"""A zip of pictures, with or without a table in it. Nothing of it is ever written to disk.

That is the defence against paths that lead outside. Against a bomb: the number of files is bounded, each file
is read alone, and no more of it than the largest accepted picture has.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.errors import InputError
from core.images import check_size
from core.vlm.datasets.limits import MAX_FILES, picture_limits
from core.vlm.datasets.pictures import TABLES, Pictures, clean_path, is_hidden, of_kind, without_table
from core.vlm.datasets.table import check_table_size, read_table
from core.vlm.datasets.values import Items

ENCRYPTED = 0x1
UTF8_NAME = 0x800
"""Bits of a member's flags (PKWARE APPNOTE 4.4.4)."""
CHUNK = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
"""What reading a damaged, encrypted or foreign zip raises."""


def zip_items(file: Path | BinaryIO, name: str) -> Items:
    """Return the data set in a zip: by its table, or every picture in it.

    Args:
        file: Stays in use as long as the data set is.
        name: What to call it in messages.

    Raises:
        InputError: It cannot be read, holds what it must not, or its table cannot be used.
    """
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as error:
        raise InputError(f"{name} is no zip that can be read ({error}).", "Pack it again.") from error
    members = dict(_members(archive, name))
    digest = hashlib.sha256(
        "\n".join(_identity(path, info) for path, info in sorted(members.items())).encode()
    )
    limits = picture_limits()

    def read(path: str) -> bytes:
        check_size(members[path].file_size, path, limits)
        return _read(archive, members[path], path, name)

    pictures = Pictures(name, digest.hexdigest(), frozenset(members), read)
    tables = of_kind(pictures.paths, TABLES)
    if len(tables) > 1:
        raise InputError(
            f"{name} holds {len(tables)} tables, {tables[0]} and {tables[1]} among them.",
            "Leave one of them in it.",
        )
    if not tables:
        return without_table(pictures)
    check_table_size(members[tables[0]].file_size, tables[0])
    return read_table(_read(archive, members[tables[0]], tables[0], name), tables[0], pictures)


def _members(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MAX_FILES:
        raise InputError(f"{name} holds {len(infos):,} files.", f"Pack at most {MAX_FILES:,}.")
    seen = set()
    for info in infos:
        written = _name(info)
        path = clean_path(written)
        if path is None:
            raise InputError(
                f"{name} holds a file whose path {written!r} leads outside.", "Pack the folder again."
            )
        if is_hidden(path):
            continue
        if info.flag_bits & ENCRYPTED:
            raise InputError(f"{path} in {name} is encrypted.", "Pack it without a password.")
        if path in seen:
            raise InputError(f"{name} holds two files called {path}.", "Leave one of them in it.")
        seen.add(path)
        yield path, info


def _name(info: zipfile.ZipInfo) -> str:
    """Return a member's name; many programs write UTF-8 without saying so, which is then read as cp437."""
    if info.flag_bits & UTF8_NAME:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _identity(path: str, info: zipfile.ZipInfo) -> str:
    return f"{path}\0{info.file_size}\0{info.CRC}"


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, name: str) -> bytes:
    """Return a member's bytes, at most as many as it announces."""
    parts, left = [], info.file_size
    try:
        with archive.open(info) as member:
            while left > 0 and (part := member.read(min(CHUNK, left))):
                parts.append(part)
                left -= len(part)
    except _BROKEN as error:
        raise InputError(f"{path} in {name} cannot be read ({error}).", "Pack it again.") from error
    return b"".join(parts)
