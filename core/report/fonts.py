"""The typefaces of the PDF: Noto, which packages bring along; nothing of this machine's own is used."""

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
    folders = [_folder(package) for package in PACKAGES]
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=folders)


def _folder(package: str) -> Path:
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        missing = package.replace("_", "-")
        raise SetupError(f"The package {missing} is missing.", "pip install -r requirements.txt")
    return Path(places[0])
