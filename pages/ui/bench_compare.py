"""The first view: every model that works here on one picture, by one button."""

from __future__ import annotations

import streamlit as st

from core.bench.options import Options
from core.bench.plan import Plan
from core.bench.results import KIND
from core.bench.suite import COMPARE_ROUNDS, tag_of
from core.errors import VisionBenchError
from core.images import ImageInput
from db.records import RunFilter
from pages.ui import state
from pages.ui.bench_follow import ended, follow
from pages.ui.bench_limits import PAGE
from pages.ui.bench_models import kind_of, models_picker, offered
from pages.ui.bench_pictures import given_of, picture_name
from pages.ui.bench_read import TAG, Bench, benchmark_of, read_benchmark
from pages.ui.bench_results import answers, results
from pages.ui.bench_start import begin, command_popover, show_benchmark, time_words
from pages.ui.errors import show_error
from pages.ui.pictures import picture_picker, select_picture
from pages.ui.session import live_benchmarks, store, visitor
from pages.ui.text import ago, count, plain
from pages.ui.vlm_set_data import said

NAME = f"{PAGE}_compare"
SECONDS_EACH = 2.0
LOOKED_AT = 200
"""Runs among which an earlier comparison of a picture is looked for."""


def compare_view() -> None:
    """Draw picture, models, the button, and what the models came to on this picture."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        image = picture_picker(NAME)
        if image is not None:
            st.image(image.rgb, caption=plain(image.name[:60]), width="stretch")
    with right:
        if image is None:
            st.info("Choose a picture; then you see which models look at it.", icon=":material/image:")
            return
        plan = _plan(image)
        shown = _shown(image)
        live = live_benchmarks().find(shown, visitor()) if shown else None
        is_alive = live is not None and live.is_alive
        if plan is not None:
            _start(plan, image, is_alive)
        done = live.progress.done if live is not None else 0  # before the store is read: these are written
        bench = read_benchmark(shown) if shown else None
        if live is not None and is_alive:
            follow(live, done, NAME)
        elif bench is None:
            _before(plan)
        else:
            ended(bench, live, NAME)
            _when(bench)
            show_benchmark(bench.id)
        if bench is not None:
            answers(bench)
    if bench is not None:
        results(bench, NAME, is_over=not is_alive, has_answers=True)


def _plan(image: ImageInput) -> Plan | None:
    """Draw the models; return the comparison, or None while there is none to be made."""
    try:
        models = models_picker(f"{NAME}_models")
        if not models:
            st.caption("Choose at least one model.")
            return None
        options = (Options(seconds=SECONDS_EACH),)
        return Plan(models, (picture_name(image),), options, rounds=COMPARE_ROUNDS)
    except VisionBenchError as error:
        show_error(error)
        return None


def _start(plan: Plan, image: ImageInput, is_alive: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Compare all models",
            icon=":material/speed:",
            type="primary",
            key=f"{NAME}_start",
            disabled=is_alive,
        )
        st.markdown(time_words(plan), width="content")
        command_popover(plan, [image], NAME)
    if pressed and begin(plan, given_of([image])) is not None:
        state.BENCH_COMPARED.set((image.sha256, plan.id))
        st.rerun()


def _shown(image: ImageInput) -> str:
    """Return the benchmark that is shown for a picture: the one that was begun or opened, else the latest."""
    held = state.BENCH_COMPARED.get()
    if held is not None and held[0] == image.sha256:
        return held[1]
    for live in reversed(live_benchmarks().of(visitor())):
        if live.is_alive and live.run.plan.pictures == (picture_name(image),):
            return live.run.set_id
    found = _latest(image.sha256)
    if found:
        state.BENCH_COMPARED.set((image.sha256, found))
    return found


def _latest(sha256: str) -> str:
    """Return the newest benchmark whose picture this is; empty where there is none."""
    runs = store().runs(RunFilter(owner=visitor(), kinds=(KIND,)), limit=LOOKED_AT)
    seen: set[str] = set()
    for summary in runs:
        tag = next((tag for tag in summary.tags if tag.startswith(TAG)), "")
        if summary.picture_sha256 != sha256 or not tag or tag in seen:
            continue
        seen.add(tag)
        run = store().run(summary.id, visitor())
        benchmark_id = benchmark_of(run)
        if benchmark_id and tag_of(benchmark_id) == tag and len(run.parameters.get("pictures", ())) == 1:
            return benchmark_id
    return ""


def _before(plan: Plan | None) -> None:
    """Draw what is known of the models before anything has run."""
    st.info("These models have not been compared on this picture yet.", icon=":material/hourglass_empty:")
    if plan is None:
        return
    found = offered()
    lines = [
        f"| {said(found[model].title, 80)} | {kind_of(found[model])} | {count(found[model].parameters)} |"
        for model in plan.models
        if model in found
    ]
    st.markdown("\n".join(["| Model | Measured as | Parameters |", "|---|---|---|", *lines]))


def _when(bench: Bench) -> None:
    if bench.rows:
        newest = max(row.run.time for row in bench.rows)
        st.caption(f"Compared {ago(newest)} on {said(bench.rows[0].run.environment.device, 60)}.")


def open_comparison(bench: Bench) -> bool:
    """Show a benchmark here, where it is of one picture that is still to be had; say whether it is."""
    plan = bench.plan
    if len(plan.pictures) != 1 or plan.truths is not None or plan.rounds != COMPARE_ROUNDS:
        return False
    inputs = next((row.run.inputs for row in bench.rows if row.run.inputs), ())
    if not inputs or not select_picture(NAME, inputs[0]):
        return False
    state.BENCH_COMPARED.set((inputs[0].sha256, bench.id))
    return True
