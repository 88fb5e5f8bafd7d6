"""What the charts of a benchmark have in common: their rows, and how a row is written and drawn."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.history_shared import DASHES, framed, name_of
from core.charts.theme import model_colour

ROW_PX, FRAME_PX = 58, 74
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "circle-open", "square-open")
NAME_ABOVE = 0.36
"""How far above the middle of its row a name stands, in rows."""


class Measured(Protocol):
    """One model with options, as it was measured."""

    @property
    def label(self) -> str: ...
    @property
    def model_id(self) -> str: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


class Estimate(NamedTuple):
    """A number with the ends of its interval of 95 %; None where nothing bounds it."""

    value: float
    low: float | None
    high: float | None


class Look(NamedTuple):
    """How a row looks in a chart of lines or points."""

    colour: str
    """Its model's, the same everywhere."""
    dash: str
    symbol: str


def looks(rows: Sequence[tuple[str, str]]) -> list[Look]:
    """Return how rows (label, model id) look; those of the same colour differ in the rest."""
    colours = [model_colour(model_id) for _, model_id in rows]
    before = [colours[:at].count(colour) for at, colour in enumerate(colours)]
    return [
        Look(colour, DASHES[n % len(DASHES)], SYMBOLS[n % len(SYMBOLS)])
        for colour, n in zip(colours, before, strict=True)
    ]


def estimate(metrics: Mapping[str, float], name: str) -> Estimate | None:
    """Return a metric and its ends; None where it was not measured."""
    if name not in metrics:
        return None
    return Estimate(metrics[name], metrics.get(f"{name}_low"), metrics.get(f"{name}_high"))


def arms(found: Sequence[Estimate], colour: str = "") -> dict[str, object]:
    """Return the error bars of some estimates; an open end has no bar."""
    bars: dict[str, object] = {
        "type": "data",
        "symmetric": False,
        "array": [0 if one.high is None else one.high - one.value for one in found],
        "arrayminus": [0 if one.low is None else one.value - one.low for one in found],
        "thickness": 1.5,
        "width": 4,
    }
    return bars | ({"color": colour} if colour else {})


def ends(one: Estimate, unit: str = "", digits: str = ",.4g") -> str:
    """Return an interval in words: `12 to 15 ms`."""
    low = "?" if one.low is None else f"{one.low:{digits}}"
    high = "?" if one.high is None else f"{one.high:{digits}}"
    return f"{low} to {high} {unit}".strip()


def name_rows(figure: go.Figure, labels: Sequence[str]) -> go.Figure:
    """Write each row's name above it, where it has room on a telephone too, and frame the chart."""
    for row, label in enumerate(labels):
        figure.add_annotation(
            text=name_of(label),
            x=0,
            xref="paper",
            xanchor="left",
            y=row - NAME_ABOVE,
            yanchor="middle",
            showarrow=False,
        )
    figure.update_yaxes(
        range=[len(labels) - 0.5, -0.65], showticklabels=False, showgrid=False, zeroline=False
    )
    return framed(figure, FRAME_PX + ROW_PX * len(labels), showlegend=True, hovermode="closest")
