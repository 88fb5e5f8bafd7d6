"""Latency over time, by model: has it become slower, and what changed when it did? Numbers, then looks."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.history_shared import (
    FAINT,
    GREY,
    LEGEND_PX,
    MOST_MODELS,
    SPANS,
    Mark,
    bucket_target,
    faint,
    frame_times,
    framed,
    marks,
    most_run,
    name_of,
    said_time,
    scale,
    shown_time,
    ticks,
)

MOST_BANDS = 6
"""Most models whose bands are drawn: more would hide each other."""
MOST_SIGNS = 12
"""Most changes that are marked; the table of changes has all."""


class Point(Protocol):
    """Durations of one model's successful runs in one bucket; `db`'s `LatencyPoint` has this shape."""

    @property
    def time(self) -> datetime: ...
    @property
    def model_id(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def median_ms(self) -> float: ...
    @property
    def p25_ms(self) -> float: ...
    @property
    def p75_ms(self) -> float: ...
    @property
    def p90_ms(self) -> float: ...


class Break(Protocol):
    """Where a model's runs are no longer comparable with those before; `db`'s `Break` has this shape."""

    @property
    def time(self) -> datetime: ...
    @property
    def model_id(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def before(self) -> str: ...
    @property
    def after(self) -> str: ...


class Series(NamedTuple):
    """One model's line; None is where it is cut by a change."""

    model_id: str
    points: list[Point | None]


class Sign(NamedTuple):
    """A change, for all the models that it befell within one bucket."""

    time: datetime
    what: str
    before: str
    after: str
    models: list[str]


class LatencyInfo(NamedTuple):
    """What the chart shows."""

    bucket: str
    zone: tzinfo
    series: list[Series]
    """Models with most runs first; all of them."""
    signs: list[Sign]
    """In order of time; all of them."""


def latency_info(points: Sequence[Point], breaks: Sequence[Break], bucket: str, zone: tzinfo) -> LatencyInfo:
    """Make a line of each model's points, cut where its runs changed, and put equal changes together.

    Args:
        points: In order of time.
        breaks: In order of time.
        bucket: `hour`, `day` or `week`: the width of a point.
        zone: The viewer's.
    """
    series = [
        Series(
            model,
            _cut(
                [point for point in points if point.model_id == model],
                [one.time for one in breaks if one.model_id == model],
                SPANS[bucket],
            ),
        )
        for model in most_run(points)
    ]
    return LatencyInfo(bucket, zone, series, _signs(breaks, SPANS[bucket]))


def _cut(points: Sequence[Point], changes: Sequence[datetime], width: timedelta) -> list[Point | None]:
    """Put None before the first point that holds runs from after a change."""
    found: list[Point | None] = []
    for point in points:
        end = point.time + width
        before = found[-1] if found else None
        if before is not None and any(before.time + width <= change < end for change in changes):
            found.append(None)
        found.append(point)
    return found


def _signs(breaks: Sequence[Break], width: timedelta) -> list[Sign]:
    found: list[Sign] = []
    for one in breaks:
        same = (
            sign
            for sign in reversed(found)
            if (sign.what, sign.before, sign.after) == (one.what, one.before, one.after)
        )
        sign = next(same, None)
        if sign is not None and one.time - sign.time <= width:
            if one.model_id not in sign.models:
                sign.models.append(one.model_id)
        else:
            found.append(Sign(one.time, one.what, one.before, one.after, [one.model_id]))
    return found


def shown_signs(info: LatencyInfo) -> list[Sign]:
    """Return the changes that are marked: the newest of the models that are drawn."""
    drawn = {one.model_id for one in info.series[:MOST_MODELS]}
    return [sign for sign in info.signs if drawn.intersection(sign.models)][-MOST_SIGNS:]


def latency_table(info: LatencyInfo) -> list[dict[str, object]]:
    """Return a row for each point."""
    return [
        {
            "time": said_time(point.time, info.bucket, info.zone),
            "model": one.model_id,
            "runs": point.count,
            "25 % within (ms)": point.p25_ms,
            "median (ms)": point.median_ms,
            "75 % within (ms)": point.p75_ms,
            "90 % within (ms)": point.p90_ms,
        }
        for one in info.series
        for point in one.points
        if point is not None
    ]


