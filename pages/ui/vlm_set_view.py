"""The view in which models answer over a whole data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import VisionBenchError
from core.vlm.setrun.plan import Plan
from core.vlm.tasks import TASKS
from db.errors import StoreError
from db.records import RunRecord
from pages.ui import state
from pages.ui.errors import show_error
from pages.ui.session import live_runs, store, visitor
from pages.ui.text import local_time, plain
from pages.ui.vlm_card import PAGE_PATH
from pages.ui.vlm_keys import key_entry, providers
from pages.ui.vlm_set_data import NAME, Given, data_picker, preview
from pages.ui.vlm_set_expected import expected, show_expected
from pages.ui.vlm_set_inputs import plan_picker
from pages.ui.vlm_set_progress import ended, follow, follow_elsewhere
from pages.ui.vlm_set_results import loopback_note, results
from pages.ui.vlm_set_resume import resume_panel
from pages.ui.vlm_set_runs import begin, earlier_runs, open_requested_set, plan_new, show_set, title_of

if TYPE_CHECKING:
    from core.vlm.setrun.live import LiveRun


def set_view() -> None:
    """Draw the plan of a new run, or a run that is under way or ended."""
    open_requested_set()
    set_id = state.VLM_SET.get()
    if set_id is None:
        _new()
        return
    live = live_runs().find(set_id, visitor())
    is_alive = live is not None and live.is_alive  # before its status is read: what has ended is written
    try:
        run = store().run(set_id, visitor())
    except StoreError as error:
        show_error(error)
        _new_button()
        return
    show_set(set_id)
    _head(run)
    if live is not None and is_alive and run.status == "running":
        follow(live)
        results(run, is_over=False)
    elif run.status == "running" and (live is None or live.error is None):
        follow_elsewhere(run.id)
        results(run, is_over=False)
    else:
        _ended(run, live)


def _new() -> None:
    left, right = st.columns([2, 3], gap="large")
    with left:
        given = data_picker()
        if given is not None:
            preview(given)
    with right:
        if given is None:
            st.info("Give a data set; who is asked what goes here.", icon=":material/dataset:")
        else:
            plan = plan_picker(given)
            if plan is not None:
                _start(plan, given)
        key_entry()
    earlier_runs()


def _start(plan: Plan, given: Given) -> None:
    """Draw what is to be expected, and begin where that is wanted."""
    if providers().is_loopback(plan.models):
        loopback_note()
    show_expected(plan, expected(plan))
    if not st.button("Start", type="primary", icon=":material/play_arrow:", key=f"{NAME}_start"):
        return
    try:
        with st.spinner("Writing down the calls …"):
            begin(plan, given.path)
    except (VisionBenchError, StoreError) as error:
        show_error(error)
        return
    st.rerun()


def _new_button() -> None:
    st.button("New run", icon=":material/add:", key=f"{NAME}_new", on_click=plan_new)


def _head(run: RunRecord) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Data-set run", anchor=False, width="content")
        _new_button()
    models = ", ".join(plain(str(model)) for model in run.parameters.get("models", ()))
    tasks = ", ".join(TASKS[task].title for task in run.parameters.get("tasks", ()) if task in TASKS)
    st.caption(f"{title_of(run)}: {models} · {tasks} · begun {local_time(run.time)}")


def _ended(run: RunRecord, live: LiveRun | None) -> None:
    left = ended(run, live.error if live is not None else None)
    if left and run.owner == visitor() and run.status != "running":
        resume_panel(run, left)
    results(run, is_over=True)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"saved as run `{run.id}`", width="content")
        st.page_link(
            PAGE_PATH, label="link to this run", icon=":material/link:", query_params={"run": run.id}
        )
