"""How long it takes until a model has answered once: loading, and the first call. Numbers, then looks."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from core.charts.bench_shared import Measured, name_rows
from core.charts.history_shared import name_of
from core.charts.theme import CATEGORIES


class Start(NamedTuple):
    """One model's start, in ms."""

    label: str
    load_ms: float
    first_ms: float


def start_info(rows: Sequence[Measured]) -> list[Start]:
    """Take the starts of the rows that have one, the fastest first."""
    found = [
        Start(row.label, row.metrics["load_ms"], row.metrics["first_ms"])
        for row in rows
        if {"load_ms", "first_ms"} <= row.metrics.keys()
    ]
    return sorted(found, key=lambda one: one.load_ms + one.first_ms)


def start_figure(info: Sequence[Start]) -> go.Figure:
    """Draw a bar for each model: loading, then the first call."""
    figure = go.Figure()
    for name, title, colour in (
        ("load_ms", "loading", CATEGORIES[6]),
        ("first_ms", "first call", CATEGORIES[1]),
    ):
        figure.add_bar(
            x=[getattr(one, name) for one in info],
            y=list(range(len(info))),
            orientation="h",
            width=0.34,
            name=title,
            marker_color=colour,
            customdata=[name_of(one.label) for one in info],
            hovertemplate=f"{title} %{{x:,.4g}} ms<extra>%{{customdata}}</extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="until the first answer (ms)", rangemode="tozero")
    return name_rows(figure, [one.label for one in info])
