"""How runs ended, by model: which fail, how often, and in which way? Numbers, then looks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import plotly.graph_objects as go

from core.charts.history_shared import GREY, LEGEND_PX, MOST_MODELS, framed, name_of
from core.charts.theme import CATEGORIES
from core.intervals import wilson_bounds

OK, RUNNING = "ok", "running"
OTHERS = "other failures"
MOST_CLASSES = 7
"""Most classes of failure with a colour of their own."""
COLOURS = tuple(CATEGORIES[i] for i in (4, 1, 3, 5, 6, 0))
"""Of classes of failure; green is left to success, grey to what is not over."""


class Counted(Protocol):
    """How many of a model's runs came to an outcome; `db`'s `OutcomeCount` has this shape."""

    @property
    def model_id(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def count(self) -> int: ...


class ModelOutcomes(NamedTuple):
    """One model's runs."""

    model_id: str
    runs: int
    ended: int
    """Without those that still run."""
    counts: dict[str, int]
    low: float
    """Bounds of the share that succeeds, with 95 of 100 confidence (Wilson); 0 and 1 where none ended."""
    high: float


class OutcomesInfo(NamedTuple):
    """What the chart shows."""

    models: list[ModelOutcomes]
    """Those with most runs first; all of them."""
    classes: list[str]
    """Success first, then the most frequent failures; what still runs last."""


def outcomes_info(rows: Sequence[Counted]) -> OutcomesInfo:
    """Count outcomes by model."""
    by_model: dict[str, dict[str, int]] = {}
    total: dict[str, int] = {}
    for row in rows:
        counts = by_model.setdefault(row.model_id, {})
        counts[row.outcome] = counts.get(row.outcome, 0) + row.count
        total[row.outcome] = total.get(row.outcome, 0) + row.count
    classes = sorted(total, key=lambda name: (name != OK, name == RUNNING, -total[name], name))
    models = [_model(model, counts) for model, counts in by_model.items()]
    return OutcomesInfo(sorted(models, key=lambda one: (-one.runs, one.model_id)), classes)


def _model(model: str, counts: Mapping[str, int]) -> ModelOutcomes:
    runs = sum(counts.values())
    ended = runs - counts.get(RUNNING, 0)
    return ModelOutcomes(model, runs, ended, dict(counts), *_bounds(counts.get(OK, 0), ended))


def _bounds(successes: int, ended: int) -> tuple[float, float]:
    return wilson_bounds(successes, ended) if ended else (0.0, 1.0)


def outcomes_table(info: OutcomesInfo) -> list[dict[str, object]]:
    """Return a row for each model; shares are of the runs that ended."""
    return [
        {
            "model": one.model_id,
            "runs": one.runs,
            "succeeded": one.counts.get(OK, 0) / one.ended if one.ended else None,
            "at least (95 %)": one.low if one.ended else None,
            "at most (95 %)": one.high if one.ended else None,
            **{name: one.counts.get(name, 0) for name in info.classes},
        }
        for one in info.models
    ]


def outcomes_figure(info: OutcomesInfo, titles: Mapping[str, str]) -> go.Figure:
    """Draw a bar for each model, divided by how its runs ended.

    Args:
        titles: Outcome to its words; one that is not there is its own title.
    """
    drawn, failures = info.models[:MOST_MODELS], [c for c in info.classes if c not in (OK, RUNNING)]
    own = own_classes(failures)
    figure = go.Figure()
    for name, colour in ((OK, CATEGORIES[2]), *zip(own, COLOURS, strict=False)):
        _add_class(figure, drawn, [name], titles.get(name, name), colour)
    _add_class(figure, drawn, failures[len(own) :], OTHERS, GREY, "/")
    _add_class(figure, drawn, [RUNNING], titles.get(RUNNING, RUNNING), GREY)
    for row, one in enumerate(drawn):
        figure.add_annotation(
            text=f"{name_of(one.model_id)} · {_said(one)}",
            x=0,
            xref="paper",
            xanchor="left",
            y=row - 0.52,
            showarrow=False,
        )
    figure.update_yaxes(range=[len(drawn) - 0.6, -0.85], showticklabels=False, showgrid=False, zeroline=False)
    figure.update_xaxes(title="share of the runs", tickformat=".0%", range=[0, 1], dtick=0.25)
    height = 90 + LEGEND_PX * len(figure.data) + 52 * len(drawn)
    return framed(figure, height, barmode="stack", bargap=0.55, showlegend=True)


def own_classes(failures: Sequence[str]) -> Sequence[str]:
    """Return the classes of failure that have a colour of their own: all, or the most frequent ones."""
    return failures if len(failures) <= MOST_CLASSES - 1 else failures[: MOST_CLASSES - 2]


def _said(one: ModelOutcomes) -> str:
    """Return how reliable a model is, in words, with its bounds: a share of few runs says little."""
    if not one.ended:
        return f"{one.runs:,} still running"
    share = one.counts.get(OK, 0) / one.ended
    return f"{share:.1%} succeeded ({one.low:.1%} to {one.high:.1%}), {one.runs:,} runs"


def _add_class(
    figure: go.Figure,
    models: Sequence[ModelOutcomes],
    names: Sequence[str],
    title: str,
    colour: str,
    pattern: str = "",
) -> None:
    counts = [sum(one.counts.get(name, 0) for name in names) for one in models]
    if not any(counts):
        return
    outcome = names[0] if len(names) == 1 else ""
    figure.add_bar(
        x=[n / one.runs for n, one in zip(counts, models, strict=True)],
        y=list(range(len(models))),
        orientation="h",
        name=name_of(title),
        marker={"color": colour, "pattern": {"shape": pattern}},
        customdata=[
            [one.model_id, outcome, n, name_of(one.model_id)] for n, one in zip(counts, models, strict=True)
        ],
        hovertemplate=f"{name_of(title)}: %{{customdata[2]:,}} runs, %{{x:.2%}}"
        "<extra>%{customdata[3]}</extra>",
    )
