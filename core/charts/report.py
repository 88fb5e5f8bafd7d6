"""Charts of a report, each as numbers first: intervals, divided bars, bars and lines over time.

`core.report.drawing` draws the same numbers for paper.
"""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from core.charts.theme import CATEGORIES

GREY = "#9AA5AB"


class IntervalRow(NamedTuple):
    """A value with its interval, and more marks on its line."""

    label: str
    value: float
    low: float | None
    high: float | None
    marks: tuple[float, ...]
    """Of other percentiles, in order."""
    note: str
    """What the pointer shows."""
    grey: bool
    colour: str


class IntervalsInfo(NamedTuple):
    """Values beside each other on one axis."""

    rows: list[IntervalRow]
    axis: str
    log: bool
    percent: bool


class Part(NamedTuple):
    """One class of what bars are divided into."""

    title: str
    values: list[float]
    colour: str


class BarsInfo(NamedTuple):
    """One divided bar for each label, or for each span of time."""

    labels: list[str]
    parts: list[Part]
    axis: str
    times: list[datetime] | None = None
    """Begins of the spans, in the report's time zone; the bars stand upright then."""


class Line(NamedTuple):
    """One line over time; spans without a value are left out."""

    title: str
    places: list[int]
    """Numbers of the spans."""
    values: list[float]
    counts: list[int]
    colour: str


class LinesInfo(NamedTuple):
    """Values over time, on a logarithmic axis."""

    times: list[datetime]
    lines: list[Line]
    axis: str


ChartInfo = IntervalsInfo | BarsInfo | LinesInfo


def colour_at(place: int) -> str:
    """Return the colour of the first, second … of a chart's parts."""
    return CATEGORIES[place % len(CATEGORIES)]


def report_figure(info: ChartInfo) -> go.Figure:
    """Draw a chart of a report."""
    if isinstance(info, IntervalsInfo):
        return intervals_figure(info)
    return bars_figure(info) if isinstance(info, BarsInfo) else lines_figure(info)


def intervals_figure(info: IntervalsInfo) -> go.Figure:
    """Draw a dot with its whiskers for each row, and small marks for the other percentiles."""
    rows = info.rows
    colours = [GREY if row.grey else row.colour for row in rows]
    places = list(range(len(rows)))
    figure = go.Figure()
    for row, place, colour in zip(rows, places, colours, strict=True):
        if row.low is not None and row.high is not None:
            ends = {"x": [row.low, row.high], "y": [place, place]}
            figure.add_scatter(**ends, mode="lines", line={"color": colour, "width": 4}, hoverinfo="skip")
    marks = [(mark, place) for row, place in zip(rows, places, strict=True) for mark in row.marks]
    figure.add_scatter(
        x=[mark for mark, _ in marks],
        y=[place for _, place in marks],
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 9, "color": [colours[place] for _, place in marks]},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[row.value for row in rows],
        y=places,
        mode="markers",
        marker={"size": 10, "color": colours, "line": {"width": 1, "color": "white"}},
        hovertext=[f"{_safe(row.label)}<br>{_safe(row.note)}" for row in rows],
        hoverinfo="text",
    )
    figure.update_xaxes(title=info.axis, type="log" if info.log else "linear")
    if info.percent:
        figure.update_xaxes(tickformat=".0%", range=[-0.02, 1.02])
    figure.update_yaxes(
        tickvals=places, ticktext=[_safe(row.label) for row in rows], autorange="reversed", automargin=True
    )
    return _framed(figure, 90 + 30 * len(rows), legend=False)


def bars_figure(info: BarsInfo) -> go.Figure:
    """Draw divided bars: lying, or over time."""
    figure = go.Figure()
    labels = [_safe(label) for label in info.labels]
    for part in info.parts:
        more = {"name": _safe(part.title), "marker_color": part.colour}
        if info.times is None:
            figure.add_bar(x=part.values, y=list(range(len(labels))), orientation="h", **more)
        else:
            figure.add_bar(x=_local(info.times), y=part.values, **more)
    figure.update_layout(barmode="stack")
    if info.times is None:
        figure.update_xaxes(title=info.axis)
        ticks = {"tickvals": list(range(len(labels))), "ticktext": labels}
        figure.update_yaxes(**ticks, autorange="reversed", automargin=True)
        return _framed(figure, 110 + 30 * len(labels), legend=len(info.parts) > 1)
    figure.update_yaxes(title=info.axis, rangemode="tozero")
    return _framed(figure, 300, legend=len(info.parts) > 1)


def lines_figure(info: LinesInfo) -> go.Figure:
    """Draw lines over time on a logarithmic axis."""
    figure = go.Figure()
    times = _local(info.times)
    for line in info.lines:
        figure.add_scatter(
            x=[times[place] for place in line.places],
            y=line.values,
            name=_safe(line.title),
            mode="lines+markers",
            line={"color": line.colour},
            customdata=line.counts,
            hovertemplate="%{y:.4g} ms, n = %{customdata}<br>%{x}<extra></extra>",
        )
    figure.update_yaxes(title=info.axis, type="log")
    return _framed(figure, 320, legend=True)


def _local(times: Sequence[datetime]) -> list[str]:
    """Return times as Plotly wants them: by the clock on the wall."""
    return [time.replace(tzinfo=None).isoformat(sep=" ") for time in times]


def _safe(text: str) -> str:
    """Return a text that Plotly shows as it is: it would take tags for what they say."""
    return escape(text, quote=False)


def _framed(figure: go.Figure, height: int, *, legend: bool) -> go.Figure:
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 60, "r": 12, "t": 8, "b": 48},
        legend={"orientation": "h", "y": -0.25, "traceorder": "normal"},
        showlegend=legend,
        hovermode="closest",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_xaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)
    return figure
