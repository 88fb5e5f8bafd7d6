"""The quick answer: what people take for a task, without a look at any figure."""

from __future__ import annotations

import streamlit as st

from core.recommend.answer import Answer
from core.recommend.candidates import Facts
from core.recommend.entries import SPEEDS, TASKS
from pages.ui.recommend_state import PAGE
from pages.ui.recommend_view import SPEED_WORDS
from pages.ui.text import plain


def quick(answer: Answer, facts: Facts) -> None:
    """Draw the choices for the task at each speed; the one asked for is marked."""
    choices = [one for one in facts.catalog.choices if one.task == answer.request.task]
    if not choices:
        return
    asked = {one.speed for one in answer.quick}
    rows = ["| Speed | Model | Why |", "|---|---|---|"]
    for speed in SPEEDS:
        for one in choices:
            if one.speed == speed:
                mark = "**" if speed in asked else ""
                title = plain(facts.catalog.entries[one.model].title)
                rows.append(
                    f"| {mark}{plain(SPEED_WORDS[speed])}{mark} | {mark}{title}{mark} | {plain(one.why)} |"
                )
    with st.expander("Without any measurement", icon=":material/bolt:", key=f"{PAGE}_quick"):
        st.markdown("\n".join(rows))
        st.caption(
            f"What people usually take for {TASKS[answer.request.task].lower()}: a rule of thumb by task and "
            "speed, which looks at no figure."
        )
