"""What a data-set run came to: the numbers of each model, how they are distributed, who is better."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.charts.vlm_set import (
    latencies_figure,
    latencies_info,
    outcomes_figure,
    outcomes_info,
    scores_figure,
    scores_info,
)
from core.enough import ENOUGH
from core.vlm.setrun.results import Summary
from core.vlm.tasks import TASKS
from db.records import RunRecord
from pages.ui.text import MISSING, milliseconds
from pages.ui.vlm_card import OUTCOMES
from pages.ui.vlm_set_cider import cider_view
from pages.ui.vlm_set_data import NAME, said
from pages.ui.vlm_set_lines import lines_view
from pages.ui.vlm_set_read import Read, metric_title, read
from pages.ui.vlm_set_words import money

TITLES = {name: title for name, (title, _) in OUTCOMES.items()} | {"InputError": "The picture cannot be used"}
"""Class of outcome to its words."""
GREY = "color: #8A8F93"


def results(run: RunRecord, *, is_over: bool) -> None:
    """Draw all results, or those so far."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Results" if is_over else "Results so far", anchor=False, width="content")
        if not is_over:
            st.button("Look again", icon=":material/refresh:", type="tertiary", key=f"{NAME}_look_again")
    found = read(run)
    if not found.rows:
        st.info(
            "No call is done yet; what they come to appears here." if not is_over else "No answer to show.",
            icon=":material/hourglass_empty:",
        )
        return
    if found.is_loopback:
        loopback_note()
    _numbers(found)
    _charts(found)
    lines_view(found)


def loopback_note() -> None:
    """Say plainly that a test server answers."""
    st.warning(
        "loopback server: the remote models' answers come from the test server on this machine, not from the "
        "models they are named after. They are marked, and never count in ratings or recommendations.",
        icon=":material/science:",
    )


def _numbers(found: Read) -> None:
    frame = pd.DataFrame([_row(summary) for summary in found.summaries])
    st.dataframe(
        frame.style.map(lambda value: GREY if str(value).startswith(MISSING) else ""),
        hide_index=True,
        alt="Score, reliability, cost and times of each model at each task",
        key=f"{NAME}_numbers",
        column_config={"Model": st.column_config.TextColumn(pinned=True)},
    )
    cider_view(found)


def _row(summary: Summary) -> dict[str, str]:
    score = summary.mean_score
    title = metric_title(summary.metric)
    right = MISSING if summary.right is None else f"{summary.right} of {len(summary.scores)}"
    return {
        "Model": summary.model_id,
        "Task": TASKS[summary.task].title,
        "Answered": f"{summary.outcomes.get('ok', 0)} of {summary.calls}",
        "Score": MISSING if score is None else f"{title} {score:.3f}",
        "Right": right,
        "Cost": money(summary.cost_usd, MISSING),
        "Per right answer": money(summary.usd_per_right, MISSING),
        **{name: _percentile(summary, percent) for name, percent in PERCENTILES.items()},
    }


PERCENTILES = {"Median time": 50, "90 % within": 90, "99 % within": 99}


def _percentile(summary: Summary, percent: int) -> str:
    """Return a percentile of the times of answers, or how many answers it still needs."""
    value = summary.latency_ms(percent)
    if value is None:
        return f"{MISSING} ({ENOUGH[percent] - len(summary.latencies_ms)} more)"
    return milliseconds(value)


def _better(found: Read, task: str) -> None:
    """Draw the sentence about each pair of models at a task."""
    pairs = [pair for pair in found.differences if pair.task == task]
    if not pairs:
        return
    st.markdown("**Who is better**")
    for pair in pairs:
        n, text = pair.comparison.n, said(pair.sentence, 400)
        both = f":gray[On {n} question{'s' if n != 1 else ''} that both answered.]"
        if pair.comparison.is_told:
            st.markdown(f":material/check: **{text}** {both}")
        else:
            two = f"{said(pair.first)} against {said(pair.second)}"
            st.markdown(f":material/hourglass_empty: {two}: {text} {both}")


def _charts(found: Read) -> None:
    st.markdown("**How the calls ended**")
    st.plotly_chart(
        outcomes_figure(outcomes_info(found.summaries, TITLES)), key=f"{NAME}_outcomes", config=QUIET
    )
    tasks = list(dict.fromkeys(summary.task for summary in found.summaries))
    task = tasks[0]
    if len(tasks) > 1:
        task = str(
            st.segmented_control(
                "Task by task",
                tasks,
                default=task,
                required=True,
                format_func=lambda name: TASKS[name].title,
                key=f"{NAME}_chart_task_{'_'.join(tasks)}",
            )
        )
    _better(found, task)
    chosen = [summary for summary in found.summaries if summary.task == task]
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Scores**")
        _scores(chosen)
    with right:
        st.markdown("**Times of the answers**")
        latencies = latencies_info(chosen)
        if latencies.models:
            st.plotly_chart(latencies_figure(latencies), key=f"{NAME}_latencies", config=QUIET)
        else:
            st.caption("No answer came.")


QUIET = {"displaylogo": False}


def _scores(chosen: Sequence[Summary]) -> None:
    info = scores_info(chosen)
    if not info.models:
        st.caption("No answer has a score: nothing is known to be right, or none came.")
        return
    title = metric_title(chosen[0].metric)
    lower = ", 0 is best" if chosen[0].task == "ocr" else ""
    st.plotly_chart(scores_figure(info, f"{title}{lower}"), key=f"{NAME}_scores", config=QUIET)
