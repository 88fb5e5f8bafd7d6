"""Runs and their latency over time, by model: numbers first, then looks."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.theme import model_colour


class CountRow(Protocol):
    """Runs of one model in one span of time."""

    @property
    def time(self) -> datetime: ...
    @property
    def model_id(self) -> str: ...
    @property
    def count(self) -> int: ...


class LatencyRow(Protocol):
    """Durations of one model's successful runs in one span of time."""

    @property
    def time(self) -> datetime: ...
    @property
    def model_id(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def median_ms(self) -> float: ...
    @property
    def p90_ms(self) -> float: ...


class Series(NamedTuple):
    """One model's line or bars."""

    model_id: str
    times: list[datetime]
    values: list[float]
    upper: list[float]
    """90th percentile, for a band; empty for counts."""
    n: list[int]


SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


class HistoryInfo(NamedTuple):
    """What a chart over time shows."""

    series: list[Series]
    span: str
    """`hour` or `day`: the width of one point."""


def activity_info(rows: Sequence[CountRow], span: str) -> HistoryInfo:
    """Group run counts by model, models in order of their total."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.model_id] = totals.get(row.model_id, 0) + row.count
    series = [
        Series(
            model,
            [r.time for r in rows if r.model_id == model],
            [float(r.count) for r in rows if r.model_id == model],
            [],
            [r.count for r in rows if r.model_id == model],
        )
        for model in sorted(totals, key=lambda m: (-totals[m], m))
    ]
    return HistoryInfo(series, span)


def latency_info(rows: Sequence[LatencyRow], span: str) -> HistoryInfo:
    """Group latencies by model, models in alphabetical order."""
    series = [
        Series(
            model,
            [r.time for r in rows if r.model_id == model],
            [r.median_ms for r in rows if r.model_id == model],
            [r.p90_ms for r in rows if r.model_id == model],
            [r.count for r in rows if r.model_id == model],
        )
        for model in sorted({r.model_id for r in rows})
    ]
    return HistoryInfo(series, span)


def activity_figure(info: HistoryInfo) -> go.Figure:
    """Draw stacked bars of runs over time."""
    figure = go.Figure(
        [
            go.Bar(
                x=s.times,
                y=s.values,
                width=SPANS[info.span] / timedelta(milliseconds=1) * 0.8,
                name=s.model_id,
                marker_color=model_colour(s.model_id),
                hovertemplate=f"%{{y}} runs<br>%{{x}}<extra>{s.model_id}</extra>",
            )
            for s in info.series
        ]
    )
    figure.update_layout(barmode="stack", yaxis_title=f"runs per {info.span}", yaxis_rangemode="tozero")
    return _framed(figure, info)


def latency_figure(info: HistoryInfo) -> go.Figure:
    """Draw the median duration over time on a log axis, with a whisker up to the 90th percentile."""
    figure = go.Figure(
        [
            go.Scatter(
                x=s.times,
                y=s.values,
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [high - mid for high, mid in zip(s.upper, s.values, strict=True)],
                    "arrayminus": [0.0] * len(s.values),
                    "thickness": 1,
                    "width": 3,
                },
                name=s.model_id,
                mode="lines+markers",
                marker_color=model_colour(s.model_id),
                customdata=[[n, high] for n, high in zip(s.n, s.upper, strict=True)],
                hovertemplate="median %{y:.1f} ms, p90 %{customdata[1]:.1f} ms, n = %{customdata[0]}"
                f"<br>%{{x}}<extra>{s.model_id}</extra>",
            )
            for s in info.series
        ]
    )
    figure.update_layout(yaxis_title="duration (ms)", yaxis_type="log")
    figure.update_yaxes(dtick=1 if _decades(info) > 1 else None)
    return _framed(figure, info)


def _decades(info: HistoryInfo) -> float:
    values = [value for s in info.series for value in (*s.values, *s.upper) if value > 0]
    return math.log10(max(values) / min(values)) if values else 0.0


def _framed(figure: go.Figure, info: HistoryInfo) -> go.Figure:
    """Give the charts one frame; the time axis ends one span beyond the first and the last point."""
    times = [time for s in info.series for time in s.times]
    if times:
        figure.update_xaxes(range=[min(times) - SPANS[info.span], max(times) + SPANS[info.span]])
    figure.update_layout(
        height=300,
        margin={"l": 0, "r": 0, "t": 8, "b": 0},
        legend={"orientation": "h", "y": -0.2},
        showlegend=True,
        hovermode="closest",
    )
    return figure
