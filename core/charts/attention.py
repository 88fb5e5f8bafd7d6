"""A map of attention over its picture, and all heads of a layer beside each other.

Axes are the picture's own pixels, x to the right and y down, so a map lies where the model looked. A grid of
invisible markers, one at each patch's centre, makes the whole picture clickable.
"""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image
from plotly.subplots import make_subplots

from core.images import ImageInput
from core.preprocess import Frame

MAX_SHOWN_PX = 1024
"""Longer side of the picture as it is sent to the browser."""
MARKER = "#FF3D7F"
HIDDEN_AXIS = {
    "visible": False,
    "showgrid": False,
    "zeroline": False,
    "fixedrange": True,
    "constrain": "domain",
}
CANVAS = {
    "plot_bgcolor": "rgba(0,0,0,0)",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "hoverlabel": {"bgcolor": "#222222", "font": {"color": "white"}},
    "dragmode": False,
}
"""Of a chart that is a picture: nothing around it, in a light page as in a dark one."""


class AttentionInfo(NamedTuple):
    """What a map shows."""

    width: int
    height: int
    """Size of the picture in pixels."""
    values: NDArray[np.float32]
    """Rows by columns of patches; raw attention."""
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    """Centres of the columns and of the rows, in the picture's pixels."""
    box: tuple[float, float, float, float]
    """What the model saw: x0, y0, x1, y1."""
    patch: tuple[float, float, float, float] | None
    """The queried patch; None for CLS."""
    outline: list[tuple[float, float, float, float]]
    """Edges around the patches that hold the wanted share of attention: x0, y0, x1, y1."""


def attention_info(
    image: ImageInput,
    values: NDArray[np.float32],
    frame: Frame,
    patch: tuple[int, int] | None,
    mask: NDArray[np.bool_] | None = None,
) -> AttentionInfo:
    """Place a map (rows by columns) on its picture; `mask` marks patches to draw a line around."""
    x0, y0, x1, y1 = frame.box
    rows, columns = frame.grid
    return AttentionInfo(
        image.width,
        image.height,
        values,
        x0 + (np.arange(columns) + 0.5) * (x1 - x0) / columns,
        y0 + (np.arange(rows) + 0.5) * (y1 - y0) / rows,
        frame.box,
        frame.patch_box(*patch) if patch else None,
        [] if mask is None else mask_edges(mask, frame),
    )


def mask_edges(mask: NDArray[np.bool_], frame: Frame) -> list[tuple[float, float, float, float]]:
    """Return the edges between marked and other patches, in the picture's pixels."""
    x0, y0, x1, y1 = frame.box
    rows, columns = mask.shape
    width, height = (x1 - x0) / columns, (y1 - y0) / rows
    padded = np.pad(mask, 1)
    upright = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])  # row, column of the edge's right side
    level = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])  # row of the edge's lower side, column
    edges = [
        (x0 + column * width, y0 + row * height, x0 + column * width, y0 + (row + 1) * height)
        for row, column in upright.tolist()
    ]
    edges += [
        (x0 + column * width, y0 + row * height, x0 + (column + 1) * width, y0 + row * height)
        for row, column in level.tolist()
    ]
    return edges


def attention_figure(
    info: AttentionInfo, picture_uri: str, *, colour_map: str, opacity: float, smooth: bool, height_px: int
) -> go.Figure:
    """Draw the picture, the map over it, its colour bar, the query, and what can be clicked."""
    figure = go.Figure()
    draw_picture(figure, picture_uri, info.width, info.height)
    figure.add_heatmap(
        z=info.values,
        # Corner and step, not centres: from centres alone the width of a single column is not known.
        x0=info.x[0],
        dx=(info.box[2] - info.box[0]) / info.values.shape[1],
        y0=info.y[0],
        dy=(info.box[3] - info.box[1]) / info.values.shape[0],
        colorscale=colour_map,
        opacity=opacity,
        zsmooth="best" if smooth else False,
        hoverinfo="skip",
        colorbar={"title": {"text": "attention", "side": "right"}, "thickness": 12, "len": 0.9},
    )
    _draw_lines(figure, info)
    _add_targets(figure, info)
    figure.update_xaxes(range=[0, info.width], **HIDDEN_AXIS)
    figure.update_yaxes(range=[info.height, 0], scaleanchor="x", **HIDDEN_AXIS)
    figure.update_layout(
        height=height_px,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
        clickmode="event+select",
        hovermode="closest",
        hoverdistance=-1,  # the nearest patch, however far
        **CANVAS,
    )
    return figure


