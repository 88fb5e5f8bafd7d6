"""What a report says, as plain values: sections of blocks, drawn by `html` and `pdf`.

Every text in it is shown as it is, letter by letter; `words.shown` has made strangers' texts fit for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.charts.report import ChartInfo

Align = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    role: Literal["plain", "note", "warning", "group", "verdict", "open"] = "plain"
    """`group` names what follows, `verdict` says which is better, `open` that it cannot be told."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with what they are."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    align: Align = "left"
    width: float = 0.0
    """Its share of the width; 0 is as wide as its longest cell, for short ones."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table."""

    text: str
    grey: bool = False
    """Too few samples to be relied on."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under one head, which is repeated on every page."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and what it shows in words."""

    info: ChartInfo
    title: str
    alt: str


@dataclass(frozen=True, slots=True)
class Code:
    """Commands, line by line."""

    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question to a model, with its picture, and what came back."""

    head: str
    question: str
    answer: str
    failed: bool
    thumbnail: bytes | None
    """JPEG, PNG or WebP; None where there is none."""
    foot: str = ""


Block = Text | Facts | Table | Chart | Code | Exchange


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the report."""

    key: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report."""

    title: str
    facts: Facts
    sections: Sequence[Section]
    made: str
    """When, as ISO 8601 with the offset from UTC."""
