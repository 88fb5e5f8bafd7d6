"""Bringing a published Segment Anything model to this machine."""

from __future__ import annotations

import streamlit as st

from core.errors import VisionBenchError
from core.segment.weights import PUBLISHED, PublishedWeights, download, instruction
from core.settings import settings
from pages.ui.errors import show_error
from pages.ui.segment_run import PAGE
from pages.ui.session import on_private_machine
from pages.ui.text import megabytes

FETCHED = f"{PAGE}_fetched"
"""Session key of a model that was just downloaded, to be chosen when the page is drawn next."""


def choose_fetched_model() -> None:
    """Let the model picker, which is drawn after this, choose what was just downloaded."""
    if name := st.session_state.pop(FETCHED, None):
        st.session_state[f"{PAGE}_model"] = name


def bring_a_real_model() -> None:
    """Draw the choice of a published model, its download with progress, and what to do without a network.

    A visitor of a public deployment is not offered it: it fills the operator's disk.
    """
    if not on_private_machine():
        return
    with st.expander("Bring a published Segment Anything model", icon=":material/cloud_download:"):
        chosen = st.selectbox(
            "Model",
            PUBLISHED,
            format_func=lambda w: f"{w.file}, {megabytes(w.size_bytes / 1e6)}",
            key=f"{PAGE}_weights",
        )
        folder = settings().checkpoints
        if (folder / chosen.file).is_file():
            st.caption(f"{chosen.file} is here: choose it as the model above.")
            return
        if st.button("Download", icon=":material/download:", key=f"{PAGE}_download"):
            try:
                _download(chosen)
            except VisionBenchError as error:  # the rest of the page goes on
                show_error(error)
            else:
                st.session_state[FETCHED] = f"file/{chosen.file}"
                st.rerun(scope="app")
        st.caption(f"Without a network: {instruction(chosen, folder)}")


def _download(weights: PublishedWeights) -> None:
    bar = st.progress(0.0, "Asking the server …")
    stop = st.empty()
    stop.button("Cancel", icon=":material/stop_circle:", key=f"{PAGE}_download_cancel")

    def show(done: int, total: int) -> None:
        bar.progress(min(1.0, done / total), f"{megabytes(done / 1e6)} of {megabytes(total / 1e6)}")

    try:
        download(weights, settings().checkpoints, base_url=settings().sam_url, progress=show)
    finally:
        bar.empty()
        stop.empty()
