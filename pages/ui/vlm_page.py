"""The views of the head-to-head page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from db.errors import StoreError
from pages.ui import state
from pages.ui.session import store, visitor
from pages.ui.views import view_choice
from pages.ui.vlm_compare import compare_view
from pages.ui.vlm_ratings import ratings_view
from pages.ui.vlm_set_runs import KIND
from pages.ui.vlm_set_view import set_view
from pages.ui.vlm_state import PAGE

COMPARE, DATA_SET, RATINGS = "Compare", "Data set", "Ratings"
VIEWS: dict[str, Callable[[], None]] = {
    COMPARE: compare_view,
    DATA_SET: set_view,
    RATINGS: ratings_view,
}


def choose_view() -> str:
    """Draw the choice of views and return the chosen one."""
    _follow_address()
    return view_choice(VIEWS, COMPARE, f"{PAGE}_view")


def _follow_address() -> None:
    """Choose the view that opens the run in the address, once."""
    run_id = st.query_params.get("run")
    if run_id is None or run_id == state.ADDRESS_RUN.get():
        return
    with suppress(StoreError):  # the view that compares says it
        kind = store().run(run_id, visitor()).kind
        st.session_state[f"{PAGE}_view"] = DATA_SET if kind == KIND else COMPARE
