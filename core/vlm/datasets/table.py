"""CSV and JSONL tables: which pictures, what is asked about them and what is right.

    id          optional; the picture's path where it is left out
    image       path inside the zip or folder, from the table's own place or from the top
    task        optional; without it the row holds for whichever task is asked
    prompt      optional; instead of the task's own
    reference   optional; the right answer, as it is written
    references  optional; several right answers: a list in JSONL, a JSON list in a cell of a CSV

An item has a row for each task. Rows are counted as a spreadsheet does it: the names of the columns are row
1.
"""

import csv
import hashlib
import io
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from core.errors import InputError
from core.vlm.datasets.limits import MAX_FIELD, MAX_TABLE_MB
from core.vlm.datasets.pictures import Pictures
from core.vlm.datasets.values import ANY, MAX_ITEMS, Item, Items
from core.vlm.tasks import TASKS

COLUMNS = ("id", "image", "task", "prompt", "reference", "references")
DELIMITERS = ",;\t"
MAX_ID = 200
MOST_TOLD = 20
"""Wrong rows that are told at once."""


class RowErrors(InputError):
    """Several rows of a table cannot be used.

    Args:
        name: Of the table.
        rows: What is wrong with each.
    """

    def __init__(self, name: str, rows: Sequence[InputError]) -> None:
        more = " or more" if len(rows) == MOST_TOLD else ""
        told = "\n".join(str(error) for error in rows)
        super().__init__(f"{len(rows)}{more} rows of {name} cannot be used.\n{told}")
        self.rows = tuple(rows)


@dataclass(slots=True)
class _Entry:
    """An item while its rows are read."""

    image: str
    row: int
    prompts: dict[str, str] = field(default_factory=dict)
    references: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    """Task to the row that asks it."""


def check_table_size(size: int, name: str) -> None:
    """Raise an InputError when a table of `size` bytes is larger than is accepted."""
    if size > MAX_TABLE_MB * 1e6:
        raise InputError(
            f"{name} has {size / 1e6:.0f} MB; a table of at most {MAX_TABLE_MB:g} MB is accepted.",
            "Split it.",
        )


def read_table(data: bytes, name: str, pictures: Pictures) -> Items:
    """Return the data set that a table describes.

    Args:
        name: Path of the table, which says its kind by its ending and what its paths begin at.
        pictures: Where the pictures are.

    Raises:
        InputError: It cannot be read, or a row cannot be used; the message names the row.
    """
    check_table_size(len(data), name)
    text, suffix = _text(data, name), PurePosixPath(name).suffix.lower()
    rows = _csv_rows(text, name) if suffix in (".csv", ".tsv") else _json_rows(text, name)
    entries = _entries(rows, name, pictures)
    digest = hashlib.sha256(pictures.digest.encode() + data).hexdigest()
    listed, ids = list(entries.values()), list(entries)

    def at(position: int) -> Item:
        entry = listed[position]
        return Item(ids[position], lambda: pictures.load(entry.image), entry.references, entry.prompts)

    return Items(
        pictures.name,
        digest,
        ids,
        at,
        lambda position: frozenset(listed[position].tasks),
        lambda task: _unprompted(listed, task),
    )


def _unprompted(entries: list[_Entry], task: str) -> str:
    for entry in entries:
        if task not in entry.tasks and ANY in entry.tasks and ANY not in entry.prompts:
            return f"Row {entry.row}"
    return ""


def _entries(
    rows: Iterator[tuple[int, Mapping[str, Any]]], name: str, pictures: Pictures
) -> dict[str, _Entry]:
    """Return the items by id.

    Raises:
        RowErrors: Several rows cannot be used; each is told, up to `MOST_TOLD`.
        InputError: One cannot, or there are too many.
    """
    entries: dict[str, _Entry] = {}
    wrong: list[InputError] = []
    try:
        for number, row in rows:
            if number - 1 > MAX_ITEMS:
                raise InputError(f"{name} has more than {MAX_ITEMS:,} rows.", "Split it.")
            try:
                _take(entries, row, number, name, pictures)
            except InputError as error:
                wrong.append(error)
            if len(wrong) == MOST_TOLD:
                break
    except InputError as error:  # what follows cannot be read
        wrong.append(error)
    if len(wrong) > 1:
        raise RowErrors(name, wrong)
    if wrong:
        raise wrong[0]
    return entries


