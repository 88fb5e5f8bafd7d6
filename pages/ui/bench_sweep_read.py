"""What the cells of a sweep came to, read once for each moment and put together by model and options."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from core.vlm.safe import csv_cell
from db.records import CallResult, RunRecord
from pages.ui import state
from pages.ui.session import store, visitor

MOST_READ = 20_000
"""Cells that are read; of more, the first. All are in the history."""
METRICS = ("p50_ms", "p50_ms_low", "p50_ms_high", "p90_ms", "samples", "images_per_s_batch_1", "load_ms")
METRICS += ("first_ms", "peak_memory_mb")
COLUMNS = ("model", "picture", "options", "outcome", *METRICS, "run")


@dataclass(frozen=True, eq=False)
class Group:
    """The cells of one model with one set of options."""

    model_id: str
    options: Mapping[str, Any]
    cells: int
    failed: int
    p50s_ms: tuple[float, ...]
    """Of the cells that were measured: one for each picture."""
    peaks_mb: tuple[float, ...]

    @property
    def p50_ms(self) -> float | None:
        """The middle one."""
        return median(self.p50s_ms) if self.p50s_ms else None


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep had come to at one moment."""

    key: tuple[str, str, int]
    """Run, its status, and how many cells were done."""
    rows: tuple[CallResult, ...]
    groups: tuple[Group, ...]
    """The fastest first."""
    outcomes: Mapping[str, int]
    """Class of failure, or `ok`, to cells."""


def counts_of(sweep_id: str) -> Counter[str]:
    """Return how many cells are `open`, `claimed` and `done`, and of those `failed`."""
    found: Counter[str] = Counter()
    for row in store().call_counts(sweep_id, visitor()):
        found[row.state] += row.count
        found["failed"] += row.count if row.state == "done" and row.status != "ok" else 0
    return found


def read(run: RunRecord) -> Swept:
    """Return the results as they are now."""
    key = (run.id, run.status, counts_of(run.id)["done"])
    held = state.BENCH_SWEPT.get()
    if held is None or held.key != key:
        rows = _rows(run.id)
        outcomes = Counter("ok" if row.status == "ok" else row.error_class or row.status for row in rows)
        held = state.BENCH_SWEPT.set(Swept(key, rows, groups(rows), dict(outcomes.most_common())))
    return held


def _rows(sweep_id: str) -> tuple[CallResult, ...]:
    rows: list[CallResult] = []
    owner = visitor()
    while len(rows) < MOST_READ:
        after = rows[-1].position if rows else -1
        found = store().set_results(sweep_id, owner, metrics=METRICS, after=after)
        if not found:
            break
        rows += found
    return tuple(rows[:MOST_READ])


def groups(rows: Sequence[CallResult]) -> tuple[Group, ...]:
    """Put cells together by model and options."""
    together: dict[tuple[str, str], list[CallResult]] = {}
    for row in rows:
        together.setdefault((row.model_id, json.dumps(cell_of(row)[1], sort_keys=True)), []).append(row)
    found = []
    for (model, options), cells in together.items():
        good = [cell for cell in cells if cell.status == "ok"]
        found.append(
            Group(
                model,
                json.loads(options),
                len(cells),
                len(cells) - len(good),
                tuple(cell.metrics["p50_ms"] for cell in good if "p50_ms" in cell.metrics),
                tuple(cell.metrics["peak_memory_mb"] for cell in good if "peak_memory_mb" in cell.metrics),
            )
        )
    return tuple(sorted(found, key=lambda group: group.p50_ms if group.p50s_ms else float("inf")))


def cell_of(row: CallResult) -> tuple[str, Mapping[str, Any]]:
    """Return what the picture of a cell is called, and its options."""
    try:
        cell = json.loads(row.item)
        return str(cell.get("name") or cell["picture"]), dict(cell["options"])
    except (ValueError, KeyError, TypeError):
        return row.item, {}


def cells_csv(rows: Sequence[CallResult]) -> bytes:
    """Return a table with a row for each cell."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    for row in rows:
        picture, options = cell_of(row)
        facts: dict[str, object] = {
            "model": row.model_id,
            "picture": picture,
            "options": json.dumps(options, sort_keys=True),
            "outcome": "ok" if row.status == "ok" else row.error_class or row.status,
            "run": row.run_id,
        }
        cells = {name: csv_cell(value) for name, value in facts.items()}
        writer.writerow(cells | {name: row.metrics.get(name, "") for name in METRICS})
    return buffer.getvalue().encode(errors="replace")


def cells_json(rows: Sequence[CallResult]) -> bytes:
    """Return a JSON list with an object for each cell."""
    found = []
    for row in rows:
        picture, options = cell_of(row)
        facts = {"model": row.model_id, "picture": picture, "options": dict(options), "status": row.status}
        found.append(
            facts | {"error_class": row.error_class, "metrics": dict(row.metrics), "run": row.run_id}
        )
    return json.dumps(found, ensure_ascii=False, indent=1).encode(errors="replace")
