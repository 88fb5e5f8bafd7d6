"""How good a segmenter is: IoU by clicks, clicks needed, predicted against true IoU, and sensitivity.

Each chart of an evaluation has one group of objects for each kind of picture; of several evaluations, given
by the names of their models, one for each model.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go

from core.charts.theme import CATEGORIES, model_colour

if TYPE_CHECKING:
    from core.segment.scores import Evaluation, ObjectScore
    from core.segment.sensitivity import Sensitivity

KIND_COLOURS = dict(zip(("plain", "shapes", "cutouts", "uploaded"), CATEGORIES, strict=False))
MISSED = "not reached"
"""Label of the bar of objects that no number of clicks brought to the level."""


class ClickSeries(NamedTuple):
    """One group's IoU after 1, 2 … K clicks; quartiles over its objects."""

    name: str
    clicks: list[int]
    median: list[float]
    lower: list[float]
    """25th percentile."""
    upper: list[float]
    """75th percentile."""
    n: int
    """Number of objects."""


class ClicksInfo(NamedTuple):
    """IoU by number of clicks."""

    series: list[ClickSeries]


class NocSeries(NamedTuple):
    """How many objects of one group needed how many clicks."""

    name: str
    counts: list[int]
    """For 1, 2 … K clicks, then for the objects that K clicks did not bring to the level."""
    n: int


class NocInfo(NamedTuple):
    """Number of clicks to a level of IoU."""

    level: float
    """0-1."""
    series: list[NocSeries]


class PredictedSeries(NamedTuple):
    """Predicted and true IoU of each answer of one group, by clicks and by box."""

    name: str
    predicted: list[float]
    true: list[float]


class PredictedInfo(NamedTuple):
    """What a model thinks of its masks, against how good they are."""

    series: list[PredictedSeries]


class SensitivityInfo(NamedTuple):
    """IoU of each answer to moved prompts with the mask before."""

    values: list[float]
    mean: float
    worst: float
    spread: tuple[float, float]
    """10th and 90th percentile."""
    radius_px: float


def _groups(found: "Evaluation | Mapping[str, Evaluation]") -> dict[str, Sequence["ObjectScore"]]:
    """Return the objects of each kind of picture, or of each model."""
    if isinstance(found, Mapping):
        return {name: evaluation.scores for name, evaluation in found.items()}
    return {kind: [score for score in found.scores if score.kind == kind] for kind in found.by_kind}


def clicks_info(found: "Evaluation | Mapping[str, Evaluation]") -> ClicksInfo:
    """Return the quartiles of the IoU after each number of clicks."""
    series = []
    for name, scores in _groups(found).items():
        values = np.array([score.iou for score in scores])  # objects clicks
        lower, median, upper = np.percentile(values, [25, 50, 75], axis=0).tolist()
        clicks = list(range(1, values.shape[1] + 1))
        series.append(ClickSeries(name, clicks, median, lower, upper, len(scores)))
    return ClicksInfo(series)


def noc_info(found: "Evaluation | Mapping[str, Evaluation]", level: float = 0.85) -> NocInfo:
    """Return how many objects needed how many clicks to an IoU of `level`."""
    series = []
    for name, scores in _groups(found).items():
        needed = [score.clicks_to(level) for score in scores]
        most = len(scores[0].iou)
        counts = [needed.count(k) for k in (*range(1, most + 1), None)]
        series.append(NocSeries(name, counts, len(scores)))
    return NocInfo(level, series)


def predicted_info(found: "Evaluation | Mapping[str, Evaluation]") -> PredictedInfo:
    """Return predicted and true IoU of all answers."""
    series = []
    for name, scores in _groups(found).items():
        answers = [answer for score in scores for answer in score.answers]
        series.append(PredictedSeries(name, [first for first, _ in answers], [true for _, true in answers]))
    return PredictedInfo(series)


def sensitivity_info(found: "Sensitivity") -> SensitivityInfo:
    """Return the IoUs and their summary."""
    return SensitivityInfo(list(found.values), found.mean, found.worst, found.spread, found.radius_px)


