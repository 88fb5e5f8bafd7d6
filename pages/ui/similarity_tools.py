"""What else two pictures tell, one tool at a time. Nothing runs before its tool is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui.errors import page_errors
from pages.ui.similarity_alike import alike
from pages.ui.similarity_foreground import foreground
from pages.ui.similarity_inputs import PAGE
from pages.ui.similarity_models import another_model
from pages.ui.similarity_parts import parts
from pages.ui.similarity_pca import components
from pages.ui.similarity_scores import scores
from pages.ui.similarity_search import search

if TYPE_CHECKING:
    from pages.ui.similarity_view import Answered

TOOLS: dict[str, Callable[[Answered], None]] = {
    "How alike": alike,
    "Components": components,
    "Parts": parts,
    "Foreground": foreground,
    "Another model": another_model,
    "Search": search,
    "Scores": scores,
}


def tools(found: Answered) -> None:
    """Draw the choice of tools and the chosen one."""
    chosen = st.segmented_control(
        "More about these pictures",
        list(TOOLS),
        key=f"{PAGE}_tool",
        persist_state="session",
    )
    if chosen is not None:
        with page_errors():
            TOOLS[chosen](found)
