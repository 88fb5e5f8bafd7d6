"""A picture with places on it that can be clicked."""

from collections.abc import Sequence

import plotly.graph_objects as go

from core.charts.attention import CANVAS


def picture_figure(
    uri: str,
    size: tuple[int, int],
    places: Sequence[tuple[float, float]],
    texts: Sequence[str],
    height_px: int,
) -> go.Figure:
    """Return a picture with one marker for each place; the n-th marker is point n of the only trace.

    Args:
        uri: The picture as a data address.
        size: Its width and height in pixels.
        places: x and y of each marker, in pixels of the picture.
        texts: What each says when pointed at.
        height_px: Height of the chart.
    """
    width, height = size
    figure = go.Figure(
        go.Scatter(
            x=[x for x, _ in places],
            y=[y for _, y in places],
            mode="markers",
            marker={"size": 11, "color": "white", "line": {"color": "black", "width": 1.5}},
            text=list(texts),
            hovertemplate="%{text}<extra></extra>",
        )
    )
    figure.add_layout_image(
        source=uri, x=0, y=0, sizex=width, sizey=height, xref="x", yref="y", sizing="stretch", layer="below"
    )
    figure.update_xaxes(visible=False, range=(0, width), constrain="domain")
    figure.update_yaxes(visible=False, range=(height, 0), scaleanchor="x", constrain="domain")
    figure.update_layout(height=height_px, margin={"l": 0, "r": 0, "t": 0, "b": 0}, **CANVAS)
    return figure
