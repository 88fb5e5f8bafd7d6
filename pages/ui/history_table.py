"""The list of runs: ordered, a page at a time; and what can be done with those that are selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from core.vlm.safe import plain as readable
from db.records import RunFilter, RunSummary
from pages.ui.errors import page_errors
from pages.ui.history_actions import actions
from pages.ui.history_state import PAGE, change, current, zone
from pages.ui.history_view import SORTS, HistoryView, Point
from pages.ui.history_words import outcome_words
from pages.ui.runs import COLUMNS, runs_frame
from pages.ui.session import store, visitor
from pages.ui.text import local_time, milliseconds, plain

PAGE_SIZE = 50
ORDERS = {
    ("time", True): "Newest first",
    ("time", False): "Oldest first",
    ("duration", True): "Slowest first",
    ("duration", False): "Fastest first",
    **{(name, False): f"By {name}" for name in SORTS if name not in ("time", "duration")},
    **{(name, True): f"By {name}, backwards" for name in SORTS if name not in ("time", "duration")},
}


def point_line(view: HistoryView, total: int) -> None:
    """Say which point of the chart the list is about, with a button that lets go of it."""
    if not view.point:
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"{PAGE}_point"):
        st.markdown(
            f":material/ads_click: **{total:,} run{'' if total == 1 else 's'} behind the clicked point**: "
            f"{_said(view.point, view)}",
            width="content",
        )
        st.button("Show all", icon=":material/close:", key=f"{PAGE}_all", on_click=_let_go)


def _let_go() -> None:
    change(point=Point())


def _said(point: Point, view: HistoryView) -> str:
    place = zone(view)
    parts = [plain(point.model)] if point.model else []
    parts += [plain(outcome_words(point.outcome).lower())] if point.outcome else []
    if point.since and point.until:
        parts.append(f"{local_time(point.since, place)} to {local_time(point.until, place)}")
    if point.low is not None and point.high is not None:
        parts.append(f"{milliseconds(point.low)} to {milliseconds(point.high)}")
    return ", ".join(parts)


@st.fragment
def runs_list(view: HistoryView, where: RunFilter, total: int) -> None:
    """Draw one page of the list and what can be done with its selected runs."""
    now = current()
    if now.run != view.run or now.compare != view.compare:
        st.rerun()
    with page_errors():
        _listed(view, where, total)


def _listed(view: HistoryView, where: RunFilter, total: int) -> None:
    now = current()
    view = replace(view, sort=now.sort, down=now.down, page=now.page)
    page = _page(view, total)
    runs = store().runs(
        where,
        limit=PAGE_SIZE,
        offset=(page - 1) * PAGE_SIZE,
        order_by=view.sort,
        descending=view.down,
    )
    actions(view, _table(view, runs, page))


def _page(view: HistoryView, total: int) -> int:
    """Draw the order and the pages, and return the page."""
    pages = max(1, -(-total // PAGE_SIZE))
    page = min(view.page, pages)
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"{PAGE}_order"):
        key = f"{PAGE}_ordered"
        st.session_state[key] = (view.sort, view.down) if (view.sort, view.down) in ORDERS else ("time", True)
        st.selectbox(
            "Order",
            list(ORDERS),
            format_func=ORDERS.__getitem__,
            key=key,
            on_change=lambda: change(sort=st.session_state[key][0], down=st.session_state[key][1]),
            width=200,
        )
        if pages > 1:
            turned = f"{PAGE}_page_{page}"  # a new one for each page, so that it always shows the address's
            st.pagination(
                pages,
                default=page,
                key=turned,
                on_change=lambda: change(page=st.session_state[turned]),
            )
    return page


def _table(view: HistoryView, runs: Sequence[RunSummary], page: int) -> list[RunSummary]:
    thumbnails = store().thumbnails([run.picture_sha256 for run in runs if run.picture_sha256], visitor())
    frame = runs_frame(runs, thumbnails, zone(view))
    frame.insert(4, "outcome", [outcome_words(_outcome(run)) for run in runs])
    for name in ("kind", "model", "device", "note"):
        frame[name] = [readable(value) for value in frame[name]]
    hidden = ["status"] if thumbnails else ["status", "picture"]
    event = st.dataframe(
        frame.drop(columns=hidden),
        column_config=COLUMNS | {"outcome": st.column_config.TextColumn("Outcome")},
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        row_height=44,
        height=min(38 + 44 * max(len(runs), 1), 520),
        key=f"{PAGE}_table_{_frame_key(view, page)}",
        alt="List of runs",
    )
    return [runs[i] for i in event.selection.rows if i < len(runs)]


def _outcome(run: RunSummary) -> str:
    return run.status if run.status in ("ok", "running") else run.error_class or run.status


def _frame_key(view: HistoryView, page: int) -> str:
    """Return what a selection of rows belongs to: with other rows there it would mean other runs."""
    shown = replace(view, page=page, run="", compare=(), chart="latency", name="", value="", per="", lower="")
    return f"{hash(shown) & 0xFFFFFFFFFFFF:x}"
