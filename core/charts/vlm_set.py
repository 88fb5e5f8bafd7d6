"""What a data-set run came to: outcomes by class, scores and latencies of each model; numbers, then looks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import plotly.graph_objects as go

from core.charts.theme import CATEGORIES, model_colour

ANSWERED = "ok"
OTHER_COLOURS = tuple(CATEGORIES[i] for i in (4, 1, 3, 5, 6, 0, 7))
"""Of classes of failure; green is left to answers."""
BINS = 10
MOST_POINTS = 500
"""Of one line."""
DASHES, PATTERNS = ("solid", "dash", "dot", "dashdot"), ("", "/", "x", ".")
"""For models that share a colour."""


class Summarised(Protocol):
    """One model at one task; `core.vlm.setrun.results.Summary` has this shape."""

    @property
    def model_id(self) -> str: ...
    @property
    def calls(self) -> int: ...
    @property
    def outcomes(self) -> Mapping[str, int]: ...
    @property
    def scores(self) -> Sequence[float]: ...
    @property
    def latencies_ms(self) -> Sequence[float]: ...


class Outcome(NamedTuple):
    """One class of outcome."""

    title: str
    counts: list[int]
    """Calls of each model that ended so."""
    shares: list[float]
    """Of the model's calls, 0-1."""
    colour: str


class OutcomesInfo(NamedTuple):
    """How the calls of each model ended, over all tasks."""

    models: list[str]
    outcomes: list[Outcome]
    """Answers first, then the most frequent failures."""


class Bars(NamedTuple):
    """One model's scores, counted by interval."""

    model_id: str
    counts: list[int]
    shares: list[float]
    """Of the model's scored answers, 0-1."""
    n: int


class ScoresInfo(NamedTuple):
    """How the scores of a task are distributed."""

    labels: list[str]
    """Of the intervals; `wrong` and `right` where there is nothing between."""
    models: list[Bars]


class Line(NamedTuple):
    """Which share of one model's answers came within a time."""

    model_id: str
    ms: list[float]
    shares: list[float]
    n: int


class LatenciesInfo(NamedTuple):
    """How long answers took."""

    models: list[Line]


def outcomes_info(summaries: Sequence[Summarised], titles: Mapping[str, str]) -> OutcomesInfo:
    """Count outcomes by model.

    Args:
        titles: Class of outcome to its words; a class that is not there is its own title.
    """
    counts: dict[str, Counter[str]] = {}
    for summary in summaries:
        counts.setdefault(summary.model_id, Counter()).update(summary.outcomes)
    total = sum(counts.values(), Counter[str]())
    names = sorted(total, key=lambda name: (name != ANSWERED, -total[name], name))
    outcomes = []
    for i, name in enumerate(names):
        by_model = [found[name] for found in counts.values()]
        shares = [n / found.total() for n, found in zip(by_model, counts.values(), strict=True)]
        colour = CATEGORIES[2] if name == ANSWERED else OTHER_COLOURS[(i - 1) % len(OTHER_COLOURS)]
        outcomes.append(Outcome(titles.get(name, name), by_model, shares, colour))
    return OutcomesInfo(list(counts), outcomes)


def scores_info(summaries: Sequence[Summarised]) -> ScoresInfo:
    """Count the scores of one task in intervals of 0.1; error rates over 1 have one of their own.

    Models without a score are left out.
    """
    scored = [summary for summary in summaries if len(summary.scores)]
    values = [np.asarray(summary.scores, np.float64) for summary in scored]
    if values and all(np.isin(some, (0.0, 1.0)).all() for some in values):
        labels, at = ["wrong", "right"], [some.astype(int) for some in values]
    else:
        edges = [f"{i / BINS:g}–{(i + 1) / BINS:g}" for i in range(BINS)]
        over = any((some > 1).any() for some in values)
        labels, at = [*edges, *(["over 1"] if over else [])], [_bins(some) for some in values]
    bars = []
    for summary, bins in zip(scored, at, strict=True):
        counts = np.bincount(bins, minlength=len(labels))
        bars.append(Bars(summary.model_id, counts.tolist(), (counts / len(bins)).tolist(), len(bins)))
    return ScoresInfo(labels if bars else [], bars)


