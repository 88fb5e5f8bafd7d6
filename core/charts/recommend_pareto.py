"""Accuracy against time of a task's models, those that fit and those that do not. Numbers, then looks."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from core.charts.history_shared import framed, name_of, ticks
from core.charts.theme import CATEGORIES
from core.recommend.answer import Answer
from core.recommend.candidates import Candidate
from core.recommend.figures import MARKS, Figure

SYMBOLS = {"measured": "circle", "published": "square", "estimated": "diamond-open"}
MARK_WORDS = {
    "measured": "speed measured here",
    "published": "speed published",
    "estimated": "speed estimated",
}
FITS, FAINT, LIMIT = CATEGORIES[0], "rgba(127,127,127,0.55)", CATEGORIES[1]
ARM = "rgba(0,114,178,0.5)"
NAME_HIGH, NAME_WIDE = 0.055, 0.45
"""By which share of the chart's height or width two names must be apart."""
LONGEST = 20
"""Characters of a name beside its symbol; hovering shows all."""
LEFT, RIGHT = 0.34, 0.06
"""Which share of its length the time axis goes on beyond its points: names need room at the left."""


class Dot(NamedTuple):
    """One model."""

    model_id: str
    title: str
    ms: float
    """For one picture."""
    ms_low: float
    ms_high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    speed_mark: str
    accuracy_mark: str
    place: int | None
    """From 1 among those that fit; None where it does not."""
    is_front: bool
    note: str
    """Why it fits, or why not."""


class RecommendInfo(NamedTuple):
    """What the chart shows."""

    axis: str
    """Title of the accuracy; empty where the task has none."""
    unit: str
    higher_is_better: bool
    dots: list[Dot]
    """The fastest first."""
    limit_ms: float | None
    """Most time for one picture."""
    least: float | None
    """Least accuracy; on an axis where lower is better, the most."""
    no_accuracy: int
    """Models that are not drawn, because they have no figure on this axis."""
    no_speed: int
    """Others that are not drawn, because nobody knows their speed."""


def recommend_info(answer: Answer) -> RecommendInfo:
    """Take time for one picture and accuracy of every model that has both."""
    rows: list[tuple[Candidate, int | None, str]] = []
    rows += [(one.candidate, at, one.why) for at, one in enumerate(answer.recommended, 1)]
    rows += [(one.candidate, None, one.sentence) for one in answer.excluded]
    dots, no_accuracy, no_speed = [], 0, 0
    for candidate, place, note in rows:
        if candidate.accuracy is None:
            no_accuracy += 1
        elif candidate.latency is None:
            no_speed += 1
        else:
            on_front = candidate.entry.id in answer.front
            dots.append(_dot(candidate, candidate.latency, candidate.accuracy, place, on_front, note))
    dots.sort(key=lambda dot: (dot.ms, dot.model_id))
    axis, request = answer.axis, answer.request
    limit = None if request.limit_ms is None else request.limit_ms / request.batch
    return RecommendInfo(
        axis.title if axis else "",
        axis.unit if axis else "",
        axis.higher_is_better if axis else True,
        dots,
        limit,
        request.min_accuracy if axis else None,
        no_accuracy,
        no_speed,
    )


def _dot(
    candidate: Candidate, latency: Figure, accuracy: Figure, place: int | None, is_front: bool, note: str
) -> Dot:
    entry, batch = candidate.entry, candidate.batch
    return Dot(
        entry.id,
        entry.title,
        latency.value / batch,
        latency.least / batch,
        latency.most / batch,
        accuracy.value,
        accuracy.least,
        accuracy.most,
        latency.mark,
        accuracy.mark,
        place,
        is_front,
        note,
    )


