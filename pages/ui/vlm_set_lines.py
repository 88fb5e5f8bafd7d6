"""The table of questions: what each model made of each, filtered, a page at a time, and as files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.vlm.safe import plain as readable
from core.vlm.setrun.results import Line, Row, Show, lines
from core.vlm.tasks import TASKS
from pages.ui.session import store, visitor
from pages.ui.text import milliseconds
from pages.ui.vlm_card import OUTCOMES, PAGE_PATH, cost_text
from pages.ui.vlm_set_data import NAME, said
from pages.ui.vlm_set_files import results_csv, results_json
from pages.ui.vlm_set_read import Read, score_words, stored
from pages.ui.vlm_state import Shown

PAGE_SIZE = 10
MOST_SHOWN = 600
"""Characters of an answer in the table; its run holds all of it."""
FILTERS = {"all": "All", "failures": "Failures", "different": "Where they differ"}
"""Values of `Show` to their words."""
EVERY = "All tasks"


def lines_view(found: Read) -> None:
    """Draw the filters, the lines that fit, and their downloads."""
    st.markdown("**Question by question**")
    shown = _filtered(found)
    if not shown:
        st.info("No question fits this filter.", icon=":material/filter_alt_off:")
        return
    _downloads(found, shown)
    pages = -(-len(shown) // PAGE_SIZE)
    page = 1
    if pages > 1:
        key = f"{NAME}_page_{pages}"
        page = int(st.number_input(f"Page of {pages}", 1, pages, 1, key=key, width=160))
    for line in shown[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]:
        _line(line)


def _filtered(found: Read) -> Sequence[Line]:
    tasks = list(dict.fromkeys(row.task for row in found.rows))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        show = st.segmented_control(
            "Show",
            list(FILTERS),
            default=None if f"{NAME}_show" in st.session_state else "all",
            required=True,
            format_func=FILTERS.__getitem__,
            key=f"{NAME}_show",
            persist_state="session",
        )
        task = EVERY
        if len(tasks) > 1:
            task = st.selectbox(
                "Task",
                [EVERY, *tasks],
                format_func=lambda name: TASKS[name].title if name in TASKS else name,
                key=f"{NAME}_show_task_{'_'.join(tasks)}",
                width=180,
            )
    every = lines(found.rows)
    some = [line for line in lines(found.rows, Show(str(show))) if task in (EVERY, line.task)]
    st.caption(f"{len(some):,} of {len(every):,} questions")
    return some


def _downloads(found: Read, shown: Sequence[Line]) -> None:
    with st.container(horizontal=True):
        for label, name, media_type, make in (
            ("These as CSV", "answers.csv", "text/csv", results_csv),
            ("These as JSON", "answers.json", "application/json", results_json),
        ):
            st.download_button(
                label,
                partial(make, shown, store(), visitor()),
                f"{found.key[0]}-{name}",
                media_type,
                icon=":material/download:",
                on_click="ignore",
                key=f"{NAME}_{name}",
            )


def _line(line: Line) -> None:
    """Draw one question: its picture and truth, then a cell for each model."""
    sink, owner = store(), visitor()
    cells = {model: (row, stored(row, sink, owner)) for model, row in line.cells.items()}
    first = next((one for _, one in cells.values() if one is not None), None)
    with st.container(border=True):
        columns = st.columns([2, *[3] * len(cells)], gap="medium")
        with columns[0]:
            _asked(line, first)
        for column, (model, (row, one)) in zip(columns[1:], cells.items(), strict=True):
            with column:
                _cell(model, row, one)


def _asked(line: Line, first: Shown | None) -> None:
    if first is not None and first.run.inputs:
        st.image(first.run.inputs[0].thumbnail, width=96)
    st.caption(f"**{said(line.item, 80)}** · {TASKS[line.task].title}")
    if first is None:
        return
    truth = ", ".join(str(one) for one in first.parameter("references") or ())
    prompt = str(first.parameter("prompt") or "")
    parts = [f"Asked: {said(prompt)}" if prompt else "", f"Truth: {said(truth)}" if truth else ""]
    st.caption("  \n".join(part for part in parts if part))


def _cell(model: str, row: Row, one: Shown | None) -> None:
    st.markdown(f"**{said(model, 80)}**")
    if one is None:
        st.caption("This run was deleted.")
        return
    if row.status == "ok":
        _answer(row, one)
    else:
        st.badge(_title(row), icon=":material/error:", color="red")
        if one.run.error_message:
            st.caption(said(one.run.error_message, 200))
    facts = [milliseconds(one.run.metric("total_ms")), f"cost {cost_text(one)}".replace("$", "\\$")]
    if one.is_loopback:
        facts.append("loopback server")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(" · ".join(facts), width="content")
        st.page_link(PAGE_PATH, label="open", icon=":material/open_in_new:", query_params={"run": one.run.id})


def _answer(row: Row, one: Shown) -> None:
    text = readable(one.text[:MOST_SHOWN]).strip()
    st.text(f"{text} …" if len(one.text) > MOST_SHOWN else text)
    if words := score_words(row):
        colour = {"Right": "green", "Wrong": "orange"}.get(words, "gray")
        st.badge(words, color=colour)


def _title(row: Row) -> str:
    if row.error_class == "InputError":
        return "The picture cannot be used"
    return OUTCOMES.get(row.error_class, (row.error_class, ""))[0]
