"""What a benchmark came to: table, charts, failures, and what it ran on."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.bench.scorers import WHAT
from core.charts.bench_latency import latency_figure, latency_info
from core.charts.bench_memory import memory_figure, memory_info
from core.charts.bench_stages import stages_figure, stages_info
from core.charts.bench_start import start_figure, start_info
from core.charts.bench_throughput import throughput_figure, throughput_info
from core.charts.bench_tradeoff import measures, tradeoff_figure, tradeoff_info
from pages.ui.bench_environment import environment
from pages.ui.bench_files import downloads
from pages.ui.bench_limits import PATH
from pages.ui.bench_read import Bench
from pages.ui.bench_table import results_table, run_address
from pages.ui.bench_words import NOISES, measure_words
from pages.ui.vlm_set_data import said

QUIET = {"displaylogo": False}
MOST_FAILED, MOST_NAMED = 50, 6
CALLS, PARTS, START, BATCHES, ACCURACY, MEMORY = (
    "Latency",
    "Stages",
    "Load and first call",
    "Throughput",
    "Accuracy and speed",
    "Memory",
)


def results(bench: Bench, key: str, *, is_over: bool, has_answers: bool = False) -> None:
    """Draw all results, or those so far.

    Args:
        has_answers: Whether the page shows the models' answers elsewhere.
    """
    if bench.measured:
        st.subheader("Results" if is_over else "Results so far", anchor=False)
        noise_note(bench)
        results_table(bench, key)
        charts(bench, key)
        if not has_answers:
            answers(bench)
    failures(bench)
    if bench.rows:
        environment(bench)
        footer(bench, key)
    elif is_over:
        st.info("No model was measured.", icon=":material/hourglass_empty:")


def noise_note(bench: Bench) -> None:
    """Draw how far the times of each model differ among themselves."""
    found: dict[str, list[str]] = {}
    for row in bench.measured:
        found.setdefault(str(row.run.parameters.get("noise")), []).append(row.label)
    named = len(bench.measured) <= MOST_NAMED
    parts = [
        f"{NOISES[name]} {said(', '.join(found[name]), 400) if named else len(found[name])}"
        for name in NOISES
        if name in found
    ]
    cold = [row.label for row in bench.measured if row.run.parameters.get("warm") is False]
    if cold:
        parts.append(f":orange-badge[:material/ac_unit: not settled] {said(', '.join(cold), 240)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("  \n".join(parts) if named else " · ".join(parts))
    if found.keys() & NOISES.keys() - {"calm"}:
        st.caption(
            "Noisy: the middle half of the calls is wider than 10 % of the median (very noisy: 25 %). "
            "Something else was at work on this machine; differences within that are none."
        )


def charts(bench: Bench, key: str) -> None:
    """Draw the chart that is chosen."""
    drawers: dict[str, Callable[[Bench, str], None]] = {CALLS: _latency, PARTS: _stages, START: _start}
    rows = bench.measured
    if any(len(one.sizes) > 1 for one in throughput_info(rows)):
        drawers[BATCHES] = _throughput
    if measures(rows):
        drawers[ACCURACY] = _accuracy
    drawers[MEMORY] = _memory
    chosen = st.segmented_control(
        "Chart",
        list(drawers),
        default=CALLS,
        required=True,
        key=f"{key}_chart_{len(drawers)}",
        label_visibility="collapsed",
    )
    drawers[str(chosen)](bench, key)


def _latency(bench: Bench, key: str) -> None:
    st.plotly_chart(latency_figure(latency_info(bench.measured)), key=f"{key}_latency", config=QUIET)


def _stages(bench: Bench, key: str) -> None:
    st.plotly_chart(stages_figure(stages_info(bench.measured)), key=f"{key}_stages", config=QUIET)


def _start(bench: Bench, key: str) -> None:
    st.plotly_chart(start_figure(start_info(bench.measured)), key=f"{key}_start", config=QUIET)


def _throughput(bench: Bench, key: str) -> None:
    st.plotly_chart(throughput_figure(throughput_info(bench.measured)), key=f"{key}_throughput", config=QUIET)


def _memory(bench: Bench, key: str) -> None:
    st.plotly_chart(memory_figure(memory_info(bench.measured)), key=f"{key}_memory", config=QUIET)
    st.caption(
        "Each model is measured in a process of its own; its peak counts from the start of the process."
    )


def _accuracy(bench: Bench, key: str) -> None:
    found = measures(bench.measured)
    chosen = found[0]
    if len(found) > 1:
        chosen = str(
            st.selectbox("Measure", found, format_func=measure_words, key=f"{key}_measure_{'_'.join(found)}")
        )
    info = tradeoff_info(bench.measured, chosen)
    st.plotly_chart(tradeoff_figure(info, measure_words(chosen)), key=f"{key}_accuracy", config=QUIET)
    st.caption(f"{measure_words(chosen)}: {WHAT.get(chosen, '')}. Bars are intervals of 95 %.")
    lines = [
        f"| {said(place.label, 80)} | {place.score.value:.3f} | {_ends(place.score)} | {place.n:,} |"
        for place in info.places
    ]
    st.markdown("\n".join([f"| Model | {measure_words(chosen)} | 95 % | n |", "|---|---|---|---|", *lines]))


def _ends(one: object) -> str:
    from core.charts.bench_shared import Estimate, ends

    assert isinstance(one, Estimate)
    return ends(one, digits=".3f")


def answers(bench: Bench) -> None:
    """Draw what each model made of the picture, where it is one."""
    rows = [row for row in bench.measured if row.answers]
    if not rows or len(bench.plan.pictures) != 1:
        return
    st.markdown("**What each model made of it**")
    lines = [
        f"- :gray[{said(row.label, 80)}]  \n  {_answer(next(iter(row.answers.values())))}" for row in rows
    ]
    st.markdown("\n".join(lines))


def _answer(text: str) -> str:
    return said(text, 300) or "It answered nothing."


def failures(bench: Bench) -> None:
    """Draw the models that could not be measured, and the pictures that some models did not take."""
    if bench.failed:
        st.subheader("Could not be measured", anchor=False)
        for row in bench.failed[:MOST_FAILED]:
            message = said(row.run.error_message, 400)
            st.markdown(
                f":material/error: **{said(row.label, 120)}** · {said(row.run.error_class, 80)}: {message} "
                f"[open the run]({run_address(row.run.id)})"
            )
    notes = [(row.label, str(note)) for row in bench.rows for note in row.run.parameters.get("notes", ())]
    for row in bench.measured:
        notes += [
            (row.label, f"{name[:16]}: {kind}: {message}")
            for name, kind, message in row.run.parameters.get("failures", ())
        ]
    if notes:
        with st.expander(f"Notes ({len(notes)})"):
            st.markdown(
                "\n".join(f"- **{said(label, 120)}**: {said(note, 400)}" for label, note in notes[:200])
            )


def footer(bench: Bench, key: str) -> None:
    """Draw downloads, and the link that opens the benchmark again."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        downloads(bench, key)
        st.caption(f"saved as benchmark `{bench.id[:12]}`, one run for each model", width="content")
        st.page_link(
            PATH,
            label="link to this benchmark",
            icon=":material/link:",
            query_params={"benchmark": bench.id},
        )
