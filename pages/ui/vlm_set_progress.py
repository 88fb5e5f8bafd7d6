"""How far a run is, and the buttons that pause, go on and cancel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import VisionBenchError
from core.vlm.prices import price_table
from core.vlm.setrun.charging import CHARGED
from core.vlm.setrun.estimate import is_free, price_of
from core.vlm.setrun.lost import LOST
from core.vlm.setrun.progress import ENDED, Phase, Progress
from db.errors import StoreError
from db.records import RunRecord
from pages.ui.errors import show_error
from pages.ui.run_buttons import run_buttons
from pages.ui.session import store, visitor
from pages.ui.text import MISSING
from pages.ui.vlm_set_data import NAME, said
from pages.ui.vlm_set_words import duration, money, spent

if TYPE_CHECKING:
    from core.vlm.setrun.live import LiveRun

EVERY_S, ELSEWHERE_S = 1.0, 3.0


@st.fragment(run_every=EVERY_S)
def follow(live: LiveRun) -> None:
    """Draw where a run of this process stands, again and again, until it has ended."""
    if not live.is_alive:
        st.rerun()
    now = live.progress
    _bar(now.done, now.total, _phase(now))
    paid = spent(now.spending.usd, all_known=not now.spending.unpriced)
    limit = live.run.plan.budget_usd
    _numbers(
        {
            "Done": f"{now.done:,} of {now.total:,}",
            "Failed": f"{now.failed:,}",
            "Under way": f"{now.under_way:,}",
            "Spent": paid if limit is None else f"{paid} of {money(limit)}",
            "Time left": MISSING if now.phase is not Phase.RUNNING else duration(now.left_s),
        }
    )
    if now.spending.unpriced:
        st.caption(f"{now.spending.unpriced:,} calls whose price is unknown are not in what was spent.")
    with st.container(horizontal=True):
        run_buttons(
            live.run,
            paused=now.phase is Phase.PAUSED,
            ended=now.phase in ENDED,
            key=NAME,
            cancels="Breaks off the calls under way. What is done stays, and the run can be resumed.",
        )


def _phase(now: Progress) -> str:
    if now.phase in ENDED:
        return "Closing the run"
    if now.phase is Phase.PAUSED:
        return "Paused: calls under way come to their end, no other begins" if now.under_way else "Paused"
    return "Under way. You can leave this page: the run goes on."


@st.fragment(run_every=ELSEWHERE_S)
def follow_elsewhere(set_id: str) -> None:
    """Draw where a run of another process stands."""
    store().interrupt_stale()
    run = store().run(set_id, visitor())
    if run.status != "running":
        st.rerun()
    counts = counts_of(set_id)
    _bar(counts["done"], counts.total(), "Under way in another process, such as a command line")


def counts_of(set_id: str) -> Counter[str]:
    """Return how many calls are `open`, `claimed` and `done`."""
    found: Counter[str] = Counter()
    for row in store().call_counts(set_id, visitor()):
        found[row.state] += row.count
    return found


def failures_of(set_id: str) -> int:
    """Return how many calls that are done brought no answer."""
    rows = store().call_counts(set_id, visitor())
    return sum(row.count for row in rows if row.state == "done" and row.status != "ok")


def ended(run: RunRecord, error: BaseException | None) -> int:
    """Draw how a run ended; return how many calls are left.

    Args:
        error: What broke it in this process, where something did.
    """
    counts, failed = counts_of(run.id), failures_of(run.id)
    done, total = counts["done"], counts.total()
    _bar(done, total, "")
    _say_how(run, total - done, error)
    lost = run.metric(LOST) or 0.0
    numbers = {
        "Done": f"{done:,} of {total:,}",
        "Failed": f"{failed:,}",
        "Spent": spent(store().call_total(run.id, CHARGED) + lost, all_known=_all_priced(run)),
        "Time": duration(None if run.duration_ms is None else run.duration_ms / 1000),
    }
    _numbers(numbers)
    if lost:
        st.caption(
            f"{money(lost)} of it may have been charged for calls that were broken off.".replace("$", "\\$")
        )
    return total - done


def _all_priced(run: RunRecord) -> bool:
    """Say whether the prices of all models are known, or nothing is paid for them."""
    prices, today = price_table(), datetime.now(UTC).date()
    models = [str(model) for model in run.parameters.get("models", ())]
    return all(is_free(model) or price_of(model, prices, today) is not None for model in models)


def _say_how(run: RunRecord, left: int, error: BaseException | None) -> None:
    if isinstance(error, VisionBenchError | StoreError):
        show_error(error)
    elif run.status == "ok":
        st.success("Every call is done.", icon=":material/check_circle:")
    elif run.error_class == "Interrupted":
        st.warning(
            f"The app ended while this run was under way. What is done is kept; {left:,} calls are left.",
            icon=":material/power_off:",
        )
    elif run.status == "cancelled":
        st.info(said(run.error_message or "It was cancelled.", 400), icon=":material/stop_circle:")
    elif run.status == "running":
        st.error("Something broke here, and the end could not be written.", icon=":material/error:")
    else:
        st.error(said(f"It broke off: {run.error_message}", 400), icon=":material/error:")


def _bar(done: int, total: int, text: str) -> None:
    st.progress(done / total if total else 0.0, text or None)


def _numbers(values: Mapping[str, str]) -> None:
    with st.container(horizontal=True, gap="medium"):
        for label, value in values.items():
            st.metric(label, value.replace("$", "\\$"), width="content")