def recommend_table(info: RecommendInfo) -> list[dict[str, object]]:
    """Return the chart's numbers as a table, the fastest first."""
    return [
        {
            "model": dot.model_id,
            "ms for a picture": dot.ms,
            "ms low": dot.ms_low,
            "ms high": dot.ms_high,
            "speed is": dot.speed_mark,
            info.axis: dot.accuracy,
            "accuracy low": dot.accuracy_low,
            "accuracy high": dot.accuracy_high,
            "accuracy is": dot.accuracy_mark,
            "place": dot.place,
            "on the front": dot.is_front,
        }
        for dot in info.dots
    ]


def recommend_figure(info: RecommendInfo, *, excluded: bool = True, chosen: str = "") -> go.Figure:
    """Draw a symbol for each model by how its speed is known, the front as a line, and the limits.

    Args:
        excluded: Whether models that do not fit are drawn, in grey.
        chosen: Id of the model that is ringed.
    """
    figure = go.Figure()
    shown = [dot for dot in info.dots if excluded or dot.place is not None]
    front = [dot for dot in shown if dot.is_front]
    if len(front) > 1:
        figure.add_scatter(
            x=[dot.ms for dot in front],
            y=[dot.accuracy for dot in front],
            mode="lines",
            line={"color": FITS, "shape": "hv", "width": 1.5},
            opacity=0.6,
            name="best trade-off that fits",
            hoverinfo="skip",
        )
    out = [dot for dot in shown if dot.place is None]
    first = True
    for mark in MARKS:
        found = [dot for dot in out if dot.speed_mark == mark]
        _add(figure, found, mark, FAINT, info, legend=first)
        first = first and not found
    for mark in MARKS:
        fitting = [dot for dot in shown if dot.place is not None and dot.speed_mark == mark]
        _add(figure, fitting, mark, FITS, info)
    _ring(figure, shown, chosen)
    _names(figure, front, shown)
    _limits(figure, info)
    _axes(figure, info, shown)
    below = {"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0}
    return framed(figure, 520, showlegend=True, legend=below)


def _add(
    figure: go.Figure,
    dots: Sequence[Dot],
    mark: str,
    colour: str,
    info: RecommendInfo,
    *,
    legend: bool = True,
) -> None:
    if not dots:
        return
    fits = colour == FITS
    figure.add_scatter(
        x=[dot.ms for dot in dots],
        y=[dot.accuracy for dot in dots],
        error_x=_arms([(dot.ms_low, dot.ms, dot.ms_high) for dot in dots], dots),
        error_y=_arms([(dot.accuracy_low, dot.accuracy, dot.accuracy_high) for dot in dots], dots),
        mode="markers",
        marker={
            "symbol": SYMBOLS[mark],
            "size": [12 if dot.is_front else 8 for dot in dots] if fits else 7,
            "color": colour,
            "opacity": [1.0 if dot.is_front else 0.55 for dot in dots] if fits else 1.0,
            "line": {"width": 1.6 if mark == "estimated" else 0, "color": colour},
        },
        name=MARK_WORDS[mark] if fits else "does not fit",
        showlegend=legend,
        customdata=[[dot.model_id, _hover(dot, info)] for dot in dots],
        hovertemplate="%{customdata[1]}<extra></extra>",
    )


def _arms(ends: Sequence[tuple[float, float, float]], dots: Sequence[Dot]) -> dict[str, object]:
    """Return the intervals of the models on the front; all of them would cover the chart."""
    drawn = [end if dot.is_front else (0.0, 0.0, 0.0) for end, dot in zip(ends, dots, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for _, value, high in drawn],
        "arrayminus": [value - low for low, value, _ in drawn],
        "thickness": 1.2,
        "width": 0,
        "color": ARM,
    }


def _hover(dot: Dot, info: RecommendInfo) -> str:
    unit = f" {info.unit}" if info.unit else ""
    place = f"place {dot.place}" if dot.place is not None else "does not fit"
    lines = [
        f"<b>{name_of(dot.title)}</b>, {place}",
        f"{dot.ms:.3g} ms{_span(dot.ms_low, dot.ms, dot.ms_high)}, {_said(dot.speed_mark)}",
        f"{dot.accuracy:.4g}{unit}{_span(dot.accuracy_low, dot.accuracy, dot.accuracy_high)}, "
        f"{_said(dot.accuracy_mark)}",
    ]
    return "<br>".join(lines)


def _said(mark: str) -> str:
    return "measured here" if mark == "measured" else mark


def _span(low: float, value: float, high: float) -> str:
    return "" if low == value == high else f" ({low:.3g} to {high:.3g})"


def _ring(figure: go.Figure, dots: Sequence[Dot], chosen: str) -> None:
    for dot in dots:
        if dot.model_id == chosen:
            figure.add_scatter(
                x=[dot.ms],
                y=[dot.accuracy],
                mode="markers",
                marker={"symbol": "circle-open", "size": 20, "color": LIMIT, "line": {"width": 2}},
                showlegend=False,
                hoverinfo="skip",
            )


def named(front: Sequence[Dot], shown: Sequence[Dot]) -> list[Dot]:
    """Return those of the front whose names can be written without covering each other, best ones first.

    Args:
        shown: All that is drawn, which sets the scale.
    """
    times = [math.log10(dot.ms) for dot in shown]
    values = [dot.accuracy for dot in shown]
    if not front:
        return []
    wide, high = (max(times) - min(times)) or 1.0, (max(values) - min(values)) or 1.0
    found: list[Dot] = []
    for dot in reversed(front):
        apart = all(
            abs(dot.accuracy - other.accuracy) / high > NAME_HIGH
            or abs(math.log10(dot.ms / other.ms)) / wide > NAME_WIDE
            for other in found
        )
        if apart:
            found.append(dot)
    return found


def _short(title: str) -> str:
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 1]}…"


