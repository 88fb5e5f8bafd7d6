"""What runs cost over time, by model. Numbers, then looks."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.history_shared import (
    GREY,
    LEGEND_PX,
    MOST_MODELS,
    SPANS,
    Mark,
    bucket_target,
    frame_times,
    framed,
    marks,
    name_of,
    said_time,
    shown_time,
)

OTHERS = "other models"


class Cost(Protocol):
    """What one model's runs cost in one bucket; `db`'s `CostPoint` has this shape."""

    @property
    def time(self) -> datetime: ...
    @property
    def model_id(self) -> str: ...
    @property
    def usd(self) -> float: ...
    @property
    def priced(self) -> int: ...


class Bars(NamedTuple):
    """One model's bars, or those of all that have none of their own."""

    model_id: str
    """Empty for the others."""
    times: list[datetime]
    usd: list[float]
    priced: list[int]


class CostInfo(NamedTuple):
    """What the chart shows."""

    bucket: str
    zone: tzinfo
    total_usd: float
    priced: int
    """Runs whose cost is known."""
    bars: list[Bars]
    """Those that cost most first; the others, where there are any, last."""
    rows: list[Cost]


def cost_info(rows: Sequence[Cost], bucket: str, zone: tzinfo) -> CostInfo:
    """Sum costs by model, the cheapest of many together."""
    total: dict[str, float] = {}
    for row in rows:
        total[row.model_id] = total.get(row.model_id, 0.0) + row.usd
    order = sorted(total, key=lambda model: (-total[model], model))
    own = order if len(order) <= MOST_MODELS else order[: MOST_MODELS - 1]
    bars = [_bars(model, [row for row in rows if row.model_id == model]) for model in own]
    if len(order) > len(own):
        bars.append(_bars("", [row for row in rows if row.model_id not in own]))
    return CostInfo(bucket, zone, sum(total.values()), sum(row.priced for row in rows), bars, list(rows))


def _bars(model: str, rows: Sequence[Cost]) -> Bars:
    times = sorted({row.time for row in rows})
    at = {time: [row for row in rows if row.time == time] for time in times}
    return Bars(
        model,
        times,
        [sum(row.usd for row in at[time]) for time in times],
        [sum(row.priced for row in at[time]) for time in times],
    )


def cost_table(info: CostInfo) -> list[dict[str, object]]:
    """Return a row for each model and bucket."""
    return [
        {
            "time": said_time(row.time, info.bucket, info.zone),
            "model": row.model_id,
            "cost (USD)": row.usd,
            "runs with a known price": row.priced,
        }
        for row in info.rows
    ]


def cost_figure(info: CostInfo) -> go.Figure:
    """Draw a bar for each bucket, divided by model."""
    looks = marks([one.model_id for one in info.bars if one.model_id])
    figure = go.Figure(
        [_trace(one, info, looks.get(one.model_id, Mark(GREY, "solid", "circle", ""))) for one in info.bars]
    )
    figure.update_yaxes(title="cost (USD)", rangemode="tozero", tickprefix="$")
    frame_times(figure, [row.time for row in info.rows], info.bucket, info.zone)
    return framed(figure, 300 + LEGEND_PX * len(info.bars), barmode="stack", showlegend=True)


def _trace(one: Bars, info: CostInfo, mark: Mark) -> go.Bar:
    name = name_of(one.model_id) if one.model_id else OTHERS
    return go.Bar(
        x=[shown_time(time, info.bucket, info.zone) for time in one.times],
        y=one.usd,
        width=SPANS[info.bucket] / timedelta(milliseconds=1) * 0.8,
        offset=0,
        name=name,
        marker={"color": mark.colour, "pattern": {"shape": mark.pattern}},
        customdata=[
            [*bucket_target(one.model_id, time, info.bucket), said_time(time, info.bucket, info.zone), n]
            for time, n in zip(one.times, one.priced, strict=True)
        ],
        hovertemplate="%{customdata[3]}<br>$%{y:,.5f} for %{customdata[4]:,} runs"
        f"<extra>{name}</extra>",
    )
