"""Pictures with their classes: a zip or folder with one folder a class, or with a table of references.

    beagle/1.jpg            the folder that a picture lies in is its class
    labels.csv              or columns image and reference, as in core/vlm/datasets/table.py

A model knows a class by one of its own labels, compared without regard to case, spaces and underscores; one
of several names that a label lists between commas is enough ("tabby, tabby cat"). What it does not know is
told, and never counted as wrong.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.errors import InputError
from core.vlm.datasets.values import Item, Items

MOST_TOLD = 5
"""Classes that a message names."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is right of one picture, as a model's classes."""

    item_id: str
    classes: frozenset[int]
    """Indices of the model's labels that mean it; several where two labels have the same name."""


@dataclass(frozen=True, slots=True)
class Matched:
    """A data set's classes beside those of a model."""

    targets: tuple[Target, ...]
    """Of the pictures whose class the model knows, in order."""
    unknown: tuple[str, ...]
    """Classes of the data set that the model does not have, in order of the alphabet."""
    left_out: int
    """Pictures of those classes."""

    @property
    def note(self) -> str:
        """What was left out, in a sentence; empty where nothing was."""
        if not self.left_out:
            return ""
        pictures = "1 picture is" if self.left_out == 1 else f"{self.left_out:,} pictures are"
        return (
            f"{pictures} of classes that the model does not know ({_some(self.unknown)}) and did not count."
        )


def label_of(item: Item) -> str:
    """Return the class of a picture: its reference, or the folder it lies in.

    Raises:
        InputError: It has neither, or several references.
    """
    given = sorted({reference for references in item.references.values() for reference in references})
    if len(given) > 1:
        raise InputError(
            f"{item.id} has {len(given)} references, {given[0]!r} and {given[1]!r} among them.",
            "Give one class for each picture.",
        )
    label = given[0] if given else PurePosixPath(item.id).parent.name
    if not _plain(label):
        raise InputError(
            f"{item.id} has no class.", "Put each picture into a folder named as its class, or add a table."
        )
    return label


def match(items: Items, labels: Sequence[str]) -> Matched:
    """Return which of a model's classes each picture is.

    Args:
        labels: The model's, in the order of its logits.

    Raises:
        InputError: A picture has no class, or the model knows none of the classes.
    """
    known = _names(labels)
    targets, unknown, left_out = [], set(), 0
    for position, item_id in enumerate(items.ids):
        label = label_of(items.at(position))
        classes = known.get(_plain(label), frozenset())
        if classes:
            targets.append(Target(item_id, classes))
        else:
            unknown.add(label)
            left_out += 1
    if not targets:
        raise InputError(
            f"The model knows none of the classes of {items.name} ({_some(sorted(unknown))}).",
            f"Name them as the model does, for example {_some(labels[:3])}, or choose another model.",
        )
    return Matched(tuple(targets), tuple(sorted(unknown)), left_out)


def _names(labels: Sequence[str]) -> dict[str, frozenset[int]]:
    """Return every name of every label: the whole label first, then the names between its commas."""
    whole: dict[str, set[int]] = {}
    parts: dict[str, set[int]] = {}
    for index, label in enumerate(labels):
        whole.setdefault(_plain(label), set()).add(index)
        for part in label.split(","):
            parts.setdefault(_plain(part), set()).add(index)
    return {name: frozenset(found) for name, found in (parts | whole).items() if name}


def _plain(label: str) -> str:
    text = unicodedata.normalize("NFKC", label).casefold()
    return " ".join(re.split(r"[\s_-]+", text)).strip()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_TOLD:,} more" if len(names) > MOST_TOLD else ""
    return ", ".join(repr(name) for name in names[:MOST_TOLD]) + more
