"""Data sets for vision-language models: pictures, what is asked about them, and what is right."""

from pathlib import Path

from core.errors import InputError
from core.vlm.datasets.archive import zip_items
from core.vlm.datasets.folder import folder_items
from core.vlm.datasets.given import given_items
from core.vlm.datasets.pictures import TABLES
from core.vlm.datasets.scenes import PREFIX, parse_scenes, scene_items
from core.vlm.datasets.values import ANY, Item, Items

__all__ = ["ANY", "Item", "Items", "folder_items", "given_items", "open_items", "scene_items", "zip_items"]


def open_items(source: str) -> Items:
    """Return the data set that a person on this machine names: `scenes:N[@SEED]`, a file or a folder.

    A table names its pictures by paths from its own folder.

    Raises:
        InputError: There is no such data set, or it cannot be used.
    """
    if source.startswith(PREFIX):
        return scene_items(*parse_scenes(source))
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return folder_items(path)
        if not path.is_file():
            raise InputError(f"There is no file or folder {source}.", "Check the path, or write scenes:500.")
    except (OSError, ValueError) as error:
        raise InputError(f"{source} cannot be read ({error}).", "Check the path.") from error
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return zip_items(path, path.name)
    if suffix in TABLES:
        return folder_items(path.parent, path.name)
    raise InputError(
        f"{source} is no data set.", "Give a zip, a folder, or a table that ends in .csv, .tsv or .jsonl."
    )