def draw_picture(figure: go.Figure, uri: str, width: float, height: float, x: float = 0) -> None:
    """Draw a picture (a data address) below all else, from `x` to the right and from 0 down."""
    figure.add_layout_image(
        source=uri,
        x=x,
        y=0,
        sizex=width,
        sizey=height,
        xref="x",
        yref="y",
        sizing="stretch",
        layer="below",
    )


def _draw_lines(figure: go.Figure, info: AttentionInfo) -> None:
    if info.box != (0, 0, info.width, info.height):
        add_box(figure, info.box, "rgba(255,255,255,0.9)", "dash")
    if info.outline:
        gap = [None] * len(info.outline)
        x = [
            value for edge, none in zip(info.outline, gap, strict=True) for value in (edge[0], edge[2], none)
        ]
        y = [
            value for edge, none in zip(info.outline, gap, strict=True) for value in (edge[1], edge[3], none)
        ]
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": "white", "width": 2}, hoverinfo="skip")
    if info.patch:
        add_box(figure, info.patch, MARKER, "solid")


def add_box(figure: go.Figure, box: tuple[float, float, float, float], colour: str, dash: str) -> None:
    """Draw the outline of a box x0, y0, x1, y1."""
    x0, y0, x1, y1 = box
    figure.add_shape(
        type="rect", x0=x0, y0=y0, x1=x1, y1=y1, line={"color": colour, "width": 2.5, "dash": dash}
    )


def _add_targets(figure: go.Figure, info: AttentionInfo) -> None:
    """Add an invisible marker for each patch, row by row: point number = row * columns + column."""
    rows, columns = info.values.shape
    x, y = np.meshgrid(info.x, info.y)
    row, column = np.divmod(np.arange(rows * columns), columns)
    unseen = {"marker": {"opacity": 0}}
    figure.add_scatter(
        x=x.ravel(),
        y=y.ravel(),
        mode="markers",
        marker={"size": 14, "opacity": 0, "symbol": "square"},
        selected=unseen,
        unselected=unseen,
        customdata=np.stack([row, column, info.values.ravel()], axis=1),
        hovertemplate="row %{customdata[0]}, column %{customdata[1]}<br>attention %{customdata[2]:.3e}"
        "<extra></extra>",
        name="patches",
    )


class HeadsInfo(NamedTuple):
    """All heads of a layer."""

    titles: list[str]
    maps: list[NDArray[np.float32]]
    low: float
    high: float
    """The one colour scale of all."""


def heads_info(maps: Sequence[NDArray[np.float32]]) -> HeadsInfo:
    """Put the maps of all heads on one scale."""
    return HeadsInfo(
        [f"head {i}" for i in range(len(maps))],
        list(maps),
        float(min(values.min() for values in maps)),
        float(max(values.max() for values in maps)),
    )


def heads_figure(info: HeadsInfo, *, colour_map: str, columns: int = 6) -> go.Figure:
    """Draw all heads as small maps with one colour scale."""
    columns = min(columns, len(info.maps))
    rows = -(-len(info.maps) // columns)
    figure = make_subplots(
        rows, columns, subplot_titles=info.titles, horizontal_spacing=0.02, vertical_spacing=0.28 / rows
    )
    for i, values in enumerate(info.maps):
        figure.add_heatmap(
            z=values,
            zmin=info.low,
            zmax=info.high,
            colorscale=colour_map,
            showscale=i == 0,
            colorbar={"title": {"text": "attention", "side": "right"}, "thickness": 12},
            hovertemplate=f"head {i}<br>row %{{y}}, column %{{x}}<br>attention %{{z:.3e}}<extra></extra>",
            row=i // columns + 1,
            col=i % columns + 1,
        )
        axis = "" if i == 0 else str(i + 1)
        figure.update_layout(
            {
                f"xaxis{axis}": HIDDEN_AXIS,
                f"yaxis{axis}": HIDDEN_AXIS
                | {"scaleanchor": f"x{axis}", "autorange": "reversed", "constraintoward": "top"},
            }
        )
    figure.update_layout(height=150 * rows + 40, margin={"l": 0, "r": 0, "t": 24, "b": 0}, **CANVAS)
    return figure


def picture_uri(image: ImageInput) -> str:
    """Return the picture as a data address, no larger than a page shows it."""
    shown = Image.fromarray(image.rgb)
    shown.thumbnail((MAX_SHOWN_PX, MAX_SHOWN_PX))
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
