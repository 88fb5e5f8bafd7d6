"""Accuracy against time, one symbol a model; a click on one shows its details."""

from __future__ import annotations

import streamlit as st

from core.charts.recommend_pareto import RecommendInfo, recommend_figure, recommend_info, recommend_table
from core.recommend.answer import Answer
from core.recommend.candidates import Facts
from pages.ui.history_numbers import numbers
from pages.ui.recommend_answer import deployment_words
from pages.ui.recommend_state import PAGE, bound, change
from pages.ui.recommend_view import RecommendView
from pages.ui.text import plain


def chart(answer: Answer, view: RecommendView, facts: Facts) -> None:
    """Draw the chart, what its axes are, and its numbers."""
    st.subheader("Accuracy and speed", anchor=False)
    if answer.axis is None:
        st.info(
            "Nobody published an accuracy for this task in the catalogue, so there is nothing to compare.\n\n"
            "**What to do:** Measure models of this task on pictures of known truth on the page Model "
            "benchmark.",
            icon=":material/rule:",
        )
        return
    info = recommend_info(answer)
    if not info.dots:
        _nothing(info, answer)
        return
    key = f"{PAGE}_chart"
    st.plotly_chart(
        recommend_figure(info, excluded=view.excluded, chosen=view.model),
        key=key,
        on_select=lambda: _clicked(key),
        selection_mode="points",
        config={"displaylogo": False, "displayModeBar": False},
        alt=f"{info.axis} against milliseconds for one picture of {len(info.dots)} models.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle("Show what does not fit", **bound("excluded", view.excluded))
        numbers("pareto", recommend_table(info), page=PAGE)
    st.caption(_statement(answer, info, facts))


def _nothing(info: RecommendInfo, answer: Answer) -> None:
    if not info.no_speed:
        st.info(
            f"No model of this task has a figure on {plain(info.axis)}.\n\n**What to do:** Choose another "
            "accuracy above.",
            icon=":material/rule:",
        )
        return
    advice = (
        "Calibrate below, or measure a model." if answer.device == "here" else "Choose another device above."
    )
    where = plain(answer.device_title) or "this deployment"
    st.info(
        f"Of {info.no_speed} models the accuracy is known, but no speed on {where}.\n\n"
        f"**What to do:** {advice}",
        icon=":material/speed:",
    )


def _clicked(key: str) -> None:
    points = st.session_state[key]["selection"]["points"]
    told = next((point["customdata"] for point in points if point.get("customdata")), None)
    if isinstance(told, list | tuple) and told and isinstance(told[0], str):  # it comes from the browser
        change(model=told[0][:300])


def _statement(answer: Answer, info: RecommendInfo, facts: Facts) -> str:
    """Return what the two axes are, and who is not drawn."""
    axis = answer.axis
    if axis is None:
        return ""
    source = facts.catalog.sources.get(axis.source)
    cited = f" ([{plain(source.title)}](<{source.url}>))" if source else ""
    parts = [
        f"**{plain(axis.title)}**: {plain(axis.protocol)}{cited}",
        f"**Time**: for one picture at batch {answer.request.batch}, {deployment_words(answer)}.",
        "Bars are intervals of 95 %, of the models on the line.",
        _not_drawn(info.no_accuracy, "without a figure on this axis"),
        _not_drawn(info.no_speed, "whose speed is not known"),
        "Click a symbol for its details.",
    ]
    return " ".join(part for part in parts if part)


def _not_drawn(count: int, why: str) -> str:
    if not count:
        return ""
    return f"1 model {why} is not drawn." if count == 1 else f"{count} models {why} are not drawn."
