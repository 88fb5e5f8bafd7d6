"""Where two answers differ, word by word."""

from __future__ import annotations

from itertools import combinations

import streamlit as st

from core.vlm.difference import Piece, difference
from pages.ui.text import plain
from pages.ui.vlm_state import PAGE, Comparison, Turn

MOST_CHARACTERS = 20_000


def difference_view(comparison: Comparison) -> None:
    """Draw the differing words of two answers; of which two can be chosen where there are more."""
    answered = [turn for turn in comparison.turns if turn.is_ok]
    if len(answered) < 2:
        return
    pairs = list(combinations(range(len(answered)), 2))
    st.markdown("**Word by word**")
    pair = pairs[0]
    if len(pairs) > 1:
        pair = st.selectbox(
            "Compare the words of",
            pairs,
            format_func=lambda two: " and ".join(answered[i].model_id for i in two),
            key=f"{PAGE}_pair",
        )
    first, second = (answered[i] for i in pair)
    pieces = difference(_words(first), _words(second))
    if all(piece.kind == "same" for piece in pieces):
        st.caption("Both said the same words.")
        return
    st.markdown("".join(_marked(piece) for piece in pieces))
    st.caption(
        f":red-background[only {plain(first.model_id)}] · :green-background[only {plain(second.model_id)}]"
    )


def _words(turn: Turn) -> str:
    return turn.shown.text[:MOST_CHARACTERS] if turn.shown else ""


def _marked(piece: Piece) -> str:
    words = plain(piece.text.strip()).replace("\n", " ")
    colours = {"first": "red", "second": "green"}
    return f"{words} " if piece.kind == "same" else f":{colours[piece.kind]}-background[{words}] "
