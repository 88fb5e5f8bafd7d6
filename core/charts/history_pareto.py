"""Quality against speed: which models does no other one beat in both? Numbers, then looks."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.history_shared import FAINT, Mark, framed, marks, name_of, scale, ticks

NORMAL_95 = 1.959964
MOST_NAMES = 14
"""Most points whose names stand beside them; of more, only the best have theirs."""


class Trade(Protocol):
    """How good and how fast one model is; `db`'s `TradePoint` has this shape."""

    @property
    def model_id(self) -> str: ...
    @property
    def quality(self) -> float: ...
    @property
    def quality_error(self) -> float | None: ...
    @property
    def quality_n(self) -> int: ...
    @property
    def speed(self) -> float: ...
    @property
    def speed_n(self) -> int: ...


class Spot(NamedTuple):
    """One model."""

    model_id: str
    speed: float
    speed_n: int
    quality: float
    half: float | None
    """Half the width of the interval that holds the mean in 95 of 100 cases; None for one run."""
    quality_n: int
    is_best: bool
    """Whether no other model is at least as good in both and better in one."""


class ParetoInfo(NamedTuple):
    """What the chart shows."""

    quality: str
    """Name of the quality, with its unit."""
    speed: str
    higher_is_better: bool
    spots: list[Spot]
    """Fastest first."""


def pareto_info(
    rows: Sequence[Trade], *, quality: str, speed: str = "median duration (ms)", higher_is_better: bool
) -> ParetoInfo:
    """Find the models that no other one beats; less speed, a time, is better."""
    sign = 1.0 if higher_is_better else -1.0
    ordered = sorted(rows, key=lambda row: (row.speed, -sign * row.quality, row.model_id))
    spots: list[Spot] = []
    best, best_speed = -math.inf, -math.inf
    for row in ordered:
        good = sign * row.quality
        is_best = good > best or (good == best and row.speed == best_speed)
        if good > best:
            best, best_speed = good, row.speed
        half = None if row.quality_error is None else NORMAL_95 * row.quality_error
        spots.append(Spot(row.model_id, row.speed, row.speed_n, row.quality, half, row.quality_n, is_best))
    return ParetoInfo(quality, speed, higher_is_better, spots)


def pareto_table(info: ParetoInfo) -> list[dict[str, object]]:
    """Return a row for each model."""
    return [
        {
            "model": spot.model_id,
            info.speed: spot.speed,
            "timed runs": spot.speed_n,
            info.quality: spot.quality,
            "± (95 %)": spot.half,
            "scored runs": spot.quality_n,
            "best trade-off": spot.is_best,
        }
        for spot in info.spots
    ]


def pareto_figure(info: ParetoInfo) -> go.Figure:
    """Draw a dot for each model, filled where no other one beats it, and a line through those."""
    figure = go.Figure()
    front = [spot for spot in info.spots if spot.is_best]
    if len(front) > 1:
        figure.add_scatter(
            x=[spot.speed for spot in front],
            y=[spot.quality for spot in front],
            mode="lines",
            line={"color": FAINT, "shape": "hv", "width": 2},
            name="no model beats these in both",
            hoverinfo="skip",
        )
    looks = marks([spot.model_id for spot in info.spots])
    middle = _middle(info)
    for spot in info.spots:
        side = "right" if spot.speed <= middle else "left"
        _add_spot(figure, spot, looks[spot.model_id], side, info)
    kind = scale([spot.speed for spot in info.spots])
    figure.update_xaxes(title=f"{name_of(info.speed)}, faster to the left", type=kind)
    if kind == "log":
        figure.update_xaxes(ticks([spot.speed for spot in info.spots]))
    better = "higher" if info.higher_is_better else "lower"
    figure.update_yaxes(title=f"mean {name_of(info.quality)}, {better} is better")
    return framed(figure, 420, showlegend=len(front) > 1)


def _middle(info: ParetoInfo) -> float:
    """Return the middle of the speed axis: names stand towards it."""
    speeds = [spot.speed for spot in info.spots]
    if scale(speeds) == "log":
        return math.sqrt(min(speeds) * max(speeds))
    return (min(speeds) + max(speeds)) / 2 if speeds else 0.0


def _add_spot(figure: go.Figure, spot: Spot, mark: Mark, side: str, info: ParetoInfo) -> None:
    name, colour, symbol = name_of(spot.model_id), mark.colour, mark.symbol
    around = "" if spot.half is None else f" ± {spot.half:.3g}"
    figure.add_scatter(
        x=[spot.speed],
        y=[spot.quality],
        error_y={"type": "data", "array": [spot.half or 0.0], "color": colour, "thickness": 1.2, "width": 3},
        mode="markers+text" if spot.is_best or len(info.spots) <= MOST_NAMES else "markers",
        text=[name.rsplit("/", 1)[-1]],
        textposition=f"top {side}",
        cliponaxis=False,
        marker={
            "symbol": symbol if spot.is_best else f"{symbol}-open",
            "size": 12,
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        name=name,
        showlegend=False,
        customdata=[[spot.model_id, spot.speed_n, spot.quality_n]],
        hovertemplate=f"{name_of(info.speed)} %{{x:,.2f}}, %{{customdata[1]:,}} runs"
        f"<br>mean {name_of(info.quality)} %{{y:.4g}}{around}, %{{customdata[2]:,}} runs"
        f"<extra>{name}</extra>",
    )
