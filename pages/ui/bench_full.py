"""The second view: a benchmark with everything chosen, and the earlier ones."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from core.bench.options import Options
from core.bench.plan import Plan
from core.bench.results import KIND
from core.errors import VisionBenchError
from core.images import ImageInput
from db.errors import StoreError
from db.records import RunFilter
from pages.ui import state
from pages.ui.bench_data import truths_picker, truths_words
from pages.ui.bench_follow import ended, follow
from pages.ui.bench_limits import PAGE, PATH
from pages.ui.bench_models import models_picker
from pages.ui.bench_options import options_picker
from pages.ui.bench_pictures import given_of, picture_name, picture_words, pictures_picker
from pages.ui.bench_read import TAG, Bench, benchmark_of, read_benchmark
from pages.ui.bench_results import results
from pages.ui.bench_start import begin, command_popover, forget_address, show_benchmark, time_words
from pages.ui.errors import show_error
from pages.ui.session import live_benchmarks, store, visitor
from pages.ui.text import ago, plain

NAME = f"{PAGE}_full"
LOOKED_AT, LISTED = 300, 8


def full_view() -> None:
    """Draw the plan of a new benchmark, or one that is under way or ended."""
    benchmark_id = state.BENCH.get()
    if benchmark_id is None:
        _new()
        return
    live = live_benchmarks().find(benchmark_id, visitor())
    is_alive = live is not None and live.is_alive  # before the store is read: what has ended is written
    done = live.progress.done if live is not None else 0
    bench = read_benchmark(benchmark_id, _asked_run())
    if bench is None:
        st.error(
            f"There is no benchmark {plain(benchmark_id[:40])} of yours.\n\n"
            "**What to do:** Check the link, or begin a new one.",
            icon=":material/error:",
        )
        _new_button()
        return
    _head(bench)
    if live is not None and is_alive:
        show_benchmark(bench.id)
        follow(live, done, NAME)
    else:
        ended(bench, live, NAME)
    results(bench, NAME, is_over=not is_alive)


def _asked_run() -> str:
    return st.query_params.get("run") or ""


def _new() -> None:
    left, right = st.columns(2, gap="large")
    images: tuple[ImageInput, ...] = ()
    with left:
        st.subheader("What", anchor=False)
        try:
            models = models_picker(f"{NAME}_models")
            images = pictures_picker(NAME)
            truths = truths_picker(NAME)
        except VisionBenchError as error:
            show_error(error)
            models, truths = (), None
    with right:
        st.subheader("How", anchor=False)
        try:
            sets, rounds = options_picker(NAME)
        except VisionBenchError as error:
            show_error(error)
            sets, rounds = (), 0
        if models and images and sets:
            _start(models, images, truths, sets, rounds)
        else:
            st.caption("Choose a model, a picture and options; then you see how long it takes.")
    earlier()


def _start(
    models: tuple[str, ...],
    images: tuple[ImageInput, ...],
    truths: str | None,
    sets: tuple[Options, ...],
    rounds: int,
) -> None:
    try:
        plan = Plan(models, tuple(map(picture_name, images)), sets, truths, rounds)
        words = time_words(plan)
    except VisionBenchError as error:
        show_error(error)
        return
    st.markdown(words)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Start", icon=":material/play_arrow:", type="primary", key=f"{NAME}_start")
        command_popover(plan, images, NAME)
    if pressed and begin(plan, given_of(images)) is not None:
        state.BENCH.set(plan.id)
        st.rerun()


def _plan_new() -> None:
    state.BENCH.clear()
    forget_address()


def _new_button() -> None:
    st.button("New benchmark", icon=":material/add:", key=f"{NAME}_new", on_click=_plan_new)


def _head(bench: Bench) -> None:
    plan, runs = bench.plan, [row.run for row in bench.rows]
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Benchmark", anchor=False, width="content")
        _new_button()
    names = ", ".join(picture_words(name, runs) for name in plan.pictures[:8])
    more = f" and {len(plan.pictures) - 8} more" if len(plan.pictures) > 8 else ""
    parts = [
        _count(len(plan.models), "model"),
        f"on {names}{more}",
        _count(len(plan.options), "set of options", "sets of options") if len(plan.options) > 1 else "",
        truths_words(plan.truths),
        f"{plan.rounds} rounds",
        f"begun {ago(min(run.time for run in runs))}" if runs else "",
    ]
    st.caption(" · ".join(part for part in parts if part))


def _count(number: int, one: str, many: str = "") -> str:
    return f"1 {one}" if number == 1 else f"{number:,} {many or one + 's'}"


def earlier() -> None:
    """Draw links to the last benchmarks of this visitor, those at work first."""
    st.subheader("Your benchmarks", anchor=False)
    found = _at_work() | _recorded()
    if not found:
        st.caption(
            "None yet. A benchmark appears here as soon as it begins, and can be opened again any time."
        )
    for benchmark_id, (label, icon) in list(found.items())[:LISTED]:
        st.page_link(PATH, label=label, icon=icon, query_params={"benchmark": benchmark_id})


def _at_work() -> dict[str, tuple[str, str]]:
    found = {}
    for live in reversed(live_benchmarks().of(visitor())):
        if live.is_alive:
            now = live.progress
            label = f"{_title(live.run.plan)} · {now.phase.value} · {now.done} of {now.total}"
            found[live.run.set_id] = (label, ":material/pending:")
    return found


def _recorded() -> dict[str, tuple[str, str]]:
    """Return the newest benchmarks in the store: one of each tag is looked at."""
    runs = store().runs(RunFilter(owner=visitor(), kinds=(KIND,)), limit=LOOKED_AT)
    counts: dict[str, int] = {}
    newest = {}
    for summary in runs:
        if tag := next((tag for tag in summary.tags if tag.startswith(TAG)), ""):
            counts[tag] = counts.get(tag, 0) + 1
            newest.setdefault(tag, summary)
    found = {}
    for tag, summary in list(newest.items())[:LISTED]:
        with suppress(StoreError, VisionBenchError, KeyError):  # deleted meanwhile, or of another version
            run = store().run(summary.id, visitor())
            plan = Plan.from_json(run.parameters["plan"])
            total = len(plan.entries())
            done = counts[tag] >= total
            words = "done" if done else f"{counts[tag]} of {total}"
            icon = ":material/check_circle:" if done else ":material/incomplete_circle:"
            found[benchmark_of(run)] = (f"{_title(plan)} · {words} · {ago(run.time)}", icon)
    return found


def _title(plan: Plan) -> str:
    pictures = (
        picture_words(plan.pictures[0]) if len(plan.pictures) == 1 else f"{len(plan.pictures)} pictures"
    )
    return f"{_count(len(plan.models), 'model')} on {pictures}"
