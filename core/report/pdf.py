"""The report as a PDF: real text, contents, bookmarks and page numbers; set by Typst.

All words go to the template as data, never as markup: nothing in a model's answer is obeyed. Charts are
lines and words. The file is tagged, so that a screen reader finds headings and tables.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from core.errors import VisionBenchError
from core.report.document import Block, Cell, Chart, Code, Document, Exchange, Facts, Table, Text
from core.report.drawing import draw
from core.report.fonts import FAMILIES, fonts, han_family
from core.report.thumbnails import picture_kind
from core.report.words import is_rtl

TEMPLATE = Path(__file__).with_name("assets") / "report.typ"
LONG_WORD = re.compile(r"[^\s\u200b]{24,}")
BREAK_AFTER = re.compile(r"([/_\-.:,;=&?]+)(?=[^\s])|(.{24})(?=.)", re.DOTALL)
UNSEEN_BREAK = "\u200b"
TYPST_KINDS = {"jpeg": "jpg"}


class ReportError(VisionBenchError):
    """The report cannot be set."""


def to_pdf(document: Document) -> bytes:
    """Return a report as the bytes of a PDF file.

    Raises:
        SetupError: A package or a typeface is missing.
        ReportError: Typst cannot set it.
    """
    import typst

    data = json.dumps(_document(document), ensure_ascii=False)
    try:
        made = typst.compile(
            TEMPLATE.read_bytes(),
            format="pdf",
            font_paths=fonts(),
            ignore_system_fonts=True,
            sys_inputs={"report": data},
            timestamp=datetime.fromisoformat(document.made),
        )
    except typst.TypstError as error:
        raise ReportError(f"The PDF cannot be set ({error.message}).", "Make it as HTML.") from error
    return bytes(made)


def _document(document: Document) -> dict[str, Any]:
    return {
        "title": document.title,
        "facts": _facts(document.facts),
        "sections": [
            {"title": section.title, "blocks": [_block(block) for block in section.blocks]}
            for section in document.sections
        ],
        "fonts": list(FAMILIES),
    }


def _block(block: Block) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"is": "text", "role": block.role, "text": _words(block.text)}
    if isinstance(block, Facts):
        return {"is": "facts", "facts": _facts(block)}
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Chart):
        return _chart(block)
    if isinstance(block, Code):
        return {"is": "code", "lines": [breakable(line) for line in block.text.split("\n")]}
    return _exchange(block)


def _facts(facts: Facts) -> list[list[Any]]:
    return [[key, _words(value)] for key, value in facts.pairs]


def _table(table: Table) -> dict[str, Any]:
    return {
        "is": "table",
        "titles": [column.title for column in table.columns],
        "aligns": [column.align for column in table.columns],
        "widths": [column.width for column in table.columns],
        "rows": [[_cell(cell) for cell in row] for row in table.rows],
        "caption": table.caption,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return _words(cell.text) | {"grey": cell.grey}


def _chart(chart: Chart) -> dict[str, Any]:
    drawing = draw(chart.info)
    shapes = [_shape(shape) for shape in drawing.shapes]
    size = {"width": drawing.width, "height": drawing.height}
    return {"is": "chart", "title": chart.title, "alt": chart.alt, "shapes": shapes, **size}


def _shape(shape: Sequence[Any]) -> list[Any]:
    return [round(value, 2) if isinstance(value, float) else value for value in shape]


def _exchange(exchange: Exchange) -> dict[str, Any]:
    kind = picture_kind(exchange.thumbnail)
    return {
        "is": "exchange",
        "head": _words(exchange.head),
        "question": _words(exchange.question),
        "answer": _words(exchange.answer),
        "failed": exchange.failed,
        "foot": _words(exchange.foot),
        "picture": list(exchange.thumbnail or b"") if kind else None,
        "kind": TYPST_KINDS.get(kind, kind),
    }


def _words(text: str) -> dict[str, Any]:
    return {"text": breakable(text), "rtl": is_rtl(text), "han": han_family(text)}


def breakable(text: str) -> str:
    """Return a text whose long words may be broken, at places where nothing is seen."""
    return LONG_WORD.sub(lambda word: BREAK_AFTER.sub(rf"\g<0>{UNSEEN_BREAK}", word[0]), text)
