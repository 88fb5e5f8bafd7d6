"""How often a model is right against how fast it is: one measure at a time. Numbers, then looks."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from core.charts.bench_shared import Estimate, Measured, arms, ends, estimate, looks
from core.charts.history_shared import GREY, framed, name_of, scale, ticks


class Place(NamedTuple):
    """One model's accuracy and speed."""

    label: str
    model_id: str
    p50_ms: Estimate
    score: Estimate
    """0-1."""
    n: int
    """Pictures behind the score."""


class TradeoffInfo(NamedTuple):
    """The models that one measure was taken of."""

    measure: str
    places: list[Place]
    chance: float | None
    """What guessing would score; None where it is not known, or differs."""


def measures(rows: Sequence[Measured]) -> list[str]:
    """Return the measures of accuracy that some row has, in order."""
    return list(
        dict.fromkeys(
            name.removesuffix("_n")
            for row in rows
            for name in row.metrics
            if name.endswith("_n") and name.removesuffix("_n") in row.metrics
        )
    )


def tradeoff_info(rows: Sequence[Measured], measure: str) -> TradeoffInfo:
    """Take speed and one measure of the rows that have both."""
    places, chances = [], set()
    for row in rows:
        speed, score = estimate(row.metrics, "p50_ms"), estimate(row.metrics, measure)
        if speed is not None and score is not None:
            n = int(row.metrics[f"{measure}_n"])
            places.append(Place(row.label, row.model_id, speed, score, n))
            chances.add(row.metrics.get(f"{measure}_chance"))
    return TradeoffInfo(measure, places, chances.pop() if len(chances) == 1 else None)


def tradeoff_figure(info: TradeoffInfo, title: str) -> go.Figure:
    """Draw a point for each model with both intervals; what guessing would score as a line.

    Args:
        title: Of the measure.
    """
    figure = go.Figure()
    rows = [(place.label, place.model_id) for place in info.places]
    for place, look in zip(info.places, looks(rows), strict=True):
        name, colour = name_of(place.label), look.colour
        figure.add_scatter(
            x=[place.p50_ms.value],
            y=[place.score.value],
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": look.symbol, "size": 11},
            error_x=arms([place.p50_ms], colour),
            error_y=arms([place.score], colour),
            hovertemplate=f"%{{y:.3f}} ({ends(place.score)}; n = {place.n:,})<br>"
            f"p50 %{{x:,.4g}} ms ({ends(place.p50_ms, 'ms')})<extra>{name}</extra>",
        )
    if info.chance is not None:
        figure.add_hline(
            y=info.chance,
            line={"dash": "dot", "color": GREY, "width": 1},
            annotation_text="chance",
            annotation_font_color=GREY,
        )
    speeds = [place.p50_ms.value for place in info.places]
    kind = scale(speeds)
    figure.update_xaxes(title="time of a call, p50 (ms)", type=kind)
    figure.update_xaxes(ticks(speeds) if kind == "log" else {"rangemode": "tozero"})
    figure.update_yaxes(title=title, range=[-0.03, 1.05])
    return framed(figure, 340 + 14 * len(info.places), showlegend=True)
