"""The blind vote: names hidden until it is given, and kept once."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.errors import VisionBenchError
from core.vlm.identity import names_its_maker
from core.vlm.votes import NAMED, Vote
from db.errors import StoreError
from pages.ui.errors import show_error
from pages.ui.session import store, visitor
from pages.ui.text import plain
from pages.ui.vlm_run import keep_together
from pages.ui.vlm_state import PAGE, SIDES, Comparison

CHOICES = {
    "first": ("Left is better", ":material/arrow_back:", "left"),
    "second": ("Right is better", ":material/arrow_forward:", "right"),
    "tie": ("Tie", ":material/equal:", "t"),
    "both_bad": ("Both bad", ":material/thumbs_up_down:", "b"),
}
"""Choice to the button's label, icon and key."""
SHOWN = "shown"
"""Instead of a choice: the names were shown without a vote."""
FAILED = f"{PAGE}_vote_failed"


def vote(comparison: Comparison) -> None:
    """Draw the four buttons; with an answer missing there is nothing to vote on."""
    if not all(turn.is_ok for turn in comparison.turns):
        st.info(
            "An answer is missing, so there is nothing to vote on. Ask it again, or look who it was.",
            icon=":material/how_to_vote:",
        )
        st.button("Show the names", key=f"{PAGE}_reveal", on_click=partial(_reveal, comparison))
        return
    st.markdown("**Which answer is better?**")
    with st.container(horizontal=True):
        for choice, (label, icon, key) in CHOICES.items():
            st.button(
                label,
                icon=icon,
                shortcut=key,
                key=f"{PAGE}_vote_{choice}",
                on_click=partial(_cast, comparison, choice),
            )
    st.caption("The names, times, costs and scores appear with your vote. It is kept once and stays.")
    if (error := st.session_state.pop(FAILED, None)) is not None:
        show_error(error)


def vote_result(comparison: Comparison) -> None:
    """Draw what was voted, and whether it counts."""
    if comparison.vote == SHOWN:
        return
    label = CHOICES[comparison.vote][0]
    if comparison.vote_note:
        st.warning(
            f"Your vote: {label}. It is set aside: {plain(comparison.vote_note)}", icon=":material/info:"
        )
    else:
        st.success(f"Your vote: {label}. It counts in the ratings.", icon=":material/how_to_vote:")


def _reveal(comparison: Comparison) -> None:
    comparison.vote = SHOWN
    keep_together(comparison)


def _cast(comparison: Comparison, choice: str) -> None:
    """Keep the vote, then show the names; a vote that could not be kept leaves the buttons."""
    if not comparison.hides_names:  # pressed twice before the page was drawn anew
        return
    first, second = (turn.shown for turn in comparison.turns)
    if first is None or second is None:
        return
    aside = _set_aside(comparison)
    given = Vote(
        owner=visitor(),
        first_run=first.run.id,
        second_run=second.run.id,
        first_model=first.run.model_id,
        second_model=second.run.model_id,
        task=comparison.put.task,
        choice=choice,
        blind=True,
        set_aside=aside,
        first_length=len(first.text.split()),
        second_length=len(second.text.split()),
        loopback=comparison.is_loopback,
    )
    try:
        store().vote(given, visitor())
    except (StoreError, VisionBenchError) as error:
        st.session_state[FAILED] = error
        return
    comparison.vote, comparison.vote_note = choice, aside or _loopback_note(comparison)
    keep_together(comparison)


def _set_aside(comparison: Comparison) -> str:
    """Return why a vote would not be blind; empty where it is."""
    for side, turn in zip(SIDES, comparison.turns, strict=True):
        if word := names_its_maker(turn.shown.text if turn.shown else "", turn.model_id):
            return f"the {side.lower()} answer {NAMED} ({word})"
    return ""


def _loopback_note(comparison: Comparison) -> str:
    return "an answer came from the loopback server" if comparison.is_loopback else ""
