"""The results of a benchmark as files. No cell is taken for a formula by a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.vlm.safe import csv_cell
from pages.ui.bench_read import Bench, Row

FACTS = ("model", "options", "status", "error_class", "error_message", "noise", "device", "answers", "run")


def downloads(bench: Bench, key: str) -> None:
    """Draw the buttons that save the results."""
    name = f"benchmark-{bench.id[:12]}"
    for label, make, form, media in (
        ("CSV", results_csv, "csv", "text/csv"),
        ("JSON", results_json, "json", "application/json"),
    ):
        st.download_button(
            label,
            lambda make=make: make(bench.rows),
            f"{name}.{form}",
            media,
            key=f"{key}_{form}",
            icon=":material/download:",
            on_click="ignore",
        )


def results_json(rows: Sequence[Row]) -> bytes:
    """Return a JSON list with an object for each model: its facts, metrics, parameters and environment."""
    found = [
        facts_of(row)
        | {
            "metrics": dict(row.metrics),
            "parameters": dict(row.run.parameters),
            "environment": row.run.to_json()["environment"],
        }
        for row in rows
    ]
    return json.dumps(found, ensure_ascii=False, indent=1).encode(errors="replace")


def results_csv(rows: Sequence[Row]) -> bytes:
    """Return a table with a row for each model and a column for each metric."""
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, (*FACTS, *names))
    writer.writeheader()
    for row in rows:
        facts = facts_of(row) | {"options": json.dumps(dict(row.options), sort_keys=True)}
        facts["answers"] = "\n".join(row.answers.values())
        cells = {name: csv_cell(value) for name, value in facts.items()}
        writer.writerow(cells | {name: row.metrics.get(name, "") for name in names})
    return buffer.getvalue().encode(errors="replace")


def facts_of(row: Row) -> dict[str, Any]:
    """Return who was measured, how, and how it ended."""
    return {
        "model": row.model_id,
        "options": dict(row.options),
        "status": row.run.status,
        "error_class": row.run.error_class,
        "error_message": row.run.error_message,
        "noise": row.run.parameters.get("noise", ""),
        "device": row.run.environment.device,
        "answers": dict(row.answers),
        "run": row.run.id,
    }
