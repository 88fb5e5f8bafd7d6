"""Typefaces for the HTML file: of each just the letters that the report has, written into the file.

Letters that every machine can show (Latin, Greek, Cyrillic, punctuation) are left to the reader's own.
"""

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from core.report.fonts import folders, han_family

PLAIN = (range(0x530), range(0x1E00, 0x20D0))
LAST = ("NotoSans[", "NotoSans-", "NotoSansSymbols", "NotoEmoji")
"""Faces that come after the scripts' own, by how their files' names begin."""


class Face(NamedTuple):
    """A typeface cut down to some letters."""

    family: str
    data: bytes
    """As WOFF."""


def embedded(text: str) -> str:
    """Return the style sheet of the typefaces that a text needs; empty where it needs none."""
    faces = list(cut_faces(text))
    if not faces:
        return ""
    rules = [
        f'@font-face{{font-family:"{face.family}";font-weight:100 900;'
        f'src:url(data:font/woff;base64,{base64.b64encode(face.data).decode()}) format("woff")}}'
        for face in faces
    ]
    names = ",".join(f'"{face.family}"' for face in faces)
    return "".join([*rules, f"body{{font-family:{names},system-ui,sans-serif}}"])


def cut_faces(text: str) -> Iterator[Face]:
    """Yield the faces that have letters of a text, each with those that none before it has.

    Raises:
        SetupError: A package of typefaces is missing.
    """
    letters = set(text)
    letters |= set(normalize("NFKD", "".join(letters)))  # a browser may put a letter together from its parts
    needed = {ord(letter) for letter in letters}
    needed = {code for code in needed if not any(code in plain for plain in PLAIN)}
    if not needed:
        return
    for path in _files():
        with _opened(path, han_family(text) or "Noto Sans CJK KR") as font:
            found = needed & set(font.getBestCmap())
            if found:
                needed -= found
                yield Face(str(font["name"].getBestFamilyName()), _cut(font, found))
        if not needed:
            return


def _files() -> list[Path]:
    paths = [path for folder in folders() for path in sorted(folder.glob("*.tt[fc]"))]
    return sorted(paths, key=lambda path: path.name.startswith(LAST))


def _opened(path: Path, family: str) -> Any:
    """Open a font file; of a collection, the family of that name."""
    from fontTools.ttLib import TTCollection, TTFont

    if path.suffix != ".ttc":
        return TTFont(path, lazy=True)
    with TTCollection(path, lazy=True) as collection:
        named = [font["name"].getBestFamilyName() for font in collection.fonts]
    return TTFont(path, fontNumber=named.index(family) if family in named else 0, lazy=True)


def _cut(font: Any, codes: set[int]) -> bytes:
    from fontTools import subset

    options = subset.Options()
    options.flavor = "woff"
    options.layout_features = ["*"]
    options.drop_tables += ["vmtx", "vhea", "VORG", "VVAR"]
    worker = subset.Subsetter(options)
    worker.populate(unicodes=codes | {0x200C, 0x200D})
    worker.subset(font)
    buffer = BytesIO()
    subset.save_font(font, buffer, options)
    return buffer.getvalue()
