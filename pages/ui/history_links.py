"""The view as a link, with a name if the person wants one; and the way into the bin."""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from db.records import RunFilter
from pages.ui.history_state import PAGE, bound, change
from pages.ui.history_view import HistoryView, to_address
from pages.ui.report_filters import report_address
from pages.ui.text import plain

LONGEST_NAME = 80


def view_name(view: HistoryView) -> None:
    """Draw the name that the view was given."""
    if view.name:
        st.subheader(plain(view.name[:LONGEST_NAME]), anchor=False)


def link(view: HistoryView) -> None:
    """Draw the button that shows the address of this view."""
    with st.popover("Copy link", icon=":material/link:", key=f"{PAGE}_link"):
        st.text_input(
            "Name of this view",
            placeholder="optional",
            max_chars=LONGEST_NAME,
            **bound("name", view.name, str.strip),
        )
        st.code(address(view), language=None, wrap_lines=True)
        st.caption(
            "Filters, chart, order, page and what is compared are in it; bookmark it to keep the view. "
            "Whoever opens it sees their own runs."
        )


def address(view: HistoryView) -> str:
    """Return the whole address of a view."""
    base = (st.context.url or "").split("?")[0]
    words = urlencode(to_address(view), doseq=True)
    return f"{base}?{words}" if words else base


def report_link(view: HistoryView, behind: RunFilter) -> None:
    """Draw the way to the report on the runs that are listed.

    Args:
        behind: Which runs these are.
    """
    st.page_link(
        "pages/report.py",
        label="Make a report",
        icon=":material/description:",
        help="There are no reports on deleted runs: restore them first."
        if view.deleted
        else "A PDF or an HTML file on exactly the runs that are listed here.",
        disabled=view.deleted,
        query_params=report_address(behind, view.tz),
    )


def bin_toggle(view: HistoryView) -> None:
    """Draw the button that leads to the deleted runs, or back."""
    label, icon = (
        ("Back to the runs", "arrow_back") if view.deleted else ("Recently deleted", "delete_history")
    )
    st.button(
        label,
        icon=f":material/{icon}:",
        type="tertiary",
        key=f"{PAGE}_bin",
        on_click=change,
        kwargs={"deleted": not view.deleted, "run": "", "compare": ()},
    )
