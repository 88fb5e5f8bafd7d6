"""The filtered results of a data-set run as files. No cell is taken for a formula by a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.vlm.safe import csv_cell
from core.vlm.setrun.results import COST, FIRST_TOKEN, LATENCY, MAIN, Line, Row, score_of
from pages.ui.vlm_set_read import stored

if TYPE_CHECKING:
    from db import Store

COLUMNS = ("task", "item", "model", "outcome", "answer", "message", "prompt", "references", "metric")
COLUMNS += ("score", "right", LATENCY, FIRST_TOKEN, COST, "loopback", "run")


def results_json(lines: Sequence[Line], sink: Store, owner: str) -> bytes:
    """Return a JSON list with an object for each call of these lines."""
    return json.dumps(list(_rows(lines, sink, owner)), ensure_ascii=False, indent=1).encode(errors="replace")


def results_csv(lines: Sequence[Line], sink: Store, owner: str) -> bytes:
    """Return a table with a row for each call of these lines."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    for row in _rows(lines, sink, owner):
        writer.writerow({name: csv_cell(_flat(value)) for name, value in row.items()})
    return buffer.getvalue().encode(errors="replace")


def _rows(lines: Sequence[Line], sink: Store, owner: str) -> Iterator[dict[str, Any]]:
    for line in lines:
        for row in line.cells.values():
            yield _row(row, sink, owner)


def _row(row: Row, sink: Store, owner: str) -> dict[str, Any]:
    one, main, score = stored(row, sink, owner), MAIN.get(row.task), score_of(row)
    has_right = main is not None and main.right is not None and score is not None
    found: dict[str, Any] = dict.fromkeys(COLUMNS)
    found |= {
        "task": row.task,
        "item": row.item,
        "model": row.model_id,
        "outcome": "ok" if row.status == "ok" else row.error_class,
        "metric": main.metric.removeprefix("score_") if main and score is not None else None,
        "score": score,
        "right": main.is_right(score) if main and has_right and score is not None else None,
        **{name: row.metrics.get(name) for name in (LATENCY, FIRST_TOKEN, COST)},
        "run": row.run_id,
    }
    if one is not None:
        found |= {
            "answer": one.text if one.is_ok else None,
            "message": one.run.error_message or None,
            "prompt": one.parameter("prompt"),
            "references": list(one.parameter("references") or ()),
            "loopback": one.is_loopback,
        }
    return found


def _flat(value: Any) -> Any:
    """Return a value as one cell; numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return value
