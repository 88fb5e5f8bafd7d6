"""The frame every page shares: its head, and the foot of a result."""

from collections.abc import Mapping

import streamlit as st

from pages.ui import state
from pages.ui.router import app_pages
from pages.ui.session import on_private_machine, store, visitor
from pages.ui.text import milliseconds


def _through_router() -> None:
    """Start again by way of `Home.py` when this page was reached without it.

    Streamlit discovers the folder `pages/` by itself until `st.navigation` is called for the first time in
    the process: the very first request, when it is for a page's own address, would miss the router.
    """
    if not state.ROUTED.get():
        st.navigation(app_pages(), position="hidden")
        st.rerun()


def page_head(title: str, question: str, explanation: str, paper: tuple[str, str] | None = None) -> None:
    """Draw the title, the one question the page answers, and what is behind `What is this`.

    Args:
        title: Name of the page, as in the navigation.
        question: One line under it.
        explanation: About four sentences.
        paper: Name and address of the paper to read.
    """
    _through_router()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title(title, anchor=False, width="content")
        with st.popover("What is this", icon=":material/help:", type="tertiary"):
            st.markdown(explanation)
            if paper:
                st.markdown(f"[{paper[0]}]({paper[1]})")
    st.caption(question)


def run_footer(
    run_id: str | None, page: str, device: str, times_ms: Mapping[str, float], note: str = ""
) -> None:
    """Draw where a result came from: its run, its time split, its device.

    Args:
        run_id: The stored run, or None when nothing was stored.
        page: Path of the page that opens it again (`pages/x.py`).
        device: Device and why that one.
        times_ms: Parts of the time in milliseconds, in order.
        note: One sentence that follows, such as that the run was opened again.
    """
    parts = ", ".join(f"{name} {milliseconds(value)}" for name, value in times_ms.items())
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"run_footer_{run_id}"):
        saved = f"saved as run `{run_id}`" if run_id else "not saved"
        st.caption(
            f"{saved} · {milliseconds(sum(times_ms.values()))} on {device} ({parts}) {note}", width="content"
        )
        if run_id:
            st.page_link(
                page,
                label="link to this run",
                icon=":material/link:",
                query_params={"run": run_id},
                help="The address of this result. It opens the page with the same picture and parameters.",
            )
            if not on_private_machine():
                _share_toggle(run_id)


def _share_toggle(run_id: str) -> None:
    """Let a visitor of a public deployment decide who may open an own run by its address."""
    run = store().run(run_id, visitor())
    if run.owner != visitor():
        return
    shared = st.toggle(
        "anyone with the link may open it",
        value=run.shared,
        key=f"share_{run_id}",
        help="Off: only you, in this session.",
    )
    if shared != run.shared:
        store().annotate(run_id, visitor(), shared=shared)
