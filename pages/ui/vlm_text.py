"""A model's words on the page. They are hostile input: shown as text, or through the safe Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.vlm.safe import plain as readable
from core.vlm.safe import safe_markdown
from pages.ui.vlm_state import PAGE

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

MOST_SHOWN = 20_000
"""Characters of an answer that are drawn; the downloads hold all of it."""
FORMATTED = f"{PAGE}_formatted"


def format_toggle() -> None:
    """Draw the choice between plain text and safe Markdown."""
    st.toggle(
        "Formatted",
        key=FORMATTED,
        persist_state="session",
        help="Shows the answers' own Markdown without HTML and pictures, links with their target as text.",
    )


def answer_text(place: DeltaGenerator, text: str) -> None:
    """Draw what a model said into a place."""
    cut = text[:MOST_SHOWN]
    if len(text) > MOST_SHOWN:
        cut += f" … (first {MOST_SHOWN:,} of {len(text):,} characters; the downloads hold all)"
    if st.session_state.get(FORMATTED):
        place.markdown(safe_markdown(cut))
    else:
        place.text(readable(cut))
