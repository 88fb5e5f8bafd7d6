"""Keeping a recommendation as a run, and what has changed when it is opened again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

import streamlit as st

from core.errors import InputError, VisionBenchError
from core.recommend.answer import Answer
from core.recommend.saved import ANSWER, KIND, Saved, changes, draft_of, read_saved, saved_of
from db.errors import StoreError
from pages.ui import state
from pages.ui.errors import show_error
from pages.ui.layout import run_footer
from pages.ui.recommend_state import PAGE, PATH, show
from pages.ui.recommend_view import RecommendView, view_of
from pages.ui.session import store, visitor
from pages.ui.text import ago, local_time, plain

SHOWN = 8
"""Most changes that are shown at once."""


@dataclass(frozen=True)
class Opened:
    """A saved recommendation."""

    run_id: str
    time: datetime
    saved: Saved


def reopen(view: RecommendView) -> tuple[RecommendView, Opened | None]:
    """Return the view of the saved recommendation that the address names, and that recommendation.

    Its request is asked again once; after that the address may be changed as usual.
    """
    if not view.run:
        state.RECOMMEND_RUN.clear()
        return view, None
    try:
        opened = _read(view.run)
    except (StoreError, VisionBenchError) as error:
        show_error(error)
        return replace(view, run=""), None
    if state.RECOMMEND_RUN.get() != view.run:
        state.RECOMMEND_RUN.set(view.run)
        view = replace(view_of(opened.saved.request), run=view.run)
        show(view)
    return view, opened


def _read(run_id: str) -> Opened:
    run = store().run(run_id, visitor())
    if run.kind != KIND:
        raise InputError(f"Run {run_id} is no recommendation.", "Open it from the history.")
    return Opened(run_id, run.time, read_saved(store().artifact(run_id, ANSWER, visitor())))


def what_changed(opened: Opened, answer: Answer) -> None:
    """Draw what is different now from what was saved."""
    found = changes(opened.saved, saved_of(answer))
    when = f"Saved {ago(opened.time)} ({plain(local_time(opened.time))})."
    if not found:
        st.success(f"{when} Nothing has changed since.", icon=":material/history:")
        return
    lines = [f"- {plain(one)}" for one in found]
    with st.container(border=True, key=f"{PAGE}_changes"):
        st.markdown(f":material/history: **{when} What has changed since:**")
        st.markdown("\n".join(lines[:SHOWN]))
        if len(lines) > SHOWN:
            with st.expander(f"{len(lines) - SHOWN} more"):
                st.markdown("\n".join(lines[SHOWN:]))


def save_button(answer: Answer, took_ms: float, opened: Opened | None) -> str | None:
    """Draw the button that keeps the answer as a run; return the run where it is kept, or was opened."""
    asked = json.dumps(answer.to_json(), sort_keys=True)
    kept = state.RECOMMEND_SAVED.get()
    if kept is not None and kept[0] == asked:
        return kept[1]
    st.button(
        "Save as a run",
        icon=":material/bookmark_add:",
        key=f"{PAGE}_save",
        on_click=_save,
        args=(answer, took_ms, asked),
        help="Keeps what was asked and answered; opened later, it says what has changed since.",
    )
    return opened.run_id if opened is not None else None


def saved_line(run_id: str | None, took_ms: float, device: str) -> None:
    """Draw where the answer comes from: its run, and how long this machine took to find it."""
    run_footer(run_id, PATH, device, {"answer": took_ms})


def _save(answer: Answer, took_ms: float, asked: str) -> None:
    from core.recommend.facts import environment_here

    draft = draft_of(answer, owner=visitor(), environment=environment_here(), duration_ms=took_ms)
    try:
        state.RECOMMEND_SAVED.set((asked, store().record(draft)))
    except StoreError as error:
        show_error(error)
