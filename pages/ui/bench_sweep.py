"""The third view: models x pictures x options as one job that can be broken off and gone on with."""

from __future__ import annotations

import streamlit as st


def sweep_view() -> None:
    """Draw it."""
    st.info("Sweeps are begun by `python -m core sweep`.")
