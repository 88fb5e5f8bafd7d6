"""How the durations of models are distributed: one typical time each, or two humps? Numbers, then looks."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.history_shared import MOST_MODELS, faint, framed, marks, name_of, ticks

ROW_PX = 86
HUMP = 0.48
"""Height of the tallest bin, in rows."""
NAME_ABOVE = 0.64
"""From a model's line up to its name, so that a long name takes no width from the distribution."""


class ModelSpread(Protocol):
    """How one model's durations are distributed; `db`'s record of the same name has this shape."""

    @property
    def model_id(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def min_ms(self) -> float: ...
    @property
    def p10_ms(self) -> float: ...
    @property
    def p25_ms(self) -> float: ...
    @property
    def median_ms(self) -> float: ...
    @property
    def p75_ms(self) -> float: ...
    @property
    def p90_ms(self) -> float: ...
    @property
    def p99_ms(self) -> float: ...
    @property
    def max_ms(self) -> float: ...
    @property
    def bins(self) -> Sequence[int]: ...


class SpreadInfo(NamedTuple):
    """What the chart shows."""

    edges_ms: list[float]
    models: list[ModelSpread]
    """Those with most runs first; all of them."""


QUANTILES = (
    ("least", "min_ms"),
    ("10 % within", "p10_ms"),
    ("25 % within", "p25_ms"),
    ("median", "median_ms"),
    ("75 % within", "p75_ms"),
    ("90 % within", "p90_ms"),
    ("99 % within", "p99_ms"),
    ("greatest", "max_ms"),
)


def spread_info(edges_ms: Sequence[float], models: Sequence[ModelSpread]) -> SpreadInfo:
    """Take the distributions as they are.

    Args:
        edges_ms: Of the bins that all models share, one more than there are bins.
    """
    return SpreadInfo(list(edges_ms), sorted(models, key=lambda one: (-one.count, one.model_id)))


def spread_table(info: SpreadInfo) -> list[dict[str, object]]:
    """Return a row for each model."""
    return [
        {
            "model": one.model_id,
            "runs": one.count,
            **{f"{title} (ms)": getattr(one, field) for title, field in QUANTILES},
        }
        for one in info.models
    ]


def spread_figure(info: SpreadInfo) -> go.Figure:
    """Draw a line for each model: its runs by duration as a hill, and under it its quantiles as a bar."""
    figure, drawn = go.Figure(), info.models[:MOST_MODELS]
    looks = marks([one.model_id for one in drawn])
    for row, one in enumerate(drawn):
        _add_hill(figure, info.edges_ms, one, row, looks[one.model_id].colour)
        _add_quantiles(figure, one, row, looks[one.model_id].colour)
        figure.add_annotation(
            text=f"{name_of(one.model_id)} · {one.count:,} runs",
            x=0,
            xref="paper",
            xanchor="left",
            y=row - NAME_ABOVE,
            yanchor="middle",
            showarrow=False,
        )
    figure.update_yaxes(range=[len(drawn) - 0.6, -0.9], showticklabels=False, showgrid=False, zeroline=False)
    figure.update_xaxes(title="duration (ms)", type="log")
    figure.update_xaxes(ticks([value for one in drawn for value in (one.min_ms or one.p10_ms, one.max_ms)]))
    return framed(figure, 70 + ROW_PX * len(drawn), showlegend=False)


def _add_hill(figure: go.Figure, edges: Sequence[float], one: ModelSpread, row: int, colour: str) -> None:
    """Add the bins as steps, and an unseen target over each that holds runs."""
    tallest = max([*one.bins, 1])
    used = [i for i, n in enumerate(one.bins) if n]
    if not used:
        return
    inside = range(used[0], used[-1] + 1)
    x = [edge for i in inside for edge in (edges[i], edges[i + 1])]
    y = [row - HUMP * one.bins[i] / tallest for i in inside for _ in range(2)]
    figure.add_scatter(
        x=[x[0], *x, x[-1]],
        y=[row, *y, row],
        mode="lines",
        line={"color": colour, "width": 1},
        fill="toself",
        fillcolor=faint(colour, 0.25),
        hoverinfo="skip",
    )
    unseen = {"marker": {"opacity": 0}}
    figure.add_scatter(
        x=[(edges[i] * edges[i + 1]) ** 0.5 for i in used],
        y=[row - HUMP * one.bins[i] / tallest / 2 for i in used],
        mode="markers",
        marker={"size": 14, "opacity": 0, "symbol": "square", "color": colour},
        selected=unseen,
        unselected=unseen,
        customdata=[[one.model_id, edges[i], edges[i + 1], one.bins[i]] for i in used],
        hovertemplate="%{customdata[3]:,} runs took %{customdata[1]:,.2f} to %{customdata[2]:,.2f} ms"
        f"<extra>{name_of(one.model_id)}</extra>",
    )


def _add_quantiles(figure: go.Figure, one: ModelSpread, row: int, colour: str) -> None:
    below = row + 0.1
    for ends, width in (((one.p10_ms, one.p90_ms), 2), ((one.p25_ms, one.p75_ms), 7)):
        figure.add_scatter(
            x=list(ends),
            y=[below] * 2,
            mode="lines",
            line={"color": colour, "width": width},
            hoverinfo="skip",
        )
    said = "<br>".join(f"{title} {getattr(one, field):,.2f} ms" for title, field in QUANTILES)
    figure.add_scatter(
        x=[one.median_ms, one.p99_ms],
        y=[below] * 2,
        mode="markers",
        marker={
            "color": ["white", colour],
            "size": [9, 8],
            "symbol": ["circle", "line-ns"],
            "line": {"color": colour, "width": 2},
        },
        customdata=[[one.model_id]] * 2,
        hovertemplate=f"{said}<extra>{name_of(one.model_id)}</extra>",
    )