def _take(
    entries: dict[str, _Entry], row: Mapping[str, Any], number: int, name: str, pictures: Pictures
) -> None:
    """Add what a row says to the items."""
    where, beside = f"Row {number} of {name}", str(PurePosixPath(name).parent)
    image = pictures.find(_cell(row, "image", where, needed=True), beside, where)
    item_id = _cell(row, "id", where) or image
    if len(item_id) > MAX_ID:
        raise InputError(f"{where}: the id has more than {MAX_ID} characters.", "Shorten it.")
    entry = entries.setdefault(item_id, _Entry(image, number))
    if entry.image != image:
        raise InputError(
            f"{where}: the id {item_id!r} belongs to another picture in row {entry.row}.",
            "Give each picture an id of its own.",
        )
    _add(entry, row, number, where, item_id)


def _add(entry: _Entry, row: Mapping[str, Any], number: int, where: str, item_id: str) -> None:
    task = _cell(row, "task", where).lower()
    if task and task not in TASKS:
        raise InputError(f"{where}: there is no task {task!r}.", f"Use one of {', '.join(TASKS)}.")
    if task in entry.tasks:
        again = f"the task {task}" if task else f"the id {item_id!r}"
        raise InputError(
            f"{where}: {again} is there already in row {entry.tasks[task]}.",
            "Give each picture one row for each task, and an id of its own.",
        )
    prompt, references = _cell(row, "prompt", where), _references(row, task, where)
    if task and not (prompt or TASKS[task].prompt):
        raise InputError(f"{where}: the task {task} has no prompt.", "Fill the column prompt.")
    entry.tasks[task] = number
    if prompt:
        entry.prompts[task] = prompt
    if references:
        entry.references[task] = references


def _references(row: Mapping[str, Any], task: str, where: str) -> tuple[str, ...]:
    texts = [_cell(row, "reference", where), *_list(row.get("references"), where)]
    if task == "objects":
        texts = [part for text in texts for part in text.split(",")]
    return tuple(_normal(text) for text in texts if text.strip())


def _list(value: Any, where: str) -> list[str]:
    """Return several references: a list, a JSON list in a cell, or a cell with one."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):  # a cell that is no list is refused below
            value = json.loads(value)
    elif isinstance(value, str) or value is None:
        value = [value or ""]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(
            f"{where}: references is no list of texts.", 'Write it as in ["two", "2"], or use reference.'
        )
    return value


def _normal(text: str) -> str:
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", text.strip())


def _cell(row: Mapping[str, Any], column: str, where: str, *, needed: bool = False) -> str:
    value = row.get(column)
    if value is None and not needed:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{where}: {column} is no text.", "Write it in quotes.")
    text = _normal(value or "")
    if len(text) > MAX_FIELD:
        raise InputError(f"{where}: {column} has {len(text):,} characters.", f"Use at most {MAX_FIELD:,}.")
    if needed and not text:
        raise InputError(f"{where}: {column} is empty.", f"Fill the column {column}.")
    return text


def _text(data: bytes, name: str) -> str:
    """Return a table's text: UTF-8, or UTF-16 where its first bytes say so."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"Line {row} of {name} is not written in UTF-8.", "Save the table as UTF-8 (in Excel: CSV UTF-8)."
        ) from error
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"Line {row} of {name} holds a zero byte.", "Save the table as text in UTF-8.")
    return text


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield rows with their numbers; empty ones are counted and passed over."""
    first = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number, columns = 1, None
    try:
        for number, cells in enumerate(reader, start=1):
            if columns is None:
                columns = _columns([cell.strip().lower() for cell in cells], name)
                continue
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(columns):
                raise InputError(
                    f"Row {number} of {name} has {len(cells)} cells for {len(columns)} columns.",
                    "Put quotes around texts that hold the separator.",
                )
            yield number, dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise InputError(
            f"Row {number + 1} of {name} cannot be read ({error}).", "Check its quotes."
        ) from error


def _columns(found: list[str], name: str) -> list[str]:
    if "image" not in found:
        raise InputError(
            f"{name} has no column image in row 1.", f"Name its columns; known are {', '.join(COLUMNS)}."
        )
    named = [column for column in found if column in COLUMNS]
    if doubled := next((column for column in named if named.count(column) > 1), ""):
        raise InputError(f"{name} has the column {doubled} twice in row 1.", "Leave one of them in it.")
    return found


def _json_rows(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield objects with the numbers of their lines."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"Row {number} of {name} is no JSON.", "Write one object a line.") from error
        if not isinstance(row, dict) or "image" not in row:
            raise InputError(f"Row {number} of {name} has no image.", "Write one object with image a line.")
        yield number, row
