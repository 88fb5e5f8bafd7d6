"""The views of the benchmark page, and which of them an address opens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from core.bench.sweep.run import KIND as SWEEP_KIND
from db.errors import StoreError
from db.records import RunRecord
from pages.ui import state
from pages.ui.bench_compare import compare_view, open_comparison
from pages.ui.bench_full import full_view
from pages.ui.bench_limits import PAGE
from pages.ui.bench_read import Bench, benchmark_of, read_benchmark
from pages.ui.bench_sweep import sweep_view
from pages.ui.errors import show_error
from pages.ui.session import store, visitor
from pages.ui.text import plain
from pages.ui.views import view_choice

COMPARE, FULL, SWEEP = "Compare", "Benchmark", "Sweep"
VIEWS: dict[str, Callable[[], None]] = {COMPARE: compare_view, FULL: full_view, SWEEP: sweep_view}


def choose_view() -> str:
    """Draw the choice of views and return the chosen one."""
    _follow_address()
    return view_choice(VIEWS, COMPARE, f"{PAGE}_view")


def _follow_address() -> None:
    """Open what the address asks for, once: a run with all of its benchmark, a benchmark, or a sweep."""
    run_id, benchmark_id = st.query_params.get("run"), st.query_params.get("benchmark")
    asked = run_id or benchmark_id
    if asked is None or asked == state.BENCH_ADDRESS.get():
        return
    state.BENCH_ADDRESS.set(asked)
    try:
        if run_id is not None:
            _open_run(store().run(run_id, visitor()))
        elif benchmark_id is not None:
            _open_benchmark(benchmark_id, read_benchmark(benchmark_id))
    except StoreError as error:
        show_error(error)


def _open_run(run: RunRecord) -> None:
    if run.kind == SWEEP_KIND:
        state.BENCH_SWEEP.set(run.id)
        st.session_state[f"{PAGE}_view"] = SWEEP
        return
    sweep = run.parameters.get("sweep")
    if isinstance(sweep, str):
        with suppress(StoreError):  # it was deleted, and its cells were not
            store().run(sweep, visitor())
            state.BENCH_SWEEP.set(sweep)
            st.session_state[f"{PAGE}_view"] = SWEEP
            return
    if benchmark_id := benchmark_of(run):
        _open_benchmark(benchmark_id, read_benchmark(benchmark_id, run.id))
        return
    st.warning(
        f"The run {plain(run.id)} is of kind {plain(run.kind)}, which this page does not show.",
        icon=":material/help:",
    )


def _open_benchmark(benchmark_id: str, bench: Bench | None) -> None:
    if bench is not None and open_comparison(bench):
        st.session_state[f"{PAGE}_view"] = COMPARE
        return
    state.BENCH.set(benchmark_id)
    st.session_state[f"{PAGE}_view"] = FULL
