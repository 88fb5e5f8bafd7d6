"""How far a benchmark is, and the buttons that pause, go on and cancel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from core.bench.live import LiveBenchmark
from core.bench.progress import ENDED, Phase, Progress
from core.errors import VisionBenchError
from db.errors import StoreError
from pages.ui.bench_data import is_lost, labelled_zip
from pages.ui.bench_limits import limits
from pages.ui.bench_pictures import again_uploader, files_at_hand
from pages.ui.bench_read import Bench
from pages.ui.bench_start import resume
from pages.ui.errors import show_error
from pages.ui.run_buttons import run_buttons
from pages.ui.session import visitor
from pages.ui.text import MISSING, plain
from pages.ui.vlm_set_words import duration

EVERY_S = 1.0


@st.fragment(run_every=EVERY_S)
def follow(live: LiveBenchmark, drawn: int, key: str) -> None:
    """Draw where a benchmark of this process stands, again and again, until it has ended.

    Args:
        drawn: Models whose results the page shows; when there are more, the page is drawn anew.
        key: Prefix of the widget keys.
    """
    now: Progress = live.progress
    if not live.is_alive or now.done > drawn:
        st.rerun()
    st.progress(min(1.0, now.share), _phase(now))
    numbers(
        {
            "Measured": f"{now.done} of {now.total}",
            "Failed": f"{now.failed}",
            "Time": duration(now.elapsed_s),
            "Time left": MISSING if now.phase is not Phase.RUNNING else f"about {duration(now.left_s)}",
        }
    )
    with st.container(horizontal=True):
        run_buttons(
            live.run,
            paused=now.phase is Phase.PAUSED,
            ended=now.phase in ENDED,
            key=key,
            cancels="Ends the processes that measure. Models that are measured stay, and it can be resumed.",
            pauses="The step under way comes to its end; no other begins.",
            may_pause=limits().pauses,
            waits=now.phase is Phase.WAITING,
        )


def numbers(values: Mapping[str, str]) -> None:
    """Draw a row of numbers."""
    with st.container(horizontal=True, gap="medium"):
        for label, value in values.items():
            st.metric(label, value, width="content")


def _phase(now: Progress) -> str:
    if now.phase is Phase.WAITING:
        return plain(now.message) or "Starting"
    if now.phase is Phase.PAUSED:
        return "Paused. Models stay loaded; go on whenever you like."
    if now.phase in ENDED:
        return "Closing"
    return f"{plain(now.message)}. You can leave this page: it goes on." if now.message else "Starting"


def ended(bench: Bench, live: LiveBenchmark | None, key: str) -> None:
    """Draw how a benchmark ended, and the way to go on where something is left."""
    if live is not None and isinstance(live.error, VisionBenchError | StoreError):
        show_error(live.error)
    elif live is not None and live.progress.phase is Phase.FAILED:
        st.error(f"It broke off: {plain(live.progress.message)}", icon=":material/error:")
    elif bench.left and live is not None:
        st.info("It was cancelled. What is measured is kept.", icon=":material/stop_circle:")
    elif bench.left:
        st.warning(
            "It ended before its end: cancelled, or the app was stopped. What is measured is kept.",
            icon=":material/power_off:",
        )
    if bench.rows and len(bench.failed) == len(bench.rows):
        st.error("No model could be measured. Why stands below.", icon=":material/error:")
    if bench.left and _is_mine(bench):
        _resume_panel(bench, key)


def _is_mine(bench: Bench) -> bool:
    return all(row.run.owner == visitor() for row in bench.rows)


def _resume_panel(bench: Bench, key: str) -> None:
    left = "1 model is" if bench.left == 1 else f"{bench.left} models are"
    with st.container(border=True):
        st.markdown(f"**{left} left.** What is recorded is not measured again.")
        given, lost = files_at_hand(bench.plan, [row.run for row in bench.rows])
        plan = bench.plan
        if lost:
            given, lost = again_uploader(lost, given, key)
        is_gone = is_lost(plan.truths)
        if is_gone and limits().uploads_data:
            try:
                path = labelled_zip(f"{key}_again_labelled")
            except VisionBenchError as error:
                show_error(error)
                path = None
            if path is not None:
                plan, is_gone = replace(plan, truths=str(path)), False
            else:
                st.caption("Its labelled pictures are not here any more: give the same zip again.")
        if st.button(
            "Resume",
            icon=":material/resume:",
            type="primary",
            key=f"{key}_resume",
            disabled=bool(lost) or is_gone,
        ) and resume(bench, plan, given):
            st.rerun()
