"""How long a call takes: the percentiles of each model with their intervals. Numbers, then looks."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from core.bench.statistics import NEEDED
from core.charts.bench_shared import Estimate, Measured, arms, ends, estimate, name_rows
from core.charts.history_shared import GREY, name_of, scale, ticks
from core.charts.theme import model_colour

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
SYMBOLS = {"p50": "circle", "p90": "square", "p99": "diamond"}
PLACES = {"p50": -0.06, "p90": 0.12, "p99": 0.30}
"""Below the middle of a row, in rows."""


class Percentile(NamedTuple):
    """One percentile of one model's calls, in ms."""

    name: str
    found: Estimate
    n: int
    missing: int
    """How many more samples it needs before it can be relied on."""


class Line(NamedTuple):
    """One model's percentiles."""

    label: str
    model_id: str
    percentiles: list[Percentile]


def latency_info(rows: Sequence[Measured]) -> list[Line]:
    """Take the percentiles of each row that has some, the fastest first."""
    lines = [Line(row.label, row.model_id, percentiles(row)) for row in rows]
    return sorted(
        (line for line in lines if line.percentiles), key=lambda line: line.percentiles[0].found.value
    )


def percentiles(row: Measured) -> list[Percentile]:
    """Return the percentiles of a row."""
    n = int(row.metrics.get("samples", 0))
    return [
        Percentile(name, found, n, max(0, NEEDED[share] - n))
        for name, share in SHARES.items()
        if (found := estimate(row.metrics, f"{name}_ms")) is not None
    ]


def latency_figure(info: Sequence[Line]) -> go.Figure:
    """Draw each percentile as a mark with its interval; grey and hollow where it has too few samples."""
    figure = go.Figure()
    for name, symbol in SYMBOLS.items():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 9, "color": GREY},
            hoverinfo="skip",
        )
    for row, line in enumerate(info):
        for one in line.percentiles:
            _add(figure, line, one, row)
    values = [
        value
        for line in info
        for one in line.percentiles
        for value in (one.found.low or one.found.value, one.found.high or one.found.value)
    ]
    kind = scale(values)
    figure.update_xaxes(title="time of a call (ms)", type=kind)
    figure.update_xaxes(ticks(values) if kind == "log" else {"rangemode": "tozero"})
    return name_rows(figure, [line.label for line in info])


def _add(figure: go.Figure, line: Line, one: Percentile, row: int) -> None:
    relied = one.missing == 0
    colour = model_colour(line.model_id) if relied else GREY
    more = "" if relied else f"<br>{one.missing:,} more needed"
    figure.add_scatter(
        x=[one.found.value],
        y=[row + PLACES[one.name]],
        mode="markers",
        error_x=arms([one.found], colour),
        marker={"symbol": SYMBOLS[one.name] + ("" if relied else "-open"), "size": 9, "color": colour},
        showlegend=False,
        hovertemplate=f"{one.name} %{{x:,.4g}} ms<br>95 %: {ends(one.found, 'ms')}<br>"
        f"{one.n:,} samples{more}<extra>{name_of(line.label)}</extra>",
    )
