"""How many pictures a second, by how many go in one pass. Numbers, then looks."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from core.charts.bench_shared import Estimate, Measured, arms, ends, estimate, looks
from core.charts.history_shared import framed, name_of, scale, ticks

NAME = re.compile(r"images_per_s_batch_(\d+)")


class Rates(NamedTuple):
    """One model's pictures a second."""

    label: str
    model_id: str
    sizes: list[int]
    rates: list[Estimate]


def throughput_info(rows: Sequence[Measured]) -> list[Rates]:
    """Take the throughput of each row that has one, batch sizes in order."""
    found = []
    for row in rows:
        sizes = sorted(int(match[1]) for name in row.metrics if (match := NAME.fullmatch(name)))
        rates = [estimate(row.metrics, f"images_per_s_batch_{size}") for size in sizes]
        if sizes:
            found.append(Rates(row.label, row.model_id, sizes, [rate for rate in rates if rate is not None]))
    return found


def throughput_figure(info: Sequence[Rates]) -> go.Figure:
    """Draw a line for each model over the batch size."""
    figure = go.Figure()
    for one, look in zip(info, looks([(one.label, one.model_id) for one in info]), strict=True):
        name, colour = name_of(one.label), look.colour
        figure.add_scatter(
            x=one.sizes,
            y=[rate.value for rate in one.rates],
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": look.dash},
            marker={"symbol": look.symbol, "size": 8, "color": colour},
            error_y=arms(one.rates, colour),
            customdata=[ends(rate) for rate in one.rates],
            hovertemplate="%{y:,.4g} pictures a second in passes of %{x}<br>95 %: %{customdata}"
            f"<extra>{name}</extra>",
        )
    sizes = sorted({size for one in info for size in one.sizes})
    values = [rate.value for one in info for rate in one.rates]
    kind = scale(values)
    figure.update_xaxes(
        title="pictures in a pass", type="log" if sizes and sizes[-1] > 4 else "linear", tickvals=sizes
    )
    figure.update_yaxes(title="pictures a second", type=kind)
    figure.update_yaxes(ticks(values) if kind == "log" else {"rangemode": "tozero"})
    return framed(figure, 340 + 14 * len(info), showlegend=True)
