"""Expected failures become one sentence at the place of their cause; bugs keep their traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import OfflineError, SetupError, VisionBenchError
from db.errors import StoreError
from pages.ui.text import plain


def show_error(error: VisionBenchError | StoreError) -> None:
    """Draw an expected failure with its remedy."""
    draw = st.warning if isinstance(error, SetupError) else st.error
    icon = ":material/cloud_off:" if isinstance(error, OfflineError) else ":material/error:"
    remedy = f"\n\n**What to do:** {plain(error.remedy)}" if error.remedy else ""
    draw(f"{plain(error.message)}{remedy}", icon=icon)


@contextmanager
def page_errors() -> Iterator[None]:
    """Show an expected failure instead of what would have followed, and end this run of the page there."""
    try:
        yield
    except (VisionBenchError, StoreError) as error:
        show_error(error)
        st.stop()