def _bins(scores: np.ndarray) -> np.ndarray:
    """Return the interval of each score; 1 itself is in the one that ends there."""
    inside = np.minimum((scores * BINS + 1e-9).astype(int), BINS - 1)
    return np.where(scores > 1, BINS, np.maximum(inside, 0))


def latencies_info(summaries: Sequence[Summarised]) -> LatenciesInfo:
    """Sort the latencies of each model's answers over the given tasks, and thin out long lines."""
    latencies: dict[str, list[float]] = {}
    for summary in summaries:
        latencies.setdefault(summary.model_id, []).extend(summary.latencies_ms)
    lines = []
    for model, found in latencies.items():
        if found:
            n = len(found)
            at = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int))
            ms = np.sort(np.asarray(found, np.float64))[at]
            lines.append(Line(model, ms.tolist(), ((at + 1) / n).tolist(), n))
    return LatenciesInfo(lines)


def outcomes_figure(info: OutcomesInfo) -> go.Figure:
    """Draw one bar for each model, divided by how its calls ended."""
    figure = go.Figure(
        [
            go.Bar(
                x=outcome.shares,
                y=info.models,
                orientation="h",
                name=outcome.title,
                marker_color=outcome.colour,
                customdata=outcome.counts,
                hovertemplate=f"{outcome.title}: %{{x:.1%}}, %{{customdata}} calls<extra>%{{y}}</extra>",
            )
            for outcome in info.outcomes
        ]
    )
    figure.update_layout(barmode="stack", xaxis={"title": "share of the calls", "tickformat": ".0%"})
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _framed(figure, 130 + 34 * len(info.models))


def scores_figure(info: ScoresInfo, title: str) -> go.Figure:
    """Draw the share of answers in each interval, the models beside each other.

    Args:
        title: Of the score.
    """
    places = _places([bars.model_id for bars in info.models])
    figure = go.Figure(
        [
            go.Bar(
                x=info.labels,
                y=bars.shares,
                name=bars.model_id,
                marker={"color": model_colour(bars.model_id), "pattern": {"shape": PATTERNS[place]}},
                customdata=bars.counts,
                hovertemplate=f"%{{x}}: %{{customdata}} of {bars.n} answers<extra>{bars.model_id}</extra>",
            )
            for bars, place in zip(info.models, places, strict=True)
        ]
    )
    figure.update_layout(
        barmode="group",
        xaxis={"title": title, "type": "category"},
        yaxis={"title": "share of the answers", "tickformat": ".0%", "rangemode": "tozero"},
    )
    return _framed(figure, 300)


def latencies_figure(info: LatenciesInfo) -> go.Figure:
    """Draw which share of the answers came within a time, on a logarithmic axis."""
    places = _places([line.model_id for line in info.models])
    figure = go.Figure(
        [
            go.Scatter(
                x=line.ms,
                y=line.shares,
                mode="lines" if line.n > 1 else "markers",
                line={"shape": "hv", "color": model_colour(line.model_id), "dash": DASHES[place]},
                name=line.model_id,
                hovertemplate=f"%{{y:.1%}} of {line.n} answers within %{{x:.0f}} ms"
                f"<extra>{line.model_id}</extra>",
            )
            for line, place in zip(info.models, places, strict=True)
        ]
    )
    figure.update_layout(
        xaxis={"title": "time of an answer (ms)", "type": "log"},
        yaxis={"title": "share of the answers", "tickformat": ".0%", "range": [0, 1.03]},
        hovermode="closest",
    )
    return _framed(figure, 300)


def _places(models: Sequence[str]) -> list[int]:
    """Return how many models of the same colour come before each."""
    colours = [model_colour(model) for model in models]
    return [colours[:i].count(colour) % len(DASHES) for i, colour in enumerate(colours)]


def _framed(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 0, "r": 8, "t": 8, "b": 0},
        legend={"orientation": "h", "y": -0.38, "traceorder": "normal"},
        showlegend=True,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure
