"""How much memory a model takes: its process before it, at its peak, and the GPU's. Numbers, then looks."""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from core.charts.bench_shared import Measured, name_rows
from core.charts.history_shared import name_of
from core.charts.theme import CATEGORIES


class Memory(NamedTuple):
    """One model's memory, in MB (10^6 bytes)."""

    label: str
    base_mb: float
    """Of its process before the model was loaded."""
    peak_mb: float
    """Of its process; at least `base_mb`."""
    gpu_mb: float | None


def memory_info(rows: Sequence[Measured]) -> list[Memory]:
    """Take the memory of the rows that have it, the smallest first."""
    found = []
    for row in rows:
        if (peak := row.metrics.get("peak_memory_mb")) is not None:
            base = min(row.metrics.get("base_memory_mb", 0.0), peak)
            found.append(Memory(row.label, base, peak, row.metrics.get("gpu_peak_memory_mb")))
    return sorted(found, key=lambda one: one.peak_mb - one.base_mb)


def memory_figure(info: Sequence[Memory]) -> go.Figure:
    """Draw a bar for each process, what was there before the model apart; and one for the GPU."""
    figure, rows = go.Figure(), list(range(len(info)))
    names = [name_of(one.label) for one in info]
    parts = (
        ("process without the model", CATEGORIES[7], [one.base_mb for one in info]),
        ("model and its work", CATEGORIES[0], [one.peak_mb - one.base_mb for one in info]),
    )
    for title, colour, values in parts:
        figure.add_bar(
            x=values,
            y=rows,
            orientation="h",
            width=0.26,
            name=title,
            marker_color=colour,
            customdata=[[name, one.peak_mb] for name, one in zip(names, info, strict=True)],
            hovertemplate=f"{title} %{{x:,.0f}} MB, together %{{customdata[1]:,.0f}} MB"
            "<extra>%{customdata[0]}</extra>",
        )
    if any(one.gpu_mb is not None for one in info):
        figure.add_bar(
            x=[one.gpu_mb for one in info],
            y=[row + 0.26 for row in rows],
            orientation="h",
            width=0.2,
            base=0,
            name="GPU",
            marker_color=CATEGORIES[2],
            customdata=names,
            hovertemplate="GPU %{x:,.0f} MB<extra>%{customdata}</extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="peak memory (MB)", rangemode="tozero")
    return name_rows(figure, [one.label for one in info])
