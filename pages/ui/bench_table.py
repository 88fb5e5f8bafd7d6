"""The table of a benchmark: one row a model, numbers with units, a link to its run."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.charts.bench_latency import percentiles
from core.vlm.safe import plain as readable
from pages.ui.bench_read import Bench, Row
from pages.ui.bench_words import interval_words, percentile_words
from pages.ui.text import MISSING, count, megabytes, milliseconds

GREY = "color: #8A8F93"
MODEL_PX, PERCENTILE_PX = 230, 165
GREYED = (MISSING, "more needed)")


def results_table(bench: Bench, key: str) -> None:
    """Draw the rows that were measured, the fastest first."""
    rows = bench.measured
    frame = pd.DataFrame([_cells(row) for row in rows]).fillna("")
    st.dataframe(
        frame.style.map(
            lambda value: GREY if str(value).startswith(MISSING) or str(value).endswith(GREYED) else ""
        ),
        hide_index=True,
        key=f"{key}_table",
        alt="Times, memory and size of each model",
        column_config={
            "Model": st.column_config.TextColumn(pinned=True, width=MODEL_PX),
            **{name: st.column_config.TextColumn(width=PERCENTILE_PX) for name in ("p50", "p90", "p99")},
            "Run": st.column_config.LinkColumn(display_text="open", help="The run in the history."),
        },
    )
    st.caption(
        "Times of one call with one picture, from the decoded picture to the answer. Intervals are of 95 %. "
        "Grey: too few calls to rely on. Load and first call are no part of the percentiles."
    )


def _cells(row: Row) -> dict[str, str]:
    found = {one.name: one for one in percentiles(row)}
    number = row.metrics.get
    noise = number("iqr_share")
    cells = {
        "Model": row.title,
        **({"Options": row.words} if row.words else {}),
        "p50": percentile_words(found.get("p50")),
        "p50, 95 %": interval_words(found.get("p50")),
        "p90": percentile_words(found.get("p90")),
        "p99": percentile_words(found.get("p99")),
        "Noise": MISSING if noise is None else f"{row.run.parameters.get('noise', '')} ({noise:.0%})",
        "Pre-processing": milliseconds(number("preprocess_ms")),
        "Model only": milliseconds(number("model_ms")),
        "Post-processing": milliseconds(number("postprocess_ms")),
        "Load": milliseconds(number("load_ms")),
        "First call": milliseconds(number("first_ms")),
        "Pictures a second": _rate(number("images_per_s_batch_1")),
        "Peak memory": megabytes(number("peak_memory_mb")),
        **(
            {"GPU memory": megabytes(number("gpu_peak_memory_mb"))}
            if "gpu_peak_memory_mb" in row.metrics
            else {}
        ),
        "Parameters": _whole(number("parameters")),
        "MACs": _whole(number("macs")),
        "Input": _size(row),
        "Calls": f"{number('samples', 0):,.0f}",
    }
    return {name: readable(value) for name, value in cells.items()} | {"Run": run_address(row.run.id)}


def _rate(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.3g}"


def _whole(value: float | None) -> str:
    return count(None if value is None else int(value))


def _size(row: Row) -> str:
    size = row.run.parameters.get("input_size")
    return f"{size[1]} x {size[0]} px" if isinstance(size, list) and len(size) == 2 else MISSING


def run_address(run_id: str) -> str:
    """Return the address of a run in the history."""
    base = (st.context.url or "").split("?")[0].rstrip("/")
    return f"{base.rpartition('/')[0]}/history?run={run_id}"
