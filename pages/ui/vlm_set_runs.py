"""Beginning, resuming, finding and opening data-set runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import streamlit as st

from core.vlm.datasets import Items
from core.vlm.setrun.plan import Plan
from db.errors import StoreError
from db.records import RunFilter, RunRecord
from pages.ui import state
from pages.ui.session import live_runs, store, visitor
from pages.ui.text import ago
from pages.ui.vlm_card import PAGE_PATH
from pages.ui.vlm_keys import providers
from pages.ui.vlm_set_data import said

if TYPE_CHECKING:
    from core.vlm.setrun.run import SetRun

KIND = "vlm-set"
PATH = "path"
"""Where a run's view keeps the folder of this machine that its data set is in."""
LISTED = 8
STATES = {
    "ok": ("done", ":material/check_circle:"),
    "running": ("under way", ":material/pending:"),
    "cancelled": ("stopped", ":material/pause_circle:"),
    "failed": ("interrupted", ":material/error:"),
}
"""Status of a run to its word and icon."""


def begin(plan: Plan, path: str) -> None:
    """Begin a run, which works on in the background, and show it.

    Args:
        path: Of the data set on this machine; empty where it is not read from a path.

    Raises:
        InputError, SetupError: It cannot begin; nothing is asked then.
    """
    from core.vlm.setrun.run import SetRun

    opened, ledger, owner = providers(), store(), visitor()

    def make() -> SetRun:
        run = SetRun.begin(plan, providers=opened, ledger=ledger, owner=owner)
        if path:
            ledger.set_view(run.set_id, owner, {PATH: path})
        return run

    show_set(live_runs().start(owner, make).run.set_id)


def resume(set_id: str, items: Callable[[], Items], usd: float | None, calls: int | None) -> None:
    """Go on with a run that ended before its end; what is done is not asked again.

    Args:
        items: Brings the data set, as it was.
        usd, calls: New limits of the budget; None leaves one as it was.

    Raises:
        InputError, SetupError, StoreError: It cannot go on.
    """
    from core.vlm.setrun.run import SetRun

    opened, ledger, owner = providers(), store(), visitor()

    def make() -> SetRun:
        return SetRun.resume(
            set_id,
            items(),
            providers=opened,
            ledger=ledger,
            owner=owner,
            budget_usd=usd,
            budget_calls=calls,
        )

    live_runs().start(owner, make)
    show_set(set_id)


def show_set(set_id: str) -> None:
    """Make a run the one that is shown, and the one that the address names."""
    state.VLM_SET.set(set_id)
    st.query_params["run"] = set_id
    state.ADDRESS_RUN.set(set_id)


def plan_new() -> None:
    """Leave the run that is shown; it goes on, if it is under way."""
    state.VLM_SET.clear()
    state.ADDRESS_RUN.clear()
    st.query_params.pop("run", None)


def open_requested_set() -> None:
    """Show the run that the address asks for, once, where it is a data-set run."""
    run_id = st.query_params.get("run")
    if run_id is None or run_id == state.ADDRESS_RUN.get():
        return
    with suppress(StoreError):  # the view that compares says what is wrong with other addresses
        if store().run(run_id, visitor()).kind == KIND:
            show_set(run_id)


def title_of(run: RunRecord) -> str:
    """Return what a run is about, as Markdown."""
    known = run.parameters
    models = known.get("models", ())
    count = f"{len(models)} model{'s' if len(models) != 1 else ''}"
    return f"{said(str(known.get('data', '')), 60)} · {count}"


def earlier_runs() -> None:
    """Draw links to the last data-set runs of this visitor."""
    st.subheader("Your data-set runs", anchor=False)
    found = store().runs(RunFilter(owner=visitor(), kinds=(KIND,)), limit=LISTED)
    if not found:
        st.caption("None yet. A run appears here as soon as it begins, and can be opened again at any time.")
        return
    for summary in found:
        word, icon = STATES.get(summary.status, STATES["failed"])
        live = live_runs().find(summary.id, visitor())
        if summary.status == "running" and live is not None and live.progress.phase.value == "paused":
            word, icon = "paused", ":material/pause_circle:"
        with suppress(StoreError):  # deleted meanwhile
            run = store().run(summary.id, visitor())
            label = f"{title_of(run)} · {word} · {ago(run.time)}"
            st.page_link(PAGE_PATH, label=label, icon=icon, query_params={"run": run.id})
