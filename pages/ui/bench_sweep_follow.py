"""How far a sweep is, and the buttons that pause, go on, cancel and resume."""

from __future__ import annotations

import streamlit as st

from core.bench.sweep.live import LiveSweep
from core.bench.sweep.progress import ENDED, Phase, Progress
from core.errors import VisionBenchError
from db.errors import StoreError
from db.records import RunRecord
from pages.ui.bench_follow import numbers
from pages.ui.bench_sweep_read import counts_of
from pages.ui.errors import show_error
from pages.ui.run_buttons import run_buttons
from pages.ui.session import store, visitor
from pages.ui.text import MISSING, plain
from pages.ui.vlm_set_data import said
from pages.ui.vlm_set_words import duration

EVERY_S, ELSEWHERE_S = 1.0, 3.0


@st.fragment(run_every=EVERY_S)
def follow(live: LiveSweep, key: str) -> None:
    """Draw where a sweep of this process stands, again and again, until it has ended."""
    if not live.is_alive:
        st.rerun()
    now: Progress = live.progress
    st.progress(now.done / now.total if now.total else 0.0, _phase(now))
    numbers(
        {
            "Done": f"{now.done:,} of {now.total:,}",
            "Failed": f"{now.failed:,}",
            "Under way": f"{now.under_way:,}",
            "Time": duration(now.elapsed_s),
            "Time left": MISSING if now.phase is not Phase.RUNNING else duration(now.left_s),
        }
    )
    with st.container(horizontal=True):
        run_buttons(
            live.run,
            paused=now.phase is Phase.PAUSED,
            ended=now.phase in ENDED,
            key=key,
            cancels="Breaks off the cells under way. What is done stays, and the sweep can be resumed.",
        )


def _phase(now: Progress) -> str:
    if now.phase in ENDED:
        return "Closing the sweep"
    if now.phase in (Phase.WAITING, Phase.IN_LINE):
        return plain(now.message)
    if now.phase is Phase.PAUSED:
        return "Paused: cells under way come to their end, no other begins" if now.under_way else "Paused"
    return "Under way. You can leave this page: the sweep goes on."


@st.fragment(run_every=ELSEWHERE_S)
def follow_elsewhere(sweep_id: str) -> None:
    """Draw where a sweep of another process stands."""
    store().interrupt_stale()
    if store().run(sweep_id, visitor()).status != "running":
        st.rerun()
    counts = counts_of(sweep_id)
    done, total = counts["done"], counts["open"] + counts["claimed"] + counts["done"]
    st.progress(done / total if total else 0.0, "Under way in another process, such as a command line")
    numbers({"Done": f"{done:,} of {total:,}", "Failed": f"{counts['failed']:,}"})


def ended(run: RunRecord, error: BaseException | None) -> int:
    """Draw how a sweep ended; return how many cells are left.

    Args:
        error: What broke it in this process, where something did.
    """
    counts = counts_of(run.id)
    left = counts["open"] + counts["claimed"]
    done, total = counts["done"], counts["done"] + left
    if left:
        st.progress(done / total if total else 0.0)
    _say_how(run, left, error)
    numbers(
        {
            "Done": f"{done:,} of {total:,}",
            "Failed": f"{counts['failed']:,}",
            "Time": duration(None if run.duration_ms is None else run.duration_ms / 1000),
        }
    )
    return left


def _say_how(run: RunRecord, left: int, error: BaseException | None) -> None:
    if isinstance(error, VisionBenchError | StoreError):
        show_error(error)
    elif run.status == "ok":
        st.success("Every cell is done.", icon=":material/check_circle:")
    elif run.error_class == "Interrupted":
        st.warning(
            f"The app ended while this sweep was under way. What is done is kept; {left:,} cells are left.",
            icon=":material/power_off:",
        )
    elif run.status == "cancelled":
        st.info(said(run.error_message or "It was cancelled.", 400), icon=":material/stop_circle:")
    elif run.status == "running":
        st.error("Something broke here, and the end could not be written.", icon=":material/error:")
    else:
        st.error(said(f"It broke off: {run.error_message}", 400), icon=":material/error:")
