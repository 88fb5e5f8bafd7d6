"""What a sweep came to: cells by outcome, each model with each set of options, and the cells themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from core.vlm.safe import plain as readable
from db.records import CallResult, RunRecord
from pages.ui.bench_limits import PATH
from pages.ui.bench_models import title_of
from pages.ui.bench_sweep_read import MOST_READ, Group, Swept, cell_of, cells_csv, cells_json, read
from pages.ui.bench_table import run_address
from pages.ui.bench_words import options_words
from pages.ui.text import MISSING, megabytes, milliseconds
from pages.ui.vlm_set_data import said

MOST_CELLS = 500
OK = "ok"
LINK = st.column_config.LinkColumn(display_text="open", help="The run in the history.")


def results(run: RunRecord, key: str, *, is_over: bool) -> None:
    """Draw all results, or those so far."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Results" if is_over else "Results so far", anchor=False, width="content")
        if not is_over:
            st.button("Look again", icon=":material/refresh:", type="tertiary", key=f"{key}_look_again")
    found = read(run)
    if not found.rows:
        st.info("No cell is done yet; what they come to appears here.", icon=":material/hourglass_empty:")
        return
    _outcomes(found)
    _groups(found, key)
    _cells(found, key)
    _footer(run, found, key)


def _outcomes(found: Swept) -> None:
    words = {OK: ":green-badge[:material/check: measured]"}
    parts = [
        f"{words.get(name) or f':red-badge[:material/error: {said(name, 60)}]'} {count:,}"
        for name, count in found.outcomes.items()
    ]
    st.markdown(" · ".join(parts))
    if OK not in found.outcomes:
        st.error("No cell could be measured. Open one of them to see why.", icon=":material/error:")


def _groups(found: Swept, key: str) -> None:
    st.dataframe(
        pd.DataFrame([_group(group, found) for group in found.groups]),
        hide_index=True,
        key=f"{key}_groups",
        alt="Times of each model with each set of options, over all pictures",
        column_config={"Model": st.column_config.TextColumn(pinned=True, width="medium")},
    )
    st.caption("Each p50 is of one picture; the middle one and the ends are over the pictures.")


def _group(group: Group, found: Swept) -> dict[str, str]:
    sets = [other.options for other in found.groups]
    lowest, highest = (min(group.p50s_ms), max(group.p50s_ms)) if group.p50s_ms else (None, None)
    return {
        "Model": title_of(group.model_id),
        "Options": readable(options_words(group.options, sets)) or "as usual",
        "Pictures": f"{group.cells - group.failed:,} of {group.cells:,}",
        "p50, the middle": milliseconds(group.p50_ms),
        "fastest picture": milliseconds(lowest),
        "slowest picture": milliseconds(highest),
        "Peak memory": megabytes(max(group.peaks_mb, default=None)),
    }


def _cells(found: Swept, key: str) -> None:
    with st.expander(f"Cells ({len(found.rows):,})"):
        sets = [group.options for group in found.groups]
        st.dataframe(
            pd.DataFrame([_cell(row, sets) for row in found.rows[:MOST_CELLS]]),
            hide_index=True,
            key=f"{key}_cells",
            alt="Every cell of the sweep",
            column_config={"Run": LINK},
        )
        if len(found.rows) > MOST_CELLS:
            st.caption(f"The first {MOST_CELLS} of {len(found.rows):,}; the files have all of them.")


def _cell(row: CallResult, sets: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    picture, options = cell_of(row)
    outcome = "measured" if row.status == OK else row.error_class or row.status
    return {
        "Model": title_of(row.model_id),
        "Picture": readable(picture),
        "Options": readable(options_words(options, sets)) or MISSING,
        "Outcome": readable(outcome),
        "p50": milliseconds(row.metrics.get("p50_ms")),
        "Calls": f"{row.metrics.get('samples', 0):,.0f}",
        "Load": milliseconds(row.metrics.get("load_ms")),
        "Run": run_address(row.run_id),
    }


def _footer(run: RunRecord, found: Swept, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for label, make, form, media in (
            ("CSV", cells_csv, "csv", "text/csv"),
            ("JSON", cells_json, "json", "application/json"),
        ):
            st.download_button(
                label,
                partial(make, found.rows),
                f"sweep-{run.id}.{form}",
                media,
                key=f"{key}_{form}",
                icon=":material/download:",
                on_click="ignore",
            )
        st.caption(f"saved as run `{run.id}`", width="content")
        st.page_link(PATH, label="link to this sweep", icon=":material/link:", query_params={"run": run.id})
    if len(found.rows) == MOST_READ:
        st.caption(f"Only the first {MOST_READ:,} cells are read here; the history has all.")
