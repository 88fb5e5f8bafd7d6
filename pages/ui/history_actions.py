"""What a person does with selected runs: open, compare, tag, note, delete, restore."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import streamlit as st

from db.history_records import BIN_KEEPS, MOST_COMPARED
from db.records import RunSummary
from pages.ui.history_state import PAGE, change
from pages.ui.history_view import HistoryView
from pages.ui.runs import PAGES
from pages.ui.session import store, visitor

DAYS_KEPT = BIN_KEEPS // timedelta(days=1)
MOST_TAG_CHARACTERS = 200


def actions(view: HistoryView, selected: Sequence[RunSummary]) -> None:
    """Draw what can be done with the selected runs."""
    if not selected:
        st.caption(
            "Select runs in the table to open, compare, tag or delete them."
            if not view.deleted
            else f"Select runs in the table to restore them. They are kept for {DAYS_KEPT} days."
        )
        return
    ids = [run.id for run in selected]
    with st.container(horizontal=True, vertical_alignment="center", key=f"{PAGE}_actions"):
        st.markdown(f"**{len(ids)} selected**", width="content")
        if view.deleted:
            if st.button("Restore", icon=":material/restore_from_trash:", type="primary"):
                _restored(ids)
            return
        _open(selected)
        _compare(ids)
        _tags(selected)
        if st.button("Delete", icon=":material/delete:", key=f"{PAGE}_delete"):
            _confirm_delete(selected)


def _restored(ids: Sequence[str]) -> None:
    n = store().restore(ids, visitor())
    st.toast(f"{n} run{'' if n == 1 else 's'} restored.", icon=":material/restore_from_trash:")
    st.rerun()


def _open(selected: Sequence[RunSummary]) -> None:
    if len(selected) != 1:
        return
    (run,) = selected
    if run.kind in PAGES and st.button("Open this run", icon=":material/open_in_new:", type="primary"):
        st.switch_page(PAGES[run.kind], query_params={"run": run.id})
    if st.button("Show all of it", icon=":material/info:", key=f"{PAGE}_show"):
        change(run=run.id, compare=())
        st.rerun()


def _compare(ids: Sequence[str]) -> None:
    if len(ids) < 2:
        return
    too_many = len(ids) > MOST_COMPARED
    if st.button(
        f"Compare {len(ids)}",
        icon=":material/compare_arrows:",
        type="primary",
        disabled=too_many,
        help=f"At most {MOST_COMPARED} runs." if too_many else "What differs between them, side by side.",
        key=f"{PAGE}_compare_these",
    ):
        change(compare=tuple(ids), run="")
        st.rerun()


def _tags(selected: Sequence[RunSummary]) -> None:
    with st.popover("Tag", icon=":material/sell:", key=f"{PAGE}_tag_popover"):
        present = sorted({tag for run in selected for tag in run.tags})
        with st.form(f"{PAGE}_tags", border=False):
            words = st.text_input(
                "Add", placeholder="words, separated by spaces", max_chars=MOST_TAG_CHARACTERS
            )
            gone = st.multiselect("Take away", present, disabled=not present)
            if st.form_submit_button("Save", type="primary"):
                ids = [run.id for run in selected]
                n = store().tag(ids, visitor(), add=words.split(), remove=gone)
                st.toast(f"Tags of {n} run{'' if n == 1 else 's'} saved.", icon=":material/sell:")
                st.rerun()


@st.dialog("Delete runs")
def _confirm_delete(selected: Sequence[RunSummary]) -> None:
    ended = [run.id for run in selected if run.status != "running"]
    n, going = len(ended), len(selected) - len(ended)
    if n:
        st.write(
            f"Delete {n} run{'s' if n > 1 else ''}? Under Recently deleted {'they' if n > 1 else 'it'} can "
            f"be restored for {DAYS_KEPT} days; then metrics, pictures and files go for good."
        )
    if going:
        st.write(f"{going} still running: cancel {'them' if going > 1 else 'it'} first.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", icon=":material/delete:", disabled=not n, key="history_sure"):
            store().trash(ended, visitor())
            change(run="", compare=())
            st.rerun()
        if st.button("Keep"):
            st.rerun()
