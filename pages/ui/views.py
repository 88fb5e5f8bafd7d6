"""The choice among a page's views."""

from collections.abc import Iterable

import streamlit as st


def view_choice(views: Iterable[str], first: str, key: str) -> str:
    """Draw the choice of views and return the chosen one, which is kept while other pages are looked at.

    Args:
        first: The view at the beginning.
        key: Of the widget; whoever sets it in the session's state chooses the view.
    """
    chosen = st.segmented_control(
        "View",
        list(views),
        default=None if key in st.session_state else first,
        required=True,
        key=key,
        persist_state="session",
        label_visibility="collapsed",
    )
    return str(chosen)
