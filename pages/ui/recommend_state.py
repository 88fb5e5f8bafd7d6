"""The view in the address: read once a rerun, shown by the widgets, written when one of them changes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.ui import state
from pages.ui.bound import bound_fields
from pages.ui.recommend_view import RecommendView, from_address, to_address

PAGE = "recommend"
PATH = "pages/model_recommender.py"


def arrive() -> tuple[RecommendView, tuple[str, ...]]:
    """Return the view, and what is wrong with its address.

    Where the page is opened without any, the last view of this session comes back: a widget's key is gone as
    soon as another page was shown.
    """
    kept = state.RECOMMEND_VIEW.get()
    if f"{PAGE}_task" not in st.session_state and kept is not None and not st.query_params:
        show(kept)
    view, wrong = current()
    state.RECOMMEND_VIEW.set(view)
    return view, wrong


def current() -> tuple[RecommendView, tuple[str, ...]]:
    """Return the view that the address describes, and what is wrong with it."""
    return from_address(st.query_params.to_dict())


def show(view: RecommendView) -> None:
    """Write a view into the address, and remember it for this session."""
    state.RECOMMEND_VIEW.set(view)
    st.query_params.from_dict(to_address(view))


def change(**values: Any) -> None:
    """Show the present view with some fields changed."""
    show(current()[0].but(**values))


bound = bound_fields(PAGE, change)
"""Return `key` and `on_change` of a widget that shows a field of the view and changes it."""
