"""Ratings of models by votes: a dot and its interval each, raw and length-controlled."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.theme import CATEGORIES

BETWEEN = 0.26
"""From one rating of a model to its other one, in lines."""
NAME_ABOVE = 0.42
"""From a model's line up to its name, so that a long name takes no width from the bars."""


class Interval(Protocol):
    """Points between two bounds."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Rated(Protocol):
    """One model's ratings; `core.vlm.ratings.Rating` has this shape."""

    @property
    def model_id(self) -> str: ...
    @property
    def rank(self) -> int: ...
    @property
    def raw(self) -> Interval: ...
    @property
    def length_controlled(self) -> Interval: ...
    @property
    def votes(self) -> int: ...


class RatingsRow(NamedTuple):
    """One kind of rating of all models, in the order of the raw one."""

    name: str
    labels: list[str]
    values: list[float]
    lows: list[float]
    highs: list[float]
    votes: list[int]


class RatingsInfo(NamedTuple):
    """What the chart shows."""

    rows: list[RatingsRow]


def ratings_info(models: Sequence[Rated]) -> RatingsInfo:
    """Return the raw and the length-controlled ratings of models, as they are ordered."""
    labels = [f"{model.rank}. {model.model_id}" for model in models]
    votes = [model.votes for model in models]
    kinds = {
        "votes as they are": [model.raw for model in models],
        "at equal length": [model.length_controlled for model in models],
    }
    return RatingsInfo(
        [
            RatingsRow(
                name, labels, [p.value for p in some], [p.low for p in some], [p.high for p in some], votes
            )
            for name, some in kinds.items()
        ]
    )


def ratings_figure(info: RatingsInfo) -> go.Figure:
    """Draw a line for each model under its name: dots with bars that hold the rating in 95 of 100 cases."""
    figure = go.Figure()
    for i, row in enumerate(info.rows):
        figure.add_scatter(
            x=row.values,
            y=[line + (i - 0.5) * BETWEEN for line in range(len(row.values))],
            mode="markers",
            marker={"color": CATEGORIES[i], "size": 9, "symbol": ("circle", "diamond")[i]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - value for high, value in zip(row.highs, row.values, strict=True)],
                "arrayminus": [value - low for low, value in zip(row.lows, row.values, strict=True)],
                "thickness": 1.5,
                "width": 4,
            },
            name=row.name,
            customdata=list(zip(row.lows, row.highs, row.votes, map(escape, row.labels), strict=True)),
            hovertemplate="%{customdata[3]}<br>%{x:.0f}, between %{customdata[0]:.0f} and "
            f"%{{customdata[1]:.0f}}, %{{customdata[2]}} votes<extra>{row.name}</extra>",
        )
    labels = info.rows[0].labels if info.rows else []
    for line, label in enumerate(labels):
        figure.add_annotation(
            text=escape(label),  # Plotly reads tags
            x=0,
            xref="paper",
            xanchor="left",
            y=line - NAME_ABOVE,
            showarrow=False,
        )
    figure.update_yaxes(
        range=[len(labels) - 0.5, -0.75], showticklabels=False, showgrid=False, zeroline=False
    )
    figure.update_layout(
        height=110 + 64 * len(labels),
        margin={"l": 8, "r": 8, "t": 8, "b": 0},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        xaxis={"title": "points"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure
