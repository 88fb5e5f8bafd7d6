"""The views of the head-to-head page."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages.ui.vlm_compare import compare_view
from pages.ui.vlm_ratings import ratings_view
from pages.ui.vlm_state import PAGE

COMPARE, RATINGS = "Compare", "Ratings"
VIEWS: dict[str, Callable[[], None]] = {
    COMPARE: compare_view,
    RATINGS: ratings_view,
}


def choose_view() -> str:
    """Draw the choice of views, where there is one, and return the chosen one."""
    if len(VIEWS) == 1:
        return COMPARE
    chosen = st.segmented_control(
        "View",
        list(VIEWS),
        default=None if f"{PAGE}_view" in st.session_state else COMPARE,
        required=True,
        key=f"{PAGE}_view",
        persist_state="session",
        label_visibility="collapsed",
    )
    return str(chosen)