def clicks_figure(info: ClicksInfo) -> go.Figure:
    """Draw the median IoU by clicks as a line in a band from the lower to the upper quartile."""
    figure = go.Figure()
    for s in info.series:
        colour = _colour(s.name)
        figure.add_scatter(
            x=s.clicks + s.clicks[::-1],
            y=s.upper + s.lower[::-1],
            fill="toself",
            fillcolor=_faint(colour),
            line_width=0,
            mode="lines",
            hoverinfo="skip",
            legendgroup=s.name,
            showlegend=False,
        )
        figure.add_scatter(
            x=s.clicks,
            y=s.median,
            name=s.name,
            legendgroup=s.name,
            mode="lines+markers",
            marker_color=colour,
            customdata=list(zip(s.lower, s.upper, strict=True)),
            hovertemplate="%{x} clicks: median %{y:.3f}, quartiles %{customdata[0]:.3f} to "
            f"%{{customdata[1]:.3f}}, n = {s.n}<extra>{s.name}</extra>",
        )
    figure.update_xaxes(title="clicks", dtick=1)
    figure.update_yaxes(title="IoU", range=[0, 1.02])
    return _framed(figure)


def noc_figure(info: NocInfo) -> go.Figure:
    """Draw, as bars side by side, the share of each group's objects that needed so many clicks."""
    figure = go.Figure(
        [
            go.Bar(
                x=[*(str(k) for k in range(1, len(s.counts))), MISSED],
                y=[count / s.n for count in s.counts],
                name=s.name,
                marker_color=_colour(s.name),
                customdata=s.counts,
                hovertemplate=f"%{{x}}: %{{customdata}} of {s.n} objects<extra>{s.name}</extra>",
            )
            for s in info.series
        ]
    )
    figure.update_layout(barmode="group")
    figure.update_xaxes(title=f"clicks to an IoU of {info.level:.0%}", type="category")
    figure.update_yaxes(title="share of the objects", range=[0, 1.02], tickformat=".0%")
    return _framed(figure)


def predicted_figure(info: PredictedInfo) -> go.Figure:
    """Draw each answer's true IoU over the predicted one; on the diagonal the model knows itself."""
    high = max([1.0, *(value for s in info.series for value in s.predicted)])
    low = min([0.0, *(value for s in info.series for value in s.predicted)])
    figure = go.Figure(
        [
            go.Scatter(
                x=s.predicted,
                y=s.true,
                name=s.name,
                mode="markers",
                marker={"color": _colour(s.name), "size": 5, "opacity": 0.6},
                hovertemplate="predicted %{x:.3f}, true %{y:.3f}"
                f"<br>n = {len(s.true)} answers<extra>{s.name}</extra>",
            )
            for s in info.series
        ]
    )
    figure.add_shape(
        type="line", x0=0, y0=0, x1=1, y1=1, line={"color": "#7F7F7F", "dash": "dot", "width": 1}
    )
    figure.update_xaxes(title="predicted IoU", range=[low - 0.02, high + 0.02])
    figure.update_yaxes(title="true IoU", range=[0, 1.02])
    return _framed(figure)


def sensitivity_figure(info: SensitivityInfo) -> go.Figure:
    """Draw each answer's IoU as a dot on a strip, the mean as a line, percentiles 10 to 90 as a band."""
    dots = go.Scatter(
        x=info.values,
        y=_spread_out(info.values),
        mode="markers",
        marker={"color": CATEGORIES[0], "size": 8, "opacity": 0.6},
        customdata=list(range(1, len(info.values) + 1)),
        hovertemplate="move %{customdata}: IoU %{x:.3f}<extra></extra>",
        showlegend=False,
    )
    figure = go.Figure([dots])
    figure.add_vrect(*info.spread, fillcolor=_faint(CATEGORIES[0]), line_width=0, layer="below")
    figure.add_vline(info.mean, line={"color": CATEGORIES[1], "width": 2})
    figure.update_xaxes(
        title=f"IoU with the mask, prompts moved by up to {info.radius_px:g} px", range=[0, 1.02]
    )
    figure.update_yaxes(visible=False, range=[-1, 1])
    return _framed(figure, height_px=160)


def _spread_out(values: Sequence[float]) -> list[float]:
    """Return a height for each dot, so that equal ones lie beside each other: steps of the golden ratio."""
    return [(i * 0.618034) % 1.0 - 0.5 for i in range(len(values))]


def _colour(name: str) -> str:
    return KIND_COLOURS.get(name) or model_colour(name)


def _faint(colour: str) -> str:
    """Return `#rrggbb` as a colour for areas behind lines."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.15)"


def _framed(figure: go.Figure, height_px: int = 300) -> go.Figure:
    """Give the charts one frame."""
    figure.update_layout(
        height=height_px,
        margin={"l": 0, "r": 0, "t": 8, "b": 0},
        legend={"orientation": "h", "y": -0.25},
        hovermode="closest",
    )
    return figure
