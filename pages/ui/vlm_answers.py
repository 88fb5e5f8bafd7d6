"""The answers side by side: while they come, and with their numbers once they are there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import VisionBenchError
from db.errors import StoreError
from pages.ui import state
from pages.ui.errors import show_error
from pages.ui.text import plain
from pages.ui.vlm_card import numbers, outcome, scores
from pages.ui.vlm_difference import difference_view
from pages.ui.vlm_files import downloads
from pages.ui.vlm_judge import judge_view
from pages.ui.vlm_run import ask_again, cancel, follow, keep_together
from pages.ui.vlm_state import PAGE, Comparison, Turn
from pages.ui.vlm_text import answer_text, format_toggle
from pages.ui.vlm_vote import vote, vote_result

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def answers(comparison: Comparison) -> None:
    """Draw all that became of a question."""
    _head(comparison)
    place = st.empty()
    if comparison.is_running:
        with place.container():
            _stream(comparison)
        place.empty()
        keep_together(comparison)
    with place.container():
        _all_of(comparison)


def _all_of(comparison: Comparison) -> None:
    if comparison.is_blind and comparison.vote:
        vote_result(comparison)
    for column, turn in zip(_columns(len(comparison.turns)), comparison.turns, strict=True):
        with column:
            _answer(comparison, turn)
    if comparison.hides_names:
        vote(comparison)
    else:
        difference_view(comparison)
        judge_view(comparison)
        downloads(comparison)


def _head(comparison: Comparison) -> None:
    st.subheader("Answers", anchor=False)
    if comparison.is_loopback or _asks_loopback(comparison):
        st.warning(
            "loopback server: these answers come from the test server on this machine, not from the models "
            "they are named after. They are marked, and never count in ratings or recommendations.",
            icon=":material/science:",
        )
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption(f"Asked: {plain(comparison.put.prompt)}", width="content")
        format_toggle()


def _asks_loopback(comparison: Comparison) -> bool:
    opened = state.VLM_PROVIDERS.get()
    return opened is not None and comparison.is_running and opened.is_loopback(comparison.models)


def _columns(n: int) -> Sequence[DeltaGenerator]:
    return st.columns(n, gap="medium", border=True)


def _stream(comparison: Comparison) -> None:
    """Draw the answers as they come, until all are there."""
    st.button(
        "Cancel",
        icon=":material/cancel:",
        shortcut="Escape",
        key=f"{PAGE}_cancel",
        on_click=partial(cancel, comparison),
    )
    places: dict[int, tuple[DeltaGenerator, DeltaGenerator]] = {}
    drawn: dict[int, str] = {}
    for column, turn in zip(_columns(len(comparison.turns)), comparison.turns, strict=True):
        with column:
            st.markdown(f"**{plain(comparison.name(turn))}**")
            places[id(turn)] = st.empty(), st.empty()

    def draw(turn: Turn, elapsed_s: float) -> None:
        text_place, clock = places[id(turn)]
        text = turn.text
        if text and text != drawn.get(id(turn)):
            drawn[id(turn)] = text
            answer_text(text_place, text)
        if turn.is_running:
            clock.caption(f":material/pending: {elapsed_s:.1f} s")
        else:
            clock.caption(":material/done: ended")

    follow(comparison, draw)


def _answer(comparison: Comparison, turn: Turn) -> None:
    st.markdown(f"**{plain(comparison.name(turn))}**")
    if turn.error is not None:
        if turn.text:  # it came, and could not be stored
            answer_text(st.empty(), turn.text)
        _not_asked(turn.error)
    elif turn.shown is not None:
        if turn.shown.text:
            answer_text(st.empty(), turn.shown.text)
        outcome(turn.shown)
        if not comparison.hides_names:
            scores(turn.shown)
            numbers(turn.shown)
    if not turn.is_ok and comparison.image is not None and not comparison.vote:
        _again_button(comparison, turn)


def _not_asked(error: BaseException) -> None:
    if not isinstance(error, VisionBenchError | StoreError):
        raise error  # a bug
    show_error(error)


def _again_button(comparison: Comparison, turn: Turn) -> None:
    st.button(
        "Ask again",
        icon=":material/refresh:",
        key=f"{PAGE}_again_{comparison.turns.index(turn)}",
        on_click=partial(ask_again, comparison, turn),
        help="Asks this model alone; the other answers stay.",
    )
