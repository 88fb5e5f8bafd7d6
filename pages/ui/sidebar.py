"""What this machine is doing, at the foot of the sidebar."""

import sys

import streamlit as st

from pages.ui.session import model_pool
from pages.ui.text import megabytes, plain


def machine_status() -> None:
    """Draw the loaded models. Asks the pool only once torch is there, so that opening a page imports none."""
    with st.sidebar:
        loaded = model_pool().loaded() if "core.loaders" in sys.modules else ()
        if not loaded:
            st.caption(":material/memory: No model loaded yet")
        for model in loaded:
            st.caption(
                f":material/memory: {plain(model.spec.id)} · {megabytes(model.memory_mb)} on {model.device}"
            )
