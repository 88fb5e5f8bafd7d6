"""What can be done beyond clicking, one tool at a time."""

from __future__ import annotations

import streamlit as st

from core.images import ImageInput
from core.registry import ModelSpec
from pages.ui.errors import page_errors
from pages.ui.segment_compare import another_model, how_sure
from pages.ui.segment_evaluate import evaluation
from pages.ui.segment_everything import everything
from pages.ui.segment_files import files
from pages.ui.segment_run import MORE, TOOLS
from pages.ui.segment_state import Work

EVERYTHING, EVALUATE = TOOLS.values()
SURE, OTHER, FILES, KEYS = "How sure", "Another model", "Files", "Keyboard"

SHORTCUTS = (
    ("I, E, B", "a click includes, a click excludes, a drag draws a box"),
    ("Ctrl+Z, Ctrl+Y", "undo and redo a prompt with its mask"),
    ("X", "clear the object's prompts"),
    ("N", "new object"),
)


@st.fragment
def more(work: Work, image: ImageInput, spec: ModelSpec) -> None:
    """Draw the tools under the canvas, one at a time."""
    chosen = st.segmented_control(
        "More",
        [EVERYTHING, SURE, OTHER, EVALUATE, FILES, KEYS],
        key=MORE,
        persist_state="session",
        label_visibility="collapsed",
    )
    with page_errors():
        if chosen == EVERYTHING:
            everything(work, image, spec)
        elif chosen == SURE:
            how_sure(work, image, spec)
        elif chosen == OTHER:
            another_model(work, image, spec)
        elif chosen == EVALUATE:
            evaluation(spec)
        elif chosen == FILES:
            files(work, image, spec)
        elif chosen == KEYS:
            st.table([{"Key": key, "What it does": what} for key, what in SHORTCUTS])
