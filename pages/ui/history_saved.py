"""Views that a person keeps by a name: each is an address, and belongs to whoever kept it."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlencode

import streamlit as st

from db.errors import StoreError
from db.records import ViewRecord
from pages.ui.errors import show_error
from pages.ui.history_links import LONGEST_NAME
from pages.ui.history_state import PAGE, current, show
from pages.ui.history_view import HistoryView, Point, from_address, to_address
from pages.ui.session import store, visitor
from pages.ui.text import local_time, plain


def saved_views(view: HistoryView) -> None:
    """Draw the button that opens the views of this visitor; they are read only when it is open."""
    saved = st.popover("Saved views", icon=":material/bookmarks:", key=f"{PAGE}_saved", on_change="rerun")
    if saved.open:
        with saved:
            _keep(view)
            found = store().views(visitor())
            if not found:
                st.caption("None yet. A view is all its filters, the chart and the order.")
            for number, one in enumerate(found):
                _saved(number, one)


def _keep(view: HistoryView) -> None:
    with st.form(f"{PAGE}_keep", border=False):
        name = st.text_input(
            "Name of this view",
            view.name[:LONGEST_NAME],
            max_chars=LONGEST_NAME,
            placeholder="slow answers of this week",
            help="A view of that name is replaced.",
        )
        if st.form_submit_button("Keep this view", icon=":material/bookmark_add:", type="primary"):
            try:
                store().keep_view(visitor(), name, _words(replace(view, name=name.strip())))
            except StoreError as error:
                show_error(error)
            else:
                show(replace(current(), name=name.strip()))
                st.rerun()


def _words(view: HistoryView) -> str:
    """Return what is kept of a view: all but the page, and the point and the run that were looked at."""
    return urlencode(to_address(replace(view, page=1, point=Point(), run="")), doseq=True)


def _saved(number: int, one: ViewRecord) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            plain(one.name),
            type="tertiary",
            key=f"{PAGE}_saved_{number}_open",
            on_click=_open,
            args=(one,),
            help=f"Kept {plain(local_time(one.time))}",
        )
        st.space("stretch")
        st.button(
            "Delete",
            icon=":material/delete:",
            type="tertiary",
            key=f"{PAGE}_saved_{number}_delete",
            on_click=_drop,
            args=(one.name,),
        )


def _open(one: ViewRecord) -> None:
    show(replace(from_address(parse_qs(one.address)), name=one.name))
    st.session_state[f"{PAGE}_saved"] = False


def _drop(name: str) -> None:
    store().drop_view(visitor(), name)