def changes_table(info: LatencyInfo) -> list[dict[str, object]]:
    """Return a row for each change."""
    return [
        {
            "time": said_time(sign.time, "hour", info.zone),
            "changed": sign.what,
            "before": sign.before,
            "after": sign.after,
            "models": ", ".join(sign.models),
        }
        for sign in info.signs
    ]


def latency_figure(info: LatencyInfo) -> go.Figure:
    """Draw each model's median, the middle half of its runs as a band, and a line where something changed."""
    figure, drawn = go.Figure(), info.series[:MOST_MODELS]
    looks = marks([one.model_id for one in drawn])
    for one in drawn:
        if len(drawn) <= MOST_BANDS:
            _add_band(figure, one, info, looks[one.model_id])
    for one in drawn:
        _add_line(figure, one, info, looks[one.model_id])
    _add_signs(figure, info)
    points = [point for one in drawn for point in one.points if point is not None]
    ends = [value for point in points for value in (point.p25_ms or point.median_ms, point.p75_ms)]
    kind = scale(ends)
    figure.update_yaxes(title="duration (ms)", type=kind)
    figure.update_yaxes(ticks(ends) if kind == "log" else {"rangemode": "tozero"})
    frame_times(figure, [point.time for point in points], info.bucket, info.zone)
    return framed(figure, 320 + LEGEND_PX * len(drawn), showlegend=True)


def _add_band(figure: go.Figure, one: Series, info: LatencyInfo, mark: Mark) -> None:
    """Add the band piece by piece: a filled outline may not have gaps."""
    piece: list[Point] = []
    for point in [*one.points, None]:
        if point is not None:
            piece.append(point)
            continue
        times = [shown_time(p.time, info.bucket, info.zone) for p in piece]
        figure.add_scatter(
            x=times + times[::-1],
            y=[p.p75_ms for p in piece] + [p.p25_ms for p in reversed(piece)],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=faint(mark.colour, 0.2),
            hoverinfo="skip",
            showlegend=False,
            legendgroup=one.model_id,
        )
        piece = []


def _add_line(figure: go.Figure, one: Series, info: LatencyInfo, mark: Mark) -> None:
    name = name_of(one.model_id)
    figure.add_scatter(
        x=[p and shown_time(p.time, info.bucket, info.zone) for p in one.points],
        y=[p and p.median_ms for p in one.points],
        mode="lines+markers",
        connectgaps=False,
        line={"color": mark.colour, "dash": mark.dash, "width": 2},
        marker={"symbol": mark.symbol, "size": 7},
        name=name,
        legendgroup=one.model_id,
        customdata=[
            p
            and [
                *bucket_target(one.model_id, p.time, info.bucket),
                said_time(p.time, info.bucket, info.zone),
                p.count,
                p.p25_ms,
                p.p75_ms,
                p.p90_ms,
            ]
            for p in one.points
        ],
        hovertemplate="%{customdata[3]}<br>median %{y:,.1f} ms of %{customdata[4]:,} runs"
        "<br>middle half %{customdata[5]:,.1f} to %{customdata[6]:,.1f} ms"
        f"<br>90 % within %{{customdata[7]:,.1f}} ms<extra>{name}</extra>",
    )


def _add_signs(figure: go.Figure, info: LatencyInfo) -> None:
    line, before = 0, None
    for number, sign in enumerate(shown_signs(info), 1):
        at = shown_time(sign.time, "hour" if info.bucket == "hour" else "day", info.zone)
        line = line + 1 if before is not None and at - before < 2 * SPANS[info.bucket] else 0
        before = at
        figure.add_shape(
            type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line={"color": FAINT, "dash": "dash"}
        )
        figure.add_annotation(
            x=at,
            y=1 - 0.08 * line,
            yref="paper",
            yanchor="top",
            text=f"<b>{number}</b>",
            showarrow=False,
            bgcolor=faint(GREY, 0.3),
            borderpad=2,
            hovertext=f"{sign.what}: {name_of(sign.before)} → {name_of(sign.after)}",
        )
