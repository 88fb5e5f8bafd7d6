"""Runs as files: CSV, Parquet and JSON, written row by row in bounded memory.

Which metrics there are is known at the end only, so rows go through a file of their own before they become
a table. JSON is written at once, and holds everything; the tables hold a row for each run, with the metrics
of the whole run as columns.
"""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from core.vlm.safe import csv_cell

if TYPE_CHECKING:
    import pyarrow as pa

    from db.records import RunRecord

FORMATS = {
    "csv": ("CSV", "text/csv"),
    "parquet": ("Parquet", "application/vnd.apache.parquet"),
    "json": ("JSON", "application/json"),
}
"""Format to its name and media type."""
MOST_METRIC_COLUMNS = 200
"""Metrics with a column of their own; the others are in the column of that name, as JSON."""
OTHERS = "other_metrics"
GROUP = 5_000
"""Rows of a Parquet group."""
TEXTS = ("id", "kind", "model_id", "model_revision", "status", "error_class", "error_message")
COLUMNS = (
    "time",
    *TEXTS,
    "duration_ms",
    "device",
    "device_name",
    "precision",
    "tags",
    "note",
    "pictures",
    "pictures_sha256",
    "parameters",
    "versions",
)
NUMBERS = ("duration_ms",)


def write_runs(
    runs: Iterable[RunRecord], path: Path, form: str, *, packed: bool = False, tick: Callable[[], None]
) -> None:
    """Write runs to a new file.

    Args:
        form: One of `FORMATS`.
        packed: Whether CSV or JSON is compressed by gzip.
        tick: Called before each run; what it raises ends the writing.
    """
    counted = _ticking(runs, tick)
    if form == "json":
        with _opened(path, packed) as file:
            _write_json(counted, file)
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass", dir=path.parent) as rows:
        metrics = _spool(counted, rows)
        rows.seek(0)
        flat = (_widened(cast("dict[str, Any]", json.loads(line)), metrics) for line in rows)
        if form == "csv":
            with _opened(path, packed) as file:
                _write_csv(_ticking(flat, tick), file, metrics)
        else:
            _write_parquet(_ticking(flat, tick), path, metrics)


def _ticking(rows: Iterable[Any], tick: Callable[[], None]) -> Iterator[Any]:
    for row in rows:
        tick()
        yield row


def _opened(path: Path, packed: bool) -> IO[str]:
    if packed:
        return gzip.open(path, "wt", encoding="utf-8", errors="replace", newline="", compresslevel=3)
    return path.open("w", encoding="utf-8", errors="replace", newline="")


def _write_json(runs: Iterable[RunRecord], file: IO[str]) -> None:
    between = "[\n"
    for run in runs:
        file.write(f"{between}{json.dumps(run.to_json(), ensure_ascii=False)}")
        between = ",\n"
    file.write("[]\n" if between == "[\n" else "\n]\n")


def _spool(runs: Iterable[RunRecord], file: IO[str]) -> list[str]:
    """Write each run as a line and return the names of the metric columns, in the order they came in."""
    metrics: dict[str, None] = {}
    for run in runs:
        row = flat(run)
        metrics |= dict.fromkeys(row["metrics"])
        file.write(f"{json.dumps(row)}\n")
    return list(metrics)[:MOST_METRIC_COLUMNS]


def flat(run: RunRecord) -> dict[str, Any]:
    """Return a run as one row, with its metrics apart."""
    env = run.environment
    metrics = [metric for metric in run.metrics if metric.step is None]
    return {
        "time": run.time.isoformat(),
        **{name: getattr(run, name) for name in TEXTS},
        "duration_ms": run.duration_ms,
        "device": env.device,
        "device_name": env.device_name,
        "precision": env.dtype,
        "tags": " ".join(run.tags),
        "note": run.note,
        "pictures": " ".join(picture.name for picture in run.inputs),
        "pictures_sha256": " ".join(picture.sha256 for picture in run.inputs),
        "parameters": json.dumps(dict(run.parameters), sort_keys=True, ensure_ascii=False),
        "versions": json.dumps(dict(env.versions), sort_keys=True, ensure_ascii=False),
        "metrics": {f"{m.name} ({m.unit})" if m.unit else m.name: m.value for m in metrics},
    }


def _widened(row: dict[str, Any], metrics: list[str]) -> dict[str, Any]:
    measured = row.pop("metrics")
    row |= {_column(name): measured.pop(name, None) for name in metrics}
    row[OTHERS] = json.dumps(measured) if measured else None
    return row


def _column(metric: str) -> str:
    """Return the name of a metric's column; one that has the name of another column gets a mark."""
    return f"metric {metric}" if metric in (*COLUMNS, OTHERS) else metric


def _write_csv(rows: Iterable[dict[str, Any]], file: IO[str], metrics: list[str]) -> None:
    names = [*COLUMNS, *map(_column, metrics), OTHERS]
    writer = csv.writer(file)
    writer.writerow([csv_cell(name) for name in names])
    for row in rows:
        writer.writerow([csv_cell("" if row[name] is None else row[name]) for name in names])


def _write_parquet(rows: Iterator[dict[str, Any]], path: Path, metrics: list[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(metrics)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, GROUP)):
            writer.write_table(pa.Table.from_pylist([_typed(row) for row in group], schema))


def _schema(metrics: list[str]) -> pa.Schema:
    import pyarrow as pa

    kinds = {"time": pa.timestamp("ms", "UTC")} | dict.fromkeys(NUMBERS, pa.float64())
    fields = [(name, kinds.get(name, pa.string())) for name in (*COLUMNS, OTHERS)]
    return pa.schema([*fields, *((_column(name), pa.float64()) for name in metrics)])


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    from datetime import datetime

    texts = {name: _whole(value) for name, value in row.items() if isinstance(value, str)}
    return row | texts | {"time": datetime.fromisoformat(row["time"])}


def _whole(text: str) -> str:
    """Return a text that can be written as UTF-8: half a surrogate pair cannot."""
    return text.encode(errors="replace").decode()
