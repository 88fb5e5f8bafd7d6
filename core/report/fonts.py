"""The typefaces of the PDF: Noto, which packages bring along; nothing of this machine's own is used."""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import SetupError

if TYPE_CHECKING:
    import typst

PACKAGES = ("manimgx_fonts", "manimgx_fonts_cjk")
FAMILIES = ("Noto Sans", "Noto Sans CJK KR")
"""The first choices; whatever they lack is taken from the other faces, letter by letter."""
HAN, KANA, HANGUL = (
    re.compile("[\u3400-\u9fff]"),
    re.compile("[\u3040-\u30ff]"),
    re.compile("[\uac00-\ud7a3]"),
)


@lru_cache(maxsize=1)
def fonts() -> "typst.Fonts":
    """Return the typefaces, looked up once for the process. Files are read when a letter needs them.

    Raises:
        SetupError: A package is missing.
    """
    try:
        import typst
    except ImportError as error:
        raise SetupError("The package typst is missing.", "pip install -r requirements.txt") from error
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=folders())


def folders() -> list[Path]:
    """Return the folders with the typefaces.

    Raises:
        SetupError: A package is missing.
    """
    return [_folder(package) for package in PACKAGES]


def _folder(package: str) -> Path:
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        missing = package.replace("_", "-")
        raise SetupError(f"The package {missing} is missing.", "pip install -r requirements.txt")
    return Path(places[0])


def han_family(text: str) -> str:
    """Return the face whose Chinese characters look as in the text's language; empty where there are none."""
    if not HAN.search(text):
        return ""
    if HANGUL.search(text):
        return "Noto Sans CJK KR"
    return "Noto Sans CJK JP" if KANA.search(text) else "Noto Sans CJK SC"
