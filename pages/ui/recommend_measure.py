"""What to measure next, and a benchmark that was begun here, until it has ended."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core.bench.live import LiveBenchmark
from core.bench.options import Options
from core.bench.plan import Plan, timing_s
from core.bench.suite import COMPARE_ROUNDS
from core.errors import VisionBenchError
from core.recommend.answer import Answer
from core.recommend.measuring import NextRun
from core.recommend.request import HERE
from pages.ui import state
from pages.ui.bench_follow import follow
from pages.ui.bench_limits import PATH as BENCHMARK_PAGE
from pages.ui.bench_limits import limits
from pages.ui.bench_models import offered
from pages.ui.bench_start import started
from pages.ui.errors import show_error
from pages.ui.recommend_state import PAGE
from pages.ui.session import live_benchmarks, visitor
from pages.ui.text import plain
from pages.ui.vlm_set_words import duration

PICTURE = "astronaut"
SECONDS_EACH = 2.0
USUAL_MB = 100.0
"""What weights are taken to be of a model whose size nobody says."""
SHOWN = 6
"""Most models that a sentence names one by one."""


def under_way() -> LiveBenchmark | None:
    """Return the benchmark of this visitor that works now: the one begun here, or else any."""
    begun = state.RECOMMEND_BENCH.get()
    live = live_benchmarks().find(begun, visitor()) if begun else None
    if live is not None and live.is_alive:
        return live
    return next((one for one in reversed(live_benchmarks().of(visitor())) if one.is_alive), None)


def follow_panel(live: LiveBenchmark | None) -> None:
    """Draw how far a benchmark is; as soon as a model is measured, the whole page is drawn anew."""
    if live is None:
        _how_it_ended()
        return
    with st.container(border=True, key=f"{PAGE}_under_way"):
        models = live.run.plan.models
        names = ", ".join(plain(one) for one in models[:SHOWN])
        more = f" and {len(models) - SHOWN} more" if len(models) > SHOWN else ""
        st.markdown(f"**Measuring** {names}{more}. The answer changes as results come.")
        follow(live, live.progress.done, f"{PAGE}_bench")


def _how_it_ended() -> None:
    begun = state.RECOMMEND_BENCH.get()
    live = live_benchmarks().find(begun, visitor()) if begun else None
    if live is None:
        return
    now = live.progress
    if isinstance(live.error, VisionBenchError):
        show_error(live.error)
    words = f"{now.done - now.failed} of {now.total} measured" + (
        f", {now.failed} failed" if now.failed else ""
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/task_alt: {words}; the answer counts them.", width="content")
        st.page_link(
            BENCHMARK_PAGE,
            label="See the benchmark",
            icon=":material/speed:",
            query_params={"benchmark": live.run.set_id},
        )


def begin(plan: Plan) -> None:
    """Begin to measure, as a benchmark that goes on without this page."""
    live = started(plan, {})
    if live is not None:
        state.RECOMMEND_BENCH.set(live.run.set_id)


def start_button(
    label: str, plan: Plan, weights_mb: Mapping[str, float], key: str, *, busy: bool, primary: bool = False
) -> None:
    """Draw the button that measures the models of a plan, with about how long that takes.

    Args:
        weights_mb: Model to the size of its weights, where it is known: the registry would import timm.
        busy: Whether something is measured already.
    """
    seconds = sum(timing_s(one.options, weights_mb.get(one.model_id, USUAL_MB)) for one in plan.entries())
    st.button(
        f"{label} (about {duration(seconds)})",
        icon=":material/play_arrow:",
        type="primary" if primary else "secondary",
        key=f"{PAGE}_{key}",
        on_click=begin,
        args=(plan,),
        disabled=busy,
        help="Another measurement is under way." if busy else "You can leave the page meanwhile.",
    )


def next_panel(answer: Answer, *, busy: bool) -> None:
    """Draw the runs that could change the order, why, and the button that starts exactly these."""
    if answer.device != HERE:
        return
    st.subheader("What to measure next", anchor=False)
    runs = answer.next_runs
    if not runs:
        st.caption("Nothing that can be measured here would change the first places.")
        return
    st.markdown("\n".join(_line(one) for one in runs))
    allowed = [one for one in runs if limits().downloads or one.run in offered()][: limits().models]
    if not allowed:
        st.caption("These can be measured by the person at this machine only.")
        return
    weights_mb = {one.run: one.candidate.entry.weights_mb or USUAL_MB for one in allowed}
    try:
        plan = Plan(tuple(weights_mb), (PICTURE,), (options_for(answer),), rounds=COMPARE_ROUNDS)
    except VisionBenchError as error:
        show_error(error)
        return
    label = "Measure it" if len(weights_mb) == 1 else f"Measure these {len(weights_mb)}"
    start_button(label, plan, weights_mb, "next", busy=busy, primary=True)


def _line(one: NextRun) -> str:
    untrained = ", with random weights, which take as long" if one.run.startswith("random/") else ""
    return f"- **{plain(one.candidate.entry.title)}**: {plain(one.why)} ({plain(one.run)}{untrained})"


def options_for(answer: Answer) -> Options:
    """Return how a model is to be measured so that it answers a request."""
    request = answer.request
    batches = (1,) if request.batch == 1 else (1, min(request.batch, limits().batch))
    size = request.input_size if request.input_size and request.input_size <= limits().side_px else None
    return Options(batches, size=size, seconds=min(SECONDS_EACH, limits().seconds))
