"""Runs beside each other: their pictures, and only what differs between them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.vlm.safe import plain as readable
from db.errors import StoreError
from db.history_records import MOST_COMPARED, Comparison
from db.records import RunRecord
from pages.ui.history_numbers import numbers
from pages.ui.history_state import PAGE, change, zone
from pages.ui.history_view import HistoryView
from pages.ui.history_words import outcome_words
from pages.ui.runs import PAGES
from pages.ui.session import store, visitor
from pages.ui.text import MISSING, local_time, milliseconds, plain

MOST_PICTURES = 12
"""Most runs whose pictures are drawn at once."""
COLUMNS = 4
SECTIONS = {
    "run": "Run",
    "parameter": "Parameter",
    "metric": "Measured",
    "environment": "Environment",
    "version": "Version",
}
ALIKE = "All of them"


def comparison(view: HistoryView) -> None:
    """Draw the runs in the address beside each other."""
    found = store().compare(view.compare[:MOST_COMPARED], visitor())
    with st.container(horizontal=True, vertical_alignment="center", key=f"{PAGE}_compare_head"):
        n = len(found.runs)
        st.subheader(f"{n} run{'' if n == 1 else 's'} compared", anchor=False, width="content")
        st.button(
            "Close", icon=":material/close:", on_click=change, kwargs={"compare": ()}, key=f"{PAGE}_uncompare"
        )
    if found.missing:
        st.warning(
            f"{len(found.missing)} of the runs in this address are not here: deleted, or somebody else's.",
            icon=":material/link_off:",
        )
    if not found.runs:
        return
    _side_by_side(found, view)
    _facts(found)


def _side_by_side(found: Comparison, view: HistoryView) -> None:
    shown = _read(found.runs[:MOST_PICTURES])
    for start in range(0, len(shown), COLUMNS):
        row = shown[start : start + COLUMNS]
        for place, (number, run) in zip(st.columns(COLUMNS), enumerate(row, start + 1), strict=False):
            with place:
                _one(number, run, view)
    if len(found.runs) > MOST_PICTURES:
        st.caption(f"The first {MOST_PICTURES} are drawn; the table has all {len(found.runs)}.")


def _read(run_ids: Sequence[str]) -> list[RunRecord]:
    """Return those runs that are still there."""
    found = []
    for run_id in run_ids:
        try:
            found.append(store().run(run_id, visitor()))
        except StoreError:  # deleted since
            continue
    return found


def _one(number: int, run: RunRecord, view: HistoryView) -> None:
    st.markdown(f"**{number}** · {plain(run.model_id)}")
    for item in run.inputs[:2]:
        data = store().picture_data(run.id, item.role, visitor()) if item.kept else None
        st.image(data or item.thumbnail, caption=plain(item.name), width="stretch")
    outcome = outcome_words(run.error_class if run.status == "failed" else run.status)
    st.caption(f"{local_time(run.time, zone(view))} · {plain(outcome)} · {milliseconds(run.duration_ms)}")
    if run.kind in PAGES:
        st.page_link(
            PAGES[run.kind], label="Open", icon=":material/open_in_new:", query_params={"run": run.id}
        )


def _facts(found: Comparison) -> None:
    differing = [row for row in found.rows if row.differs]
    everything = st.toggle(
        f"Also the {len(found.rows) - len(differing)} facts that all have in common", key=f"{PAGE}_alike"
    )
    rows = [
        {"": SECTIONS.get(row.section, row.section), "fact": readable(row.name)}
        | {str(i): _cell(value) for i, value in enumerate(row.values, 1)}
        for row in (found.rows if everything else differing)
    ]
    if not rows:
        st.info("These runs have the same parameters, numbers and environment.", icon=":material/equal:")
        return
    st.dataframe(
        rows,
        hide_index=True,
        key=f"{PAGE}_compared",
        alt="What differs between the compared runs",
        column_config={
            "": st.column_config.TextColumn(pinned=True, width="small"),
            "fact": st.column_config.TextColumn("Fact", pinned=True),
        },
    )
    numbers("comparison", rows)


def _cell(value: object) -> str:
    """Return a value as it is written; text and numbers stand in one column, so all are text."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else readable(str(value))
