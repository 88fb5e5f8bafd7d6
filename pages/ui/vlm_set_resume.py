"""Going on with a run that was interrupted, cancelled or stopped by its budget."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.errors import InputError, VisionBenchError
from core.vlm.datasets import Items, open_items
from core.vlm.datasets.scenes import PREFIX, parse_scenes, scene_items
from db.errors import StoreError
from db.records import RunRecord
from pages.ui.errors import show_error
from pages.ui.session import live_runs, on_private_machine, visitor
from pages.ui.vlm_keys import key_entry
from pages.ui.vlm_set_data import NAME, said, show_data_error, upload
from pages.ui.vlm_set_inputs import budget_picker
from pages.ui.vlm_set_runs import PATH, resume


def resume_panel(run: RunRecord, left: int) -> None:
    """Draw what is needed to go on, and the button."""
    with st.container(border=True):
        st.markdown(f"**{left:,} calls are left.** What is done is not asked, and not paid, again.")
        items = _at_hand(run) or _uploaded_again(run)
        usd, calls = budget_picker(
            f"{NAME}_more_{run.id}", run.parameters.get("budget_usd"), run.parameters.get("budget_calls")
        )
        st.caption("The limits hold for all sittings of this run together; an empty one stays as it was.")
        if st.button(
            "Resume",
            type="primary",
            icon=":material/resume:",
            key=f"{NAME}_resume",
            disabled=items is None,
        ):
            assert items is not None
            _resume(run, items, usd, calls)
        key_entry()


def _resume(run: RunRecord, items: Callable[[], Items], usd: float | None, calls: int | None) -> None:
    try:
        with st.spinner("Looking what is left …"):
            resume(run.id, items, usd, calls)
    except (VisionBenchError, StoreError) as error:
        show_error(error)
        return
    st.rerun()


def _at_hand(run: RunRecord) -> Callable[[], Items] | None:
    """Return what brings the run's data set without asking for it; None where there is nothing."""
    name, digest = str(run.parameters.get("data")), run.parameters.get("digest")
    live = live_runs().find(run.id, visitor())
    if live is not None and live.run.plan.items.digest == digest:
        return lambda: live.run.plan.items
    if name == digest and name.startswith(PREFIX):
        return lambda: scene_items(*parse_scenes(name))
    path = run.view.get(PATH)
    if path and on_private_machine():
        st.caption(f"Its data set is read from {said(str(path))} again.")
        return lambda: open_items(str(path))
    return None


def _uploaded_again(run: RunRecord) -> Callable[[], Items] | None:
    st.caption(f"Give its data set, {said(str(run.parameters.get('data')))}, again: the very same files.")
    try:
        given = upload(f"{NAME}_again")
    except InputError as error:
        show_data_error(error)
        return None
    if given is None:
        return None
    if given.items.digest != run.parameters.get("digest"):
        st.warning("That is another data set, or it has changed.", icon=":material/difference:")
        return None
    return lambda: given.items
