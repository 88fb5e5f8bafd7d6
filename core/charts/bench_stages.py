"""What a call consists of: pre-processing, the model, post-processing; and the whole. Numbers, then looks."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from core.charts.bench_shared import Estimate, Measured, arms, ends, estimate, name_rows
from core.charts.history_shared import GREY, name_of
from core.charts.theme import CATEGORIES

STAGES = {"preprocess_ms": "pre-processing", "model_ms": "model", "postprocess_ms": "post-processing"}
COLOURS = dict(zip(STAGES, (CATEGORIES[5], CATEGORIES[0], CATEGORIES[4]), strict=True))


class Call(NamedTuple):
    """The middle call of one model, in ms."""

    label: str
    stages: list[float]
    """Median of each of `STAGES`; together about the median of the whole."""
    whole: Estimate


def stages_info(rows: Sequence[Measured]) -> list[Call]:
    """Take the stages of each row that has them, the fastest first."""
    calls = [
        Call(row.label, [row.metrics[name] for name in STAGES], whole)
        for row in rows
        if (whole := estimate(row.metrics, "p50_ms")) is not None and STAGES.keys() <= row.metrics.keys()
    ]
    return sorted(calls, key=lambda call: call.whole.value)


def stages_figure(info: Sequence[Call]) -> go.Figure:
    """Draw a bar for each model, divided into stages, with the median of the whole and its interval."""
    figure, rows = go.Figure(), list(range(len(info)))
    names = [name_of(call.label) for call in info]
    for at, (stage, title) in enumerate(STAGES.items()):
        figure.add_bar(
            x=[call.stages[at] for call in info],
            y=rows,
            orientation="h",
            width=0.34,
            name=title,
            marker_color=COLOURS[stage],
            customdata=names,
            hovertemplate=f"{title} %{{x:,.4g}} ms<extra>%{{customdata}}</extra>",
        )
    figure.add_scatter(
        x=[call.whole.value for call in info],
        y=rows,
        mode="markers",
        name="whole call, p50",
        marker={"symbol": "line-ns", "size": 16, "line": {"width": 2, "color": GREY}},
        error_x=arms([call.whole for call in info], GREY),
        customdata=[[name, ends(call.whole, "ms")] for name, call in zip(names, info, strict=True)],
        hovertemplate="p50 %{x:,.4g} ms<br>95 %: %{customdata[1]}<extra>%{customdata[0]}</extra>",
    )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="time of a call (ms)", rangemode="tozero")
    return name_rows(figure, [call.label for call in info])
