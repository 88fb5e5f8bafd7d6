"""What of an attention result is shown, and how: widgets that run no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from core.charts.theme import COLOUR_MAPS
from core.explain.maps import Fusion, Head, Query
from pages.ui.text import milliseconds

if TYPE_CHECKING:
    from core.workflows import AttendResult

ATTENTION, ROLLOUT = "Attention", "Rollout"
CLS, PATCH = "CLS token", "Patch"
FUSIONS: dict[str, Fusion] = {"Mean": "mean", "Max": "max", "Min": "min"}


@dataclass(frozen=True)
class View:
    """What of a result is shown. Changing it runs no model."""

    method: Literal["attention", "rollout"]
    layer: int
    head: Head
    query: Query

    def to_json(self) -> dict[str, Any]:
        """Return it as the store keeps it."""
        query = self.query if self.query == "cls" else list(self.query)
        return {"method": self.method, "layer": self.layer, "head": self.head, "query": query}


@dataclass(frozen=True)
class Looks:
    """How it is drawn."""

    colour_map: str
    opacity: float
    smooth: bool
    mass: float | None
    """Share of the attention whose smallest set of patches is outlined; None for no outline."""


def view_controls(page: str, result: AttendResult) -> View:
    """Draw what of the result to show, and return it."""
    attention = result.attention
    _fit_widgets_to(page, result)
    method = st.segmented_control(
        "Show",
        [ATTENTION, ROLLOUT],
        default=ATTENTION,
        required=True,
        key=f"{page}_method",
        persist_state="session",
        help="Attention is one layer's own weights. Rollout multiplies the layers through to the picture, "
        "with an identity added for each residual connection.",
    )
    if method == ATTENTION:
        layer = st.slider(
            "Layer",
            0,
            attention.depth - 1,
            attention.depth - 1,
            key=f"{page}_layer",
            persist_state="session",
            help=f"Counted from 0, the first. {_layer_cost(result)}",
        )
        heads = [*FUSIONS, *(str(i) for i in range(attention.heads))]
        chosen = st.pills(
            "Head", heads, default="Mean", required=True, key=f"{page}_head", persist_state="session"
        )
        head: Head = FUSIONS[chosen] if chosen in FUSIONS else int(chosen)
    else:
        layer = attention.depth - 1
        chosen = st.pills(
            "Heads merged by",
            list(FUSIONS),
            default="Mean",
            required=True,
            key=f"{page}_fusion",
            persist_state="session",
        )
        head = FUSIONS[chosen]
    return View("rollout" if method == ROLLOUT else "attention", layer, head, _query_controls(page, result))


def _layer_cost(result: AttendResult) -> str:
    if result.attention.keeps_all_layers:
        return "All layers of this run are held; changing the layer runs nothing."
    again = milliseconds(result.model_ms)
    return f"This model's attention is too large to hold; each layer runs the model again, about {again}."


def _fit_widgets_to(page: str, result: AttendResult) -> None:
    """Bring widget values of an earlier model into the range of this one, before the widgets are drawn."""
    attention, asked = result.attention, st.session_state
    if asked.get(f"{page}_layer", 0) >= attention.depth:
        asked[f"{page}_layer"] = attention.depth - 1
    head = asked.get(f"{page}_head", "Mean")
    if head not in FUSIONS and int(head) >= attention.heads:
        asked[f"{page}_head"] = "Mean"
    for name, size in (("row", attention.grid[0]), ("column", attention.grid[1])):
        asked[f"{page}_{name}"] = min(int(asked.get(f"{page}_{name}", size // 2)), size - 1)
    if not attention.has_cls:
        asked[f"{page}_query"] = PATCH


def _query_controls(page: str, result: AttendResult) -> Query:
    attention = result.attention
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.segmented_control(
            "What attends",
            [CLS, PATCH] if attention.has_cls else [PATCH],
            default=CLS if attention.has_cls else PATCH,
            required=True,
            key=f"{page}_query",
            persist_state="session",
            help="Click the picture to choose a patch.",
        )
        if query == CLS:
            return "cls"
        rows, columns = attention.grid
        row = st.number_input("Row", 0, rows - 1, key=f"{page}_row", persist_state="session", width=110)
        column = st.number_input(
            "Column", 0, columns - 1, key=f"{page}_column", persist_state="session", width=110
        )
    return int(row), int(column)


def look_controls(page: str) -> Looks:
    """Draw how the map is drawn. None of this runs a model."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        opacity = st.slider(
            "Opacity", 0.0, 1.0, 0.6, 0.05, key=f"{page}_opacity", persist_state="session", width=220
        )
        colour_map = st.selectbox(
            "Colours", COLOUR_MAPS, key=f"{page}_colours", persist_state="session", width=140
        )
        smooth = st.toggle("Smooth", key=f"{page}_smooth", persist_state="session")
        outlined = st.toggle(
            "Outline the strongest patches",
            key=f"{page}_outlined",
            persist_state="session",
            help="Draws a line around the smallest set of patches that holds this share of the map.",
        )
        mass = None
        if outlined:
            percent = st.slider(
                "Share", 10, 95, 60, 5, format="%d %%", key=f"{page}_mass", persist_state="session", width=180
            )
            mass = percent / 100
    return Looks(colour_map, opacity, smooth, mass)
