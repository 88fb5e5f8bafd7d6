"""What each chart of the history hands over to be drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui.history_view import Point

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Shown:
    """A chart, and what belongs to it."""

    figure: go.Figure
    rows: list[dict[str, object]]
    """Its numbers as a table."""
    aim: Callable[[list[Any]], Point]
    """From what a clicked point tells to the runs behind it."""
    models: int = 0
    """How many models the numbers are of."""
    notes: tuple[str, ...] = ()
    """What to know when one reads it."""


def nothing(sentence: str) -> None:
    """Say why there is nothing to draw."""
    st.info(sentence, icon=":material/filter_alt_off:")
