"""How alike two pictures are, beside pairs of pictures that have nothing to do with each other."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from core.charts.theme import CATEGORIES


class AlikeRow(NamedTuple):
    """One measure of similarity."""

    name: str
    value: float
    others: tuple[float, ...]
    """The same measure of unrelated pairs."""


def alike_info(values: Mapping[str, float | None], others: Mapping[str, Sequence[float]]) -> list[AlikeRow]:
    """Return the measures that are defined, in their order."""
    return [
        AlikeRow(name, value, tuple(others.get(name, ())))
        for name, value in values.items()
        if value is not None
    ]


def alike_figure(rows: Sequence[AlikeRow]) -> go.Figure:
    """Return one line for each measure: grey dots are unrelated pairs, the diamond is this one."""
    figure = go.Figure()
    for row in rows:
        figure.add_scatter(
            x=list(row.others),
            y=[row.name] * len(row.others),
            mode="markers",
            marker={"color": "rgba(127,127,127,0.45)", "size": 7},
            name="unrelated pairs",
            showlegend=row is rows[0],
            hovertemplate="unrelated pair %{x:.3f}<extra></extra>",
        )
    figure.add_scatter(
        x=[row.value for row in rows],
        y=[row.name for row in rows],
        mode="markers",
        marker={"color": CATEGORIES[1], "size": 13, "symbol": "diamond"},
        name="these two",
        hovertemplate="these two %{x:.3f}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(
        height=90 + 50 * len(rows),
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": -0.25},
        xaxis={"title": "similarity"},
    )
    return figure
