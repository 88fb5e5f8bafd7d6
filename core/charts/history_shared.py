"""What the charts of the history have in common: names, marks of models, the time axis, the frame."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape
from typing import Any, NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.theme import model_colour
from core.vlm.safe import plain

SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
MOST_MODELS = 12
"""Most models that one chart draws; its table has all."""
LONGEST_NAME = 60
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
PATTERNS = ("", "/", "x", ".")
GREY = "#7F7F7F"
FAINT = "rgba(127,127,127,0.45)"
"""Of lines that show on white and on black."""
LEGEND_PX = 14
"""Height for each name in a legend, which is a column of names on a phone."""
LOG_FROM = 20.0
"""From this ratio of greatest to least on, an axis is logarithmic."""


class Counted(Protocol):
    """Something of a model that so many runs stand behind."""

    @property
    def model_id(self) -> str: ...
    @property
    def count(self) -> int: ...


class Mark(NamedTuple):
    """How a model looks; models of the same colour differ in the rest."""

    colour: str
    dash: str
    symbol: str
    pattern: str


def name_of(text: str) -> str:
    """Return a model's or an outcome's name for a chart: Plotly reads tags, and names come from strangers."""
    shown = plain(text)
    return escape(shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…")


def marks(models: Sequence[str]) -> dict[str, Mark]:
    """Return how each of some models looks, its colour the one it has everywhere."""
    found: dict[str, Mark] = {}
    for model in models:
        colour = model_colour(model)
        i = sum(mark.colour == colour for mark in found.values()) % len(DASHES)
        found[model] = Mark(colour, DASHES[i], SYMBOLS[i], PATTERNS[i])
    return found


def most_run(rows: Sequence[Counted]) -> list[str]:
    """Return the models of some rows, those with most runs first."""
    total: dict[str, int] = {}
    for row in rows:
        total[row.model_id] = total.get(row.model_id, 0) + row.count
    return sorted(total, key=lambda model: (-total[model], model))


def faint(colour: str, opacity: float) -> str:
    """Return a colour `#RRGGBB` that lets through what is behind it."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def shown_time(time: datetime, bucket: str, zone: tzinfo) -> datetime:
    """Return where a bucket stands on the axis: an hour in the viewer's zone, days and weeks in UTC."""
    return time.astimezone(zone if bucket == "hour" else UTC).replace(tzinfo=None)


def time_title(bucket: str, zone: tzinfo) -> str:
    """Return what the time axis says."""
    if bucket == "hour":
        return f"hour, time zone {zone}"
    return "day (UTC)" if bucket == "day" else "week from its Monday (UTC)"


def said_time(time: datetime, bucket: str, zone: tzinfo) -> str:
    """Return a bucket's begin for hover and tables."""
    local = shown_time(time, bucket, zone)
    return f"{local:%Y-%m-%d %H:%M}" if bucket == "hour" else f"{local:%Y-%m-%d}"


def bucket_target(model: str, time: datetime, bucket: str) -> list[str]:
    """Return what a clicked point tells: its model, and the first moment and the one after its last."""
    return [model, time.isoformat(), (time + SPANS[bucket]).isoformat()]


def frame_times(figure: go.Figure, times: Sequence[datetime], bucket: str, zone: tzinfo) -> None:
    """Let the time axis end one bucket beyond the first and the last of `times`, in the viewer's zone."""
    if times:
        ends = [shown_time(time, bucket, zone) for time in (min(times), max(times))]
        figure.update_xaxes(range=[ends[0] - SPANS[bucket], ends[1] + SPANS[bucket]])
    figure.update_xaxes(title=time_title(bucket, zone), type="date")


def scale(values: Sequence[float]) -> str:
    """Return `log` where values differ by orders of magnitude, else `linear`."""
    seen = [value for value in values if value > 0]
    spread = bool(seen) and len(seen) == len(values) and max(seen) / min(seen) >= LOG_FROM
    return "log" if spread else "linear"


def ticks(values: Sequence[float]) -> dict[str, Any]:
    """Return the ticks of a logarithmic axis: 1, 2 and 5 of each power of ten, written out."""
    seen = [value for value in values if value > 0]
    if not seen:
        return {}
    low, high = math.floor(math.log10(min(seen))), math.ceil(math.log10(max(seen)))
    steps = (1, 2, 5) if high - low <= 3 else (1,)
    at = [step * 10.0**power for power in range(low, high + 1) for step in steps]
    return {"tickvals": at, "ticktext": [f"{value:,.6g}" for value in at]}


def framed(figure: go.Figure, height: int, **more: Any) -> go.Figure:
    """Give a chart the frame that all have."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 20, "t": 28, "b": 8},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        hovermode="closest",
        clickmode="event+select",
        dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_layout(**more)
    return figure