def _names(figure: go.Figure, front: Sequence[Dot], shown: Sequence[Dot]) -> None:
    """Write names above and to the left, where nothing that fits can be."""
    for dot in named(front, shown):
        figure.add_annotation(
            x=math.log10(dot.ms),
            y=dot.accuracy,
            text=name_of(_short(dot.title)),
            showarrow=False,
            xanchor="right",
            yanchor="bottom",
            xshift=-5,
            yshift=2,
            font={"size": 11},
        )


def _limits(figure: go.Figure, info: RecommendInfo) -> None:
    line = {"dash": "dash", "color": LIMIT, "width": 1.5}
    if info.limit_ms is not None:
        figure.add_vline(x=info.limit_ms, line=line)
        figure.add_annotation(
            x=math.log10(info.limit_ms),
            y=0,
            yref="paper",
            text=f"at most {info.limit_ms:.3g} ms",
            showarrow=False,
            xanchor="left",
            yanchor="bottom",
            xshift=4,
            font={"color": LIMIT},
        )
    if info.least is not None:
        words = "at least" if info.higher_is_better else "at most"
        figure.add_hline(y=info.least, line=line)
        figure.add_annotation(
            x=1,
            xref="paper",
            y=info.least,
            text=f"{words} {info.least:g} {info.unit}".strip(),
            showarrow=False,
            xanchor="right",
            yanchor="top",
            font={"color": LIMIT},
        )


def _axes(figure: go.Figure, info: RecommendInfo, shown: Sequence[Dot]) -> None:
    times = [dot.ms for dot in shown] + ([info.limit_ms] if info.limit_ms is not None else [])
    if times:
        first, last = math.log10(min(times)), math.log10(max(times))
        length = max(last - first, 0.5)
        figure.update_xaxes(range=[first - LEFT * length, last + RIGHT * length], **ticks(times))
    figure.update_xaxes(title="ms for one picture, faster to the left", type="log")
    if not info.higher_is_better:
        figure.update_yaxes(autorange="reversed")
    better = "" if info.higher_is_better else ", less is better and above"
    unit = f" ({info.unit})" if info.unit else ""
    figure.add_annotation(
        text=f"{name_of(info.axis)}{unit}{better}",
        x=0,
        xref="paper",
        xanchor="left",
        y=1,
        yref="paper",
        yanchor="bottom",
        yshift=8,
        showarrow=False,
    )
